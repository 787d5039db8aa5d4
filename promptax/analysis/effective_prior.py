"""Which Dirichlet prior a predictor behaves like, read out from its predictions.

A prompt is worth observations: random coins behind 1×0 5×1 predict as Beta(2, 6) does, of strength
8. A soft prompt or tuned weights have no counts of their own, but one can ask which pseudo-counts α
would predict most alike on the target's sequences, by the expected cumulative divergence

    J(α) = Σ_t E[ KL( π(·|x_<t) || (α + counts of x_<t) / (Σα + t - 1) ) ]        t = 1…N

and how alike that is: the least J is the fit error, in nats. A predictor that learned nothing but
"19 % zeros, and sure of it" has a large strength; one that keeps two coins apart fits no α at all.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
import xarray as xr
from jaxtyping import Array, Float, Int

from promptax import platforms
from promptax.axes import NATS, AnyKey, labelled
from promptax.doors import door
from promptax.evaluation.exact import enumeration
from promptax.progress import as_callbacks
from promptax.protocol.entries import one
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated
from promptax.report.wording import precise
from promptax.specs import as_key, check, check_kind, check_whole_numbers
from promptax.tasks.base import Task
from promptax.tasks.batches import batch_to_measure

STRENGTHS = (1.0, 10.0, 100.0)  # where the search for pseudo-counts begins
LEAST, MOST = 1e-4, 1e6  # pseudo-counts that are tried
IMMOVABLE = 1e5  # a strength from here on says that data move nothing


@dataclasses.dataclass(frozen=True)
class EffectivePrior:
    """The Dirichlet prior whose predictions come closest.

    `pseudo_counts` [symbol]; `fit_error`: expected cumulative divergence over `length` steps from
    the predictor to that prior's exact predictor, nats; `standard_error` of the fit error, nats: 0
    where it is exact, else of the sampled sequences, the pseudo-counts held fixed; `explains`: the
    fit error is at most `tolerance`.
    """

    pseudo_counts: tuple[float, ...]
    fit_error: float
    standard_error: float
    length: int
    tolerance: float

    @property
    def strength(self) -> float:
        """How many observations it is worth: the sum of the pseudo-counts."""
        return sum(self.pseudo_counts)

    @property
    def mean(self) -> tuple[float, ...]:
        """Its first prediction: the probability of each symbol [symbol]."""
        return tuple(count / self.strength for count in self.pseudo_counts)

    @property
    def explains(self) -> bool:
        """Whether the prior predicts as the predictor does, to the tolerance."""
        return self.fit_error <= self.tolerance

    def words(self) -> str:
        """The prior in a sentence, such as "worth 37 observations, 19 % of symbol 0 …"."""
        error = precise(self.fit_error)
        if self.standard_error:
            error += f" ± {precise(2 * self.standard_error)}"
        over = f"over {self.length} steps"
        counts = ", ".join(_short(count) for count in self.pseudo_counts)
        if not self.explains:
            family = "Beta" if len(self.pseudo_counts) == 2 else "Dirichlet"
            return (
                f"no {family} prior explains it: the closest, of pseudo-counts {counts}, is off by "
                f"{error} nats {over}"
            )
        shares = [f"{share:.0%} of symbol {symbol}" for symbol, share in enumerate(self.mean)]
        if self.strength >= IMMOVABLE:
            worth = "sure of itself: no number of observations moves it"
        else:
            worth = f"worth {_short(self.strength)} observations"
        told = ", ".join(shares[:1] if len(shares) == 2 else shares)
        return f"{worth}, {told} (pseudo-counts {counts}; off by {error} nats {over})"


def _short(count: float) -> str:
    return f"{count:,.0f}" if count >= 100 else f"{count:.3g}"


@door
def effective_prior(
    predictor: Predictor,
    target: Task,
    length: int = 50,
    *,
    key: AnyKey | None = None,
    sequences: int = 512,
    tolerance: float = 0.1,
) -> EffectivePrior:
    """The Dirichlet prior that a predictor, prompted or tuned, behaves like on a task.

    Args:
        predictor: exact or neural.
        target: its sequences say where the predictions are compared.
        length: steps of each sequence over which divergence is summed.
        key: makes the sequences. Not used where expectations are exact: sums over counts, if order
            matters neither to the predictor nor to the target.
        sequences: how many to sample.
        tolerance: nats; a prior `explains` the predictor if the fit error is at most that. 0.1
            over 50 steps is 0.002 nats for each prediction, about how far a well trained network
            is from Bayes.

    Raises:
        TypeError: not one predictor (repetitions: pick one).
        ValueError: alphabets differ, sizes below 1, or no key where sequences must be sampled.

    Example: `effective_prior(condition(DirichletCategorical().bayes(), [0, 1, 1, 1, 1, 1]),
    Categorical()).pseudo_counts` is (2, 6).
    """
    one(predictor)
    check_kind(target, Task, "Categorical((0.2, 0.8))")
    check_whole_numbers(length=length, sequences=sequences)
    check(
        predictor.symbols == target.symbols,
        f"Expected a predictor over {target.symbols} symbols, as the target has; got "
        f"{predictor.symbols}.",
    )
    check(
        length >= 1 and sequences >= 1 and tolerance > 0,
        f"Expected at least 1 step, 1 sequence and a positive tolerance; got {length}, {sequences} "
        f"and {tolerance}.",
    )
    if target.has_bayes and enumeration.counts_suffice(length, predictor, target.bayes()):
        table = enumeration.count_table(target.bayes(), length)
        probs = np.exp(enumeration.log_probs_after(predictor, table.counts))
        fitted = fit(table.counts, probs, table.joint.sum(axis=1))
        error = max(0.0, float(divergences(fitted, table.counts, probs) @ table.joint.sum(axis=1)))
        return EffectivePrior(tuple(fitted.tolist()), error, 0.0, length, tolerance)
    if key is None:
        raise ValueError(
            "Expected a key, since the predictor's divergence must be sampled: "
            "effective_prior(predictor, target, key=jax.random.key(0)). Got none."
        )
    platforms.expect_numbers(
        sequences * length * target.symbols,
        "the sequences, and what is predicted of them",
        "Choose fewer sequences or a smaller length.",
    )
    episodes = batch_to_measure(target, as_key(key), sequences, length)
    tokens, sequences = episodes.tokens, len(episodes.tokens)
    scored = np.ones((sequences, length)) if episodes.scored is None else episodes.scored
    scored = np.asarray(scored, float)
    counts, probs = map(np.asarray, _read(predictor, tokens))
    flat = counts.reshape(-1, target.symbols), probs.reshape(-1, target.symbols).astype(float)
    fitted = fit(*flat, scored.ravel() / sequences)
    by_sequence = (divergences(fitted, *flat).reshape(sequences, length) * scored).sum(axis=1)
    spread = float(by_sequence.std(ddof=1) / np.sqrt(sequences)) if sequences > 1 else float("nan")
    read = int(scored.sum(axis=1).max(initial=0))  # sequences may end before
    return EffectivePrior(
        tuple(fitted.tolist()), float(by_sequence.mean()), spread, read, tolerance
    )


@door
def effective_priors(
    predictors: Mapping[str, Predictor | Repeated],
    target: Task,
    length: int = 50,
    *,
    key: AnyKey | None = None,
    sequences: int = 512,
    callbacks: Iterable[Callable[[int, int], Any]] = (),
) -> xr.Dataset:
    """The prior of each predictor and repetition, on the same sequences (`effective_prior`).

    Returns `pseudo_counts` [predictor, repetition, symbol], `fit_error` and
    `fit_error_standard_error` [predictor, repetition] in nats; NaN for repetitions that a predictor
    does not have. `callbacks` are called as callback(done, total).

    Raises:
        TypeError: no dict from names to predictors, no task, or callbacks that cannot be called.
        ValueError: alphabets differ, sizes below 1 or too large for memory, or no key where
            sequences must be sampled.
    """
    callbacks = as_callbacks(callbacks)
    by_name = {n: p if isinstance(p, Repeated) else [p] for n, p in predictors.items()}
    most, total = max(map(len, by_name.values()), default=1), sum(map(len, by_name.values()))
    counts = np.full((len(by_name), most, target.symbols), np.nan)
    errors, done = np.full((2, len(by_name), most), np.nan), 0
    for row, repetitions in enumerate(by_name.values()):
        for repetition in range(len(repetitions)):
            prior = effective_prior(
                repetitions[repetition], target, length, key=key, sequences=sequences
            )
            counts[row, repetition] = prior.pseudo_counts
            errors[:, row, repetition] = prior.fit_error, prior.standard_error
            done += 1
            for callback in callbacks:
                callback(done, total)
    axes = ("predictor", "repetition")
    return labelled(
        {
            "pseudo_counts": ((*axes, "symbol"), counts),
            "fit_error": (axes, errors[0], {"unit": NATS}),
            "fit_error_standard_error": (axes, errors[1], {"unit": NATS}),
        },
        {"predictor": np.array(list(by_name), dtype=str), "repetition": np.arange(most)},
        {"steps": length},
    )


@eqx.filter_jit
def _read(
    predictor: Predictor, tokens: Int[Array, "sequence time"]
) -> tuple[Float[Array, "sequence time symbol"], Float[Array, "sequence time symbol"]]:
    """Counts before each step, and the predictor's probabilities there."""
    sequences, length = tokens.shape
    at_once = math.gcd(sequences, predictor.micro_batch(sequences, length))
    with jax.default_matmul_precision("float32"):
        state = predictor.start()

        def read(batch: Array) -> Array:
            return predictor.advance_batch(state, batch)[1].log_probs

        pieces = jax.lax.map(read, tokens.reshape(-1, at_once, length))
    log_probs = pieces.reshape(sequences, length, -1)
    one_hot = jax.nn.one_hot(tokens, predictor.symbols)
    return jnp.cumsum(one_hot, axis=1) - one_hot, jnp.exp(log_probs)


