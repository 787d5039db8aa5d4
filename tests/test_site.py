"""The documentation site: every public name is in it, and its pages keep to themselves.

`make docs` builds it, and judges links and docstrings as it does. Here a browser opens some pages.
"""

import importlib
import inspect
import re
import sys

import pytest
from support.browser import CHROMIUM, inspect_file, opened_file
from support.processes import ROOT

import promptax

sys.path.insert(0, str(ROOT / "docs" / "site"))
import public_names
import reference

SITE = ROOT / "site"
DOORS = [
    ".".join(file.parent.relative_to(ROOT).parts)
    for file in sorted((ROOT / "promptax").rglob("__init__.py"))
    if file.parent.name != "promptax" and "cli" not in file.parts
]
NOT_OFFERED = {"promptax.specs.members_elsewhere"}  # doors use it
PAGES = (
    ("index.html", 1280, False),
    ("tutorials/coins.html", 390, False),
    ("gallery.html", 390, True),
    ("reference/tasks.html", 1280, True),
    ("prompt_or_tune.html", 390, False),
)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium found: apt-get install chromium")
@pytest.mark.parametrize(("address", "width", "dark"), PAGES, ids=[page for page, *_ in PAGES])
def test_a_page_keeps_to_itself(address, width, dark):
    file = SITE / address
    if not file.exists():
        pytest.skip("no site here: `make docs` builds it")
    seen = inspect_file(file, width, dark=dark)
    assert seen["console"] == []
    assert [url for url in seen["requests"] if not url.startswith(SITE.as_uri())] == []
    assert seen["scroll_width"] <= seen["inner_width"] == width


SEARCH = """(async () => {
  const field = document.querySelector(".md-search__input");
  field.focus();
  field.value = %r;
  for (let tries = 0; tries < 100; tries += 1) {
    field.dispatchEvent(new Event("keyup"));
    await new Promise(wait => setTimeout(wait, 100));
    const links = [...document.querySelectorAll("a.md-search-result__link")];
    if (links.length) return links.map(link => link.href.split("?")[0]);
  }
  return [];
})()"""


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium found: apt-get install chromium")
@pytest.mark.parametrize(
    ("words", "page"),
    [("MarkovChain", "reference/tasks"), ("your own prior", "tutorials/own_prior")],
    ids=["a name", "words"],
)
def test_the_search_works_from_a_folder(words, page):
    if not (SITE / "index.html").exists():
        pytest.skip("no site here: `make docs` builds it")
    with opened_file(SITE / "index.html", 1280) as browser:
        found = browser.evaluate(SEARCH % words)
        requests = [event["request"]["url"] for event in browser.seen("Network.requestWillBeSent")]
    assert any(f"/{page}" in link for link in found), found
    assert [url for url in requests if not url.startswith((SITE.as_uri(), "data:"))] == []


@pytest.mark.slow
def test_every_name_of_the_front_door_has_a_page():
    """What doors offer is asked of Python here; the site reads it from the files."""
    pages = "\n".join(reference.reference_pages().values())
    offered = {
        f"{thing.__module__}.{thing.__qualname__}"
        for door in DOORS
        for name, thing in vars(importlib.import_module(door)).items()
        if not name.startswith("_") and (inspect.isclass(thing) or inspect.isfunction(thing))
    }
    ours = {path for path in offered if path.startswith("promptax.")} - NOT_OFFERED
    assert {"promptax.fit.loop.pretrain", "promptax.tasks.markov.markov_chain.MarkovChain"} <= ours
    assert [path for path in sorted(ours) if f"::: {path}\n" not in pages] == []
    for public in public_names.public_names():  # the line below a name imports it
        line, (_, door, *_) = public.import_line, public.import_line.split()
        assert hasattr(importlib.import_module(door), public.name), line


PROSE = """Use `promptax.specs.later("a")`, a `Cell`, `promptax.fit.Probe`, `promptax.axes`, `Exam`.

```python
from promptax.progress import Bar  # `promptax.files.StoreError`
```
"""


def test_names_in_prose_are_public(monkeypatch):
    monkeypatch.setattr(public_names, "_documents", lambda: [PROSE])
    named = {".".join(path) for _, *path in public_names._named_in_prose()}
    assert named == {
        "promptax.specs.later",
        "promptax.predictors.recurrent.Cell",
        "promptax.fit.probes.Probe",
        "promptax.language.word_tasks.exam.Exam",
    }


def test_names_in_signatures_are_public():
    found = public_names._in_signatures("promptax.fit.implicit", "minimise")
    assert {name for _, name in found} == {"Loss", "Tree", "Minimum"}
    race = public_names._in_signatures("promptax.steering.races.base", "Race")
    assert {name for _, name in race} == {"Standing"}  # `Read` is no class: it is spelled out
    generic = public_names._in_signatures("promptax.protocol.prompted", "with_innermost")
    assert "AnyPredictor" not in {name for _, name in generic}


