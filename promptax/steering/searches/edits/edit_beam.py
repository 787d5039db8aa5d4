"""A beam over edits that gradients rank (ProTeGi, Pryzant et al. 2023, "Automatic Prompt
Optimization with Gradient Descent and Beam Search").

There, a language model criticises a prompt (the "textual gradient") and edits it; here the gradient
is one. With e the one-hot rows of a prompt in the beam, its edits are the `edits` swaps that make

    ∂L/∂e[i, v] - ∂L/∂e[i, prompt[i]]

least, L the mean loss of this step's episodes, in nats. As published, each prompt also has some
random variants, in place of paraphrases. The beam and all that comes of it are read on the same
episodes, and the best `beam` of them go on.

Prompts that predict alike count once, and are read once: equal ones, and for exchangeable
predictors permutations, of which beams over sequences fill up. Equal symbols of a prompt have equal
gradients there, so that only the first of them is edited.

The published code draws at random which edits are read and selects by a bandit; its UCB is given
the round's number from 0, and so explores nothing at first. Here all are read, unless a race stands
before the search. Charged: a gradient for each distinct prompt of the beam counts as one for every
place in it, and every distinct candidate.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.protocol.predictor import WEIGHTS, Predictor, check_reads
from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.search_problem import Prompts, Slopes
from promptax.steering.searches.duplicates import first_of_equals
from promptax.steering.searches.moves import draw_prompts, swap_symbols


class EditBeam(Search):
    """Searches a hard prompt with a beam of prompts, each edited as its gradient suggests.

    `loss` [repetition, step] is that of the beam's best prompt before the step, nats per sequence.
    Works on any predictor that reads weights over symbols, exact ones included.
    """

    reads_by_losses: ClassVar[bool] = True

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    beam: int = 4
    """Prompts that go on from step to step (4 as published)."""
    edits: int = 4
    """Swaps of each of them, the most promising (4 gradients as published)."""
    variants: int = 2
    """Random swaps of each of them (2 paraphrases as published)."""

    def __check_init__(self) -> None:
        for name, least in {"beam": 1, "edits": 1, "variants": 0}.items():
            value = getattr(self, name)
            check(value >= least, f"Expected {name} of at least {least}; got {value}.")

    def suits(self, predictor: Predictor) -> None:
        check_reads(predictor, WEIGHTS, " Annealing and HardPrompt need no gradients.")

    @classmethod
    def examples(cls) -> "tuple[EditBeam, ...]":
        return (cls(length=2, beam=2, edits=2, variants=1),)

    def plan(self, symbols: int) -> str:
        edits = min(self.edits, self.length * (symbols - 1))
        return f"{self.beam * (1 + edits + self.variants):,} prompts in each step"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Prompts:
        return draw_prompts(key, self.beam, self.length, problem.symbols)

    def step(
        self, key: Key[Array, ""], state: Prompts, problem: SearchProblem
    ) -> tuple[Prompts, Float[Array, ""]]:
        exchangeable, tried = problem.predictor.exchangeable, [state]
        for prompt, drawing in zip(state, jax.random.split(key, self.beam), strict=True):
            if self.length:
                _, slopes = problem.gradient(prompt)
                tried.append(promising_swaps(prompt, slopes, self.edits, exchangeable))
                tried.append(random_swaps(drawing, prompt, self.variants, problem.symbols))
        prompts = jnp.concatenate(tried)
        wanted = first_of_equals(prompts, exchangeable) == jnp.arange(len(prompts))
        means = problem.means(prompts, wanted=wanted)
        return prompts[jnp.argsort(means)[: self.beam]], means[0]

    def prompt(self, state: Int[Any, "beam prompt"]) -> Int[Any, " prompt"]:
        return state[0]


def promising_swaps(
    prompt: Int[Array, " prompt"], slopes: Slopes, count: int, exchangeable: bool
) -> Prompts:
    """The prompts with one symbol swapped that gradients promise most of, the best first."""
    length, symbols = slopes.shape
    places = jnp.arange(length)
    gains = jnp.nan_to_num(slopes - slopes[places, prompt][:, None], nan=jnp.inf)
    gains = gains.at[places, prompt].set(jnp.inf)  # is no swap
    if exchangeable:
        earlier = jnp.tril(prompt[:, None] == prompt[None], -1)
        gains = jnp.where(jnp.any(earlier, axis=1)[:, None], jnp.inf, gains)
    best = jnp.argsort(gains.reshape(-1))[: min(count, length * (symbols - 1))]
    numbers = jnp.arange(len(best))
    swapped = jnp.tile(prompt, (len(best), 1))
    return swapped.at[numbers, best // symbols].set((best % symbols).astype(prompt.dtype))


def random_swaps(
    key: Key[Array, ""], prompt: Int[Array, " prompt"], count: int, symbols: int
) -> Prompts:
    """Prompts with another symbol at a random place."""
    where, what = jax.random.split(key)
    places = jax.random.randint(where, (count,), 0, len(prompt))
    further = jax.random.randint(what, (count,), 1, symbols)
    return swap_symbols(prompt, places, further, symbols)
