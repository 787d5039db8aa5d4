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
from promptax.conduct import ON_PRIOR, STATES, target_groups
from promptax.experiment import RANDOM, UNTUNED
from promptax.report.summaries import quiet_about_empty_rows
from promptax.studies.base import Check
from promptax.studies.genewein_2025.conditions import (
    LONG,
    LONG_LENGTH,
    MAIN_LENGTH,
    RANDOM_COINS,
    SINGLE,
    TWO,
    kind,
    name_of,
)

METHOD_NAMES = {
    "HardPT": "hard prompt",
    "SimplexPT": "simplex prompt",
    "RealPT": "real prompt",
    "SoftPT": "soft prompt",
    "FullWT": "full weights",
    "LoRAWT": "low rank",
    "EmbedWT": "embedding",
    "UnembedWT": "unembedding",
    "Un+EmbedWT": "both embeddings",
    "TargetBayes": "bayes",
    "PreBayes": "prior bayes",
    "PreBayesPT": "prior bayes, best prompt",
    "NoTuning": UNTUNED,
    "RandomPF": RANDOM,
}
TARGET_NAMES = {"single": SINGLE, "two-coin": TWO, "random": RANDOM_COINS}


TUNED_STEPS = 50


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
    found = {}
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
        found[place] = float(row["regret_nats"])
    return found


class Reader:
    """Reads the results of conditions by what they are; what is not there is empty."""

    def __init__(self, results: Mapping[str, xr.DataTree]) -> None:
        self.results = results
        self.seeds = sorted({int(name.rsplit(" ", 1)[1]) for name in results})

    def groups(
        self, network: str, variant: str, target: str, suffix: str = ""
    ) -> dict[int, xr.Dataset]:
        """The group of a target, or one that belongs to it, by pretraining seed."""
        found = {}
        for seed in self.seeds:
            name = name_of(network, variant, target, seed)
            if name in self.results:
                tree = self.results[name]
                (group,) = target_groups(tree)
                if group + suffix in tree.children:
                    found[seed] = tree[group + suffix].to_dataset()
        return found

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

    def repetitions(self, place: Place) -> list[np.ndarray]:
        """Cumulative regret of every repetition that did not diverge, an array for each seed."""
        every = []
        for results in self.groups(*place[:3]).values():
            if place.method in results.predictor and place.steps in results.time:
                row = results["regret"].sel(predictor=place.method, time=place.steps).values
                every.append(row[np.isfinite(row)])
        return every

    def last_loss(self, network: str, target: str, method: str, steps: int = 100) -> xr.DataArray:
        """Mean tuning loss of the last steps above that of exact Bayes, nats [pretraining]."""
        found = {}
        for seed, results in self.groups(network, kind(True), target).items():
            known = method in results.predictor and "tuning_loss" in results
            if known and results.sizes["step"] >= steps:
                loss = results["tuning_loss"].sel(predictor=method).isel(step=slice(-steps, None))
                with quiet_about_empty_rows():
                    mean = float(np.nanmedian(loss.mean("step")))
                found[seed] = mean - float(results["target_entropy"])
        return _by_seed(found)

    def zeros_found(self, network: str, target: str) -> xr.DataArray:
        """The most symbols 0 in a repetition's best hard prompt [pretraining]."""
        found = {}
        for seed, results in self.groups(network, kind(True), target).items():
            if "hard prompt" in results.predictor and "found" in results.coords:
                prompts = str(results["found"].sel(predictor="hard prompt").item()).split(" · ")
                found[seed] = max(prompt.split().count("0") for prompt in prompts)
        return _by_seed(found)

    def tracked(self, network: str) -> tuple[xr.DataArray, xr.DataArray]:
        """Rank correlation of one component of the states with time, and of the other with the
        share of symbols or its estimate, assigned as they fit best [pretraining]."""
        time, share = {}, {}
        for seed, states in self.groups(network, kind(True), SINGLE, STATES).items():
            size = np.abs(states["tracks"].values)
            each = [(size[i, 0], size[1 - i, 1:].max()) for i in (0, 1)]
            time[seed], share[seed] = max(each, key=min)
        return _by_seed(time), _by_seed(share)

    def away(self, network: str, method: str) -> tuple[xr.DataArray, xr.DataArray]:
        """Where a prompt takes the states on the single coin [pretraining]: the distance of its
        rows' states from ordinary ones, as a multiple of the best hard prompt's or of what is
        usual, whichever is more; and the share of sequences whose state ten steps later is within
        the range of ordinary states along both components, as Figure 2 shows it."""
        prompt, later = {}, {}
        for seed, states in self.groups(network, kind(True), SINGLE, STATES).items():
            if not {method, "hard prompt"} <= set(states.predictor.values.tolist()):
                continue
            rows = states["prompt_distance"]
            hard = float(rows.sel(predictor="hard prompt").median("prompt"))
            prompt[seed] = float(rows.sel(predictor=method).median("prompt")) / max(hard, 1.0)
            usual, at = states["background"], states["trajectory"].sel(predictor=method, time=10)
            inside = (at >= usual.min("sample")) & (at <= usual.max("sample"))
            later[seed] = float(inside.all("component").mean())
        return _by_seed(prompt), _by_seed(later)


def _median(regret: xr.DataArray, method: str, steps: int) -> float:
    with quiet_about_empty_rows():
        return float(np.nanmedian(regret.sel(predictor=method, time=steps).values))


def _by_seed(values: Mapping[int, float]) -> xr.DataArray:
    finite = {seed: value for seed, value in values.items() if np.isfinite(value)}
    return xr.DataArray(
        np.array(list(finite.values()), float),
        coords={"pretraining": list(finite)},
        dims="pretraining",
    )


class Judge:
    """Makes checks from places and bounds."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def at(
        self,
        network: str,
        target: str,
        method: str,
        steps: int = TUNED_STEPS,
        variant: str = kind(True),
    ) -> xr.DataArray:
        """Regret in nats [pretraining]."""
        return self.reader.regret(Place(network, variant, target, method, steps))

    def number(
        self,
        network: str,
        target: str,
        method: str,
        steps: int = TUNED_STEPS,
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
    """Every printed number beside ours: medians, spreads, and whether ours is within tolerance.

    The tolerance is the largest of 0.1 nats, a fifth of the printed number, and the spread (most
    minus least) between pretraining seeds.
    """
    reader, rows = Reader(results), []
    for place, number in printed().items():
        by_seed = reader.regret(place).values
        if not by_seed.size:
            continue
        ours, spread = float(np.median(by_seed)), float(np.ptp(by_seed))
        within = [np.std(each, ddof=1) for each in reader.repetitions(place) if each.size > 1]
        tolerance = max(0.1, 0.2 * number, spread)
        rows.append(
            {
                **place._asdict(),
                "printed": number,
                "ours": ours,
                "between_repetitions": float(np.mean(within)) if within else 0.0,
                "between_pretrainings": float(np.std(by_seed, ddof=1)) if by_seed.size > 1 else 0.0,
                "pretrainings": int(by_seed.size),
                "tolerance": tolerance,
                "within": bool(abs(ours - number) <= tolerance),
            }
        )
    return rows
