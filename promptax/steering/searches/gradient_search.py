"""A good prompt of real tokens where there are too many to try them all: gradients say which.

Greedy coordinate gradient (Zou et al. 2023, "Universal and Transferable Adversarial Attacks on
Aligned Language Models", Algorithm 2). With the prompt as one-hot rows e [prompt, symbol], the loss
of a prompt in which position i reads symbol v is, to first order,

    L + ∂L/∂e[i, v] - ∂L/∂e[i, prompt[i]]

For a network that is the gradient for the prompt's embedding rows times the embedding table.
Gradients pick which swaps to try. Each swap is then read on the batch, and the best one is made.

Fields lead to its relatives:

- `buffer`, which prompts stay. 1: the prompt competes with its swaps, so a step that finds none
  better goes nowhere. 0, the default of nanoGCG: the best swap is always made, also a worse one.
  More: so many of the best stay and are read again in each step; gradients are taken at the best.
- `momentum` μ (MAC: Zhang and Wei 2024, "Boosting Jailbreak Attack with Momentum"): slopes are
  μ · the slopes of the step before + ∂L/∂e.
- `swaps_at_once` (nanoGCG's n_replace; I-GCG: Jia et al. 2024): a candidate has so many swaps.
- `mellowmax` ω (Asadi and Littman 2017, "An Alternative Softmax Operator for Reinforcement
  Learning"): candidates compete by log(mean_s exp(ω L_s)) / ω over the sequences s of the batch,
  between their mean (ω → 0) and their worst. nanoGCG takes it over the symbols of its one target,
  and in the gradient too; here gradients stay those of the mean.

Where `top` is no smaller than the number of other symbols, every swap is promising and gradients
choose nothing; `plan` says so. On exchangeable predictors slopes are the same at all positions.

Charged: one gradient, the prompt and all swaps in each step. Published code draws swaps with
replacement, and may draw the symbol that is there; here they are different ones, but for several
at once.
"""

