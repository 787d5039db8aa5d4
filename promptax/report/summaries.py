"""What figures, readings and tables share: a results Dataset boiled down over its repetitions.

One median, one spread and one error per predictor and time, so that no two places on a page
can disagree about a number.
"""

import contextlib
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import xarray as xr

from promptax.axes import labelled, quartiles
from promptax.checks import check

GROUPS = ("prompts", "weights", "baselines")
TARGET_BAYES = ("target bayes", "bayes")
UNTUNED = ("untuned",)

# The standard error of a median is this much larger than that of a mean, for normal values.
_MEDIAN_OVER_MEAN = float(np.sqrt(np.pi / 2))


def summarise(results: xr.Dataset) -> xr.Dataset:
    """Boil cumulative regret down over repetitions; every value is in nats.

    `median`, `low`, `high`, `standard_error`, `error` are [predictor, time]; `finished`, `started`
    and `diverged` count repetitions and are [predictor].

    - `low`, `high`: quartiles over repetitions; two standard errors either side of the median for
      a predictor with a single repetition.
    - `standard_error`: from the finite number of sequences, median over repetitions; NaN of one
      sequence, which says nothing of others.
    - `error`: the above and the error of the median over repetitions, in quadrature. All
      predictors read the same sequences, so this overstates the error of a difference.

    Repetitions that are NaN (padding, or diverged) are left out; a predictor with none left
    is NaN throughout.
    """
    regret = results["regret"].transpose("predictor", "repetition", "time").values
    error = results["standard_error"].transpose("predictor", "repetition", "time").values
    finite = np.isfinite(regret)
    regret = np.where(finite, regret, np.nan)
    count = finite.sum(axis=1)
    low, median, high = quartiles(regret)
    _, sampling, _ = quartiles(np.where(finite, error, np.nan))
    with quiet_about_empty_rows():
        deviation = np.nanstd(regret, axis=1, ddof=1)
    single = count == 1
    between = np.where(count > 1, _MEDIAN_OVER_MEAN * deviation / np.sqrt(np.maximum(count, 1)), 0)
    axes = ("predictor", "time")
    diverged = diverged_repetitions(results)
    return labelled(
        {
            "median": (axes, median),
            "low": (axes, np.where(single, median - 2 * sampling, low)),
            "high": (axes, np.where(single, median + 2 * sampling, high)),
            "standard_error": (axes, sampling),
            "error": (axes, np.hypot(sampling, between)),
            "finished": ("predictor", finite.any(axis=2).sum(axis=1)),
            "started": ("predictor", (finite.any(axis=2) | diverged).sum(axis=1)),
            "diverged": ("predictor", diverged.sum(axis=1)),
        },
        coords={"predictor": names(results), "time": results["time"].values},
    )


def by_pretraining(results: xr.Dataset) -> xr.DataArray:
    """Median regret [predictor, pretraining, time] in nats of each pretrained network alone, where
    repetitions have the coordinate `pretraining`; otherwise all are of one."""
    regret = results["regret"].transpose("predictor", "repetition", "time")
    if "pretraining" not in results.coords:
        regret = regret.assign_coords(pretraining=("repetition", np.zeros(regret.shape[1], int)))
    with quiet_about_empty_rows():
        return regret.groupby("pretraining").median("repetition", skipna=True)


def merged(parts: dict[int, xr.Dataset]) -> xr.Dataset:
    """Results of the same methods on networks of several pretraining seeds, as repetitions with the
    coordinate `pretraining`."""
    marked = []
    for seed, results in parts.items():
        kept = [n for n in ("regret", "standard_error", "tuning_loss", "diverged") if n in results]
        rows = results[kept].drop_vars("found", errors="ignore")
        seeds = np.full(results.sizes["repetition"], seed)
        marked.append(rows.assign_coords(pretraining=("repetition", seeds)))
    together = xr.concat(marked, "repetition", combine_attrs="override", join="outer")
    together = together.assign_coords(repetition=np.arange(together.sizes["repetition"]))
    first = next(iter(parts.values()))
    floor = {"target_entropy": first["target_entropy"]} if "target_entropy" in first else {}
    return together.assign(floor)


