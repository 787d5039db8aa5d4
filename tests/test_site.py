"""The documentation site: every public name is in it, and its pages keep to themselves.

`make docs` builds it, and judges links and docstrings as it does. Here a browser opens some pages.
"""

import sys

import pytest
from support.browser import CHROMIUM, inspect_file
from support.processes import ROOT

sys.path.insert(0, str(ROOT / "docs" / "site"))
import public_names
import reference

SITE = ROOT / "site"
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


def test_every_name_of_the_front_door_has_a_page():
    names = {name.path for name in public_names.public_names()}
    pages = "\n".join(reference.reference_pages().values())
    assert names and all(f"::: {path}\n" in pages for path in names)
    assert {"promptax.fit.loop.pretrain", "promptax.tasks.markov.markov_chain.MarkovChain"} <= names


def test_a_silent_name_ends_the_build(monkeypatch):
    silent = public_names.PublicName("promptax.steering.weights.low_rank", "NoSuchName")
    monkeypatch.setattr(reference, "public_names", lambda: [silent])
    with pytest.raises(reference.UndocumentedNameError, match="NoSuchName"):
        reference.reference_pages()
