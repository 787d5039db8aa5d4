"""Tensors that an adapter folder holds along with what was tuned, as they are in the model.

PEFT saves the embeddings too once their number of rows was changed, and whole modules that
`modules_to_save` names. Where they are what the model has, they say nothing; where they are not,
the adapter changes more than can be loaded here.
"""

import re
from pathlib import Path

import jax
import numpy as np

from promptax.files import expect
from promptax.formats.llama import LAYER, OUTSIDE
from promptax.formats.weights import Weights
from promptax.predictors.base import Network
from promptax.predictors.llama import LlamaTorso
from promptax.steering.weights.low_rank import LowRankDense

# what PEFT puts around a module's own name, in various versions
WRAPPED = re.compile(r"base_model\.model\.|\.base_layer|\.modules_to_save(\.default)?")
IN_LAYER = re.compile(r"layers\.(\d{1,9})\.(.+)\.weight")
OUTER = {module.removeprefix("model."): ours for ours, (_, module) in OUTSIDE.items()}
INNER = {module: ours for ours, (_, module) in LAYER.items()}


def without(network: Network, tensors: Weights, folder: Path) -> Weights:
    """The tensors that are not the model's own.

    Raises:
        StoreError: one has a name of the model's, and other numbers.
    """
    kept = {}
    for name, tensor in tensors.items():
        base = _of_model(network, WRAPPED.sub("", name).removeprefix("model."))
        if base is None:
            kept[name] = tensor
            continue
        expect(
            _are_equal(tensor, base),
            f"Expected {name} in {folder} as it is in the model; got other numbers, or another "
            "shape. The adapter changes more than matrices: merge it into its model with PEFT "
            "(merge_and_unload), which then loads as a whole.",
        )
    return kept


def _of_model(network: Network, name: str) -> np.ndarray | None:
    """The weights of that name in the llama, if it has such."""
    assert isinstance(network.torso, LlamaTorso)
    layers = network.torso.layers
    inside = IN_LAYER.fullmatch(name)
    if inside is not None and inside[2] in INNER:
        layer, stacked = int(inside[1]), getattr(layers, INNER[inside[2]])
        while isinstance(stacked, LowRankDense):
            stacked = stacked.base
        whole = stacked if isinstance(stacked, jax.Array) else stacked.matrix()
        return np.asarray(whole[layer].T) if layer < len(whole) else None
    ours = OUTER.get(name.removesuffix(".weight"))
    if ours is None or not name.endswith(".weight"):
        return None
    table = network.embedding.matrix()
    last = table if network.unembedding is None else network.unembedding.matrix().T
    outside = {"embedding": table, "norm": network.torso.norm, "unembedding": last}
    return np.asarray(outside[ours])


def _are_equal(tensor: np.ndarray, base: np.ndarray) -> bool:
    """Whether they are the same numbers, as far as the shorter type of the two can tell."""
    if tensor.shape != base.shape:
        return False
    return np.array_equal(tensor.astype(base.dtype), base) or np.array_equal(
        tensor, base.astype(tensor.dtype)
    )
