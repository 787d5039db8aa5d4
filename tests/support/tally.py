"""Counts rows where predictors read them, on the host, whatever searches say of it."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax.protocol.predictor import rows_in
from promptax.steering import SearchProblem


@dataclasses.dataclass
class Tally:
    """Rows that were read, and those out of them that no search asked for: of candidates that are
    not wanted, and of prompts behind their first rows. Programs of fixed shape read them anyway."""

    read: list[int] = dataclasses.field(default_factory=list)
    unasked: list[int] = dataclasses.field(default_factory=list)

    def charged(self) -> int:
        """What a search has to pay for."""
        jax.effects_barrier()  # programs may still run
        return sum(self.read) - sum(self.unasked)


@contextlib.contextmanager
def tallied(predictor_class):
    """Programs that are traced inside count what predictors of that class read."""
    tally, advance, losses = Tally(), predictor_class.advance, SearchProblem.losses

    def note_read(rows):
        tally.read.append(int(np.sum(rows)))  # from several threads, where a sum would lose some

    def note_unasked(rows):
        tally.unasked.append(int(np.sum(rows)))

    def counting_advance(self, state, inputs):
        # a number of its own for every sequence of a batch, which the inputs are mapped over
        here = 0 * jnp.sum(jax.lax.stop_gradient(inputs)).astype(jnp.int32)
        jax.debug.callback(note_read, rows_in(inputs) + here)
        return advance(self, state, inputs)

    def counting_losses(self, prompts, rows=None, wanted=None):
        batch, length = self.episodes.inputs.shape[:2]
        whole = prompts.shape[1]
        asked = jnp.full(len(prompts), whole) if rows is None else rows
        asked = asked + batch * length
        asked = asked if wanted is None else jnp.where(wanted, asked, 0)
        jax.debug.callback(note_unasked, whole + batch * length - asked)
        return losses(self, prompts, rows, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor_class, "advance", counting_advance)
        patch.setattr(SearchProblem, "losses", counting_losses)
        yield tally
