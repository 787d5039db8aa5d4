"""Laws of the report: every figure draws whatever comes, every sentence is true of its data."""

import concurrent.futures
import csv
import io
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from support.made_up import VALUES, Rows, many, one_diverged, some_results, some_states

from promptax import report
from promptax.report import figures, page, readings, table, to_csv
from promptax.report.figures import canvas, style
from promptax.report.summaries import summarise
from promptax.report.wording import listed, nats

CASES: dict[str, Callable[[], xr.Dataset]] = {
    "as in the paper": some_results,
    "two coins": lambda: some_results("two coins"),
    "one predictor": lambda: some_results(rows={"weights": {"full weights": (0.1, 0.2)}}),
    "one baseline": lambda: some_results(rows={"baselines": {"target bayes": (0.1, 0.2)}}),
    "thirty predictors": lambda: many(30, lambda index: 0.1 * index),
    "one repetition": lambda: some_results(repetitions=1),
    "one repetition diverged": one_diverged,
    "every repetition diverged": lambda: one_diverged(everything=True),
    "all equal": lambda: many(6, lambda _: 0.5),
    "all zero": lambda: many(6, lambda _: 0.0),
    "negative": lambda: many(6, lambda index: -0.1 * index),
    "nine orders of magnitude": lambda: many(12, lambda index: 10.0 ** (index - 4)),
    "unknown groups": lambda: some_results(
        rows={"memories": {"a $cache$": (0.1, 0.2), "_b": (0.3, 0.4)}}
    ),
    "no tuning loss": lambda: some_results().drop_vars("tuning_loss"),
    "no floor, no record of divergence": lambda: some_results().drop_vars(
        ["target_entropy", "diverged"]
    ),
    "short": lambda: some_results().isel(time=slice(0, 1), step=slice(0, 1)),
}
DRAWINGS = [figures.tuning_curves, figures.regret_over_time, figures.regret_bars]
SENTENCES = [
    readings.headline,
    readings.gist,
    readings.tuning_curves,
    readings.regret_over_time,
    readings.regret_bars,
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_figures_draw_and_sentences_read_whatever_comes(case: str) -> None:
    results = CASES[case]()
    before = results.copy(deep=True)
    for draw in DRAWINGS:
        figure = draw(results)
        assert isinstance(figure, Figure)
        figure.savefig(io.BytesIO(), format="png", dpi=40)
    for read in SENTENCES:
        sentence = read(results)
        assert sentence.endswith(".") and sentence[0].isupper() and "nan" not in sentence
        assert sentence.count(". ") == 0 and ";." not in sentence and "  " not in sentence
    xr.testing.assert_identical(results, before)


@pytest.mark.parametrize("reach", [
    {"alone": 1.0}, {"alone": math.nan}, {f"number {n}": float(n) for n in range(30)},
    {"same": 1.0, "again": 1.0}, {"near": 1e-6, "far": 1e6},
])  # fmt: skip
def test_internal_states_draw_whatever_comes(reach: dict[str, float]) -> None:
    states = some_states(reach=reach)
    figures.internal_states(states).savefig(io.BytesIO(), format="png", dpi=40)
    assert readings.internal_states(states).endswith(".")


def test_figures_leave_matplotlib_as_they_found_it_and_draw_in_threads() -> None:
    before = dict(matplotlib.rcParams)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda draw: draw(some_results()), DRAWINGS * 2))
    assert len(drawn) == 6
    assert dict(matplotlib.rcParams) == before


def test_letters_are_large_enough() -> None:
    for figure in [draw(some_results("two coins")) for draw in DRAWINGS] + [
        figures.internal_states(some_states())
    ]:
        texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
        assert figure.get_size_inches()[0] == pytest.approx(6.4)
        assert min(text.get_fontsize() for text in texts) >= 9


def test_every_bar_has_its_number_even_when_cut() -> None:
    figure = figures.regret_bars(some_results("two coins"))
    texts = {text.get_text() for text in figure.findobj(matplotlib.text.Text)}
    for rows in VALUES["two coins"].values():
        for ends in rows.values():
            assert {nats(value) for value in ends} <= texts


def test_headline_follows_the_data_and_not_the_paper() -> None:
    usual = readings.headline(some_results())
    assert "soft prompt has a regret of 0.01 nats, the lowest of 3 prompts" in usual
    assert "within error of the target’s Bayes optimum (0.00)" in usual
    assert "ahead of real prompt (0.27) and hard prompt (0.59)" in usual
    rows = {**VALUES["single coin"]}
    rows["prompts"] = {
        "hard prompt": (0.1, 0.2),
        "real prompt": (0.5, 1.0),
        "soft prompt": (0.9, 2.0),
    }
    turned = readings.headline(some_results(rows=rows))
    assert "hard prompt has a regret of 0.10 nats, the lowest of 3 prompts" in turned
    assert "0.10 above the target’s Bayes optimum (0.00)" in turned
    assert "ahead of real prompt (0.50) and soft prompt (0.90)" in turned


