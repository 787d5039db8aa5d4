"""Sources that switch from one task to another, at any time, without telling."""

from typing import Annotated, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.specs import JSON_ARGUMENT, check, floats
from promptax.tasks.base import Task
from promptax.tasks.combined import switch_judges, switches
from promptax.tasks.combined.parts import TaskOfParts, check_alphabets, check_parts
from promptax.tasks.combined.switch_posterior import SwitchPosterior
from promptax.tasks.combined.switches import Switches
from promptax.tasks.hidden.forward import ForwardFilter
from promptax.tasks.independent.categorical import Categorical
from promptax.tasks.independent.dirichlet_categorical import DirichletCategorical
from promptax.tasks.switching.partition_tree import PartitionTree

FRESH, RESUMED, REDRAW, ALTERNATE = "fresh", "resumed", "redraw", "alternate"


class Switching(TaskOfParts):
    """A sequence that comes from one of the parts, and switches to another one at random.

    *Conventions*. The part that begins is drawn from `weights`. Before each later symbol there is a
    switch with probability `hazard`, however long the last one is ago: never before the first
    symbol. What a switch leads to is a field, `next_part`:

    - "redraw": a part that is drawn from `weights`, which may be the same one again;
    - "alternate": the next part in their order, and the first one after the last.

    What a part says when it speaks is another field, `latent`:

    - "fresh": a new sequence of its own, with a new latent, whenever a switch leads to it;
    - "resumed": its only sequence, which goes on where it stopped. Steps of others do not count.

    The oracle knows when switches come, which part speaks, and what is hidden in it. The exact
    predictor sums over what it must. If what the parts say does not depend on what they read
    (`Categorical`), that is which of them speaks: a cost of O(parts) for each symbol. Other fresh
    parts cost it a belief of every part for every step at which the segment may have begun: see
    `SwitchPosterior`. Other resumed parts would cost it a belief for every way to share the symbols
    among the parts, exponentially many: there is none.
    """

    parts: Annotated[tuple[Task, ...], JSON_ARGUMENT] = (DirichletCategorical(), Categorical())
    """The tasks that speak in turn."""
    weights: tuple[float, ...] = eqx.field(default=(0.5, 0.5), converter=floats)
    """Probability of each part to begin, and to be drawn again; zeros are legal."""
    hazard: float = eqx.field(default=0.05, converter=floats)
    """Probability of a switch before each symbol but the first; from 0 to 1."""
    next_part: Literal["redraw", "alternate"] = REDRAW
    """Where a switch leads."""
    latent: Literal["fresh", "resumed"] = FRESH
    """Whether a part that speaks again begins anew."""

    def __check_init__(self) -> None:
        check_parts(self.parts, self.weights)
        check_alphabets(self.parts)
        check(
            0 <= self.hazard <= 1,
            f"Expected a hazard, a probability from 0 to 1; got {self.hazard}.",
        )
        for part in self.parts:
            check(
                part.longest is None,
                f"Expected parts whose sequences go on; those of {type(part).__name__} end after "
                f"{part.longest} steps.",
            )

    @property
    def has_bayes(self) -> bool:
        if not all(part.has_bayes for part in self.parts):
            return False
        return self.latent == FRESH or not self._learns()

    def _learns(self) -> bool:
        return any(part.bayes().learns for part in self.parts)

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        when, what = jax.random.split(key)
        path = switches.draw_path(when, self.weights, self.hazard, self._moves(), length)
        draw = switches.draw_fresh if self.latent == FRESH else switches.draw_resumed
        tokens, latents = draw(what, self.parts, path)
        return Episode(tokens, latent=Switches(*path, latents))

    def oracle(self, latent: Switches, tokens: Tokens) -> LogProbs:
        oracle = switches.fresh_oracle if self.latent == FRESH else switches.resumed_oracle
        return oracle(self.parts, latent, tokens)

    def bayes(self) -> Predictor:
        """A `ForwardFilter` where what the parts say does not depend on what they read, else a
        `SwitchPosterior`.

        Raises:
            NotImplementedError: a part has no exact predictor, or parts are resumed whose
                predictions depend on what they read.
        """
        parts = tuple(part.bayes() for part in self.parts)
        if not self._learns():
            return _filter_of_known(parts, self.weights, self.hazard, self._moves())
        if self.latent == RESUMED:
            raise NotImplementedError(
                "Expected fresh parts, or parts that say the same whatever they read, such as "
                "Categorical; got resumed parts whose predictions depend on what they read. An "
                "exact predictor would sum over all ways to share the symbols among them, which "
                "are exponentially many. Take latent='fresh', or compare predictors with each "
                "other (promptax.regret with reference=NAME)."
            )
        return SwitchPosterior(parts, self.weights, self.hazard, self.next_part)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        """H_t = Σ P(part k speaks at t, for the (c + 1)-th time) H_c(part k), nats: c counts the
        steps since the last switch if parts are fresh, and all steps of the part if resumed."""
        entropies = jnp.stack([part.oracle_entropy(length) for part in self.parts])
        entropy = switches.fresh_entropy if self.latent == FRESH else switches.resumed_entropy
        return entropy(entropies, self.weights, self.hazard, self._moves())

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        judge = switch_judges.fresh if self.latent == FRESH else switch_judges.resumed
        return judge(self.parts, self.weights, self.hazard, self._moves(), tokens)

    def _moves(self) -> Float[Array, "part to"]:
        return switches.moves(self.next_part, jnp.asarray(self.weights))

    @classmethod
    def examples(cls) -> "tuple[Switching, ...]":
        casino = Categorical((1 / 6,) * 6), Categorical((0.1,) * 5 + (0.5,))  # dice, one loaded
        gaps = Categorical((0.0, 0.4, 0.6)), Categorical((0.5, 0.5, 0.0))
        dice = DirichletCategorical((0.5, 1.0, 0.5))
        return (
            cls(casino, (0.8, 0.2), 0.1, ALTERNATE),
            cls((PartitionTree(depth=1), Categorical()), (0.4, 0.6), 0.2, ALTERNATE),
            cls((*gaps, dice), (0.4, 0.0, 0.6), 0.3),
            cls(gaps, (0.3, 0.7), 0.1, ALTERNATE, RESUMED),
        )


def _filter_of_known(
    parts: tuple[Predictor, ...],
    weights: tuple[float, ...] | Float[Array, " part"],
    hazard: float | Float[Array, ""],
    moves: Float[Array, "part to"],
) -> ForwardFilter:
    """The forward filter of a hidden chain whose states are the parts. What a part says is its
    first prediction, since it does not depend on what was read."""
    nothing = jnp.zeros(1, jnp.int32)
    rows = [part.advance(part.start(), nothing)[1].log_probs[0] for part in parts]
    chances = jnp.asarray(hazard)
    transition = (1 - chances) * jnp.eye(len(parts)) + chances * moves
    initial = jnp.asarray(weights)
    emission = jnp.exp(jnp.stack(rows))
    return ForwardFilter(initial[None], transition[None], emission[None], jnp.ones(1))