from typing import Any, NamedTuple

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
from promptax.steering.searches.duplicates import first_of_equals
from promptax.steering.searches.moves import Prompt
from promptax.tasks.base import Task

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

    buffer: int = later(1)
    """Prompts that stay. 1: the prompt stays unless a swap is better; 0: the best swap is always
    made; more: so many of the best are kept, and read again in each step."""
    momentum: float = later(0.0)
    """How much of the slopes of the step before is added to those of this one, below 1."""
    swaps_at_once: int = later(1)
    """Symbols that a candidate swaps, each at another position; its length if that is smaller."""
    mellowmax: float | None = later(None)
    """Judge candidates by a soft maximum over sequences, this sharp, per nat; None: by the mean."""

    def __check_init__(self) -> None:
        least_values = {"candidates": 1, "top": 1, "buffer": 0, "swaps_at_once": 1}
        for name, least in least_values.items():
            value = getattr(self, name)
            check(value >= least, f"Expected {name} of at least {least}; got {value}.")
        check(
            0 <= self.momentum < 1,
            f"Expected a momentum of at least 0 and below 1; got {self.momentum}.",
        )
        check(
            self.mellowmax is None or self.mellowmax > 0,
            f"Expected a mellowmax above 0; got {self.mellowmax}. None is the mean.",
        )

    def suits(self, predictor: Predictor) -> None:
        check_reads(predictor, WEIGHTS, " Annealing and HardPrompt need no gradients.")

    @classmethod
    def examples(cls) -> "tuple[GradientSearch, ...]":
        return cls(length=2, candidates=3, top=2), cls(length=3, initial_tokens=(1, 0))

    @classmethod
    def relatives(cls, length: int, budget: int) -> dict[str, Search]:
        del budget
        return {  # one value of each, not tuned
            "GradientSearch with momentum": cls(length=length, momentum=0.4),
            "GradientSearch with mellowmax": cls(length=length, mellowmax=1.0),
        }

    @property
    def needs_samples(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.mellowmax is not None

    @property
    def names_symbols(self) -> bool:
        return bool(self.initial_tokens)

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        check(
            self.mellowmax is None or not settings.exact,
            "Expected mellowmax=None with exact settings, where all sequences are read with their "
            f"weights: it is a soft maximum over sampled ones; got {self.mellowmax}.",
        )
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
        idle = ", of all symbols: gradients choose none" if self.top >= symbols - 1 else ""
        return f"{swaps:,} swaps of a symbol in each step{idle}"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> "Kept":
        first = self.first(key, problem)
        others = (max(self.buffer, 1) - 1, self.length)
        more = jax.random.randint(jax.random.fold_in(key, 1), others, 0, problem.symbols)
        return Kept(jnp.concatenate([first[None], more]), jnp.zeros((self.length, problem.symbols)))

    def first(self, key: Key[Array, ""], problem: SearchProblem) -> Prompt:
        """The prompt to start from."""
        if self.initial_tokens:
            outcome = problem.predictor.outcome
            return initial_inputs(key, self.initial_tokens, self.length, outcome)

        def draw(key: Key[Array, ""]) -> Prompt:
            return jax.random.randint(key, (self.length,), 0, problem.symbols)

        if not self.prefer_text:
            return draw(key)
        starts = jax.vmap(draw)(jax.random.split(key, STARTS))
        return starts[jnp.argmax(problem.survivors(starts))]  # the first survivor, or the first

    def step(
        self, key: Key[Array, ""], state: "Kept", problem: SearchProblem
    ) -> tuple["Kept", Float[Array, ""]]:
        prompt = state.prompts[0]
        mean, slopes = problem.gradient(prompt)
        slopes = self.momentum * state.slopes + jnp.nan_to_num(slopes)
        at_once = min(self.swaps_at_once, self.length)
        if at_once > 1:
            tried = several_swaps(key, prompt, slopes, self.candidates, self.top, at_once)
        else:
            tried = swaps(key, prompt, slopes, self.candidates, self.top)
        tried = jnp.concatenate([tried, state.prompts[1:]])
        if self.mellowmax is None:
            scores = losses = problem.means(tried)
        else:
            scores, losses = mellowmax(problem.losses(tried), self.mellowmax), mean[None]
        kept = tried[self.best_places(tried, scores, problem)]
        return Kept(kept, slopes), losses[0]

    def best_places(
        self, tried: Prompts, scores: Float[Array, " candidate"], problem: SearchProblem
    ) -> Int[Array, " kept"]:
        """Where the prompts stand that stay, the best first; the prompt as it is stands first."""
        allowed = scores < jnp.inf
        if self.prefer_text:
            survivors = allowed & problem.survivors(tried)
            allowed = jnp.where(jnp.any(survivors), survivors, allowed)
        if self.buffer > 1:
            allowed &= first_of_equals(tried) == jnp.arange(len(tried))
        ranks = jnp.where(allowed, scores, jnp.inf)
        if not self.buffer:
            ranks = ranks.at[0].set(jnp.inf)  # it has to go
        return jnp.argsort(ranks)[: max(self.buffer, 1)]  # stable: of equals the first

    def prompt(self, state: "Kept") -> Int[Any, " prompt"]:
        return state.prompts[0]


class Kept(NamedTuple):
    """`prompts` [kept, prompt]: those that stay, the best first; `slopes` [prompt, symbol]: the
    last ones, with their momentum."""

    prompts: Any
    slopes: Any


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


def several_swaps(
    key: Key[Array, ""], prompt: Prompt, slopes: Slopes, candidates: int, top: int, at_once: int
) -> Prompts:
    """The prompt as it is, and prompts with `at_once` symbols swapped: different random positions,
    and at each a random symbol of the `top` with the lowest slopes there."""
    length, symbols = slopes.shape
    top = min(top, symbols - 1)
    slopes = jnp.nan_to_num(slopes).at[jnp.arange(length), prompt].set(jnp.inf)  # is no swap
    best = jax.lax.top_k(-slopes, top)[1]

    def draw(key: Key[Array, ""]) -> Prompt:
        where, what = jax.random.split(key)
        places = jax.random.permutation(where, length)[:at_once]
        return prompt.at[places].set(best[places, jax.random.randint(what, (at_once,), 0, top)])

    swapped = jax.vmap(draw)(jax.random.split(key, candidates))
    return jnp.concatenate([prompt[None], swapped])


def mellowmax(
    losses: Float[Array, "candidate sequence"], sharpness: Float[Array, ""] | float
) -> Float[Array, " candidate"]:
    """log(mean_s exp(sharpness · losses_s)) / sharpness, nats; +inf where it is no number."""
    count = jnp.log(losses.shape[1])
    values = (jax.nn.logsumexp(sharpness * losses, axis=1) - count) / sharpness
    return jnp.where(jnp.isnan(values), jnp.inf, values)
