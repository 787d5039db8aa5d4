"""A good prompt of real tokens where there are too many to try them all: gradients say which.

Greedy coordinate gradient (Zou et al. 2023, "Universal and Transferable Adversarial Attacks on
Aligned Language Models", Algorithm 2). With the prompt as one-hot rows e [prompt, symbol], the loss
of a prompt in which position i reads symbol v is, to first order,

    L + ∂L/∂e[i, v] - ∂L/∂e[i, prompt[i]]

For a network that is the gradient for the prompt's embedding rows times the embedding table.
Gradients pick which swaps to try. Each swap is then read on the batch, and the best one is made.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.checks import as_tuple
from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import WEIGHTS, Predictor, check_reads
from promptax.specs import check, later
from promptax.steering.gradient import check_tokens, initial_inputs
from promptax.steering.search import Search, SearchProblem
from promptax.steering.search_problem import Prompts, Slopes
from promptax.tasks.base import Task

Prompt = Int[Array, " prompt"]

STARTS = 64  # random prompts among which one that survives is looked for


class GradientSearch(Search):
    """Searches a hard prompt by swapping one symbol at a time, as gradients suggest.

    Each step has a batch of its own: swaps to the most promising symbols are tried on it, and the
    best is made if it predicts the batch better than the prompt as it is. `loss` [repetition,
    step] is that of the prompt before the step's swap, nats per sequence. Works on any predictor
    that reads weights over symbols, exact ones included.
    """

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    candidates: int = 128
    """Swaps that are tried in a step, all different; all there are if those are fewer."""
    top: int = 256
    """How many symbols of each position to choose from, the most promising."""
    initial_tokens: tuple[int, ...] = eqx.field(default=(), converter=as_tuple)
    """Symbols to start from, repeated or cut to the length (empty: random symbols)."""
    prefer_text: bool = later(False)
    """Prefer prompts that are what their own text is encoded to, so that people can type them; the
    target must be texts. Of a step's candidates the best of these is taken, if there is one."""

    def __check_init__(self) -> None:
        for name, least in {"candidates": 1, "top": 1}.items():
            value = getattr(self, name)
            check(value >= least, f"Expected {name} of at least {least}; got {value}.")

    def suits(self, predictor: Predictor) -> None:
        check_reads(predictor, WEIGHTS, " Annealing and HardPrompt need no gradients.")

    @classmethod
    def examples(cls) -> "tuple[GradientSearch, ...]":
        return cls(length=2, candidates=3, top=2), cls(length=3, initial_tokens=(1, 0))

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        del settings
        check(
            not self.prefer_text or target.survivors is not None,
            "Expected a target of texts with prefer_text, since its tokenizer says which prompts "
            f"survive; got {type(target).__name__}. Leave out prefer_text.",
        )
        if self.prefer_text and target.survivors is not None:
            target.survivors(np.zeros((1, self.length), np.int32))  # complains if it cannot be read
        check_tokens(self.initial_tokens, predictor.symbols)

    def plan(self, symbols: int) -> str:
        swaps = min(self.candidates, self.length * min(self.top, symbols - 1))
        return f"{swaps:,} swaps of a symbol in each step"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Prompt:
        outcome = problem.predictor.outcome
        if not self.prefer_text or self.initial_tokens:
            return initial_inputs(key, self.initial_tokens, self.length, outcome)

        def draw(key: Key[Array, ""]) -> Prompt:
            return initial_inputs(key, (), self.length, outcome)

        starts = jax.vmap(draw)(jax.random.split(key, STARTS))
        return starts[jnp.argmax(problem.survivors(starts))]  # the first survivor, or the first

    def step(
        self, key: Key[Array, ""], state: Prompt, problem: SearchProblem
    ) -> tuple[Prompt, Float[Array, ""]]:
        _, slopes = problem.gradient(state)
        tried = swaps(key, state, slopes, self.candidates, self.top)
        losses = problem.means(tried)
        allowed = losses < jnp.inf
        if self.prefer_text:
            survivors = allowed & problem.survivors(tried)
            allowed = jnp.where(jnp.any(survivors), survivors, allowed)
        best = jnp.argmin(jnp.where(allowed, losses, jnp.inf))  # of equals the first
        return tried[best], losses[0]

    def prompt(self, state: Int[Any, " prompt"]) -> Int[Any, " prompt"]:
        return state


def swaps(
    key: Key[Array, ""], prompt: Prompt, estimates: Slopes, candidates: int, top: int
) -> Prompts:
    """The prompt as it is, and different ones with one symbol swapped: random positions, random
    symbols of the `top` with the lowest estimates there."""
    length, symbols = estimates.shape
    top = min(top, symbols - 1)
    slopes = jnp.nan_to_num(estimates).at[jnp.arange(length), prompt].set(jnp.inf)  # is no swap
    best = jax.lax.top_k(-slopes, top)[1]
    chosen = jax.random.permutation(key, length * top)[:candidates]
    where, what = chosen // top, best.reshape(-1)[chosen]
    swapped = jnp.tile(prompt, (len(chosen), 1)).at[jnp.arange(len(chosen)), where].set(what)
    return jnp.concatenate([prompt[None], swapped])