def smoothed_tuning_loss(results: xr.Dataset, points: int = 160) -> xr.Dataset:
    """`median`, `low`, `high` [predictor, step] of the running mean of the tuning loss, in nats.

    Keeps predictors that were tuned, and at most about `points` steps. The attribute `window` is
    the length of the running mean, a twenty-fifth of the run.
    """
    nothing = labelled({}, coords={"predictor": [], "step": []}, attrs={"window": 1})
    if "tuning_loss" not in results or not results.sizes["step"]:
        return nothing
    steps = results["step"].values
    loss = results["tuning_loss"].transpose("predictor", "repetition", "step").values
    tuned = np.isfinite(loss).any(axis=(1, 2))
    if not tuned.any():
        return nothing
    window = max(1, steps.size // 25)
    total = np.cumsum(np.pad(loss[tuned], [(0, 0), (0, 0), (1, 0)]), axis=2)
    mean = (total[..., window:] - total[..., :-window]) / window
    at = np.unique(np.linspace(0, mean.shape[2] - 1, points).astype(int))
    low, median, high = quartiles(mean[..., at])
    axes = ("predictor", "step")
    return labelled(
        {"median": (axes, median), "low": (axes, low), "high": (axes, high)},
        coords={"predictor": results["predictor"].values[tuned], "step": steps[at + window - 1]},
        attrs={"window": window},
    )


def spread_note(summary: xr.Dataset, mark: str) -> str:
    """What the marks for spread mean in these results, as small print."""
    started = int(summary["started"].max())
    if started <= 1:
        return f"{mark}: two standard errors either side (one repetition)."
    single = bool((summary["started"] == 1).any())
    ending = "; two standard errors where there is only one" if single else ""
    return f"Median and quartiles ({mark.lower()}) over up to {started} repetitions{ending}."


def names(results: xr.Dataset) -> list[str]:
    """The predictors, in the order given."""
    return [str(name) for name in results["predictor"].values]


def groups(results: xr.Dataset) -> dict[str, list[str]]:
    """Predictors by group: prompts, weights, then unknown groups, and baselines last.

    Results that know no groups, such as those of `px.regret`, have two: "predictors", and
    "baselines", which are exact or untuned.
    """
    given = _groups_given(results)
    others = [group for group in dict.fromkeys(given) if group not in GROUPS]
    ordered = [*GROUPS[:-1], *others, GROUPS[-1]]
    members = {
        group: [name for name, its in zip(names(results), given, strict=True) if its == group]
        for group in ordered
    }
    return {group: group_members for group, group_members in members.items() if group_members}


def _groups_given(results: xr.Dataset) -> list[str]:
    if "group" in results.coords:
        return [str(group) for group in results["group"].values]
    baselines = [
        name.lower().endswith("bayes") or name.lower() in (*UNTUNED, "oracle")
        for name in names(results)
    ]
    return ["baselines" if is_baseline else "predictors" for is_baseline in baselines]


def steered(results: xr.Dataset) -> list[str]:
    """The predictors that are not baselines; all of them where there are only baselines."""
    kinds = groups(results)
    methods = [name for group, members in kinds.items() if group != "baselines" for name in members]
    return methods or names(results)


def find(results: xr.Dataset, wanted: Iterable[str]) -> str | None:
    """The first predictor whose name is one of `wanted`, ignoring case, or None."""
    by_lower_case = {name.lower(): name for name in reversed(names(results))}
    return next((by_lower_case[name] for name in wanted if name in by_lower_case), None)


def evaluated_lengths(results: xr.Dataset, lengths: Sequence[int] | None = None) -> list[int]:
    """The lengths to report, in tokens: those asked for, else the tuning length and the last."""
    times = [int(time) for time in results["time"].values]
    if lengths is None:
        wanted = [int(results.attrs.get("tuning_length", times[-1])), times[-1]]
        return sorted({length for length in wanted if length in times})
    check(
        len(lengths) > 0,
        "Expected at least one length; got none. Leave out `lengths` for the usual ones.",
    )
    missing = [length for length in lengths if length not in times]
    if missing:
        raise ValueError(
            f"Expected lengths between {times[0]} and {times[-1]}; got {missing}. "
            "Evaluate on longer sequences, or ask for lengths that were evaluated."
        )
    return [int(length) for length in lengths]


def diverged_repetitions(results: xr.Dataset) -> np.ndarray:
    """[predictor, repetition] bool: which repetitions diverged; none where it is not recorded."""
    if "diverged" not in results:
        return np.zeros((results.sizes["predictor"], results.sizes["repetition"]), bool)
    return results["diverged"].transpose("predictor", "repetition").values >= 0


def loss_floor(results: xr.Dataset) -> float | None:
    """The least expected loss per tuning sequence in nats, where the results know it."""
    value = float(results["target_entropy"]) if "target_entropy" in results else np.nan
    return value if np.isfinite(value) else None


def target_name(dataset: xr.Dataset) -> str:
    """What the predictors were steered towards, as given by the attribute `target`: its words, or
    the class of a task that `px.evaluate` wrote as JSON."""
    target = str(dataset.attrs.get("target", "the target"))
    return str(json.loads(target).get("class", target)) if target.startswith("{") else target


@contextlib.contextmanager
def quiet_about_empty_rows() -> Iterator[None]:
    """Let numpy make NaN of a row without a single number, and say nothing about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
