"""A predictor that carries the learning rates that were learned for it.

Learned rates are leaves of the predictor's own tree, beside its weights: the one loop trains them,
a file stores them, a checkpoint resumes them, repetitions copy them. Reading ignores them. So what
was meta-trained is a predictor like any other, and inner steps (`adapt`, `Adapting`) find in it all
that they need.
"""

from typing import Any

import equinox as eqx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int

from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import Inputs, Predictor, State
from promptax.protocol.prompted import Wrapper
from promptax.specs import check, later


class Paced(Wrapper):
    """A predictor, and factors by which an objective multiplies `inner_rate` in its inner steps.

    `predictor`: what predicts. `factors`: arrays by the name of the leaf that they belong to, such
    as "unembedding.weight"; 1 is the objective's own `inner_rate`. `learned_by`: the class of the
    objective, which alone knows what the axes of its factors are. `inner_rate`: the rate that the
    factors multiply; None where it was not kept.
    """

    predictor: Predictor
    factors: dict[str, Array]
    learned_by: str = eqx.field(static=True)
    inner_rate: float | None = later(None, static=True)

    @property
    def exchangeable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.predictor.exchangeable

    @property
    def learns(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.predictor.learns

    def start(self, capacity: int | None = None) -> State:
        return self.predictor.start(capacity)

    def blank(self, capacity: int | None = None) -> State:
        return self.predictor.blank(capacity)

    def begin(self, state: State) -> State:
        return self.predictor.begin(state)

    def with_room(self, state: State, rows: int) -> State:
        return self.predictor.with_room(state, rows)

    def advance(self, state: State, inputs: Inputs) -> tuple[State, AnyPrediction]:
        return self.predictor.advance(state, inputs)

    def advance_batch(self, state: State, inputs: Inputs) -> tuple[State, AnyPrediction]:
        return self.predictor.advance_batch(state, inputs)

    def predict_behind(self, state: State, prompts: Inputs, inputs: Inputs) -> AnyPrediction | None:
        return self.predictor.predict_behind(state, prompts, inputs)

    @property
    def forgets(self) -> bool:
        return self.predictor.forgets

    def advance_first(
        self,
        state: State,
        tokens: Int[Array, " time"],
        count: Int[Array, ""],
        capacity: int | None = None,
    ) -> State:
        return self.predictor.advance_first(state, tokens, count, capacity)

    def opened(self, tokens: Int[Array, " time"], count: Int[Array, ""], capacity: int) -> State:
        return self.predictor.opened(tokens, count, capacity)

    def reading_bytes(self, rows: int) -> int:
        return self.predictor.reading_bytes(rows)

    def micro_batch(self, batch: int, length: int) -> int:
        return self.predictor.micro_batch(batch, length)

    def reading_lengths(self, length: int) -> tuple[int, ...]:
        return self.predictor.reading_lengths(length)


def check_rate(paced: Paced, inner_rate: Any) -> None:
    """Complain about another `inner_rate` than that which the factors were learned for."""
    if paced.inner_rate is None or isinstance(inner_rate, Tracer):
        return
    check(
        np.float32(inner_rate) == np.float32(paced.inner_rate),
        f"Expected the inner_rate whose factors {paced.learned_by} learned, "
        f"{paced.inner_rate:g}; got {float(inner_rate):g}. Adapt with "
        f"{paced.learned_by}(inner_rate={paced.inner_rate:g}, …).",
    )


def paced_in(predictor: Any) -> Paced | None:
    """The predictor that carries learned rates, below any prompts; None if there is none."""
    while isinstance(predictor, Wrapper):
        if isinstance(predictor, Paced):
            return predictor
        predictor = predictor.predictor
    return None
