"""Memorise or generalise? Both, each weighed by how well it predicted what has come.

The hierarchical account of Wurgaft et al. 2025, "In-Context Learning Strategies Emerge Rationally",
within one sequence: a prior over two predictors instead of one over tasks.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax.protocol.outcomes import Outcome
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import Inputs, Predictor
from promptax.specs import check, check_kind, floats
from promptax.tasks.combined.part_posterior import PartBelief, PartPosterior


class HierarchicalMixture(Predictor):
    """The Bayes mixture of what memorises a pool, M (`memorising`), and what generalises beyond it,
    G (`generalising`):

        p(x_n | x_<n)  =  v_n M(x_n | x_<n) + (1 - v_n) G(x_n | x_<n),
        v_n / (1 - v_n)  =  share / (1 - share) · Π_{m<n} M(x_m | x_<m) / G(x_m | x_<m).

    So it loses at most log(1 / share) nats more than M on any sequence, and at most
    log(1 / (1 - share)) more than G. Where M excludes what came, v is exactly 0 from then on.
    It reads what both read, and is their `PartPosterior`. Internal states: "responsibility"
    [time, 2] is (v, 1 - v) after each input.
    """

    memorising: Predictor
    generalising: Predictor
    share: float | Float[Array, ""] = eqx.field(converter=floats)
    """Probability, before anything is read, that what comes is from the pool."""

    def __check_init__(self) -> None:
        for predictor in (self.memorising, self.generalising):
            check_kind(predictor, Predictor, "task.bayes()")
        check(
            self.memorising.outcome == self.generalising.outcome,
            f"Expected two predictors of one outcome; got {self.memorising.outcome.words()} and "
            f"{self.generalising.outcome.words()}.",
        )
        if isinstance(self.share, float):
            check(
                0 <= self.share <= 1,
                f"Expected a share from 0 to 1, a probability; got {self.share!r}.",
            )

    def of_both(self) -> PartPosterior:
        """The posterior over the two, which does the work."""
        share = jnp.asarray(self.share)
        return PartPosterior((self.memorising, self.generalising), jnp.stack([share, 1 - share]))

    @property
    def symbols(self) -> int:
        return self.memorising.symbols

    @property
    def outcome(self) -> Outcome:
        return self.memorising.outcome

    @property
    def reads(self) -> frozenset[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.memorising.reads & self.generalising.reads

    @property
    def merges(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.memorising.merges and self.generalising.merges

    def reading_bytes(self, rows: int) -> int:
        return self.memorising.reading_bytes(rows) + self.generalising.reading_bytes(rows)

    def micro_batch(self, batch: int, length: int) -> int:
        sizes = (one.micro_batch(batch, length) for one in (self.memorising, self.generalising))
        return min(sizes)

    def start(self, capacity: int | None = None) -> PartBelief:
        return self.of_both().start(capacity)

    def with_room(self, state: PartBelief, rows: int) -> PartBelief:
        return self.of_both().with_room(state, rows)

    def advance(self, state: PartBelief, inputs: Inputs) -> tuple[PartBelief, AnyPrediction]:
        return self.of_both().advance(state, inputs)
