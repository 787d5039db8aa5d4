"""No race at all: every candidate reads the same first sequences. The control for the others."""

import jax.numpy as jnp

from promptax.steering.races.base import Race, Read, Standing, expect_field, nobody_read, read_on


class UniformAllocation(Race):
    """Every candidate reads the same part of the batch."""

    saving: int = 5
    """How many times fewer sequences are read than all sequences behind all candidates."""

    @classmethod
    def examples(cls) -> "tuple[UniformAllocation, ...]":
        return (cls(),)

    def run(self, read: Read, candidates: int, sequences: int) -> Standing:
        expect_field(candidates, sequences)
        number = max(1, sequences // self.saving)
        return read_on(nobody_read(candidates), read, jnp.arange(candidates), 0, number)
