"""The forward filter of hidden Markov models, for one model or for several candidates.

A model begins in a hidden state, drawn from `initial`; that state emits the first symbol. Between
two symbols it moves. Candidate c has

    α_t(j) = P(state_t = j | x_<t, c),    P(x_t | x_<t, c) = Σ_j α_t(j) e_c(j, x_t),
    α_{t+1}(k) ∝ Σ_j α_t(j) e_c(j, x_t) T_c(j, k),

(Rabiner 1989, "A Tutorial on Hidden Markov Models", Eq. 19-20, normalised at each step), and a
weight, its posterior probability. What is predicted is the mean of the candidates' predictions.

Two things keep float32 exact. Beliefs are logs: in a chain that does not mix, a state may be 1e-45
likely and come back, where a probability would call its symbol impossible. Log weights are held
against the mixture's own prediction, as a high and a low part, so that a candidate that lost ten
thousand nats can win them back.
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import TOKENS, Inputs, Predictor
from promptax.specs import check, check_distribution
from promptax.tasks.base import draw
from promptax.tasks.independent.categorical import entropy
from promptax.tasks.markov.contexts import only_tokens
from promptax.tasks.markov.weighting import add_to_pair, sequences_first, sequences_last

Table = tuple[tuple[float, ...], ...]


class Path(NamedTuple):
    """The latent: which candidate it was, and its hidden state at each step."""

    candidate: Int[Array, ""]
    states: Int[Array, " time"]


def check_model(initial: tuple[float, ...], transition: Table, emission: Table, of: str) -> None:
    """Complain unless the three are those of one model; `of` says which, in words."""
    states = len(initial)
    check(
        len(transition) == states and {len(row) for row in transition} == {states},
        f"Expected a transition [from, to] between the {states} states of initial{of}; got rows of "
        f"{[len(row) for row in transition]}.",
    )
    widths = {len(row) for row in emission}
    check(
        len(emission) == states and len(widths) == 1 and min(widths) >= 2,
        f"Expected an emission [state, symbol] for each of the {states} states of initial{of}, "
        f"over the same symbols, at least 2; got rows of {[len(row) for row in emission]}.",
    )
    check_distribution(f"initial probabilities{of}", initial)
    for name, rows in (("transition", transition), ("emission", emission)):
        for state, row in enumerate(rows):
            check_distribution(f"{name} probabilities of state {state}{of}", row)


class Models(NamedTuple):
    """Candidates side by side, and how probable each is beforehand."""

    initial: Float[Array, "candidate hidden"]
    transition: Float[Array, "candidate hidden to"]
    emission: Float[Array, "candidate hidden symbol"]
    weights: Float[Array, " candidate"]

    def sample(self, key: Key[Array, ""], length: int) -> tuple[Tokens, Path]:
        """Symbols [time] and the path behind them; what has probability zero is never drawn."""
        which, walk, emit = jax.random.split(key, 3)
        candidate = draw(which, self.weights, 1)[0]
        rows = jnp.cumsum(self.transition[candidate], axis=1)
        first = jnp.cumsum(self.initial[candidate])
        emitted = jnp.cumsum(self.emission[candidate], axis=1)

        def step(heights: Float[Array, " hidden"], points: Float[Array, " 2"]):
            state = at_height(heights, points[0])
            return rows[state], (state, at_height(emitted[state], points[1]))

        points = jnp.stack(
            [jax.random.uniform(walk, (length,)), jax.random.uniform(emit, (length,))], axis=1
        )
        states, tokens = jax.lax.scan(step, first, points)[1]
        return tokens, Path(candidate, states)

    def oracle(self, latent: Path, tokens: Tokens) -> LogProbs:
        """The emission row of the state at each step, nats."""
        return jnp.log(self.emission[latent.candidate])[latent.states[: len(tokens)]]

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        """H_t = Σ_c w_c Σ_j P(state_t = j | c) H(e_c(j, ·)), nats."""
        losses = self.weights[:, None] * entropy(self.emission)

        def step(chances: Float[Array, "candidate hidden"], _: None) -> tuple[Array, Array]:
            moved = jnp.einsum("ch,cht->ct", chances, self.transition)
            return moved, jnp.sum(chances * losses)

        return jax.lax.scan(step, self.initial, length=length)[1]

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        """log Σ_c w_c π_c D_c(x_1) T_c D_c(x_2) ... T_c D_c(x_n) 1, nats, with D_c(x) the diagonal
        of the probabilities that states emit x: the sum over all hidden paths, as one product of
        matrices. It is no sequence of predictions and divides by nothing."""
        chances = self.weights[:, None] * self.initial
        for time in range(len(tokens)):
            emitted = chances * self.emission[:, :, tokens[time]]
            last = time + 1 == len(tokens)
            chances = emitted if last else jnp.einsum("ch,cht->ct", emitted, self.transition)
        return jnp.log(jnp.sum(chances))


def at_height(heights: Float[Array, " option"], point: Float[Array, ""]) -> Int[Array, ""]:
    """The option whose share of the cumulative sums holds the point, between 0 and 1."""
    return jnp.sum(point * heights[-1] >= heights, dtype=jnp.int32)


class Beliefs(NamedTuple):
    """`states` [candidate, hidden]: log P(state | what was read, candidate). `weights`
    [candidate, 2]: log posterior of the candidates, high and low part. `possible`: whether any
    candidate allows what was read."""

    states: Float[Array, "candidate hidden"]
    weights: Float[Array, "candidate 2"]
    possible: Bool[Array, ""]


class ForwardFilter(Predictor):
    """Exact prediction by the forward filter of every candidate. Reads tokens only.

    Each costs O(candidates · states²). After a history that no candidate allows it predicts
    uniformly.
    """

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    initial: Table | Float[Array, "candidate hidden"]
    transition: tuple[Table, ...] | Float[Array, "candidate hidden to"]
    emission: tuple[Table, ...] | Float[Array, "candidate hidden symbol"]
    weights: tuple[float, ...] | Float[Array, " candidate"]

    @property
    def symbols(self) -> int:
        return np.shape(self.emission)[2]

    def start(self, capacity: int | None = None) -> Beliefs:
        del capacity  # the state never grows
        log_weights = jnp.log(jnp.asarray(self.weights))
        weights = jnp.stack([log_weights, jnp.zeros_like(log_weights)], axis=1)
        return Beliefs(jnp.log(jnp.asarray(self.initial)), weights, jnp.ones((), bool))

    def advance(self, state: Beliefs, inputs: Inputs) -> tuple[Beliefs, Prediction]:
        state, rows = self._read(state, only_tokens(inputs))
        return state, Prediction(rows)

    def advance_batch(self, state: Beliefs, inputs: Inputs) -> tuple[Beliefs, Prediction]:
        """The sequences are the last axis of every array, so that a processor works on many at
        once: with them first, the innermost loops would run over a few states or symbols."""
        tokens = jax.vmap(only_tokens)(inputs).T
        state, rows = self._read(sequences_last(state, tokens.shape[1]), tokens)
        return sequences_first(state), Prediction(jnp.moveaxis(rows, -1, 0))

    def _read(
        self, state: Beliefs, tokens: Int[Array, "time *sequence"]
    ) -> tuple[Beliefs, Float[Array, "time symbol *sequence"]]:
        """The belief after the tokens, and what was predicted of them; sequences, if any, last."""
        tables = (jnp.log(jnp.asarray(table)) for table in (self.transition, self.emission))
        alone = (1,) * (tokens.ndim - 1)
        transition, emission = (table.reshape(*table.shape, *alone) for table in tables)
        symbols = jnp.arange(self.symbols).reshape(-1, *alone)

        def step(belief: Beliefs, token: Int[Array, "*sequence"]) -> tuple[Beliefs, Array]:
            states, weights, possible = belief
            came = symbols == token
            rows = log_sum(states[:, :, None] + emission, axis=1)
            shares = weights[:, 0] - log_sum(weights[:, 0], axis=0)
            row = log_sum(shares[:, None] + rows, axis=0)
            row = jnp.where(possible, row, -jnp.log(self.symbols))
            joint = states + jnp.sum(jnp.where(came, emission, 0.0), axis=2)
            gains = jnp.sum(jnp.where(came, rows, 0.0), axis=1)
            possible &= jnp.any(shares + gains > -jnp.inf, axis=0)
            lives = (gains > -jnp.inf) & possible
            joint = joint - jnp.where(lives, gains, 0.0)[:, None]
            moved = log_sum(joint[:, :, None] + transition, axis=1)
            said = jnp.sum(jnp.where(came & possible, row, 0.0), axis=0)
            gains = jnp.where(lives, gains - said, 0.0)
            pair = jnp.stack(add_to_pair(weights[:, 0], weights[:, 1], gains), axis=1)
            lost = jnp.stack([jnp.full_like(gains, -jnp.inf), jnp.zeros_like(gains)], axis=1)
            dead = ~lives | (weights[:, 0] == -jnp.inf)
            after = Beliefs(moved, jnp.where(dead[:, None], lost, pair), possible)
            return after, row

        return jax.lax.scan(step, state, tokens)


def log_sum(values: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """log Σ exp along an axis; -inf where all are -inf, also in derivatives."""
    top = jax.lax.stop_gradient(jnp.max(values, axis=axis, keepdims=True))
    top = jnp.where(top > -jnp.inf, top, 0.0)
    total = jnp.sum(jnp.exp(values - top), axis=axis)
    some = total > 0
    log_total = jnp.log(jnp.where(some, total, 1.0)) + jnp.squeeze(top, axis)
    return jnp.where(some, log_total, -jnp.inf)
