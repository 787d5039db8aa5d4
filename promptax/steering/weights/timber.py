"""Taking back a part of what tuning changed: the directions beyond the effective rank.

    Δ = W_tuned - W_base = U diag(σ) V,     erank(Δ) = exp(H(σ / Σσ)),     k = ⌈erank(Δ)⌉
    W = W_base + U diag(σ_1 … σ_k, rest · σ_{k+1} …) V

Wu et al. 2025, "Timber: Training-free Instruct Model Refining with Base via Effective Rank"; the
effective rank is that of Roy and Vetterli 2007. It is the rank of the change Δ, not of W. Biases,
norms and other vectors stay as they were tuned.

This is a function of two predictors and no tuner: nothing is fitted, and one tuned predictor is
compared at several values of `rest`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from promptax.doors import door
from promptax.predictors.base import Network
from promptax.predictors.parts.layers import Dense, Layer, Transposed
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import Wrapper
from promptax.specs import check
from promptax.steering.base import check_one
from promptax.steering.gradient import replace_network
from promptax.steering.weights.low_rank import LowRankDense

ROUNDING = 1e-5  # of an effective rank: one of exactly 2 must not come out as 3


def effective_rank(values: Any) -> Float[np.ndarray, "*layer"]:
    """exp(H(σ / Σσ)) of singular values σ [*layer, value]: 1 if one value is all there is, n if n
    values are equal; 1 where all are zero."""
    values = np.asarray(values, np.float64)
    total = values.sum(-1, keepdims=True)
    shares = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(np.exp(-(shares * logs).sum(-1)))


@door
def effective_ranks(base: Predictor, tuned: Predictor) -> dict[str, np.ndarray]:
    """The effective rank of what tuning changed, [*layer] by the place of the matrix in the
    network. A low-rank change has at most its rank.

    Raises:
        TypeError: one of them is no network, or they are different networks.
        ValueError: one of their numbers is NaN.
    """
    return {
        name: effective_rank(np.linalg.svd(_change(before, after), compute_uv=False))
        for name, (before, after) in _layer_pairs(base, tuned).items()
    }


@door
def timber(base: Predictor, tuned: Predictor, rest: float = 0.2) -> Predictor:
    """The tuned predictor, with the small directions of what changed in each matrix taken back.

    Args:
        base: as it was before it was tuned.
        tuned: of the same network; its prompts, if it reads any, stay.
        rest: γ, what is left of the directions beyond the effective rank: 0 takes them back whole
            (the default of the authors' code), 1 changes nothing; 0.2 is what they found best.

    A low-rank change stays one. Where its effective rank is almost its rank, next to nothing is
    left to take back.

    Raises:
        TypeError: one of them is no network, or they are different networks.
        ValueError: `rest` is not between 0 and 1.

    Example: `timber(network, FullWeights().tune(key, network, coin).predictor, rest=0.2)`.
    """
    is_share = not isinstance(rest, bool) and 0 <= rest <= 1
    check(is_share, f"Expected rest, a number between 0 and 1; got {rest}.")
    pairs = _layer_pairs(base, tuned)

    def revert(place: Any, node: Any) -> Any:
        name = jax.tree_util.keystr(place)
        return _take_back(*pairs[name], rest) if name in pairs else node

    network = jax.tree_util.tree_map_with_path(revert, _network(tuned), is_leaf=_is_layer)
    return replace_network(tuned, network)


def _take_back(before: Layer, after: Layer, rest: float) -> Layer:
    """Take back a part of the layer's change: the layer after tuning without it."""
    left, values, right = np.linalg.svd(_change(before, after), full_matrices=False)
    kept = np.ceil(effective_rank(values) * (1 - ROUNDING))[..., None]
    scales = np.where(np.arange(values.shape[-1]) < kept, 1.0, rest)
    left = left * (values * scales)[..., None, :]
    if isinstance(after, LowRankDense) and _is_same(before, after.base):
        rank = after.down.shape[-1]  # beyond it all values are zero
        down, up = left[..., :rank], right[..., :rank, :]
        return LowRankDense(after.base, *(jnp.asarray(part, after.up.dtype) for part in (down, up)))
    matrix = before.matrix()
    matrix = jnp.asarray(_wide(matrix) + left @ right, matrix.dtype)
    if isinstance(before, Transposed):
        return Transposed(jnp.swapaxes(matrix, -1, -2), after.bias)
    return Dense(matrix, after.bias)


def _change(before: Layer, after: Layer) -> Float[np.ndarray, "*layer input output"]:
    """What was added to the matrix: of low-rank changes their product, which no sum has rounded."""
    added = np.zeros(before.shape())
    while isinstance(after, LowRankDense) and not _is_same(before, after):
        added, after = added + _wide(after.down) @ _wide(after.up), after.base
    return (
        added if _is_same(before, after) else added + _wide(after.matrix()) - _wide(before.matrix())
    )


def _wide(array: Array) -> np.ndarray:
    """In float64, and on the host: nothing is compiled for a shape that comes once."""
    return np.asarray(array).astype(np.float64)


def _is_same(first: Layer, second: Layer) -> bool:
    """Whether two layers have the same matrix and the same low-rank changes."""
    leaves = [jax.tree.leaves(layer) for layer in (first, second)]
    return type(first) is type(second) and all(
        np.array_equal(a, b) for a, b in zip(*leaves, strict=True)
    )


def _layer_pairs(base: Predictor, tuned: Predictor) -> dict[str, tuple[Layer, Layer]]:
    """Each dense layer before and after tuning, by its place in the network."""
    layers = []
    for predictor in (base, tuned):
        check_one(predictor)
        places = jax.tree_util.tree_leaves_with_path(_network(predictor), is_leaf=_is_layer)
        layers.append(
            {jax.tree_util.keystr(place): node for place, node in places if _is_layer(node)}
        )
    shapes = [{name: layer.shape() for name, layer in by_place.items()} for by_place in layers]
    if shapes[0] != shapes[1]:
        differing = sorted(dict(set(shapes[0].items()) ^ set(shapes[1].items())))
        raise TypeError(
            "Expected one network before and after it was tuned; got two whose matrices differ, "
            f"such as {differing[0]}. Give the predictor that was tuned as base."
        )
    return {name: (layer, layers[1][name]) for name, layer in layers[0].items()}


def _is_layer(node: Any) -> bool:
    return isinstance(node, Layer)


def _network(predictor: Predictor) -> Network:
    """The network below the prompts that a predictor reads."""
    while isinstance(predictor, Wrapper):
        predictor = predictor.predictor
    if not isinstance(predictor, Network):
        raise TypeError(
            f"Expected a neural network, whose matrices were tuned; got {type(predictor).__name__},"
            " which has none."
        )
    return predictor
