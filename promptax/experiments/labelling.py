"""Labels for what an experiment measured: groups, prompts, losses, and the settings."""

from typing import Any

import numpy as np
import xarray as xr

from promptax.axes import NATS
from promptax.evaluation.exact.expectations import Expectations
from promptax.experiments.groups import UNTUNED
from promptax.experiments.plan import Plan
from promptax.fit.cost import UNITS
from promptax.fit.fitted import Fitted


def label_results(
    results: xr.Dataset,
    plan: Plan,
    fits: dict[str, Fitted],
    name: str,
    expectations: Expectations | None,
) -> xr.Dataset:
    """Regret, with tuning losses, scores of searches, groups, prompts, and the settings."""
    tuning, training = plan.lengths(name)
    groups = {method: tuner.group for method, tuner in plan.methods.items()}
    order = [n for g in ("prompts", "weights") for n in groups if groups[n] == g]
    present = results.predictor.values.tolist()
    baselines = [name for name in present if name not in order and name != "oracle"]
    baselines.sort(key=[UNTUNED, *baselines].index)
    results = results.sel(predictor=order + baselines)
    names = results.predictor.values.tolist()
    # the steps of an exhaustive search are no updates that could be drawn beside others
    curves = {n: fit.loss for n, fit in fits.items() if not plan.methods[n].tries_all}
    steps = max((curve.shape[1] for curve in curves.values()), default=0)
    loss = np.full((len(names), results.sizes["repetition"], steps), np.nan, np.float32)
    diverged = np.full(loss.shape[:2], -1)
    for index, method in enumerate(names):
        if method in curves:
            repetitions, updates = curves[method].shape
            loss[index, :repetitions, :updates] = curves[method]
            diverged[index, :repetitions] = fits[method].diverged
    return (
        results.assign(
            tuning_loss=(("predictor", "repetition", "step"), loss, {"unit": NATS}),
            diverged=(("predictor", "repetition"), diverged),
            **_floor(expectations, tuning),
            **_scores(plan, fits),
            **_costs(fits, names, results.sizes["repetition"]),
        )
        .assign_coords(
            step=np.arange(1, steps + 1),
            group=("predictor", [groups.get(n, "baselines") for n in names]),
            found=("predictor", [_prompts_in_words(fits[n]) if n in fits else "" for n in names]),
        )
        .assign_attrs(
            target=name,
            tuning_length=tuning,
            training_length=training,
            network=type(plan.network).__name__,
            pretraining=_pretrained_on(plan),
            reference=results.attrs.get("reference", "oracle"),
        )
    )


def _floor(expectations: Expectations | None, length: int) -> dict[str, Any]:
    """The expected loss of the target's exact predictor over a tuning sequence, if it is known."""
    if expectations is None:
        return {}
    try:
        return {"target_entropy": ((), expectations.at(length).floor.sum(), {"unit": NATS})}
    except ValueError:  # too many beliefs
        return {}


def _scores(plan: Plan, fits: dict[str, Fitted]) -> dict[str, Any]:
    """Every candidate's loss in the first exhaustive search [repetition, candidate]."""
    for method, tuner in plan.methods.items():
        if tuner.tries_all:
            return {"scores": (("repetition", "candidate"), fits[method].scores, {"unit": NATS})}
    return {}


def _costs(fits: dict[str, Fitted], names: list[str], repetitions: int) -> dict[str, Any]:
    """What tuning cost in all [predictor, repetition]: `cost_sequences`, `cost_tokens_forward` and
    so on (`promptax.fit.Cost`); NaN for what was not tuned."""
    spent = {name: np.full((len(names), repetitions), np.nan) for name in UNITS}
    for index, method in enumerate(names):
        if method in fits and (cost := fits[method].cost) is not None:
            for name, total in cost.final().items():
                spent[name][index, : len(total)] = total
    return {
        f"cost_{name}": (("predictor", "repetition"), spent[name], {"unit": unit})
        for name, unit in UNITS.items()
    }


def _prompts_in_words(fitted: Fitted) -> str:
    """Hard prompts as words, one for each repetition."""
    prompt = getattr(fitted.predictor, "prompt", None)
    if prompt is None or not np.issubdtype(np.asarray(prompt).dtype, np.integer):
        return ""
    rows = np.atleast_2d(np.asarray(prompt))
    return " · ".join(" ".join(map(str, row)) for row in rows.tolist())


def _pretrained_on(plan: Plan) -> str:
    if plan.pretraining.steps:
        return plan.prior.called
    return "text" if plan.network.trained else "nothing"
