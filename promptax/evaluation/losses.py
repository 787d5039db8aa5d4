"""Log losses of a batch of episodes, in nats: one compilation for each structure."""

import math

import equinox as eqx
import jax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from promptax import platforms
from promptax.evaluation.control_variates import regret as regret
from promptax.protocol.outcomes import Episode, Outcome
from promptax.protocol.predictor import Predictor
from promptax.tasks.base import Task

Reader = Predictor | Task  # a task reads as its own oracle


def _at_once(reader: Reader, chunk: int, length: int, mesh: Mesh | None) -> int:
    """How many sequences of a device's part of the chunk to read at a time: a divisor of it."""
    here = chunk if mesh is None else chunk // mesh.shape["sequence"]
    return here if isinstance(reader, Task) else math.gcd(here, reader.micro_batch(here, length))


@eqx.filter_jit
def _losses(
    reader: Reader, outcome: Outcome, episodes: Episode, at_once: int, mesh: Mesh | None
) -> Float[Array, "sequence time"]:
    """Losses in nats. Weights and a spec's numbers are arguments: one compilation a structure."""
    if mesh is None:
        return _losses_here(reader, outcome, episodes, at_once)
    own = PartitionSpec("sequence")
    here = lambda reader, episodes: _losses_here(reader, outcome, episodes, at_once)  # noqa: E731
    return platforms.spread(here, mesh, (PartitionSpec(), own), own)(reader, episodes)


def _losses_here(
    reader: Reader, outcome: Outcome, episodes: Episode, at_once: int
) -> Float[Array, "sequence time"]:
    state = None if isinstance(reader, Task) else reader.start()

    def read(some: Episode) -> Array:
        if isinstance(reader, Task):
            prediction = outcome.prediction(jax.vmap(reader.oracle)(some.latent, some.inputs))
        else:
            _, prediction = reader.advance_batch(state, some.inputs)
        return outcome.log_loss(prediction, some)

    pieces = jax.tree.map(lambda leaf: leaf.reshape(-1, at_once, *leaf.shape[1:]), episodes)
    losses = jax.lax.map(read, pieces)
    return losses.reshape(-1, losses.shape[-1])
