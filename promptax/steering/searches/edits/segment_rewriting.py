"""Segments of a prompt that harm are rewritten (PMPO, Zhao et al. 2025, "PMPO: Probabilistic Metric
Prompt Optimization").

A prompt is cut into `segments` of nearly equal length. With f the mean loss of this step's
episodes, in nats, every segment s has

    Δ_s = f(prompt without s) - f(prompt):  above 0 it helps, below 0 it harms.

One segment is rewritten in every step: s with probability ∝ exp(-Δ_s / d), d the standard deviation
of the Δ, so that mostly the most harmful one is, and none is forgotten. Half of its variants are
pieces of the hardest sequences of this step, those with the greatest losses behind the prompt
(times their weights, where all sequences are read); the other half are random symbols. The prompt
and its variants are read on the same episodes, and the best goes on.

A segment is left out, not covered by a neutral symbol: what follows moves up, and where positions
matter, both effects are mixed in Δ. In the published method a language model rewrites, on hard
examples; its form for preferences, -log σ(β (ℓ_lose - ℓ_win)), is not built. Charged: the prompt
twice, the prompt without each segment with the rows that are left, and the variants; of those that
predict alike one.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.search_problem import Prompts
from promptax.steering.searches.duplicates import first_of_equals
from promptax.steering.searches.moves import Prompt
from promptax.steering.searches.pruning.demonstrations import in_any_order


class SegmentRewriting(Search):
    """Searches a hard prompt by rewriting the segments of it that help least.

    `loss` [repetition, step] is that of the prompt before the step, nats per sequence. Works on any
    predictor over symbols, exact ones included.
    """

    reads_by_losses: ClassVar[bool] = True

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    segments: int = 3
    """Pieces of the prompt that are judged; as many as it has symbols at most."""
    variants: int = 8
    """Ways to write a segment anew that are read in a step."""

    def __check_init__(self) -> None:
        for name in ("segments", "variants"):
            value = getattr(self, name)
            check(value >= 1, f"Expected {name} of at least 1; got {value}.")

    @property
    def names_symbols(self) -> bool:
        return True

    @classmethod
    def examples(cls) -> "tuple[SegmentRewriting, ...]":
        return (cls(length=2, segments=2, variants=3),)

    def plan(self, symbols: int) -> str:
        del symbols
        return f"{self.variants} variants of one of {len(self.bounds)} segments in each step"

    @property
    def bounds(self) -> Int[np.ndarray, "segment 2"]:
        """Where every segment begins and ends."""
        cuts = np.linspace(0, self.length, min(self.segments, max(self.length, 1)) + 1).astype(int)
        return np.stack([cuts[:-1], cuts[1:]], axis=1)

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Prompt:
        return jax.random.randint(key, (self.length,), 0, problem.symbols)

    def step(
        self, key: Key[Array, ""], state: Prompt, problem: SearchProblem
    ) -> tuple[Prompt, Float[Array, ""]]:
        choice, writing = jax.random.split(key)
        harm, losses = segment_gains(problem, state, self.bounds)
        spread = jnp.std(harm) + 1e-6  # where all are alike, all are as likely
        segment = jax.random.categorical(choice, -harm / spread)
        inside = covered(self.bounds, self.length)[segment]
        variants = jnp.where(inside, self.write(writing, losses, problem), state)
        tried = jnp.concatenate([state[None], variants])
        wanted = first_of_equals(tried, problem.predictor.exchangeable) == jnp.arange(len(tried))
        means = problem.means(tried, wanted=wanted)
        return tried[jnp.argmin(means)], means[0]

    def write(
        self, key: Key[Array, ""], losses: Float[Array, " sequence"], problem: SearchProblem
    ) -> Prompts:
        """Prompts of random symbols, and, the first half of them, of pieces of hard sequences."""
        episodes = problem.episodes
        assert episodes is not None
        drawing, cutting = jax.random.split(key)
        shape = self.variants, self.length
        drawn = jax.random.randint(drawing, shape, 0, problem.symbols)
        batch, time = episodes.inputs.shape
        copies = min(self.variants // 2, batch)
        hardest = jnp.argsort(-losses)[:copies]
        begins = jax.random.randint(cutting, (copies, 1), 0, max(time, 1))
        # past the end of a sequence its begin follows
        places = (begins + jnp.arange(self.length)) % max(time, 1)
        ordering = jax.random.fold_in(cutting, 1)
        whole = in_any_order(ordering, episodes.inputs[hardest], problem)
        pieces = jnp.take_along_axis(whole, places, axis=1)
        return drawn.at[:copies].set(pieces.astype(drawn.dtype)) if time else drawn

    def prompt(self, state: Int[Any, " prompt"]) -> Int[Any, " prompt"]:
        return state


def covered(bounds: Int[np.ndarray, "segment 2"], length: int) -> Array:
    """Which symbols lie in each segment [segment, prompt]."""
    places = np.arange(length)
    return jnp.asarray((bounds[:, :1] <= places) & (places < bounds[:, 1:]))


def segment_gains(
    problem: SearchProblem, prompt: Prompt, bounds: Int[np.ndarray, "segment 2"]
) -> tuple[Float[Array, " segment"], Float[Array, " sequence"]]:
    """What the prompt would lose more without each segment, nats per sequence, on this step's
    episodes; and what these lose behind it."""
    inside = covered(bounds, len(prompt))
    left_out = jnp.concatenate([jnp.zeros((1, len(prompt)), bool), inside])
    order = jnp.argsort(left_out, axis=1, stable=True)  # what is left comes first, in its order
    rows = jnp.sum(~left_out, axis=1, dtype=jnp.int32)
    losses = problem.losses(prompt[order], rows)
    means = jnp.mean(losses, axis=1)
    return jnp.nan_to_num(means[1:] - means[0], posinf=1e6, neginf=-1e6), losses[0]
