"""Which tokens a tuned prompt is close to.

A soft prompt has no tokens; its rows can be read only by the tokens whose embeddings lie nearest
(Lester et al. 2021, section 7, by cosine). Near is not equal: what the rows do beyond their tokens
is the point of them.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from promptax.axes import labelled
from promptax.doors import door
from promptax.predictors.base import Network
from promptax.protocol.predictor import Embedded, KeyValues
from promptax.protocol.prompted import Prompted, Wrapper
from promptax.specs import check

Rows = Float[Array, "prompt embedding"]
Ranked = Float[Array, "prompt rank"]


@door
def nearest_tokens(predictor: Any, count: int = 5) -> xr.Dataset:
    """The tokens whose embeddings point most nearly where each row of a prompt points.

    Rows of weights over symbols, and of tokens, are looked at behind the embedding.

    Args:
        predictor: a network that has read a prompt; of nested prompts the outermost is shown.
        count: how many tokens for each row; all symbols if those are fewer.

    Returns:
        `token` [prompt, rank]; `cosine` [prompt, rank], highest first, 0 for a row of zeros;
        `distance` [prompt, rank], Euclidean, between row and embedding; `norm` [prompt].

    Raises:
        TypeError: not one prompted network, or a prompt of keys and values.

    Example: `nearest_tokens(SoftPrompt().tune(key, base, target).predictor).token`
    """
    check(count >= 1, f"Expected at least 1 token for each row; got {count}.")
    if not isinstance(predictor, Prompted):
        raise TypeError(
            f"Expected one predictor that has read a prompt; got {type(predictor).__name__}. Of "
            "repetitions pick one: predictor[0]; of a mixture promptax.protocol.Prompted("
            "mixture.predictor, mixture.context[0])."
        )
    network = predictor
    while isinstance(network, Wrapper):
        network = network.predictor
    inputs = predictor.context.inputs()
    if not isinstance(network, Network) or isinstance(inputs, KeyValues):
        what = "keys and values" if isinstance(network, Network) else type(network).__name__
        raise TypeError(f"Expected a prompt of rows in front of a neural network; got {what}.")
    nearest = _nearest(network, inputs, min(count, network.symbols))
    names = ("token", "cosine", "distance")
    variables: dict[str, Any] = {
        name: (("prompt", "rank"), np.asarray(values))
        for name, values in zip(names, nearest, strict=False)
    }
    variables["norm"] = "prompt", np.asarray(nearest[-1])
    return labelled(variables, coords={"rank": np.arange(1, nearest[0].shape[1] + 1)})


@eqx.filter_jit
def _nearest(
    network: Network, inputs: Array | Embedded, count: int
) -> tuple[Int[Array, "prompt rank"], Ranked, Ranked, Float[Array, " prompt"]]:
    """Tokens, cosines, distances, and the norms of the rows."""
    rows = network.embed(inputs).astype(jnp.float32)
    table = network.embed(jnp.arange(network.symbols)).astype(jnp.float32)
    norms, lengths = (jnp.linalg.norm(vectors, axis=-1) for vectors in (rows, table))
    product = norms[:, None] * lengths
    cosines = jnp.where(product > 0, rows @ table.T / jnp.where(product > 0, product, 1.0), 0.0)
    cosine, token = jax.lax.top_k(cosines, count)
    distance = jnp.linalg.norm(rows[:, None] - table[token], axis=-1)
    return token, cosine, distance, norms
