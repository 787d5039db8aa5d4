"""What MkDocs asks while it builds the site: the reference, and what tutorials say."""

import posixpath
import re
from concurrent.futures import Future
from pathlib import Path

import gallery
import notebooks
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from name_links import NameLinks

RUNS: dict[str, Future] = {}  # of tutorials, by their address below `docs`


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the reference into the menu, where `mkdocs.yml` leaves room, and link names to it."""
    config.markdown_extensions.append(NameLinks())
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
    RUNS.clear()
    RUNS.update(
        notebooks.run_all(
            {
                file.src_uri: file.content_string
                for file in files.documentation_pages()
                if notebooks.is_tutorial(file.src_uri, file.content_string)
            }
        )
    )
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put what a tutorial said and drew behind its code; its figures become files of the site."""
    address = page.file.src_uri
    if address not in RUNS:
        return markdown
    try:
        tutorial = RUNS[address].result()
        others = [run.result() for run in RUNS.values()] if address == gallery.ADDRESS else []
    except Exception as error:
        raise PluginError(f"A tutorial did not run: {error}") from error
    notebook = str(Path(address).with_suffix(".ipynb"))
    files.append(File.generated(config, notebook, content=tutorial.notebook))
    shown = dict(tutorial.figures)
    for other in others:  # the gallery shows all figures, and may come before their tutorials
        shown |= other.figures
    for figure, picture in shown.items():
        if files.get_file_from_path(figure.address) is None:
            files.append(File.generated(config, figure.address, content=picture))
    return gallery.with_cards(tutorial.page, list(shown)) if others else tutorial.page


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """End the build where a page links to a file that `exclude_docs` leaves out: MkDocs itself only
    notes it, and the link leads nowhere."""
    left_out = {file.dest_uri for file in files if file.inclusion.is_excluded()}
    folder = posixpath.dirname(page.file.dest_uri)
    for link in re.findall(r'href="([^"#?:]+)"', html):
        if posixpath.normpath(posixpath.join(folder, link)) in left_out:
            raise PluginError(
                f"{page.file.src_uri} links to {link}, which `exclude_docs` leaves out."
            )
    return html
