"""What the documents show runs, and every public name says what it is."""

import doctest
import importlib
import inspect

import pytest
from support.processes import ROOT
from support.warm import run_script

import promptax
from promptax import specs
from promptax.cli.commands.list import imported_members

pytestmark = pytest.mark.slow  # the file

BY_THE_SITE = ("tutorials", "gallery.md")  # `make docs` runs these
PAGES = [
    ROOT / "README.md",
    *(
        page
        for page in sorted((ROOT / "docs").rglob("*.md"))
        if page.relative_to(ROOT / "docs").parts[0] not in BY_THE_SITE
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