def fit(
    counts: Float[np.ndarray, "row symbol"] | Int[np.ndarray, "row symbol"],
    probs: Float[np.ndarray, "row symbol"],
    weights: Float[np.ndarray, " row"],
) -> Float[np.ndarray, " symbol"]:
    """Pseudo-counts [symbol] that minimise the weighted divergence of predictions at counts.

    With p the predictions [row, symbol] at counts c [row, symbol] of total n, and weights w:
    ∂J/∂α_s = Σ w (1/(Σα + n) - p_s/(α_s + c_s)); the search is over log α, by L-BFGS-B.
    """
    totals = counts.sum(axis=1)

    def loss(log_alpha: np.ndarray) -> tuple[float, np.ndarray]:
        alpha = np.exp(log_alpha)
        mass, total = alpha + counts, alpha.sum() + totals
        value = weights @ (np.log(total) * probs.sum(axis=1) - (probs * np.log(mass)).sum(axis=1))
        slope = weights @ (probs.sum(axis=1) / total)[:, None] - weights @ (probs / mass)
        return float(value), alpha * slope

    mean = np.clip(weights @ probs / weights.sum(), 1e-6, None)
    bounds = [(np.log(LEAST), np.log(MOST))] * counts.shape[1]
    results = [
        scipy.optimize.minimize(
            loss,
            np.log(np.clip(strength * mean, LEAST, MOST)),
            jac=True,
            bounds=bounds,
            method="L-BFGS-B",
            options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000},
        )
        for strength in STRENGTHS
    ]
    return np.exp(min(results, key=lambda result: result.fun).x)


def divergences(
    pseudo_counts: Float[np.ndarray, " symbol"],
    counts: Float[np.ndarray, "row symbol"] | Int[np.ndarray, "row symbol"],
    probs: Float[np.ndarray, "row symbol"],
) -> Float[np.ndarray, " row"]:
    """KL(p || the Dirichlet prior's prediction) at each counts [row], nats; 0 log 0 = 0."""
    mass = pseudo_counts + counts
    log_prior = np.log(mass) - np.log(mass.sum(axis=1, keepdims=True))
    safe = np.where(probs > 0, probs, 1.0)
    return np.where(probs > 0, probs * (np.log(safe) - log_prior), 0.0).sum(axis=1)
