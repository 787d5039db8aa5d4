"""Regret from paired losses, sharpened by control variates.

How far the sampled losses of an exact predictor lie from their known expectation tells how lucky
the sample was, and other predictors were lucky on the same sequences. With losses L of the judged
predictor i and the reference r, and rows q whose expected losses are known, for step t:

    Y   = Σ_{s≤t} (L_i,s - L_r,s)                            for each sequence
    X   = Σ_{s≤m} (L_q,s - E L_q,s),   m = 1, 2, 4, …, t-1, t    for each sequence and q

Y is regressed on X with an intercept (ordinary least squares, float64). X has expectation zero, so
the intercept is the estimate of the regret, with the standard error of the residuals (Glasserman,
*Monte Carlo Methods in Financial Engineering*, 2003, section 4.1). Columns t-1 and t together hold
the single step t: cumulative regret and the step's regret share one design. Where i and r are
themselves among the q, the fit is perfect and the intercept is the exact regret: it is filled in.

Averaging the exact divergence of every step over sampled histories instead is no improvement: its
variance is larger than that of paired losses.
"""

import difflib
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from promptax.axes import NATS, labelled, quartiles
from promptax.checks import warn
from promptax.doors import door
from promptax.specs import check, check_kind

if TYPE_CHECKING:
    import xarray as xr  # takes long to import; annotations alone need it here

SEQUENCES_PER_CONTROL = 10  # below that the fit follows the noise and errors come out too small
NEGLIGIBLE = 1e-5  # nats: float32 losses differ by less without meaning anything
DEPENDENT = 1e-4  # relative: below that a direction is float32 noise; its square keeps 8 digits
TIME_BLOCK = 16  # steps that are copied at a time: 16 float32 fill a cache line

ESTIMATES = (
    ("regret", "standard_error"),
    ("per_step", "per_step_standard_error"),
    ("plain", "plain_standard_error"),
)


@door
def regret(
    results: "xr.Dataset", reference: str = "oracle", *, controls: bool = True
) -> "xr.Dataset":
    """Regret to the reference in nats, from the results of `evaluate`; time counts 1..N.

    [predictor, repetition, time]: `regret`, cumulative, by control variates (module docstring),
    `standard_error`; `plain`, the cumulative mean of paired differences, `plain_standard_error`;
    `per_step`, the regret of the single step by control variates, `per_step_standard_error`.
    [predictor, time]: `median`, `low`, `high`: median and quartiles of `regret` over repetitions.

    The reference is included, with zeros. Padding and predictors with NaN losses are NaN, of the
    latter with a warning; an infinite loss makes the regret infinite and its standard error NaN.
    Standard errors say how finitely many sequences were sampled, not how much repetitions differ.
    With fewer than 10 sequences for each column of X, only m = t-1 and m = t are used; if that is
    still too many, or with `controls=False`, the estimate is the plain one.

    Raises:
        TypeError: no Dataset.
        ValueError: results of something else than `evaluate`, or of which steps were left out;
            names that are there twice; a reference that is unknown, repeated, or not finite
            throughout.
    """
    check_results(results)
    check_whole(results)
    check(
        "repetitions" in results, "Expected `repetitions` beside losses, as from promptax.evaluate."
    )
    losses = results["log_loss"].transpose("predictor", "repetition", "sequence", "time").values
    names = [str(name) for name in results["predictor"].values]
    repetitions = results["repetitions"].values.astype(int)
    against = _reference(names, reference, repetitions, losses)
    warn_of_nan(dict(zip(names, repetitions.tolist(), strict=True)), losses)
    expected = _known(results, losses) if controls else _unknown(losses)
    measured = _over_time(losses, repetitions, against, _deviations(losses, expected))
    _fill_in(measured, expected - expected[against])
    low, median, high = quartiles(measured["regret"])
    variables: dict[str, Any] = {
        name: (("predictor", "repetition", "time"), values, {"unit": NATS})
        for name, values in measured.items()
    }
    variables |= {
        name: (("predictor", "time"), values, {"unit": NATS})
        for name, values in {"low": low, "median": median, "high": high}.items()
    }
    variables["repetitions"] = ("predictor", repetitions, {})
    used = [name for name, loss in zip(names, expected[:, 0], strict=True) if np.isfinite(loss)]
    attributes = {**results.attrs, "reference": reference, "controls": json.dumps(used)}
    coordinates = {name: results[name] for name in ("predictor", "repetition", "time")}
    return labelled(variables, coordinates, attributes)


