"""The study's figures: in context, spelling by spelling; then steered, target by target."""

from collections.abc import Iterator, Mapping

import numpy as np
import scipy
import xarray as xr
from matplotlib.figure import Figure

from promptax.axes import labelled
from promptax.evaluation.exact.expectations import Expectations
from promptax.experiments.groups import UNTUNED
from promptax.report import figures, readings, summaries
from promptax.report.figures import priors, prompts
from promptax.report.pages.study import Part
from promptax.studies.coins_in_language.conditions import (
    HARD,
    LENGTH,
    MAIN,
    RANDOM_COINS,
    SINGLE,
    SPELLINGS,
    STEPS,
    TARGETS,
    TUNED_STEPS,
    TWO,
)
from promptax.studies.coins_in_language.reading import Reader, exact

Drawn = tuple[str, Figure]
OUTCOMES = ("first outcome", "second outcome")


def parts(results: Mapping[str, xr.DataTree]) -> list[Part]:
    """Part by part, as far as there are results."""
    reader = Reader(results)
    sections = []
    if drawn := list(_in_context(reader)):
        sections.append(Part("In context: random coins, by spelling", _IN_CONTEXT, drawn))
    for target in (SINGLE, TWO):
        if drawn := list(_steered(reader, target)):
            sections.append(
                Part(f"{target.capitalize()}: the model steered to it", _about(target), drawn)
            )
    return sections


_IN_CONTEXT = (
    "The model reads the flips of a coin of random bias, each a word, and is asked which of the "
    "two words comes next. Exact Bayes is Laplace's rule: pseudo-counts 1 and 1. A prior of large "
    "pseudo-counts learns slowly."
)


def _about(target: str) -> str:
    optimum = exact()
    return (
        f"Flips spelled as in “{MAIN}”. “prior bayes” is the exact predictor of random coins: "
        f"{optimum.laplace[target]:.2f} nats over {TUNED_STEPS} flips, "
        f"{optimum.prompted[target]:.2f} behind its best hard prompt of {LENGTH}; “bayes” that of "
        f"the target: {optimum.bayes[target]:.2f}."
    )


# --- in context -----------------------------------------------------------------------------


def _in_context(reader: Reader) -> Iterator[Drawn]:
    groups = {s: reader.groups(s, RANDOM_COINS) for s in SPELLINGS}
    groups = {spelling: seeds for spelling, seeds in groups.items() if seeds}
    if not groups:
        return
    curves = _by_spelling(groups)
    ends = {
        name: float(curves["regret"].sel(predictor=name, time=STEPS)[0])
        for name in curves.predictor.values.tolist()
    }
    listed = "; ".join(f"{name} {value:.2f}" for name, value in ends.items())
    said = (
        f"Regret to the oracle after {STEPS} flips in nats: {listed}. Bands: two standard errors."
    )
    yield said, figures.regret_over_time(curves)
    priors_by_spelling = xr.concat(
        [_stacked(seeds, UNTUNED).expand_dims(predictor=[name]) for name, seeds in groups.items()],
        "predictor",
        join="outer",
    ).assign_attrs(steps=TUNED_STEPS)
    drawn = priors.effective_priors(
        priors_by_spelling, OUTCOMES, "Effective prior by spelling · random coins"
    )
    yield priors.reading(priors_by_spelling), drawn


def _by_spelling(groups: Mapping[str, Mapping[int, xr.Dataset]]) -> xr.Dataset:
    """Regret [predictor, repetition, time] with spellings as predictors: means over the seeds."""
    rows = {spelling: _mean(seeds, UNTUNED) for spelling, seeds in groups.items()}
    rows["Laplace's rule"] = _mean(next(iter(groups.values())), "bayes")
    together = xr.concat(list(rows.values()), "predictor").expand_dims("repetition", axis=1)
    kinds = ["spellings"] * (len(rows) - 1) + ["baselines"]
    return together.assign_coords(
        predictor=list(rows), repetition=[0], group=("predictor", kinds)
    ).assign_attrs(target="random coins, untuned")


def _mean(by_seed: Mapping[int, xr.Dataset], predictor: str) -> xr.Dataset:
    """Regret and its standard error [time] over the sequences of all seeds."""
    kept = ["regret", "standard_error"]
    rows = [r[kept].sel(predictor=predictor).isel(repetition=0) for r in by_seed.values()]
    seeds = xr.concat([row.drop_vars([*{*row.coords} - {"time"}]) for row in rows], "seed")
    error = np.sqrt((seeds["standard_error"] ** 2).sum("seed")) / seeds.sizes["seed"]
    return labelled({"regret": seeds["regret"].mean("seed"), "standard_error": error})


def _stacked(by_seed: Mapping[int, xr.Dataset], predictor: str) -> xr.Dataset:
    """A predictor's effective priors, seeds as repetitions."""
    kept = ["pseudo_counts", "fit_error"]
    rows = [r[kept].sel(predictor=predictor).isel(repetition=0) for r in by_seed.values()]
    rows = [row.drop_vars(list(row.coords)) for row in rows]
    return xr.concat(rows, "repetition").assign_coords(repetition=np.arange(len(rows)))


# --- steered --------------------------------------------------------------------------------


def _steered(reader: Reader, target: str) -> Iterator[Drawn]:
    groups = reader.groups(MAIN, target)
    if not groups:
        return
    results = summaries.merged(groups).assign_attrs(target=target)
    results.attrs.pop("training_length", None)  # of text, nobody says
    yield readings.regret_bars(results), figures.regret_bars(results)
    yield readings.regret_over_time(results), figures.regret_over_time(results)
    yield readings.tuning_curves(results), figures.tuning_curves(results)
    first = next(iter(groups.values()))
    measured = [n for n in first.predictor.values.tolist() if _has_prior(first, n)]
    stacked = xr.concat(
        [_stacked(groups, name).expand_dims(predictor=[name]) for name in measured], "predictor"
    ).assign_attrs(steps=TUNED_STEPS)
    title = f"Effective prior · {target}"
    yield priors.reading(stacked), priors.effective_priors(stacked, ("heads", "tails"), title)
    yield from _ranking(groups, target)


def _has_prior(results: xr.Dataset, predictor: str) -> bool:
    return bool(np.isfinite(results["fit_error"].sel(predictor=predictor)[0]))


def _ranking(groups: Mapping[int, xr.Dataset], target: str) -> Iterator[Drawn]:
    """Loss after each hard prompt, on the model against exact Bayes."""
    scores = np.mean([results["scores"].values[0] for results in groups.values()], axis=0)
    candidates = np.arange(len(scores))[:, None] // 2 ** np.arange(LENGTH - 1, -1, -1) % 2
    heads = (candidates == 0).sum(axis=1)
    counts = np.stack([heads, LENGTH - heads], axis=1)
    expectations = Expectations(TARGETS[target], TUNED_STEPS)
    bayes = expectations.regrets_after_counts(TARGETS[RANDOM_COINS].bayes(), counts)
    correlation = float(scipy.stats.spearmanr(bayes, scores)[0])  # pyright: ignore[reportArgumentType]
    best = " ".join("HT"[symbol] for symbol in candidates[int(np.argmin(scores))])
    said = (
        f"All {len(scores)} {HARD}s: rank correlation with exact Bayes on random coins "
        f"{correlation:.2f}; the model's best is {best}, exact Bayes' has "
        f"{heads[int(np.argmin(bayes))]} heads."
    )
    yield (
        said,
        prompts.prompt_ranking(bayes, scores, heads, f"All {len(scores)} {HARD}s · {target}"),
    )