def test_the_gist_names_the_best_of_each_group() -> None:
    usual = readings.gist(some_results())
    assert usual.startswith(
        "On “single coin”, after 50 tokens, the best of 3 prompts (soft prompt)"
    )
    assert "(soft prompt) reaches the optimum within error, and the best of" in usual
    rows = {"prompts": {"a": (0.9, 2.0)}, "baselines": {"bayes": (0.7, 0.7)}}
    alone = readings.gist(some_results(rows=rows))
    assert alone.endswith("the only prompt (a) ends 0.20 nats above the optimum.")
    lost = readings.gist(one_diverged(everything=True))
    assert "the best of 2 prompts" in lost and "repetitions that diverged: " in lost


def test_a_method_has_its_colour_whatever_its_group_and_place() -> None:
    results = some_results()
    usual = style.looks(results)
    loose = style.looks(results.drop_vars("group").isel(predictor=slice(None, None, -1)))
    for name in ("hard prompt", "soft prompt", "full weights"):
        assert loose[name].color == usual[name].color
    rows = {"prompts": {"mine": (1.0, 2.0), "hard prompt": (1.0, 2.0), "yours": (1.0, 2.0)}}
    looks = style.looks(some_results(rows=rows))
    assert len({look.color for look in looks.values()}) == 3


def test_differences_below_two_standard_errors_are_called_level() -> None:
    rows = {"prompts": {"a": (1.00, 2.0), "b": (1.02, 2.0), "c": (2.0, 3.0)}}
    sentence = readings.headline(some_results(rows=rows, error=0.01))
    assert "level within error with b (1.02) and ahead of c (2.00)" in sentence
    sentence = readings.headline(some_results(rows=rows, error=0.001, jitter=0))
    assert "level" not in sentence and "ahead of b (1.02) and c (2.00)" in sentence


def test_a_value_below_the_optimum_is_reported_as_odd() -> None:
    rows = {"prompts": {"a": (0.5, 0.5)}, "baselines": {"bayes": (0.7, 0.7)}}
    assert "0.20 below the target’s Bayes optimum (0.70)" in readings.headline(
        some_results(rows=rows)
    )
    assert "below it by more than the error a (0.50)" in readings.regret_bars(
        some_results(rows=rows)
    )


def test_bars_count_who_reaches_the_optimum() -> None:
    sentence = readings.regret_bars(some_results("two coins"))
    assert "after 50 tokens (0.69), 1 of 5: full weights (0.71)" in sentence
    assert "after 200 tokens (0.69), none of 5, nearest full weights (0.76)" in sentence


def test_growth_names_the_largest_and_the_smallest() -> None:
    sentence = readings.regret_over_time(some_results("two coins"))
    assert "most for unembedding (+13.41 nats) and least for full weights (+0.05)" in sentence
    assert "2 of 5 end above the untuned network (2.49)" in sentence
    same = readings.regret_over_time(some_results(rows={"weights": {"a": (1, 2), "b": (3, 4)}}))
    assert "the regret of all 2 predictors grows by 1.00 nats" in same


def test_tuning_sentence_knows_floor_and_movement() -> None:
    results = some_results()
    still = readings.tuning_curves(results)
    assert "for hard prompt, the highest (exact floor 25.00)" in still
    assert "no curve still moves" in still
    slope = xr.where(results["predictor"] == "soft prompt", -0.05, 0.0) * results["step"]
    moving = results.assign(tuning_loss=results["tuning_loss"] + slope)
    assert "still falling at the end: soft prompt." in readings.tuning_curves(moving)
    assert "rising at the end: soft prompt." in readings.tuning_curves(
        results.assign(tuning_loss=results["tuning_loss"] - slope)
    )


def test_states_sentence_measures_prompts_against_the_background() -> None:
    there = readings.internal_states(some_states())
    assert re.search(r"soft prompt lies \d\.\d+ from .* the farthest of 2, and hard prompt", there)
    swapped = readings.internal_states(some_states(reach={"hard prompt": 6.0, "soft prompt": 0.0}))
    assert re.search(r"hard prompt lies \d\.\d+ from .*, and soft prompt", swapped)
    assert "90% of the variance" in there


def test_divergence_is_counted_and_said() -> None:
    for results, count in ((one_diverged(), 1), (one_diverged(everything=True), 4)):
        for read in SENTENCES:
            assert f"repetitions that diverged: {count} of 4 of soft prompt" in read(results)
        row = next(row for row in table(results) if row["predictor"] == "soft prompt")
        assert row["diverged"] == count and row["repetitions"] == 4
    assert "soft prompt has" not in readings.headline(one_diverged(everything=True))


