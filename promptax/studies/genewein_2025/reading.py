"""Numbers out of the results of the conditions, one for each pretraining seed, beside the printed.

Every number is a median over the repetitions of one network, as in the paper.
"""

import csv
import functools
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from promptax import files
from promptax.experiments.groups import ON_PRIOR, STATES, UNTUNED, target_groups
from promptax.experiments.plan import RANDOM
from promptax.report.summaries import quiet_about_empty_rows
from promptax.studies.genewein_2025.conditions import (
    BAYES,
    BOTH,
    EMBEDDING,
    EXACT,
    FULL,
    HARD,
    LONG,
    LONG_LENGTH,
    LOW_RANK,
    MAIN_LENGTH,
    PRIOR,
    PRIOR_PROMPTED,
    RANDOM_COINS,
    REAL,
    SIMPLEX,
    SINGLE,
    SOFT,
    TWO,
    UNEMBEDDING,
    kind,
    name_of,
)
from promptax.studies.judging import Check

METHOD_NAMES = {
    "HardPT": HARD,
    "SimplexPT": SIMPLEX,
    "RealPT": REAL,
    "SoftPT": SOFT,
    "FullWT": FULL,
    "LoRAWT": LOW_RANK,
    "EmbedWT": EMBEDDING,
    "UnembedWT": UNEMBEDDING,
    "Un+EmbedWT": BOTH,
    "TargetBayes": BAYES,
    "PreBayes": PRIOR,
    "PreBayesPT": PRIOR_PROMPTED,
    "NoTuning": UNTUNED,
    "RandomPF": RANDOM,
}
TARGET_NAMES = {"single": SINGLE, "two-coin": TWO, "random": RANDOM_COINS}
SHORT, FAR = 50, 200  # steps: as in tuning, and four times as many


class Place(NamedTuple):
    """One number of the paper: a bar."""

    network: str
    variant: str
    target: str
    method: str
    steps: int


@functools.cache
def printed() -> dict[Place, float]:
    """Every printed bar, in nats (the labels of Figures 1, 3, 4 and A5 to A10)."""
    text = files.read_text(Path(__file__).with_name("printed.csv"))
    values = {}
    for row in csv.DictReader(io.StringIO(text)):
        long = int(row["prefix_length"]) == LONG_LENGTH
        assert long or int(row["prefix_length"]) == MAIN_LENGTH
        place = Place(
            row["network"],
            kind(row["pretraining"] == "random", LONG if long else ""),
            TARGET_NAMES[row["target"]],
            METHOD_NAMES[row["method"]],
            int(row["steps"]),
        )
        values[place] = float(row["regret_nats"])
    return values


class Reader:
    """Reads the results of conditions by what they are. What is not there is empty; what diverged
    is NaN."""

    def __init__(self, results: Mapping[str, xr.DataTree]) -> None:
        self.results = results
        self.seeds = sorted({int(name.rsplit(" ", 1)[1]) for name in results})

    def groups(
        self, network: str, variant: str, target: str, suffix: str = ""
    ) -> dict[int, xr.Dataset]:
        """The group of a target, or one that belongs to it, by pretraining seed."""
        by_seed = {}
        for seed in self.seeds:
            name = name_of(network, variant, target, seed)
            if name in self.results:
                tree = self.results[name]
                (group,) = target_groups(tree)
                if group + suffix in tree.children:
                    by_seed[seed] = tree[group + suffix].to_dataset()
        return by_seed

    def regret(self, place: Place, on_prior: bool = False) -> xr.DataArray:
        """Cumulative regret in nats [pretraining]; `on_prior`: on the pretraining task."""
        suffix = ON_PRIOR if on_prior else ""
        return _by_seed(
            {
                seed: _median(results["regret"], place.method, place.steps)
                for seed, results in self.groups(*place[:3], suffix).items()
                if place.method in results.predictor and place.steps in results.time
            }
        )

    def repetitions(self, place: Place) -> tuple[list[np.ndarray], int]:
        """Finite cumulative regrets of repetitions, an array for each seed; how many diverged."""
        every, diverged = [], 0
        for results in self.groups(*place[:3]).values():
            if place.method in results.predictor and place.steps in results.time:
                rows = results.sel(predictor=place.method)
                row = rows["regret"].sel(time=place.steps).values
                every.append(row[np.isfinite(row)])
                diverged += int((rows["diverged"] >= 0).sum())
        return every, diverged

    def last_loss(self, network: str, target: str, method: str, steps: int = 100) -> xr.DataArray:
        """Mean tuning loss of the last steps above that of exact Bayes, nats [pretraining]."""
        by_seed = {}
        for seed, results in self.groups(network, kind(True), target).items():
            is_measured = method in results.predictor and "tuning_loss" in results
            if is_measured and results.sizes["step"] >= steps:
                loss = results["tuning_loss"].sel(predictor=method).isel(step=slice(-steps, None))
                with quiet_about_empty_rows():
                    mean = float(np.nanmedian(loss.mean("step")))
                by_seed[seed] = mean - float(results["target_entropy"])
        return _by_seed(by_seed)

    def zeros_found(self, network: str, target: str) -> xr.DataArray:
        """The most symbols 0 in a repetition's best hard prompt [pretraining]."""
        by_seed = {}
        for seed, results in self.groups(network, kind(True), target).items():
            if HARD in results.predictor and "found" in results.coords:
                prompts = str(results["found"].sel(predictor=HARD).item()).split(" · ")
                by_seed[seed] = float(max(prompt.split().count("0") for prompt in prompts))
        return _by_seed(by_seed)

    def tracked(self, network: str) -> tuple[xr.DataArray, xr.DataArray]:
        """Rank correlation of one component of the states with time, and of the other with the
        share of symbols or its estimate, assigned as they fit best [pretraining]."""
        time, share = {}, {}
        for seed, states in self.groups(network, kind(True), SINGLE, STATES).items():
            size = np.abs(states["tracks"].values)
            pairs = [(size[i, 0], size[1 - i, 1:].max()) for i in (0, 1)]
            time[seed], share[seed] = max(pairs, key=min)
        return _by_seed(time), _by_seed(share)

    def away(
        self, network: str, method: str, later: int = 10
    ) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
        """How far a prompt takes the states from ordinary ones on the single coin [pretraining]:
        those of its rows, as multiples of those of the best hard prompt or of what is usual,
        whichever is more; those some steps later, as multiples of what 95 % of ordinary states
        keep; and the share of states that are finite."""
        prompt, after, finite = {}, {}, {}
        for seed, states in self.groups(network, kind(True), SINGLE, STATES).items():
            if not {method, HARD} <= set(states.predictor.values.tolist()):
                continue
            rows, prompted = states["prompt_distance"], states.sel(predictor=method)
            hard = float(rows.sel(predictor=HARD).median("prompt"))
            prompt[seed] = float(prompted["prompt_distance"].median("prompt")) / max(hard, 1.0)
            after[seed] = float(prompted["distance"].sel(time=later) / states["ordinary_distance"])
            finite[seed] = float(np.isfinite(prompted["trajectory"].values).mean())
        return _by_seed(prompt), _by_seed(after), _by_seed(finite)


