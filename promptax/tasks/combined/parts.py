"""What tasks that are made of other tasks share: looks at the parts, and the choice of one of them.

A combination knows nothing of its parts but what every task says of itself: how it draws, what its
oracle says, its exact predictor, its brute force. So it is exact where the parts are, and lacks
what one of them lacks.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.protocol.outcomes import Episode, Outcome
from promptax.protocol.predictor import Predictor, State
from promptax.specs import check, check_distribution
from promptax.tasks.base import Task, draw


class TaskOfParts(Task):
    """A task made of several tasks over one outcome. A member owes its fields, and what it draws
    and knows of its parts."""

    parts: eqx.AbstractVar[tuple[Task, ...]]

    @property
    def outcome(self) -> Outcome:
        return self.parts[0].outcome

    @property
    def has_oracle(self) -> bool:
        return all(part.has_oracle for part in self.parts)

    @property
    def has_bayes(self) -> bool:
        return all(part.has_bayes for part in self.parts)

    @property
    def longest(self) -> int | None:
        lengths = [part.longest for part in self.parts]
        ends = [length for length in lengths if length is not None]
        return max(ends) if len(ends) == len(lengths) else None


class OnePart(NamedTuple):
    """The latent of a sequence that comes from one of several tasks: which one, and what was hidden
    in each. Only the latent of that one made the sequence."""

    part: Int[Array, ""]
    latents: tuple[Any, ...]


def check_parts(parts: tuple[Task, ...], weights: tuple[float, ...]) -> None:
    """Complain unless the parts speak of the same, and each has a probability."""
    check(len(parts) >= 1, "Expected at least one task as a part; got none.")
    same = all(part.outcome == parts[0].outcome for part in parts)
    listed = ", ".join(f"{type(part).__name__} over {part.outcome.words()}" for part in parts)
    check(
        same,
        f"Expected parts over one alphabet, or over the same points; got {listed}.",
    )
    check(
        len(weights) == len(parts),
        f"Expected one weight for each of the {len(parts)} parts; got {len(weights)} weights.",
    )
    check_distribution("weights", weights)


def check_alphabets(parts: tuple[Task, ...]) -> None:
    """Complain about parts whose outcomes are no symbols."""
    outcome = parts[0].outcome
    check(
        outcome.alphabet is not None,
        f"Expected parts over an alphabet; got parts over {outcome.words()}. Mixture takes them.",
    )


def check_keeps_shape(predictor: Predictor, state: State) -> None:
    """Complain unless reading leaves the shape of a state, as single steps inside a loop must."""

    def read(state: State) -> State:
        return predictor.advance(state, jnp.zeros(1, jnp.int32))[0]

    def shapes(tree: Any) -> list[Any]:
        return [leaf.shape for leaf in jax.tree.leaves(tree)]

    after = eqx.filter_eval_shape(read, state)
    check(
        jax.tree.structure(after) == jax.tree.structure(state) and shapes(after) == shapes(state),
        f"Expected parts whose exact predictors have states of fixed shape; got "
        f"{type(predictor).__name__}, whose state grows. Write its `with_room`.",
    )


def draw_one(
    key: Key[Array, ""], parts: tuple[Task, ...], weights: Any, length: int
) -> tuple[Episode, OnePart]:
    """An episode of the part that is drawn, and which part that was. All parts draw: one program
    serves a batch in which every sequence has another part."""
    which, *keys = jax.random.split(key, len(parts) + 1)
    part = draw(which, jnp.asarray(weights), 1)[0]
    episodes = [task.sample(k, length) for task, k in zip(parts, keys, strict=True)]
    scored = None
    if any(episode.scored is not None for episode in episodes):
        masks = [jnp.ones(length, bool) if e.scored is None else e.scored for e in episodes]
        scored = jnp.stack(masks)[part]
    observations = jnp.stack([episode.observations for episode in episodes])[part]
    latent = OnePart(part, tuple(episode.latent for episode in episodes))
    return Episode(observations, latent=latent, scored=scored), latent


def oracle_of_one(
    parts: tuple[Task, ...], latent: OnePart, inputs: Array
) -> Float[Array, "time parameter"]:
    """What a reader says that knows the part and what was hidden in it."""
    rows = [task.oracle(hidden, inputs) for task, hidden in zip(parts, latent.latents, strict=True)]
    return jnp.stack(rows)[latent.part]


def read_by_all(predictors: tuple[Predictor, ...]) -> frozenset[str]:
    """The kinds of inputs that all of the predictors read."""
    return frozenset.intersection(*(predictor.reads for predictor in predictors))
