"""Repetitions of a fit: predictors that share their frozen half."""

from collections.abc import Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int

from promptax.axes import strongly_typed
from promptax.checks import unmasked
from promptax.protocol.outcomes import Outcome
from promptax.protocol.predictor import Predictor
from promptax.specs import Record, on_device


class Repeated(Record):
    """Predictors that share a frozen half: each tuned leaf has a leading `repetition` axis.

    `repeated[i]` is the predictor of repetition i; iterating yields all of them. `tuned` and
    `frozen`: the two halves, each with None where a leaf belongs to the other. `repetitions`: how
    many there are.
    """

    tuned: Any
    frozen: Any
    repetitions: int = eqx.field(static=True)

    def __len__(self) -> int:
        return self.repetitions

    def __getitem__(self, index: Any) -> Predictor:
        dtype = getattr(unmasked(index), "dtype", None)  # of an argmin by NumPy, JAX or xarray
        is_whole = isinstance(dtype, np.dtype) and dtype.kind in "iu" and np.ndim(index) == 0
        is_whole = is_whole or (isinstance(index, int) and not isinstance(index, bool))
        if not is_whole or isinstance(index, Tracer):
            raise TypeError(
                f"Expected the number of one repetition, such as repeated[0]; got {index!r:.60}. "
                "For several, take one after the other: [repeated[i] for i in range(2)]; in a "
                "compiled function, pick before it is called."
            )
        number = int(index)
        if not -self.repetitions <= number < self.repetitions:
            raise IndexError(
                f"Expected a repetition from 0 to {self.repetitions - 1}; got {number}."
            )
        which = on_device(np.int32(number % self.repetitions))  # one program picks any
        return eqx.combine(_picked(self.tuned, which), self.frozen)

    def __iter__(self) -> Iterator[Predictor]:
        return (self[index] for index in range(self.repetitions))

    @property
    def reads(self) -> frozenset[str]:
        """The kinds of inputs that all of them read."""
        return self[0].reads

    @property
    def symbols(self) -> int:
        """The size of the alphabet."""
        return self[0].symbols

    @property
    def outcome(self) -> Outcome:
        """What all of them predict."""
        return self[0].outcome

    @property
    def prompt(self) -> Array:
        """The prompts that were found [repetition, prompt, ...]."""
        return jnp.stack([predictor.prompt for predictor in self])  # pyright: ignore


def cut(predictors: Sequence[Predictor], mask: Any) -> Repeated:
    """Predictors that differ in their tuned leaves only, as one tree in two halves."""
    tuned = [eqx.filter(predictor, mask) for predictor in predictors]
    return Repeated(_stacked(tuned), eqx.filter(predictors[0], mask, inverse=True), len(predictors))


@eqx.filter_jit
def _stacked(trees: Sequence[Any]) -> Any:
    return strongly_typed(jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees))


@eqx.filter_jit
def _picked(stacked: Any, index: Int[Array, ""]) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], stacked)


def one_or_all(repeated: Repeated) -> Predictor | Repeated:
    """The only repetition, or all of them."""
    return repeated[0] if len(repeated) == 1 else repeated
