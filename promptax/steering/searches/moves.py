"""What several searches do with prompts: draw them, and swap one symbol."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from promptax.steering.search_problem import Prompts

Prompt = Int[Array, " prompt"]


def draw_prompts(key: Key[Array, ""], count: int, length: int, symbols: int) -> Prompts:
    """So many prompts of uniformly drawn symbols."""
    return jax.random.randint(key, (count, length), 0, symbols)


def swap_symbols(
    prompt: Prompt, places: Int[Array, " candidate"], shifts: Int[Array, " candidate"], symbols: int
) -> Prompts:
    """Copies of the prompt; copy c has another symbol at places[c], the one that stands shifts[c]
    (1..symbols - 1) further on in the alphabet, which begins anew at its end."""
    copies = jnp.tile(prompt, (len(places), 1))
    new = (prompt[places] + shifts) % symbols
    return copies.at[jnp.arange(len(places)), places].set(new)


def draw_swaps(key: Key[Array, ""], prompt: Prompt, symbols: int, most: int) -> Prompts:
    """Different prompts with one symbol swapped: all length · (symbols - 1) there are in their
    order, or `most` of them at random if those are fewer."""
    count = len(prompt) * (symbols - 1)
    numbers = jnp.arange(count)
    if most < count:
        numbers = jax.random.permutation(key, count)[:most]
    return swap_symbols(prompt, numbers // (symbols - 1), numbers % (symbols - 1) + 1, symbols)


def draw_swaps_at(
    key: Key[Array, ""], prompt: Prompt, place: Int[Array, ""], symbols: int, most: int
) -> Prompts:
    """Different prompts with another symbol at `place`: all symbols - 1 there are in their order,
    or `most` of them at random if those are fewer."""
    shifts = jnp.arange(1, symbols)
    if most < len(shifts):
        shifts = jax.random.permutation(key, shifts)[:most]
    return swap_symbols(prompt, jnp.full_like(shifts, place), shifts, symbols)
