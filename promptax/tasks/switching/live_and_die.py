"""Live and die: a source whose rows last the longer, the longer they have lasted already.

Willems 1996, "Coding for a Binary Independent Piecewise-Identically-Distributed Source", with its
linear-complexity prior; studied with networks in Genewein et al. 2023, "Memory-Based Meta-Learning
on Non-Stationary Distributions".
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import TOKENS, Inputs, Predictor
from promptax.tasks.base import Task
from promptax.tasks.markov.contexts import check_whole, only_tokens
from promptax.tasks.markov.weighting import KT, log_of
from promptax.tasks.switching import segments
from promptax.tasks.switching.few_starts import FewStarts
from promptax.tasks.switching.segments import Segments

AT_ONCE = 128  # numbers that are added one after the other; see `add_up`


class LiveAndDie(Task):
    """Segments end the more rarely, the longer they last.

    A segment that has lasted m symbols ends before the next one with probability 1 / (2m). Each
    segment draws its row of probabilities from Dirichlet(½, ..., ½), and symbols in it are
    independent. A sequence begins with a new segment. In n steps 2n C(2n, n) / 4^n segments begin
    on average: 18.0 in 256.

    The exact predictor holds one belief for every step at which the current segment may have begun:
    the n-th symbol costs n looks at counts, and a state for n symbols has n + 1 of them.
    """

    symbols: int = 2
    """Size of the alphabet."""

    def __check_init__(self) -> None:
        check_whole("symbols", self.symbols, 2, "2 are the least that can differ.")

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        when, which, tokens = jax.random.split(key, 3)

        def step(age: Int[Array, ""], chance: Float[Array, ""]) -> tuple[Array, Array]:
            ends = chance * 2 * age < 1
            return jnp.where(ends, 1, age + 1), ends

        chances = jax.random.uniform(when, (max(0, length - 1),))
        later = jax.lax.scan(step, jnp.ones((), jnp.int32), chances)[1]
        begins = jnp.concatenate([jnp.ones(min(1, length), bool), later])
        return segments.draw_segments(which, tokens, begins, self.symbols)

    def oracle(self, latent: Segments, tokens: Tokens) -> LogProbs:
        return segments.log_rows(latent, tokens)

    def bayes(self) -> "LiveAndDiePosterior":
        return LiveAndDiePosterior(self.symbols)

    def nearly_bayes(self, slots: int = 64) -> FewStarts:
        """The exact predictor, but for at most so many places where the segment may have begun:
        a fixed cost for each symbol, and an error that `FewStarts` states."""
        return FewStarts(self.symbols, slots)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        return segments.entropy_of_a_drawn_row(self.symbols, length)

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        """Over the places where segments end, with the evidence of each segment in closed form.

        E(t) = P(x[:t], a segment ends at t) = Σ_b E(b) P_KT(x[b:t]) s(t - b - 1) / (2 (t - b)) with
        s(m) = Π_{i ≤ m} (1 - 1 / (2i)); the last segment, which need not end, counts s(n - b - 1).
        """
        length = len(tokens)
        if length == 0:
            return jnp.zeros(())
        of_segment = segments.log_evidence_of_segments(tokens, self.symbols)
        age = jnp.arange(1, length + 1) * jnp.ones(())
        lasts = jnp.concatenate([jnp.zeros(1), jnp.cumsum(jnp.log1p(-0.5 / age))])
        ended = [jnp.zeros(())]
        for end in range(1, length):
            before = jnp.stack(ended) + of_segment[:end, end] + lasts[:end][::-1]
            ended.append(jax.nn.logsumexp(before - jnp.log(2 * age[:end][::-1])))
        return jax.nn.logsumexp(jnp.stack(ended) + of_segment[:-1, -1] + lasts[:length][::-1])

    @classmethod
    def examples(cls) -> "tuple[LiveAndDie, ...]":
        return cls(), cls(symbols=3)


class Starts(NamedTuple):
    """The belief: for every step at which the current segment may have begun, in the order of time,
    the counts since then and the posterior probability that it did.

    `used`: how many of the slots mean something; None: all of them, in a state that grows.
    """

    counts: Int[Array, "slot symbol"]
    weights: Float[Array, " slot"]
    used: Int[Array, ""] | None


class LiveAndDiePosterior(Predictor):
    """Exact prediction: P(x_t | past) = Σ_b P(the segment began at b | past) KT(counts since b).

    Reads tokens only; the n-th costs O(n). Weights are held as probabilities that sum to 1: what
    underflows lies 87 nats below all others. A state of fixed shape that is full says NaN.
    """

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    symbols: int

    def start(self, capacity: int | None = None) -> Starts:
        slots = 1 + (capacity or 0)
        counts = jnp.zeros((slots, self.symbols), jnp.int32)
        weights = jnp.zeros(slots).at[0].set(1.0)
        return Starts(counts, weights, None if capacity is None else jnp.ones((), jnp.int32))

    def with_room(self, state: Starts, rows: int) -> Starts:
        used = jnp.asarray(len(state.counts)) if state.used is None else state.used
        counts = jnp.pad(state.counts, ((0, rows), (0, 0)))
        return Starts(counts, jnp.pad(state.weights, (0, rows)), used.astype(jnp.int32))

    def advance(self, state: Starts, inputs: Inputs) -> tuple[Starts, Prediction]:
        tokens = only_tokens(inputs)
        used = jnp.asarray(len(state.counts)) if state.used is None else state.used
        counts, weights = state.counts, state.weights
        if state.used is None:  # room for one start behind each symbol
            counts = jnp.pad(counts, ((0, len(tokens)), (0, 0)))
            weights = jnp.pad(weights, (0, len(tokens)))
        slot = jnp.arange(len(counts))

        def step(belief: tuple[Array, Array, Array], token: Int[Array, ""]):
            counts, weights, used = belief
            age = jnp.sum(counts, axis=1)
            leaf = (counts + KT) / (age[:, None] + KT * self.symbols)
            row = add_up(weights[:, None] * leaf)
            weights *= leaf[:, token]
            weights, ends = weights / add_up(weights), 0.5 / (age + 1)
            born = add_up(weights * ends)
            new = slot == used
            counts += (jnp.arange(self.symbols) == token) & (slot < used)[:, None]
            weights = jnp.where(new, born, weights * (1 - ends))
            weights = jnp.where(used < len(slot), weights, jnp.nan)  # full: nothing may be lost
            return (counts, weights, used + 1), row / jnp.sum(row)

        belief = counts, weights, used.astype(jnp.int32)
        (counts, weights, used), rows = jax.lax.scan(step, belief, tokens)
        used = None if state.used is None else used
        return Starts(counts, weights, used), Prediction(log_of(rows))


def add_up(values: Float[Array, "slot *rest"]) -> Float[Array, "*rest"]:
    """The sum over slots, in two stages: 20,000 float32 numbers one after the other lose 4e-5."""
    padding = [(0, -len(values) % AT_ONCE)] + [(0, 0)] * (values.ndim - 1)
    pieces = jnp.pad(values, padding).reshape(-1, AT_ONCE, *values.shape[1:])
    return jnp.sum(jnp.sum(pieces, axis=1), axis=0)
