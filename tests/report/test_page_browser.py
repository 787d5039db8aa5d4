"""The report page in a real browser: nothing leaves, nothing is hidden, nothing is too wide."""

import itertools
import math

import numpy as np
import pytest
from support.browser import browser_tests, inspect, opened
from support.made_up import some_results, some_states

from promptax.report import page
from promptax.report.figures import canvas
from promptax.report.figures.learning import lines
from promptax.report.pages import html as pages
from promptax.report.pages import panels, pointer
from promptax.report.pages.study import Part, study_page

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
        browser.press("Home")
        assert place() == "after 1 token"
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


def texts(browser, selector):
    """What elements say."""
    return browser.evaluate(
        f"[...document.querySelectorAll({selector!r})].map(element => element.textContent)"
    )


def test_the_curves_of_any_figure_answer_the_pointer() -> None:
    """Two panels with different places across, both axes logarithmic, behind a broken figure."""
    near = {
        "network": ([1, math.nan, 2, 4], [0.5, 7.0, 0.02, 0.001]),
        "Bayes": ([1, 4], [0.25, 0.25]),
    }
    figure = lines(
        *("", {"near": near, "far": {"network": ([1, 3, 4], [3e6, 2e6, 1e6])}}),
        *("updates", "distance", ""),
        log_across=True,
        log_up=True,
    )
    figure.axes[0].axhline(0.03, label="floor")
    figure.axes[0].fill_between([1, 4], [0.2, 0.2], [0.3, 0.3], label=canvas.band_of("Bayes"))
    figure.axes[0].set_xticks([1, 4], ["once", "4"])
    broken = (
        '<details class="pointer" hidden><script type="application/json">NaN</script></details>'
    )
    body = f"<h2>Two</h2>{broken}{pointer.beneath(figure)}{pointer.library()}"
    with opened(pages.document("Curves", "", {}, body), 390) as browser:
        browser.evaluate("document.querySelector('summary').click()")
        browser.settle()
        assert texts(browser, ".legend thead th") == ["updates: 4", "near", "far"]
        assert texts(browser, ".chart b") == ["near · distance", "far · distance"]
        spoken = "[...document.querySelectorAll('.chart')].map(chart => chart.ariaLabel)"
        names = ["near · distance: updates", "far · distance: updates"]
        assert browser.evaluate(spoken) == names and browser.evaluate(INKED) > 0
        assert [value(browser, "network"), value(browser, "floor")] == [0.001, 0.03]
        assert texts(browser, ".legend td")[1:3] == ["1,000,000", "0.25 (0.20 to 0.30)"]
        browser.evaluate("document.querySelector('.chart').focus()")
        browser.press("ArrowLeft")
        assert texts(browser, ".legend thead th") == ["", "nearupdates: 2", "farupdates: 1"]
        assert value(browser, "network") == 0.02
        assert texts(browser, ".legend td")[2] == "–"
        browser.press("Home")
        assert texts(browser, ".place") == ["updates: once", "updates: 1"]
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        assert not browser.seen("Runtime.exceptionThrown")
        assert len(browser.seen("Runtime.consoleAPICalled")) == 1  # of the broken figure


def test_a_sparse_curve_keeps_its_points_beside_a_dense_one() -> None:
    sparse = [3, 7, 333, 1501, 1999], [5.0, 4.0, 3.0, 2.0, 1.0]
    curves = {"dense": (np.arange(2001), np.ones(2001)), "sparse": sparse}
    figure = lines("", {"": curves}, "updates", "distance", "")
    (chart,) = panels.view_of(figure)[0]["charts"]
    kept = dict(zip(chart["across"], chart["lines"]["sparse"]["median"], strict=True))
    assert [kept[place] for place in sparse[0]] == sparse[1] and len(kept) < 210
    empty, full = (
        study_page("", "", [], [], [Part("", "", figures)], {}) for figures in ([], [("", figure)])
    )
    assert "uPlot" in full and "uPlot" not in empty


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
