"""Words for what a search returns or asks that cannot be meant.

All but `check_symbols` ask for shapes and kinds alone, so that they run while a search is traced:
they compile nothing and cost no step anything. What a symbol is, is known when it was computed, and
is checked by the host.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from promptax.specs import check

ARRAYS = (jax.Array, np.ndarray)
NUMBERS = (*ARRAYS, np.generic, bool, int, float)


def check_prompts(prompts: Any) -> None:
    """Raise ValueError unless these are prompts [candidate, prompt] of symbols, one at least."""
    _check_whole_numbers(prompts, "prompts [candidate, prompt]")
    check(
        prompts.ndim == 2,
        f"Expected prompts [candidate, prompt]; got the shape {prompts.shape}. Give one prompt as "
        "prompt[None].",
    )
    check(
        len(prompts) >= 1,
        "Expected at least one prompt to read or to race; got none. Give those that do not count "
        "as wanted=False.",
    )


def check_prompt(prompt: Any) -> None:
    """Raise ValueError unless this is one prompt [prompt] of symbols."""
    _check_whole_numbers(prompt, "a prompt [prompt]")
    check(
        prompt.ndim == 1,
        f"Expected one prompt [prompt]; got the shape {prompt.shape}. A gradient is that of one "
        "prompt; for several, ask in a Python loop.",
    )


def _check_whole_numbers(prompts: Any, what: str) -> None:
    check(
        isinstance(prompts, ARRAYS),
        f"Expected {what} as an array; got a {type(prompts).__name__}. Use jnp.stack or jnp.array.",
    )
    check(
        jnp.issubdtype(prompts.dtype, jnp.integer),
        f"Expected {what} of symbols, which are whole numbers; got {prompts.dtype}. Use "
        ".astype(jnp.int32).",
    )


def check_state(name: str, state: Any) -> None:
    """Raise ValueError if a state before the first step holds what a checkpoint cannot."""
    for leaf in jax.tree.leaves(state):
        check(
            isinstance(leaf, NUMBERS) and not _is_key(leaf),
            f"Expected a tree of arrays of numbers from {name}.start; got {_in_words(leaf)}, which "
            "a checkpoint cannot hold. Random numbers come from the key of each step.",
        )


def check_step(name: str, before: Any, returned: Any) -> None:
    """Raise ValueError unless a step returned a state like the one before it, and one loss."""
    check(
        isinstance(returned, tuple) and len(returned) == 2,
        f"Expected (state, loss) from {name}.step; got {_in_words(returned)}.",
    )
    state, loss = returned
    check(
        isinstance(loss, NUMBERS) and not _is_key(loss) and jnp.shape(loss) == (),
        f"Expected one number as the loss from {name}.step; got {_in_words(loss)}. It is the loss "
        "of one prompt, such as means[0] or jnp.min(means).",
    )
    remedy = f"A state stays as {name}.start made it."
    check(
        jax.tree.structure(before) == jax.tree.structure(state),
        f"Expected a state of the same parts from {name}.step as before, {_in_words(before)}; got "
        f"{_in_words(state)}. {remedy}",
    )
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(state), strict=True):
        check(
            isinstance(new, NUMBERS) and jnp.shape(old) == jnp.shape(new) and _can_be(old, new),
            f"Expected a state of fixed shapes and kinds from {name}.step; {_in_words(old)} became "
            f"{_in_words(new)}. {remedy}",
        )


def _can_be(old: Any, new: Any) -> bool:
    """Whether a new number may stand for the old one: a fraction would be cut to a whole number."""
    if _is_key(new):
        return False
    is_fraction = jnp.issubdtype(jnp.result_type(new), jnp.inexact)
    return not is_fraction or jnp.issubdtype(jnp.result_type(old), jnp.inexact)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def check_reads(name: str, readings: int) -> None:
    """Raise ValueError if a step asks for no reading, whatever its state."""
    check(
        readings > 0,
        f"Expected {name}.step to read something; it asks for nothing. What prompts lose is "
        "problem.means(prompts); the problem's predictor is not asked itself, since nobody would "
        "count that.",
    )


def check_recommended(name: str, prompt: Any, length: int) -> None:
    """Raise ValueError unless what is recommended is a prompt of that length; shapes alone."""
    is_array = isinstance(prompt, jax.ShapeDtypeStruct)
    check(
        is_array and prompt.shape == (length,) and jnp.issubdtype(prompt.dtype, jnp.integer),
        f"Expected {length} symbols from {name}.prompt, whole numbers [prompt]; got "
        f"{_in_words(prompt)}.",
    )


def check_symbols(name: str, recommended: Int[np.ndarray, "*axis prompt"], symbols: int) -> None:
    """Raise ValueError if one of the prompts has a symbol that is none."""
    outside = (recommended < 0) | (recommended >= symbols)
    if not outside.any():
        return
    prompt = recommended[outside.any(axis=-1)][0].tolist()
    raise ValueError(
        f"Expected symbols 0 to {symbols - 1} from {name}.prompt; got {prompt}. Draw them by "
        "jax.random.randint(key, shape, 0, problem.symbols), or take them modulo problem.symbols."
    )


def _in_words(tree: Any) -> str:
    """Shapes and kinds, as in int32[3]."""

    def word(leaf: Any) -> str:
        if isinstance(leaf, (*ARRAYS, jax.ShapeDtypeStruct)):
            return f"{leaf.dtype}[{', '.join(str(size) for size in leaf.shape)}]"
        return f"a {type(leaf).__name__}"

    return " and ".join(word(leaf) for leaf in jax.tree.leaves(tree)) or "nothing"
