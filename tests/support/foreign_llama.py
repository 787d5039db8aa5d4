"""A tiny llama as files of others hold it: its tensors, and what comes of reading them."""

import numpy as np
from support import small_llama

from promptax.formats import llama

WEIGHTS = small_llama.weights()
Q_PROJ = "model.layers.0.self_attn.q_proj.weight"
HEAD = np.full((small_llama.SYMBOLS, small_llama.WIDTH), 0.5, np.float32)
INT8 = {Q_PROJ: np.ones((8, 8), np.int8)}


def read(place):
    """The llama there, as numbers."""
    return (llama.from_folder if place.is_dir() else llama.from_gguf)(place, np.float32)


def same(one, other):
    """Whether two llamas are the same numbers with the same settings."""
    pairs = zip(one.layers.values(), other.layers.values(), strict=True)
    last = (one.unembedding is None) == (other.unembedding is None)
    return one.fields == other.fields and last and all(np.array_equal(a, b) for a, b in pairs)


def tensors(**changed):
    """The tensors with some of their modules' weights changed; None leaves one out."""
    named = WEIGHTS | {name.replace("__", "."): array for name, array in changed.items()}
    return {name: array for name, array in named.items() if array is not None}
