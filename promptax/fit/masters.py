"""Copies of tuned leaves with all the digits that small steps need.

In bfloat16, 0.3 - 2e-4 is 0.3: a leaf that is updated in it stands still. So the loop moves copies
in float32, and rounds them where the predictor is read (Micikevicius et al. 2018, "Mixed Precision
Training", section 3.1). Leaves of 32 bits or more are their own copies, and nothing is rounded.
"""

from typing import Any

import jax
import jax.numpy as jnp

from promptax.axes import Tree


def low_precision(tree: Tree) -> Tree:
    """The dtype of every leaf that needs a copy, None elsewhere; None alone if no leaf does."""

    def dtype_of(leaf: Any) -> Any:
        return leaf.dtype if jnp.finfo(leaf.dtype).bits < 32 else None

    dtypes = jax.tree.map(dtype_of, tree)
    return dtypes if jax.tree.leaves(dtypes) else None


def wide_copies(tree: Tree) -> Tree:
    """The leaves of a tuned half in float32, or wider where they are."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), tree)


def rounded(copies: Tree, dtypes: Tree) -> Tree:
    """The leaves as the predictor has them, from their copies and what `low_precision` said."""
    if dtypes is None:
        return copies

    def round_leaf(copy: Any, dtype: Any) -> Any:
        return copy if dtype is None or copy is None else copy.astype(dtype)

    return jax.tree.map(round_leaf, copies, dtypes, is_leaf=lambda leaf: leaf is None)
