"""What the documents show runs, what they name exists, and every public name says what it is."""

import doctest
import functools
import importlib
import inspect
import re

import pytest
from support.processes import ROOT
from support.warm import run_script

import promptax
from promptax import specs
from promptax.cli.commands.list import imported_members

pytestmark = pytest.mark.slow  # the file

FIGURE = "<!-- figure: "  # `make docs` runs the pages that draw one, and all tutorials
PAGES = [
    ROOT / "README.md",
    *(
        page
        for page in sorted((ROOT / "docs").rglob("*.md"))
        if page.parent.name != "tutorials" and FIGURE not in page.read_text(encoding="utf-8")
    ),
]
NOT_RUN = "<!-- not run -->"  # on the line above a block that is only shown


@pytest.mark.usefixtures("as_users_see_it")
def test_the_front_door_runs():
    assert doctest.testmod(promptax, verbose=False).failed == 0


def code_of(page):
    """The page's python blocks as one program, each line where it stands on the page."""
    lines, inside, before = [], False, ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = line == "```python" and before.strip() != NOT_RUN
            lines.append("")
        else:
            lines.append(line if inside else "")
        before = line
    return "\n".join(lines)


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_the_code_of_a_page_runs(page, tmp_path):
    # in a process of its own: a page may define members, which other tests should not see
    code = code_of(page)
    if not code.strip():
        return
    script = tmp_path / f"page_{page.stem}.py"  # a page called logging would hide a module
    script.write_text(code, encoding="utf-8")
    run_script(tmp_path, script)  # line numbers in a complaint are those of the page


def test_a_block_can_be_left_out(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"```python\na = 1\n```\n{NOT_RUN}\n```python\nb = 2\n```\n\n```\nc\n```\n")
    assert code_of(page).split() == ["a", "=", "1"]


imported_members()  # with every room
NAME = re.compile(r"\b(?:px|promptax)(?:\.[A-Za-z_]\w*)+")
FILE = re.compile(r"(?<![\w./<-])(?:benchmarks|docs|examples|promptax|tests)/[\w./-]*\w")
PLACEHOLDERS = {"px.NAME", "promptax.tasks.sticky_chain", "promptax/tasks/sticky_chain.py"}
SOURCES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(path for room in ("promptax", "examples") for path in (ROOT / room).rglob("*.py")),
]


def test_what_prose_names_exists():
    """Dotted names and the repository's files, in documents and in the package's docstrings."""
    named = [
        (path.relative_to(ROOT).as_posix(), name, exists)
        for path in SOURCES
        for pattern, exists in ((NAME, _resolves), (FILE, lambda name: (ROOT / name).exists()))
        for name in sorted(set(pattern.findall(path.read_text(encoding="utf-8"))) - PLACEHOLDERS)
    ]
    missing = [f"{path}: {name}" for path, name, exists in named if not exists(name)]
    assert not missing, "\n".join(missing)
    assert not _resolves("promptax.fit.Nothing") and not _resolves("px.FitSettings.nothing")


@functools.cache
def _resolves(name):
    """Whether a name can be reached from promptax, fields without a default included."""
    thing = promptax
    for part in name.split(".")[1:]:
        if inspect.ismodule(thing) and not hasattr(thing, part):
            try:
                importlib.import_module(f"{thing.__name__}.{part}")
            except ModuleNotFoundError:
                return False
        elif not hasattr(thing, part) and part not in getattr(thing, "__annotations__", ()):
            return False
        thing = getattr(thing, part, None)
    return True


PACKAGES = {base.__module__.rpartition(".")[0] for base, _ in specs.open_sets.values()}
OTHERS = {f"promptax.{name}" for name in ("analysis", "front_door", "language.adapters", "report")}
DOORS = sorted(PACKAGES | OTHERS)


@pytest.mark.parametrize("door", DOORS)
def test_every_public_name_says_what_it_is(door):
    module = importlib.import_module(door)
    silent = [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(thing) and not _documented(thing)
    ]
    assert not silent, f"Expected a docstring for each name of {door}; {silent} have none"


def _documented(thing):
    text = (thing.__doc__ or "") if callable(thing) else "a constant"
    return bool(text.strip()) and not text.startswith(f"{getattr(thing, '__name__', '')}(")


def test_a_silent_class_is_found():
    assert not _documented(type("Silent", (promptax.Prediction,), {}))
