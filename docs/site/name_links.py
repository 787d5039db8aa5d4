"""Code in prose that is a public name becomes a link to its place in the reference.

`px.pretrain`, `promptax.analysis.ledger`, `SoftPrompt` and `SoftPrompt()` are found; headings,
links and blocks of code stay as they are.
"""

import re
from xml.etree.ElementTree import Element

from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor
from public_names import public_names

CALL = re.compile(r"\(.*\)$", re.DOTALL)
CLASS = re.compile(r"[A-Z]\w+$")
LEFT_ALONE = {"a", "pre", "autoref", "h1", "h2", "h3", "h4", "h5", "h6"}


def places() -> dict[str, str]:
    """The path of each name in the reference, by what it is called in prose."""
    called: dict[str, str] = {}
    for public in public_names():
        called[public.path] = public.path
        for door in public.doors:
            room = "px" if door == "promptax.front_door" else door
            called[f"{room}.{public.name}"] = public.path
        if CLASS.match(public.name):
            called.setdefault(public.name, public.path)
    return called


class NameLinks(Extension):
    """Adds the links to whatever Markdown is made into."""

    def __init__(self) -> None:
        super().__init__()
        self.places = places()

    def extendMarkdown(self, md: Markdown) -> None:
        """Come after code spans were found."""
        md.treeprocessors.register(_Linker(self.places), "promptax_names", 15)


class _Linker(Treeprocessor):
    def __init__(self, called: dict[str, str]) -> None:
        super().__init__()
        self.called = called

    def run(self, root: Element) -> None:
        """Wrap the code spans that are names."""
        if root.tag in LEFT_ALONE:
            return
        for index, child in enumerate(list(root)):
            path = self.called.get(CALL.sub("", child.text or "")) if child.tag == "code" else None
            if path is None:
                self.run(child)
                continue
            link = Element("autoref", {"identifier": path, "optional": ""})
            link.tail, child.tail = child.tail, None
            link.append(child)
            root[index] = link
