"""The paper's figures from what was measured, with its printed values as marks in the same axes."""

from collections.abc import Iterator, Mapping

import numpy as np
import scipy
import xarray as xr
from matplotlib.figure import Figure

from promptax.evaluation.exact.expectations import Expectations
from promptax.experiments.groups import STATES
from promptax.report import figures, readings, summaries, wording
from promptax.report.figures import prompts
from promptax.report.pages.study import Part
from promptax.steering.searches.hard_prompt import all_prompts
from promptax.studies.genewein_2025.conditions import (
    LARGE,
    LONG,
    LSTM_NAME,
    MAIN_LENGTH,
    NARROW,
    RANDOM_COINS,
    SINGLE,
    TARGETS,
    TRANSFORMER,
    TWO,
    kind,
)
from promptax.studies.genewein_2025.reading import SHORT, Reader, printed

Drawn = tuple[str, Figure]
NETWORKS = (TRANSFORMER, LSTM_NAME)

BARS = (
    ("Figures 1 and A5: to a single coin", kind(True), SINGLE, True),
    ("Figures 3 and A6: to two coins", kind(True), TWO, True),
    ("Figures 4 and A8: untrained, to two coins", kind(False), TWO, True),
    ("Figures 4 and A9: untrained, to random coins", kind(False), RANDOM_COINS, True),
    ("Figure A10: prompts of 25 rows", kind(True, LONG), TWO, False),
    ("Figure A10: prompts of 25 rows, untrained", kind(False, LONG), TWO, False),
    ("Figure A11: embeddings of width 4, single coin", kind(True, NARROW), SINGLE, False),
    ("Figure A11: embeddings of width 4, two coins", kind(True, NARROW), TWO, False),
    ("Figure A12: large networks, single coin", kind(True, LARGE), SINGLE, False),
    ("Figure A12: large networks, two coins", kind(True, LARGE), TWO, False),
)


def parts(results: Mapping[str, xr.DataTree]) -> list[Part]:
    """Figure by figure, as far as there are results."""
    reader = Reader(results)
    sections = []
    for heading, variant, target, curves in BARS:
        drawn = [figure for n in NETWORKS for figure in _regret(reader, n, variant, target, curves)]
        if drawn:
            sections.append(Part(heading, "", drawn))
    for heading, target in (("Figure 2", SINGLE), ("Figure A7", TWO)):
        drawn = [figure for network in NETWORKS for figure in _states(reader, network, target)]
        if drawn:
            text = f"{heading}: internal states, {target}"
            sections.append(Part(text, _STATES, drawn))
    drawn = [d for t in (SINGLE, TWO) for network in NETWORKS for d in _ranking(reader, network, t)]
    if drawn:
        sections.append(Part("Ranking of all hard prompts", _RANKING, drawn))
    return sections


_STATES = (
    "Principal components of the untuned network's states on random coins; one network and one "
    "repetition of each. How far the states are from ordinary ones is measured in full width."
)
_RANKING = (
    "Every prompt of six symbols, scored by networks on sequences of the target (the mean over "
    "those that were pretrained from different seeds), against the exact predictor of random "
    "coins. For the latter only the number of symbols 0 counts."
)


def _regret(
    reader: Reader, network: str, variant: str, target: str, curves: bool
) -> Iterator[Drawn]:
    """Bars with printed values, curves over time, tuning losses."""
    groups = reader.groups(network, variant, target)
    if not groups:
        return
    name = f"{network}, {variant}, {target}"
    results = summaries.merged(groups).assign_attrs(target=name)
    marks = {
        (place.method, place.steps): value
        for place, value in printed().items()
        if (place.network, place.variant, place.target) == (network, variant, target)
    }
    yield readings.regret_bars(results), figures.regret_bars(results, printed=marks)
    if curves:
        yield readings.regret_over_time(results), figures.regret_over_time(results)
        yield readings.tuning_curves(results), figures.tuning_curves(results)


def _states(reader: Reader, network: str, target: str) -> Iterator[Drawn]:
    """Trajectories, what the axes mean, and distances from ordinary states."""
    for states in list(reader.groups(network, kind(True), target, STATES).values())[:1]:
        states = states.assign_attrs(target=f"{network}, {target}")
        tracks = np.abs(states["tracks"].values)
        axes = "; ".join(
            f"component {index + 1}: {row[0]:.2f} with the step, {row[1:].max():.2f} with the "
            "share of symbol 0"
            for index, row in enumerate(tracks)
        )
        said = f"{readings.internal_states(states)} Rank correlations of the background: {axes}."
        yield said, figures.internal_states(states)
        away = states["prompt_distance"].median("prompt")
        listed = [
            f"{name} {wording.nats(float(value))}"
            for name, value in zip(states.predictor.values, away.values, strict=True)
            if np.isfinite(value)
        ]
        text = (
            f"Median distance of the prompt's states, as multiples of usual: {', '.join(listed)}."
        )
        yield text, prompts.prompt_distances(states)


def _ranking(reader: Reader, network: str, target: str) -> Iterator[Drawn]:
    """Loss after each of the prompts, the first repetition of each network on average."""
    groups = reader.groups(network, kind(True), target)
    rows = [results["scores"].values[0] for results in groups.values() if "scores" in results]
    if not rows:
        return
    scores = np.mean(rows, axis=0)
    candidates = all_prompts(TARGETS[target].symbols, MAIN_LENGTH, len(scores))
    counts = np.stack([(candidates == 0).sum(1), (candidates == 1).sum(1)], axis=1)
    expectations = Expectations(TARGETS[target], SHORT)
    exact = expectations.regrets_after_counts(TARGETS[RANDOM_COINS].bayes(), counts)
    correlation = float(scipy.stats.spearmanr(exact, scores)[0])  # pyright: ignore[reportArgumentType]
    first, ideal = int(np.argmin(scores)), int(np.argmin(exact))
    whose = "of the network" if len(rows) == 1 else "on average"
    said = (
        f"{network}, {target}: rank correlation with the exact predictor {correlation:.2f}; "
        f"the best prompt {whose} is {''.join(map(str, candidates[first]))}, with "
        f"{counts[first, 0]} symbols 0; the exact predictor's best have {counts[ideal, 0]}."
    )
    title = f"All {len(scores)} hard prompts · {network}, {target}"
    yield said, prompts.prompt_ranking(exact, scores, counts[:, 0], title)