def _median(regret: xr.DataArray, method: str, steps: int) -> float:
    with quiet_about_empty_rows():
        return float(np.nanmedian(regret.sel(predictor=method, time=steps).values))


def _by_seed(values: Mapping[int, float]) -> xr.DataArray:
    return xr.DataArray(
        np.array(list(values.values()), float),
        coords={"pretraining": list(values)},
        dims="pretraining",
    )


class Checker:
    """Makes checks from places and bounds."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def at(
        self,
        network: str,
        target: str,
        method: str,
        steps: int = SHORT,
        variant: str = kind(True),
    ) -> xr.DataArray:
        """Regret in nats [pretraining]."""
        return self.reader.regret(Place(network, variant, target, method, steps))

    def number(
        self,
        network: str,
        target: str,
        method: str,
        steps: int = SHORT,
        variant: str = kind(True),
        least: float = -math.inf,
        most: float = math.inf,
    ) -> Check:
        """Regret itself between bounds, beside the printed value."""
        place = Place(network, variant, target, method, steps)
        what = f"{network}, {variant}, {target}: {method} after {steps} steps"
        values = self.reader.regret(place)
        return made(what, values, least, most, printed().get(place))


def made(
    what: str,
    values: xr.DataArray,
    least: float = -math.inf,
    most: float = math.inf,
    printed: float | None = None,
) -> Check:
    """A check of one number for each pretraining seed."""
    return Check(what, tuple(float(value) for value in values), least, most, printed=printed)


def comparison(results: Mapping[str, xr.DataTree]) -> list[dict[str, object]]:
    """Every printed number beside ours: medians, spreads, and whether ours agrees.

    The tolerance is the largest of 0.1 nats, a fifth of the printed number, and the spread (most
    minus least) between pretraining seeds. A seed all of whose repetitions diverged counts as
    infinitely far.
    """
    reader, rows = Reader(results), []
    for place, number in printed().items():
        by_seed = reader.regret(place).values
        if not by_seed.size:
            continue
        finite = by_seed[np.isfinite(by_seed)]
        ours = float(np.median(np.where(np.isnan(by_seed), np.inf, by_seed)))
        repetitions, diverged = reader.repetitions(place)
        within = [np.std(values, ddof=1) for values in repetitions if values.size > 1]
        close = max(0.1, 0.2 * number)
        tolerance = max(close, float(np.ptp(finite)) if finite.size else 0.0)
        off = abs(ours - number)
        agrees = "close" if off <= close else "within the spread" if off <= tolerance else "no"
        if place.method in EXACT and agrees == "close":
            agrees = "exact"
        rows.append(
            {
                **place._asdict(),
                "printed": number,
                "ours": ours,
                "between_repetitions": float(np.mean(within)) if within else 0.0,
                "between_pretrainings": float(np.std(finite, ddof=1)) if finite.size > 1 else 0.0,
                "pretrainings": int(by_seed.size),
                "diverged": diverged,
                "tolerance": tolerance,
                "agrees": agrees,
            }
        )
    return rows
