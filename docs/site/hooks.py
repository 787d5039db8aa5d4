"""What MkDocs asks while it builds the site: which pages there are besides the files of docs."""

import logging

import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

log = logging.getLogger("mkdocs.hooks.promptax")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the reference into the menu, where `mkdocs.yml` leaves room for them."""
    for entry in config.nav or []:
        if "Reference" in entry:
            entry["Reference"] = reference.navigation()
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Write the reference; a public name that says nothing of itself ends the build."""
    try:
        pages = reference.reference_pages()
    except reference.UndocumentedNameError as error:
        raise PluginError(str(error)) from error
    for address, text in pages.items():
        files.append(File.generated(config, address, content=text))
    return files
