"""Log losses of a batch of episodes, in nats: one compilation for each structure."""

import math

import equinox as eqx
import jax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from promptax import platforms
from promptax.predictors.base import Network
from promptax.protocol.outcomes import Episode, Outcome
from promptax.protocol.predictor import Embedded, KeyValues, Predictor
from promptax.protocol.prompted import GivenPrompt, Prompt, Prompted
from promptax.tasks.base import Task

Reader = Predictor | Task  # a task reads as its own oracle


def _at_once(reader: Reader, chunk: int, length: int, mesh: Mesh | None) -> int:
    """How many sequences of a device's part of the chunk to read at a time: a divisor of it."""
    share = chunk if mesh is None else chunk // mesh.shape["sequence"]
    return share if isinstance(reader, Task) else math.gcd(share, reader.micro_batch(share, length))


def as_rows(predictor: Predictor) -> Predictor:
    """The same predictor, with a network's prompt as rows behind its embedding: whoever found
    prompts of one length, one program reads them all."""
    if type(predictor) is not Prompted or not isinstance(predictor.predictor, Network):
        return predictor
    if predictor.context.before_begin:
        return predictor
    network = predictor.predictor
    return Prompted(network, GivenPrompt(_embedded(network, predictor.context)))


@eqx.filter_jit
@platforms.in_float32
def _embedded(network: Network, context: Prompt) -> Embedded | KeyValues:
    """What the prompt holds, as the network's layers read it."""
    inputs = context.inputs()
    return inputs if isinstance(inputs, KeyValues) else Embedded(network.embed(inputs))


@eqx.filter_jit
def _losses(
    reader: Reader, outcome: Outcome, episodes: Episode, at_once: int, mesh: Mesh | None
) -> Float[Array, "sequence time"]:
    """Losses in nats. Weights and a spec's numbers are arguments: one compilation a structure."""
    if mesh is None:
        return _losses_on_device(reader, outcome, episodes, at_once)

    def read_share(reader: Reader, episodes: Episode) -> Array:
        return _losses_on_device(reader, outcome, episodes, at_once)

    whole, share = PartitionSpec(), PartitionSpec("sequence")
    return platforms.spread(read_share, mesh, (whole, share), share)(reader, episodes)


def _losses_on_device(
    reader: Reader, outcome: Outcome, episodes: Episode, at_once: int
) -> Float[Array, "sequence time"]:
    state = None if isinstance(reader, Task) else reader.start()

    def read(piece: Episode) -> Array:
        if isinstance(reader, Task):
            prediction = outcome.prediction(jax.vmap(reader.oracle)(piece.latent, piece.inputs))
        else:
            _, prediction = reader.advance_batch(state, piece.inputs)
        return outcome.log_loss(prediction, piece)

    pieces = jax.tree.map(lambda leaf: leaf.reshape(-1, at_once, *leaf.shape[1:]), episodes)
    losses = jax.lax.map(read, pieces)
    return losses.reshape(-1, losses.shape[-1])
