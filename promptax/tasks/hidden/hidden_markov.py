"""One known hidden Markov model: its parameters are known, its path is not."""

from typing import Annotated

import equinox as eqx
import jax.numpy as jnp

from promptax.specs import JSON_ARGUMENT, floats
from promptax.tasks.hidden.base import HiddenTask
from promptax.tasks.hidden.forward import Models, check_model


class HiddenMarkov(HiddenTask):
    """A hidden chain of states, each of which emits symbols with probabilities of its own.

    *Conventions*: the state drawn from `initial` emits the first symbol, nothing precedes it. Rows
    of `transition` are [from, to], rows of `emission` [state, symbol]. Zeros are legal. The oracle
    knows the state at each step, so that what the exact predictor loses more is what the path
    costs: the information between the symbols and the path.
    """

    initial: tuple[float, ...] = eqx.field(default=(0.5, 0.5), converter=floats)
    """Probability of each state before the first symbol [state]."""
    transition: Annotated[tuple[tuple[float, ...], ...], JSON_ARGUMENT] = eqx.field(
        default=((0.95, 0.05), (0.05, 0.95)), converter=floats
    )
    """Probability of the next state [from, to]."""
    emission: Annotated[tuple[tuple[float, ...], ...], JSON_ARGUMENT] = eqx.field(
        default=((0.9, 0.1), (0.2, 0.8)), converter=floats
    )
    """Probability of each symbol in each state [state, symbol]."""

    def __check_init__(self) -> None:
        check_model(self.initial, self.transition, self.emission, "")

    @property
    def symbols(self) -> int:
        return len(self.emission[0])

    def models(self) -> Models:
        initial, transition, emission = map(
            jnp.asarray, (self.initial, self.transition, self.emission)
        )
        return Models(initial[None], transition[None], emission[None], jnp.ones(1))

    @classmethod
    def examples(cls) -> "tuple[HiddenMarkov, ...]":
        # Three states, of which some never follow some, and symbols that some never emit
        gaps = ((0.5, 0.5, 0.0), (0.0, 0.2, 0.8), (1.0, 0.0, 0.0))
        return cls(), cls((0.6, 0.4, 0.0), gaps, ((0.75, 0.25), (0.0, 1.0), (1.0, 0.0)))