def test_summary_takes_medians_and_quartiles_over_what_finished() -> None:
    results = some_results(rows={"prompts": {"a": (1.0, 2.0)}}, repetitions=5, jitter=0.4)
    results["regret"][{"repetition": 4}] = math.nan
    at = summarise(results).sel(predictor="a", time=50)
    assert [float(at[part]) for part in ("low", "median", "high")] == pytest.approx(
        [0.75, 0.9, 1.05]
    )
    assert int(at["finished"]) == 4
    single = summarise(some_results(repetitions=1, error=0.01)).sel(
        predictor="hard prompt", time=50
    )
    assert float(single["high"] - single["low"]) == pytest.approx(0.04)


def test_table_and_csv_keep_full_precision() -> None:
    results = one_diverged(everything=True).assign_coords(
        found=("predictor", ['0,0 "x"', *[""] * 7]),
        predictor=["a, b", *some_results()["predictor"].values[1:]],
    )
    rows = table(results, lengths=[10, 200])
    assert [row["predictor"] for row in rows] == list(results["predictor"].values)
    assert rows[1]["regret_200"] == float(results["regret"][1, :, -1].median())
    parsed = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert len(parsed) == len(rows) and parsed[0]["predictor"] == "a, b"
    assert parsed[0]["found"] == '0,0 "x"'
    assert float(parsed[1]["regret_200"]) == rows[1]["regret_200"]
    assert parsed[2]["regret_200"] == ""
    assert to_csv([]).strip() == ""
    ungrouped = table(results.drop_vars("group"), lengths=[10])  # as `px.regret` returns them
    assert {row["group"] for row in ungrouped} == {"predictors", "baselines"}


def test_lengths_that_were_not_evaluated_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected lengths between 1 and 200; got \[300\]"):
        table(some_results(), lengths=[50, 300])
    for door in (table, figures.regret_bars, readings.regret_bars):
        with pytest.raises(ValueError, match=r"Expected at least one length; got none"):
            door(some_results(), lengths=[])


def test_labels_never_overlap_and_stay_near() -> None:
    generator = np.random.default_rng(5)
    for _ in range(50):
        wanted = generator.random(8) ** 4
        sizes = generator.uniform(0.02, 0.12, 8)
        placed = np.array(canvas.spread(list(wanted), list(sizes)))
        order = np.argsort(wanted)
        gaps = np.diff(placed[order]) - (sizes[order][1:] + sizes[order][:-1]) / 2
        assert gaps.min() > -1e-9
        assert placed.min() >= -sizes.max() and placed.max() <= 1 + sizes.max()
    assert canvas.spread([0.2, 0.8], [0.1, 0.1]) == [0.2, 0.8]


def test_numbers_and_lists_as_words() -> None:
    values = (0.004, -0.004, -0.5, 1.005, 123.45, 12345.6, 2e7, math.nan)
    texts = ["0.00", "0.00", "−0.50", "1.00", "123.5", "12,346", "2.0e+07", "none"]
    assert [nats(value) for value in values] == texts
    assert listed(["a"]) == "a" and listed(list("abc")) == "a, b and c"
    assert listed(list("abcdefg")) == "a, b, c, d and 3 more"


class _Elements(HTMLParser):
    """Everything in a page that could act or load: tags and their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_page_escapes_everything_and_asks_for_nothing() -> None:
    evil = '<script>alert("x")</script><img src=http://example.com/a.png>'
    rows: Rows = {evil: {evil: (0.1, 0.2)}, "baselines": {"target bayes": (0, 0)}}
    results = some_results(rows=rows).assign_coords(found=("predictor", [evil, ""]))
    results.attrs |= {"target": evil, "network": evil, "pretraining": evil}
    states = some_states(target=evil, reach={evil: 1.0})
    states.attrs["what"] = evil
    html = page(evil, evil, [(results, states)], {evil: evil})
    tags = _Elements(html).tags
    assert [tag for tag, _ in tags].count("script") == 3  # the data of the charts, uPlot, and ours
    licence = (Path(report.__file__).parent / "pages/uplot/LICENSE").read_text().strip()
    assert f"<script>/*! uPlot\n\n{licence}\n*/\n" in html and "Copyright (c)" in licence
    for _, attributes in tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "data", "action"):
                assert (value or "").startswith(("data:", "#"))
    assert "@import" not in html and "url(" not in html
    assert evil not in html


@pytest.mark.slow
def test_page_is_complete_and_reproducible() -> None:
    targets = [(some_results("single coin"), some_states()), (some_results("two coins"), None)]
    html = page("A title", "One.\n\nTwo.", targets, {"seed": "0"})
    assert html == page("A title", "One.\n\nTwo.", targets, {"seed": "0"})
    tags = _Elements(html).tags
    assert [tag for tag, _ in tags].count("figure") == 7
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    assert ("html", {"lang": "en"}) in tags
    for results, _ in targets:
        for read in SENTENCES:
            # the gist stands in the summary, which is given here
            assert read(results) in html or read is readings.gist
    assert "<p>One.</p><p>Two.</p>" in html
    assert len(html) < 3_000_000
