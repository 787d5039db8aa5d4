"""Which heads of attention continue what was seen before, and does the network learn in context?

An induction head looks for the last time that the current token came, attends to what followed it,
and predicts that. It takes two layers: a head of the first tells each row which token precedes it
(Olsson et al. 2022, "In-context Learning and Induction Heads", arXiv 2209.11895). These measures,
taken at several steps of a training, show when it appears; the loss late in a sequence falls then.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from promptax import platforms
from promptax.axes import NATS, AnyKey, labelled
from promptax.doors import door
from promptax.evaluation.control_variates import check_results
from promptax.predictors.base import Network
from promptax.predictors.torso import Attended
from promptax.protocol.outcomes import alphabet_of
from promptax.specs import as_key, check

Weights = Float[Array, "*heads row row"]
PerHead = Float[Array, "*heads"]
BELOW_0 = "below 0 where what was read helps"  # the attribute of differences of losses


@door
def induction_heads(
    predictor: Any, key: AnyKey, sequences: int = 32, length: int = 16
) -> xr.Dataset:
    """How far each head is an induction head, on random tokens [length] that come twice.

    A sequence is x_1 … x_n x_1 … x_n, its first half independent and uniform. With a(i, k) the
    weight by which the row of token i attends to that of token k, means over sequences are

    - `prefix_matching`: Σ_k a(i, k + 1) over all k < i with x_k = x_i, mean over the second half;
    - `previous_token`: a(i, i - 1), mean over i ≥ 2;
    - `copying`: of what a head adds to the scores of symbols by itself, above the mean score, the
      share that goes to the symbols it attends to: Σ_s m_s r_s / Σ_s r_s, with m_s the weight on
      rows of symbol s and r_s the raise of its score, 0 where it is lowered; mean over all rows. A
      row at which a head raises nothing counts as one at which it raises all symbols alike. Norms
      and layers between the head and the output are left out.

    Args:
        predictor: a network over an alphabet whose torso shows its heads (`Torso.attended`).
        key: of the random tokens.
        sequences: how many.
        length: n, half of a sequence.

    Returns:
        A Dataset over layer and head with the three measures, from 0 to 1; what they are for a head
        that attends to all rows alike, the first row included that opens a sequence, and raises all
        symbols alike: `uniform_prefix_matching`, `uniform_previous_token`, `uniform_copying`; the
        mean `log_loss` [time] of the network on these sequences; and `repetition_effect`, its mean
        over the second half minus that over the first: below 0 where what was read helps. Nats.

    Raises:
        TypeError: no network, or one that does not show heads.
        ValueError: a length below 2, or no sequence.

    Example: `induction_heads(network, jax.random.key(0)).prefix_matching.max()`
    """
    if not isinstance(predictor, Network):
        raise TypeError(
            f"Expected a network, without a prompt; got {type(predictor).__name__}. Of repetitions "
            "pick one: predictor[0]; of a prompted one what it prompts: predictor.predictor."
        )
    symbols = alphabet_of(predictor)
    check(
        sequences >= 1 and length >= 2,
        f"Expected at least 1 sequence and a length of at least 2; got {sequences} and {length}.",
    )
    key, rows = as_key(key), 2 * length + 1
    shown = eqx.filter_eval_shape(predictor.attended, jax.ShapeDtypeStruct((1,), jnp.int32))
    *heads, _, width = shown.writes.shape
    platforms.expect_numbers(
        sequences * math.prod(heads) * rows * (rows + width),
        f"what all heads attend to and write in {sequences:,} sequences of {rows:,} rows",
        "Choose fewer sequences or a smaller length.",
    )
    half = jax.random.randint(key, (sequences, length), 0, symbols)
    measures = _measure(predictor, jnp.tile(half, (1, 2)))
    losses = np.asarray(measures.losses)
    variables: dict[str, Any] = {
        name: (("layer", "head"), np.asarray(values))
        for name, values in measures.scores._asdict().items()
    }
    variables |= {
        f"uniform_{name}": float(value) for name, value in measures.uniform._asdict().items()
    }
    variables["log_loss"] = "time", losses, {"unit": NATS}
    effect = losses[length:].mean() - losses[:length].mean()
    variables["repetition_effect"] = (), effect, {"unit": NATS, "sign": BELOW_0}
    return labelled(variables, {"time": np.arange(1, 2 * length + 1)})


class HeadScores(NamedTuple):
    """The three measures of each head."""

    prefix_matching: PerHead
    previous_token: PerHead
    copying: PerHead


class Measures(NamedTuple):
    """The scores of all heads [layer, head], those of uniform attention, and losses [time]."""

    scores: HeadScores
    uniform: HeadScores
    losses: Float[Array, " time"]


@eqx.filter_jit
def _measure(network: Network, tokens: Int[Array, "sequence time"]) -> Measures:
    def measure(tokens: Int[Array, " time"]) -> tuple[HeadScores, HeadScores]:
        shown = network.attended(tokens)
        count = shown.weights.shape[-1]
        earlier = jnp.tril(jnp.ones((count, count)))
        even = earlier / jnp.sum(earlier, axis=1, keepdims=True)
        return score_heads(shown, tokens, network.out.matrix()), score_heads(
            Attended(even, jnp.zeros((count, shown.writes.shape[-1]))), tokens, network.out.matrix()
        )

    scores, uniform = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), jax.vmap(measure)(tokens))
    _, prediction = network.advance_batch(network.start(), tokens)
    return Measures(scores, uniform, -jnp.mean(prediction.of(tokens), axis=0))


def score_heads(
    shown: Attended, tokens: Int[Array, " time"], unembedding: Float[Array, "width symbol"]
) -> HeadScores:
    """The measures of heads that read the tokens behind one row that opens the sequence."""
    weights = shown.weights[..., 1:, 1:]
    scores = shown.writes[..., 1:, :] @ unembedding
    return HeadScores(
        prefix_matching(weights, tokens), previous_token(weights), copying(weights, scores, tokens)
    )


def prefix_matching(weights: Weights, tokens: Int[Array, " time"]) -> PerHead:
    """How much rows of the second half attend to what followed their token earlier."""
    count = len(tokens)
    came = jnp.tril(tokens[:, None] == tokens, -1)  # [row, earlier row of the same token]
    followed = jnp.pad(came, ((0, 0), (1, 0)))[:, :count]
    return jnp.mean(jnp.sum(weights * followed, axis=-1)[..., count // 2 :], axis=-1)


def previous_token(weights: Weights) -> PerHead:
    """How much rows attend to the row before."""
    return jnp.mean(jnp.diagonal(weights, -1, -2, -1), axis=-1)


def copying(
    weights: Weights, scores: Float[Array, "*heads row symbol"], tokens: Int[Array, " time"]
) -> PerHead:
    """The share of what heads raise that goes to the symbols that they attend to. A row at which a
    head raises nothing counts as one at which it raises all symbols alike."""
    symbols = scores.shape[-1]
    mass = weights @ jax.nn.one_hot(tokens, symbols)
    raised = jnp.maximum(scores - jnp.mean(scores, axis=-1, keepdims=True), 0.0)
    total = jnp.sum(raised, axis=-1, keepdims=True)
    shares = jnp.where(total > 0, raised / jnp.where(total > 0, total, 1.0), 1 / symbols)
    return jnp.mean(jnp.sum(mass * shares, axis=-1), axis=-1)


@door
def in_context_learning(results: xr.Dataset, early: int, late: int) -> xr.Dataset:
    """How much less a predictor loses late in a sequence than early, from `evaluate`.

    The score of Olsson et al. 2022 is the loss at a late step minus that at an early one, the 500th
    and the 50th there; below 0 where what was read helps.

    Returns:
        `score` [predictor, repetition], the mean over sequences, and `error`, its standard error,
        NaN of a single sequence; both in nats.

    Raises:
        ValueError: steps that the results do not have, or that are not scored; results of something
            else than `evaluate`.

    Example: `in_context_learning(px.evaluate(key, {"network": network}, task), early=5, late=50)`
    """
    check_results(results)
    axes = "predictor", "repetition"
    times = results["time"].values.tolist()
    check(
        early < late and {early, late} <= set(times),
        f"Expected steps with {times[0]} ≤ early < late ≤ {times[-1]} that the results have; got "
        f"{early} and {late}.",
    )
    if "scored" in results:
        check(
            bool(results["scored"].sel(time=[early, late]).all()),
            f"Expected steps that are scored in every sequence; {early} or {late} is not.",
        )
    losses = results["log_loss"].astype(float)
    change = losses.sel(time=late, drop=True) - losses.sel(time=early, drop=True)
    change = change.transpose(*axes, "sequence").values
    count = change.shape[-1]
    deviation = change.std(axis=-1, ddof=1) if count > 1 else np.full(change.shape[:-1], np.nan)
    return labelled(
        {
            "score": (axes, change.mean(axis=-1), {"unit": NATS, "sign": BELOW_0}),
            "error": (axes, deviation / np.sqrt(count), {"unit": NATS}),
        },
        {axis: results[axis].values for axis in axes},
        {"early": early, "late": late},
    )