def warn_of_nan(
    repetitions: Mapping[str, int], losses: Float[np.ndarray, "predictor repetition sequence time"]
) -> None:
    """Say of which predictors losses are NaN; what comes after the last repetition is padding."""
    lost = {
        name: [number for number in range(count) if np.isnan(row[number]).any()]
        for (name, count), row in zip(repetitions.items(), losses, strict=True)
    }
    words = [
        repr(name) + (f" (repetitions {', '.join(map(str, bad))})" if repetitions[name] > 1 else "")
        for name, bad in lost.items()
        if bad
    ]
    if words:
        warn(
            f"Expected losses that are numbers; got NaN of {', '.join(words)}: what diverged, or "
            "grew beyond float32. Leave it out, or train it with a lower learning rate."
        )


def check_results(results: "xr.Dataset") -> None:
    """Complain about what is no table of `evaluate`."""
    import xarray as xr  # takes long

    check_kind(results, xr.Dataset, "promptax.evaluate(key, {'name': predictor}, task)")
    axes = {"predictor", "repetition", "sequence", "time"}
    check(
        "regret" not in results or "log_loss" in results,
        "Expected the log losses that promptax.evaluate returns; got regret, already taken to "
        f"{results.attrs.get('reference', 'oracle')!r}, without the losses. On the command line, "
        "promptax evaluate --reference NAME takes it to another row.",
    )
    got = set(results["log_loss"].dims) if "log_loss" in results else set()
    check(
        got == axes,
        f"Expected log losses over {sorted(axes)}, from promptax.evaluate; got "
        f"{sorted(map(str, got)) if got else f'results of {list(results)}'}.",
    )


def check_whole(results: "xr.Dataset") -> None:
    """Complain about a table of which steps were left out, or that is several in one."""
    for name, what in {"time": "steps from 1 on", "predictor": "predictors by name"}.items():
        check(
            name in results.coords,
            f"Expected the coordinate {name} of promptax.evaluate, {what}; got a table without it. "
            f"Keep it, or put it back: results.assign_coords({name}=...).",
        )
    times = results["time"].values
    first = ", ".join(map(str, times[:3])) + "…" * (len(times) > 3)
    check(
        len(times) > 0 and np.array_equal(times, np.arange(1, len(times) + 1)),
        f"Expected all steps from 1 on, whose losses are summed; got {len(times)} steps"
        f"{': ' * (len(times) > 0)}{first}. Take the regret of all first, then select: "
        "promptax.regret(results).sel(time=[10, 20]).",
    )
    names = [str(name) for name in results["predictor"].values]
    check(
        len(set(names)) == len(names) > 0,
        f"Expected predictors with names of their own; got {names}. Name all of them in one call, "
        "promptax.evaluate(key, {'a': one, 'b': another}, task), which reads the same sequences by "
        "each. Tables of several calls with the same key can be joined, each name from one: "
        "other.sel(predictor=['b']).",
    )
    for name in ("sequence", "repetition"):
        check(
            results.sizes.get(name, 1) > 0,
            f"Expected at least one {name}; got a table without any. Select fewer away.",
        )
    axes_of = {"expected_log_loss": {"predictor", "time"}, "repetitions": {"predictor"}}
    for name in axes_of.keys() & set(results):
        check(
            set(results[name].dims) == axes_of[name],
            f"Expected {name} over {' and '.join(sorted(axes_of[name]))}; got "
            f"{results[name].dims}. Join evaluations by xarray.concat(…, 'sequence', "
            "data_vars='minimal').",
        )


