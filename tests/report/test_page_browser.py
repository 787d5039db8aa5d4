"""The report page in a real browser: nothing leaves, nothing is hidden, nothing is too wide."""

import itertools

import pytest
from support.browser import browser_tests, inspect, opened
from support.made_up import some_results, some_states

from promptax.report import page
from promptax.report.figures.learning import lines
from promptax.report.pages import html as pages
from promptax.report.pages import pointer

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


INKED = """(() => {
  const canvas = document.querySelector('.chart canvas');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((alpha, at) => at % 4 == 3 && alpha > 0).length;
})()"""  # how many dots of the first chart are drawn


def value(browser, method, target=1):
    """What the table says of a method at the pointer."""
    rows = browser.evaluate(
        "[...document.querySelectorAll('.legend tbody tr')].map(row => [...row.cells].map("
        "cell => cell.textContent.trim()))"
    )
    return next(float(row[target].split()[0]) for row in rows if row[0] == method)


def test_the_charts_answer_pointer_keyboard_and_legend(html: str) -> None:
    """Regret of the soft prompt is .01 nats after 50 tokens, .23 after 200 (`made_up.VALUES`)."""
    with opened(html, 1280) as browser:
        place = lambda: browser.evaluate("document.querySelector('.position').textContent")  # noqa: E731
        assert place() == "after 50 tokens" and value(browser, "soft prompt") == 0.01
        assert value(browser, "soft prompt", target=2) == 1.2
        browser.point(".chart .u-over", 0.5)
        assert place() in ("after 100 tokens", "after 101 tokens")
        assert value(browser, "untuned") == pytest.approx(1.55 + 0.84 / 3, abs=0.02)
        assert value(browser, "untuned", 2) == pytest.approx(1.48 + 1.01 / 3, abs=0.02)
        browser.evaluate("document.querySelector('.chart').focus()")
        browser.press("End")
        assert place() == "after 200 tokens" and value(browser, "soft prompt") == 0.23
        browser.press("ArrowLeft")
        assert place() == "after 199 tokens"
        spoken = browser.evaluate("document.activeElement.getAttribute('aria-valuetext')")
        assert spoken.startswith("after 199 tokens: hard prompt 1.3")

        before = browser.evaluate(INKED)
        browser.evaluate("document.querySelector('.legend input').click()")
        browser.settle()
        assert browser.evaluate(INKED) < before
        assert "hard prompt" not in browser.evaluate(
            "document.querySelector('.chart').ariaValueText"
        )
        browser.evaluate("document.querySelectorAll('.views input')[1].click()")
        assert place() == "after 300 tuning steps"
        assert value(browser, "soft prompt") == pytest.approx(25.01, abs=0.2)
        is_shown = "document.querySelector('.pointer').checkVisibility()"
        assert browser.evaluate(is_shown)
        browser.call("Emulation.setEmulatedMedia", media="print")
        assert not browser.evaluate(is_shown)
        assert browser.evaluate("[...document.images].every(image => image.checkVisibility())")
        urls = [event["request"]["url"] for event in browser.seen("Network.requestWillBeSent")]
        assert all(url.startswith(("file:", "data:")) for url in urls)
        assert not browser.seen("Runtime.exceptionThrown")


def test_the_page_is_whole_without_scripts(html: str) -> None:
    assert len(html) < 2_500_000
    is_shown = "document.querySelector('.pointer').checkVisibility()"
    loaded = "[...document.images].filter(i => i.checkVisibility() && i.naturalWidth > 300).length"
    with opened(html, 390, scripts=False) as browser:
        assert not browser.evaluate(is_shown) and browser.evaluate(loaded) == 7
        assert browser.evaluate("document.querySelectorAll('.legend tbody tr').length") == 0
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_curves_of_any_figure_answer_the_pointer() -> None:
    """Two panels with different places across, one of them with a logarithmic axis upwards."""
    panels = {
        "near": {"network": ([1, 2, 4], [0.5, 0.02, 0.001]), "Bayes": ([1, 4], [0.25, 0.25])},
        "far": {"network": ([1, 2, 4], [3.0, 2.0, 1.0])},
    }
    figure = lines("", panels, "updates", "distance", "", log_up=True)
    body = f"<h2>Two</h2>{pointer.beneath(figure)}{pointer.library()}"
    with opened(pages.document("Curves", "", {}, body), 390) as browser:
        browser.evaluate("document.querySelector('summary').click()")
        browser.settle()
        place = lambda: browser.evaluate("document.querySelector('.position').textContent")  # noqa: E731
        assert place() == "updates: 4" and browser.evaluate(INKED) > 0
        assert [value(browser, "network", panel) for panel in (1, 2)] == [0.001, 1.0]
        browser.evaluate("document.querySelector('.chart').focus()")
        browser.press("ArrowLeft")
        assert place() == "updates: 2" and value(browser, "network") == 0.02
        assert browser.evaluate("document.querySelectorAll('.legend td')[2].textContent") == "–"
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        assert not browser.seen("Runtime.exceptionThrown")


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
