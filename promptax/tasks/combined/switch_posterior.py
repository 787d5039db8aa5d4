"""The exact predictor of fresh parts that switch: a sum over where the segment may have begun."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from promptax.protocol.exchangeable import uniform_if
from promptax.protocol.mixture import RESPONSIBILITY
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import TOKENS, Inputs, Predictor, State
from promptax.specs import check
from promptax.tasks.combined import switches
from promptax.tasks.combined.parts import check_keeps_shape
from promptax.tasks.hidden.forward import log_sum
from promptax.tasks.markov.contexts import only_tokens
from promptax.tasks.switching.live_and_die import add_up

MOST_BYTES = 2**31  # of one belief


class SegmentBelief(eqx.Module):
    """For every step at which the current segment may have begun, in the order of time: what each
    part's predictor knows since then, trees [slot, ...], and the log probability that this part
    speaks since then [slot, part]. `used`: how many slots mean something. `grows`: whether it began
    without a capacity."""

    states: tuple[State, ...]
    log_weights: Float[Array, "slot part"]
    used: Int[Array, ""]
    grows: bool = eqx.field(static=True)


class SwitchPosterior(Predictor):
    """Exact prediction of `Switching` with fresh parts. Reads tokens only. Each symbol costs all
    slots of the state, used or not: one more than its capacity. So n symbols cost O(n²).

        p(x_t | x_<t) = Σ_b Σ_k P(part k speaks since b | x_<t) p_k(x_t | x_b, ..., x_{t-1})

    After each symbol all these weights are multiplied by what was predicted of it and by
    1 - hazard, and a segment that begins next gets hazard · Σ_b. They are held as logs: a start may
    be e^-100 likely and come back. After a history that is impossible it predicts uniformly. A
    state of fixed shape that is full says NaN. Internal state: "responsibility" [time, part], the
    posterior probability that the symbol came from each part.
    """

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    parts: tuple[Predictor, ...]
    weights: tuple[float, ...] | Float[Array, " part"]
    hazard: float | Float[Array, ""]
    next_part: str

    @property
    def symbols(self) -> int:
        return self.parts[0].symbols

    def reading_bytes(self, rows: int) -> int:
        return (rows + 1) * sum(_bytes(part, rows) for part in self.parts)

    def start(self, capacity: int | None = None) -> SegmentBelief:
        """Raises ValueError for a capacity whose belief would not fit into memory."""
        room = capacity or 0
        needed = self.reading_bytes(room)
        check(
            needed <= MOST_BYTES,
            f"Expected a belief of at most {MOST_BYTES / 2**30:g} GiB; one with room for {room:,} "
            f"symbols needs {needed / 2**30:.3g} GiB, since every step may begin a segment. Read "
            "fewer symbols.",
        )
        log_weights = jnp.full((room + 1, len(self.parts)), -jnp.inf)
        log_weights = log_weights.at[0].set(jnp.log(jnp.asarray(self.weights)))
        used = jnp.ones((), jnp.int32)
        return SegmentBelief(self._fresh(room), log_weights, used, grows=capacity is None)

    def _fresh(self, room: int) -> tuple[State, ...]:
        """The states of parts that begin, in all slots."""

        def repeat(leaf: Array) -> Array:
            return jnp.broadcast_to(leaf, (room + 1, *jnp.shape(leaf)))

        return tuple(jax.tree.map(repeat, part.start(room)) for part in self.parts)

    def with_room(self, state: SegmentBelief, rows: int) -> SegmentBelief:
        slots = len(state.log_weights)

        def join(old: Array, fresh: Array) -> Array:
            return jnp.concatenate([old, fresh[slots:]])

        roomy = tuple(
            _with_room(part, states, rows)
            for part, states in zip(self.parts, state.states, strict=True)
        )
        states = jax.tree.map(join, roomy, self._fresh(slots - 1 + rows))
        padding = ((0, rows), (0, 0))
        log_weights = jnp.pad(state.log_weights, padding, constant_values=-jnp.inf)
        return SegmentBelief(states, log_weights, state.used, state.grows)

    def advance(self, state: SegmentBelief, inputs: Inputs) -> tuple[SegmentBelief, Prediction]:
        tokens = only_tokens(inputs)
        if state.grows:
            state = self.with_room(state, len(tokens))
        fresh = self._fresh(len(state.log_weights) - 1)
        for part, states in zip(self.parts, state.states, strict=True):
            check_keeps_shape(part, jax.tree.map(lambda leaf: leaf[0], states))

        def step(belief: Any, token: Int[Array, ""]) -> tuple[Any, tuple[Array, Array]]:
            states, log_weights, used = belief
            read = [_read(part, old, token) for part, old in zip(self.parts, states, strict=True)]
            rows = jnp.stack([rows for _, rows in read], axis=1)
            row, log_weights, speaks = self._weigh(log_weights, rows, token, used)
            states = _begin(tuple(new for new, _ in read), fresh, used)
            return (states, log_weights, used + 1), (row, jnp.exp(speaks))

        belief = state.states, state.log_weights, state.used
        (states, log_weights, used), (rows, speaks) = jax.lax.scan(step, belief, tokens)
        belief = SegmentBelief(states, log_weights, used, state.grows)
        return belief, Prediction(rows, {RESPONSIBILITY: speaks})

    def _weigh(
        self,
        log_weights: Float[Array, "slot part"],
        rows: Float[Array, "slot part symbol"],
        token: Int[Array, ""],
        used: Int[Array, ""],
    ) -> tuple[Float[Array, " symbol"], Float[Array, "slot part"], Float[Array, " part"]]:
        """What is predicted, the log weights behind the token, and the log probability of each part
        to have said it."""
        joint = log_weights[:, :, None] + rows
        row = log_sum(log_total(joint), axis=0)
        whole = row[token]
        posterior = joint[:, :, token] - jnp.where(whole > -jnp.inf, whole, 0.0)
        speaks = log_total(posterior)
        hazard = jnp.asarray(self.hazard)
        moves = jnp.log(switches.moves(self.next_part, jnp.asarray(self.weights)))
        born = jnp.log(hazard) + log_sum(speaks[:, None] + moves, axis=0)
        slot = jnp.arange(len(log_weights))[:, None]
        after = jnp.where(slot == used, born, posterior + jnp.log1p(-hazard))
        total = log_sum(row, axis=0)
        row = uniform_if(total == -jnp.inf, row - jnp.where(total > -jnp.inf, total, 0.0))
        row = jnp.where(
            used > len(slot), jnp.nan, row
        )  # a start was lost: there was no slot for it
        return row, after, speaks


def log_total(values: Float[Array, "slot part *rest"]) -> Float[Array, "part *rest"]:
    """log Σ exp over slots, in two stages: see `add_up`. -inf where all of them are -inf."""
    best = jnp.max(values, axis=0)
    best = jnp.where(best > -jnp.inf, best, 0.0)
    return best + jnp.log(add_up(jnp.exp(values - best)))


def _read(
    part: Predictor, states: State, token: Int[Array, ""]
) -> tuple[State, Float[Array, "slot symbol"]]:
    """A part's states in all slots behind the token, and what was predicted in each."""

    def read(state: State) -> tuple[State, Float[Array, " symbol"]]:
        after, prediction = part.advance(state, token[None])
        return after, prediction.log_probs[0]

    return jax.vmap(read)(states)


def _begin(
    states: tuple[State, ...], fresh: tuple[State, ...], used: Int[Array, ""]
) -> tuple[State, ...]:
    """The states, but those of parts that begin in slots that nothing has used yet."""

    def choose(old: Array, new: Array) -> Array:
        slot = jnp.arange(len(old)).reshape(-1, *[1] * (old.ndim - 1))
        return jnp.where(slot < used, old, new)

    return jax.tree.map(choose, states, fresh)


def _with_room(part: Predictor, states: State, rows: int) -> State:
    return jax.vmap(lambda state: part.with_room(state, rows))(states)


def _bytes(part: Predictor, rows: int) -> int:
    """The bytes of a state with room for so many rows."""
    state = eqx.filter_eval_shape(part.start, rows)
    sizes = [int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)]
    return sum(sizes)