def regret_of_spans(
    results: "xr.Dataset", predictor: str, ends: Sequence[int], reference: str = "oracle"
) -> tuple[Float[np.ndarray, " span"], Float[np.ndarray, " span"]]:
    """Regret summed over consecutive spans of time [span] in nats, and its standard errors.

    The spans are steps 1…ends[0], then …ends[1], and so on; an empty one is 0. All use the design
    of the last step, and the intercept is linear in Y: they add up to the `regret` of one
    repetition at ends[-1]. Exact where both losses are known exactly. Arguments as in `regret`.
    """
    losses = results["log_loss"].transpose("predictor", "repetition", "sequence", "time").values
    names = [str(name) for name in results["predictor"].values]
    against = _reference(names, reference, results["repetitions"].values.astype(int), losses)
    judged = names.index(predictor)
    expected = _known(results, losses)
    pieces = [slice(first, end) for first, end in itertools.pairwise([0, *ends])]
    exact = expected[judged] - expected[against]
    if np.isfinite(exact).all():
        return np.array([exact[piece].sum() for piece in pieces]), np.zeros(len(pieces))
    deviations = _deviations(losses, expected)
    steps = losses[judged, 0].astype(np.float64) - losses[against, 0]
    rows = np.stack([steps[:, piece].sum(axis=1) for piece in pieces])
    none = deviations is None
    return intercepts(rows, _no_basis(len(steps)) if none else _basis_at(deviations, ends[-1] - 1))


def _reference(
    names: list[str], reference: str, repetitions: np.ndarray, losses: np.ndarray
) -> int:
    """The index of the reference row."""
    check_reference(reference, dict(zip(names, repetitions.tolist(), strict=True)))
    index = names.index(reference)
    bad = ~np.isfinite(losses[index, 0])
    if bad.any():
        step = int(np.argmax(bad.any(axis=0)))
        sequence = int(np.argmax(bad[:, step]))
        is_impossible = bool(np.isposinf(losses[index, 0, sequence, step]))
        why = ", where what came has probability 0 by it" if is_impossible else ""
        what = "how sequences begin" if step == 0 else "what can come"
        raise ValueError(
            f"Expected a reference with finite losses; got {int(bad.sum())} in {reference!r} that "
            f"are not, the first at step {step + 1} of sequence {sequence} (from 0){why}. Choose "
            f"another reference, or correct what this one says of {what}."
        )
    return index


