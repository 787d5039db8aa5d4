"""One of several known hidden Markov models, drawn once for each sequence."""

from typing import Annotated

import equinox as eqx
import jax.numpy as jnp

from promptax.specs import JSON_ARGUMENT, check, check_distribution, floats
from promptax.tasks.hidden.base import HiddenTask
from promptax.tasks.hidden.forward import Models, Table, check_model

Tables = Annotated[tuple[Table, ...], JSON_ARGUMENT]


class HiddenMarkovMixture(HiddenTask):
    """Each sequence draws a candidate, and then comes from that hidden Markov model.

    The candidates have the same number of states and the same symbols. One with fewer states gets
    states that nothing leads to: probability 0 in `initial` and in every column of `transition`.
    The conventions are those of `HiddenMarkov`; the oracle knows the candidate and its path.
    """

    initial: Annotated[Table, JSON_ARGUMENT] = eqx.field(
        default=((0.5, 0.5), (0.5, 0.5)), converter=floats
    )
    """Probability of each state before the first symbol [candidate, state]."""
    transition: Tables = eqx.field(
        default=(((0.95, 0.05), (0.05, 0.95)), ((0.1, 0.9), (0.9, 0.1))), converter=floats
    )
    """Probability of the next state [candidate, from, to]."""
    emission: Tables = eqx.field(
        default=(((0.9, 0.1), (0.2, 0.8)), ((0.9, 0.1), (0.2, 0.8))), converter=floats
    )
    """Probability of each symbol in each state [candidate, state, symbol]."""
    weights: tuple[float, ...] = eqx.field(default=(0.5, 0.5), converter=floats)
    """Prior probability of each candidate; zeros are legal."""

    def __check_init__(self) -> None:
        fields = {"initial": self.initial, "transition": self.transition, "emission": self.emission}
        for name, tables in fields.items():
            check(
                len(tables) == len(self.weights),
                f"Expected {name} of {len(self.weights)} candidates, one for each weight; got "
                f"{len(tables)}.",
            )
        models = zip(self.initial, self.transition, self.emission, strict=True)
        for candidate, (initial, transition, emission) in enumerate(models):
            check_model(initial, transition, emission, f" of candidate {candidate}")
        sizes = [
            (len(rows), len(table[0]))
            for rows, table in zip(self.initial, self.emission, strict=True)
        ]
        check(
            len(set(sizes)) == 1,
            "Expected candidates with the same numbers of states and symbols; got (states, "
            f"symbols) {sizes}. Give the smaller ones states that nothing leads to.",
        )
        check_distribution("weights", self.weights)

    @property
    def symbols(self) -> int:
        return len(self.emission[0][0])

    def models(self) -> Models:
        return Models(
            *map(jnp.asarray, (self.initial, self.transition, self.emission, self.weights))
        )

    @classmethod
    def examples(cls) -> "tuple[HiddenMarkovMixture, ...]":
        still, turns = ((1.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (1.0, 0.0))
        emission = ((1.0, 0.0, 0.0), (0.1, 0.3, 0.6))
        other = cls(((0.5, 0.5),) * 2, (still, turns), (emission,) * 2, (0.3, 0.7))
        return cls(), other