@pytest.mark.slow
def test_signatures_spell_out_what_has_no_page():
    griffe = pytest.importorskip("griffe")
    import spelled_out

    extensions = griffe.load_extensions(spelled_out.SpelledOut)
    read = griffe.load("promptax", search_paths=[ROOT], extensions=extensions)
    advance = read["predictors.torso.Torso.advance"]
    assert str(advance.parameters["rows"].annotation) == "Float[Array, 'time embedding']"
    assert "'time width'" in str(advance.returns) and "Outputs" not in str(advance.returns)
    nested = read["tasks.hidden.hidden_markov_mixture.HiddenMarkovMixture.transition"]
    assert str(nested.annotation) == "tuple[tuple[tuple[float, ...], ...], ...]"
    assert str(read["fit.implicit.minimise"].parameters["loss"].annotation) == "Loss"  # has one


NOTEBOOK = """# Title

[A page](../tasks.md#coins), [its notebook](coins.ipynb), [elsewhere](https://example.org/a.md).

```python
print("first")
```
"""


@pytest.mark.parametrize("needs", ["", "<!-- needs: smollm2 -->\n"], ids=["plain", "with weights"])
def test_a_notebook_can_be_opened_elsewhere(needs):
    pytest.importorskip("nbclient")
    import nbformat
    import notebooks

    notebook = notebooks.notebook_of(needs + NOTEBOOK)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    stderr = {"output_type": "stream", "name": "stderr", "text": "a bar"}
    code[1].outputs = [nbformat.from_dict(stderr | part) for part in ({"name": "stdout"}, {})]
    notebooks.leave_out_stderr(notebook, "page.md")
    text = notebooks.written(notebook)  # which validates it
    assert "(../tasks.html#coins), [its notebook](coins.ipynb)" in text
    assert "(https://example.org/a.md)" in text
    assert [output.name for output in code[1].outputs] == ["stdout"]
    assert f"promptax-{promptax.__version__}-py3" in code[0].source
    for_weights = ['"{SOURCE}[lm]"' in code[0].source, "!promptax lm fetch" in code[0].source]
    assert for_weights == [bool(needs)] * 2


def test_a_kept_figure_leads_to_code():
    pytest.importorskip("nbclient")
    import gallery

    for figure in gallery.KEPT_FIGURES:
        text = (ROOT / "docs" / figure.page).read_text(encoding="utf-8")
        sections = {
            title.lower().replace(":", "").replace(",", "").replace(" ", "-"): body
            for title, body in re.findall(
                r"^#{2,4} (.*?)\n(.*?)(?=^#{2,4} |\Z)", text, re.DOTALL | re.MULTILINE
            )
        }
        assert re.search(r"^(    |```python)", sections[figure.anchor], re.MULTILINE), figure


SPOKEN = "A class, whose `text` is said here."
CASES = {
    "a method": ("    def silent(self): ...", ["silent"]),
    "a property": ("    @property\n    def silent(self): ...", ["silent"]),
    "a field": ("    silent: int = 1", ["silent"]),
    "a method with words": ('    def loud(self):\n        """Says it."""', []),
    "a field with words": ('    loud: int = 1\n    """Says it."""', []),
    "a field of the docstring": ("    text: str", []),
    "what its base says something of": ("    def heard(self): ...", []),
    "what is not public": ("    def _silent(self): ...", []),
}


@pytest.mark.parametrize("case", CASES)
def test_a_silent_member_is_found(case, monkeypatch, tmp_path):
    member, expected = CASES[case]
    base = 'class Base:\n    def heard(self):\n        """Says it."""\n\n\n'
    file = tmp_path / "module.py"
    file.write_text(f'{base}class Ours(Base):\n    """{SPOKEN}"""\n\n{member}\n')
    monkeypatch.setattr(public_names, "file_of", lambda module: file)
    module = f"promptax.{case.replace(' ', '_')}"  # what was read of a module is kept
    assert public_names.silent_members(public_names.PublicName(module, "Ours")) == expected


def test_a_silent_member_ends_the_build(monkeypatch):
    monkeypatch.setattr(reference, "silent_members", lambda name: ["quiet"])
    with pytest.raises(reference.UndocumentedNameError, match=r"pretrain\.quiet"):
        reference.reference_pages()


def test_a_silent_name_ends_the_build(monkeypatch):
    silent = public_names.PublicName("promptax.steering.weights.low_rank", "NoSuchName")
    monkeypatch.setattr(reference, "public_names", lambda: [silent])
    with pytest.raises(reference.UndocumentedNameError, match="NoSuchName"):
        reference.reference_pages()