def check_reference(reference: str, rows: Mapping[str, int]) -> None:
    """Complain unless it is the name of a row with one repetition. `rows`: how many each has."""
    names = list(rows)
    if reference not in names:
        near = difflib.get_close_matches(reference, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        if reference == "oracle":
            hint += " The target has no oracle: compare predictors, reference=NAME."
        raise ValueError(
            f"Expected a reference from {', '.join(map(repr, names))}; got {reference!r}.{hint}"
        )
    check(
        rows[reference] == 1,
        f"Expected a reference with one repetition; got {reference!r} with {rows[reference]}. "
        "Evaluate one of them under its own name: repeated[0].",
    )


def _unknown(losses: np.ndarray) -> Float[np.ndarray, "predictor time"]:
    return np.full((losses.shape[0], losses.shape[3]), np.nan)


def _known(results: "xr.Dataset", losses: np.ndarray) -> Float[np.ndarray, "predictor time"]:
    """Exact expectations; NaN for rows where one is missing or something is infinite."""
    if "expected_log_loss" not in results:
        return _unknown(losses)
    expected = results["expected_log_loss"].transpose("predictor", "time").values
    finite = np.isfinite(expected) & np.isfinite(losses[:, 0]).all(axis=1)
    return np.where(finite.all(axis=1, keepdims=True), expected, np.nan)


def _deviations(
    losses: np.ndarray, expected: np.ndarray
) -> Float[np.ndarray, "time control sequence"] | None:
    """Cumulative losses less their expectations."""
    controls = np.isfinite(expected[:, 0])
    if not controls.any():
        return None
    steps = losses[controls, 0].astype(np.float64) - expected[controls][:, None, :]
    return np.cumsum(np.moveaxis(steps, 2, 0), axis=0)


def _fill_in(measured: dict[str, np.ndarray], exact: Float[np.ndarray, "predictor time"]) -> None:
    """The exact regret of each step, where it is known, in place of its estimate."""
    rows = np.isfinite(exact[:, 0])
    measured["per_step"][rows, 0] = exact[rows]
    measured["regret"][rows, 0] = np.cumsum(exact[rows], axis=1)
    measured["standard_error"][rows, 0] = measured["per_step_standard_error"][rows, 0] = 0.0


def _over_time(
    losses: np.ndarray, repetitions: np.ndarray, against: int, deviations: np.ndarray | None
) -> dict[str, Float[np.ndarray, "predictor repetition time"]]:
    """All estimates; padding is skipped and stays NaN."""
    predictors, most, sequences, length = losses.shape
    out = {name: np.full((predictors, most, length), np.nan) for pair in ESTIMATES for name in pair}
    real = np.arange(most) < repetitions[:, None]
    cumulative = np.zeros((int(real.sum()), sequences))
    plain = _no_basis(sequences)
    for first in range(0, length, TIME_BLOCK):
        block = losses[..., first : first + TIME_BLOCK]
        rows = np.ascontiguousarray(np.moveaxis(block[real], 2, 0))
        references = np.moveaxis(block[against, 0], 1, 0)
        for time, (row, its) in enumerate(zip(rows, references, strict=True), start=first):
            step = row.astype(np.float64) - its
            cumulative += step
            basis = plain if deviations is None else _basis_at(deviations, time)
            judged = (cumulative, basis), (step, basis), (cumulative, plain)
            for pair, given in zip(ESTIMATES, judged, strict=True):
                for name, values in zip(pair, intercepts(*given), strict=True):
                    out[name][real, time] = values
    return out


class Basis(NamedTuple):
    """Orthonormal directions of centred columns X, and what their true mean, zero, implies.

    `directions` [sequence, direction]; `means` [direction]: the sample means of X in coordinates
    of the directions, so that the intercept is mean(Y) - (Y · directions) · means.
    """

    directions: Float[np.ndarray, "sequence direction"]
    means: Float[np.ndarray, " direction"]


def _no_basis(sequences: int) -> Basis:
    return Basis(np.zeros((sequences, 0)), np.zeros(0))


def _basis_at(deviations: Float[np.ndarray, "time control sequence"], time: int) -> Basis:
    """The richest basis for step `time` (0-based) that the number of sequences affords."""
    sequences = deviations.shape[2]
    recent = {max(time - 1, 0), time}
    doubling = {2**k - 1 for k in range(time.bit_length())}
    for steps in (recent | doubling, recent):
        # increments span what the cumulative columns span, and are nearly independent
        increments = np.diff(deviations[sorted(steps)], axis=0, prepend=0)
        candidate = basis(increments.reshape(-1, sequences))
        if sequences >= SEQUENCES_PER_CONTROL * len(candidate.means):
            return candidate
    return _no_basis(sequences)


def basis(columns: Float[np.ndarray, "column sequence"]) -> Basis:
    """The independent directions of columns whose true means are zero."""
    means = columns.mean(axis=1)
    centred = columns - means[:, None]
    norms = np.sqrt(np.einsum("kn,kn->k", centred, centred))
    kept = norms > NEGLIGIBLE * np.sqrt(columns.shape[1])
    if not kept.any():
        return _no_basis(columns.shape[1])
    unit, means = centred[kept] / norms[kept, None], means[kept] / norms[kept]
    squares, vectors = np.linalg.eigh(unit @ unit.T)
    independent = squares > DEPENDENT**2 * squares[-1]
    onto = vectors[:, independent] / np.sqrt(squares[independent])
    return Basis(unit.T @ onto, means @ onto)


def intercepts(
    values: Float[np.ndarray, "row sequence"], basis: Basis
) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"]]:
    """The intercept of each row's regression on the basis, and its standard error.

    Var = s² (1/n + |means|²), with s² the sum of squared residuals over n - rank - 1.
    """
    sequences, rank = basis.directions.shape
    with np.errstate(invalid="ignore"):
        mean = values.mean(axis=1)
    bad = ~np.isfinite(mean)
    if bad.any():
        values = np.where(bad[:, None], 0.0, values)
    loads = values @ basis.directions
    squares = np.einsum("rn,rn->r", values, values) - sequences * np.where(bad, 0.0, mean) ** 2
    left = np.maximum(squares - np.einsum("rk,rk->r", loads, loads), 0.0)
    freedom = sequences - rank - 1
    variance = left / freedom if freedom > 0 else np.full_like(left, np.nan)
    error = np.sqrt(variance * (1 / sequences + basis.means @ basis.means))
    return mean - loads @ basis.means, np.where(bad, np.nan, error)
