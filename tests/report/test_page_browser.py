"""The report page in a real browser: nothing leaves, nothing is hidden, nothing is too wide."""

import itertools

import pytest
from support.browser import browser_tests, inspect
from support.made_up import some_results, some_states

from promptax.report import page

pytestmark = browser_tests


@pytest.fixture(scope="module")
def html() -> str:
    return page(
        "Prompts and weights, measured",
        "A synthetic report.",
        [
            (some_results("single coin"), some_states("single coin")),
            (some_results("two coins"), None),
        ],
        {"command": "promptax demo", "a long value": "x" * 400},
    )


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_page_is_whole_and_keeps_to_itself(html: str, width: int) -> None:
    found = inspect(html, width)
    assert found["requests"] == [] and found["console"] == []
    assert found["inner_width"] == width
    assert found["scroll_width"] <= width, "the page scrolls sideways"
    assert found["language"] == "en" and found["title"] == "Prompts and weights, measured"
    assert found["broken_links"] == []
    assert len(found["figures"]) == 7
    for figure in found["figures"]:
        assert figure["natural_width"] > 300, "a figure did not load"
        assert figure["width"] > 0.8 * min(width, 700) and figure["height"] > 100
        assert figure["left"] >= 0 and figure["right"] <= width
        assert figure["alt"] and figure["caption"]


def test_headings_descend_one_level_at_a_time_and_details_open_on_paper(html: str) -> None:
    found = inspect(html, 390)
    levels = found["headings"]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert not found["details_shown"] and found["printed_details_shown"]


def test_inspect_notices_what_it_is_there_to_notice() -> None:
    """A judge that never convicts proves nothing."""
    found = inspect(
        '<!DOCTYPE html><title>bad</title><link rel="icon" href="data:,"><figure>'
        '<img src="http://example.invalid/a.png" style="width:900px"></figure>'
        "<script>console.log('hello'); missing()</script>",
        390,
    )
    assert found["requests"] == ["http://example.invalid/a.png"]
    assert len(found["console"]) >= 2
    assert found["scroll_width"] > 390
    assert found["figures"][0]["natural_width"] == 0
