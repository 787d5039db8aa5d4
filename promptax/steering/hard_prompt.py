"""The best prompt of real tokens, by trying all of them."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.fit import Checkpoint, Fitted
from promptax.progress import Callback, report
from promptax.protocol import GivenPrompt, Predictor, Prompted, cut, one_or_all
from promptax.settings import FitSettings
from promptax.specs import check, traced
from promptax.steering.base import Tuner
from promptax.tasks.base import Episode, Task, sample_batch

AT_ONCE = 8  # prompts between two reports of progress


class HardPrompt(Tuner):
    """Exhaustive search over the symbols^length prompts, on sequences of the target.

    "HardPT" of Genewein et al. 2025. Works on any predictor, exact ones included. Every prompt's
    mean loss is kept in the result's `scores` [repetition, candidate]; candidate c spells the
    prompt as a number, its first symbol the most significant digit.
    """

    group: ClassVar[str] = "prompts"

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    sequences: int = 2048
    """Distinct tuning sequences that score every prompt."""
    limit: int = 100_000
    """Refuse to try more prompts than that."""

    def __check_init__(self) -> None:
        check(self.length >= 0, f"Expected a prompt length of at least 0; got {self.length}.")
        check(self.sequences >= 1, f"Expected at least 1 sequence; got {self.sequences}.")

    @classmethod
    def as_published(cls) -> "HardPrompt":
        """The authors' 2048 tuning sequences are 256 distinct ones, eight times each."""
        return cls(sequences=256)

    @classmethod
    def examples(cls) -> "tuple[HardPrompt, ...]":
        return cls(length=2, sequences=16), cls(length=0, sequences=4)

    def suits(self, predictor: Predictor) -> None:
        del predictor

    def verify(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        super().verify(predictor, target, settings)
        self.candidates(target.symbols)

    def plan(self, symbols: int) -> str:
        count = len(self.candidates(symbols))
        return f"{count:,} prompts of length {self.length}, each on {self.sequences:,} sequences"

    def candidates(self, symbols: int) -> Int[np.ndarray, "candidate prompt"]:
        """All prompts over that many symbols, in order; refuses absurd numbers of them."""
        digits = self.length * math.log10(symbols)
        count = symbols**self.length if digits < 100 else math.inf
        number = f"{count:,}" if digits < 100 else f"10^{digits:,.0f}"
        check(
            count <= self.limit,
            f"Expected at most {self.limit:,} prompts to try; {symbols} symbols at length "
            f"{self.length:,} make {number}. Choose a shorter prompt, raise limit, or let "
            "gradients search: SoftPrompt, RealPrompt, SimplexPrompt.",
        )
        powers = symbols ** np.arange(self.length - 1, -1, -1)
        return (np.arange(count)[:, None] // powers % symbols).astype(np.int32)

    def tune(
        self,
        key: Key[Array, ""],
        predictor: Predictor,
        target: Task,
        settings: FitSettings | None = None,
        *,
        checkpoint: Checkpoint | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> Fitted:
        """Search; of the settings, `length` and `repetitions` apply. Steps and batch do not."""
        del checkpoint  # a search is short and starts again
        settings = (settings or FitSettings()).filled(length=50, learning_rate=1.0)
        self.verify(predictor, target, settings)
        candidates = self.candidates(target.symbols)
        scores = np.full((settings.repetitions, len(candidates)), np.nan, np.float32)
        what = f"HardPrompt: {self.plan(target.symbols)}"
        with report(what, callbacks) as progress:
            for repetition, row in enumerate(scores):
                own = jax.random.fold_in(key, repetition)
                keys = jax.random.split(own, self.sequences)
                episodes = sample_batch(traced(target), keys, settings.length)  # pyright: ignore
                for done in _search(predictor, candidates, episodes, type(target).outcome, row):
                    if progress(repetition * len(candidates) + done, scores.size):
                        break  # what was not tried has no score
        best = candidates[np.argmin(np.where(np.isnan(scores), np.inf, scores), axis=1)]
        return found(predictor, best, scores)


def found(
    predictor: Predictor, prompts: Int[np.ndarray, "repetition prompt"], scores: Any = None
) -> Fitted:
    """The predictor after each repetition's prompt."""
    each = [Prompted(predictor, GivenPrompt(jnp.asarray(prompt))) for prompt in prompts]
    nothing = jax.tree.map(lambda _: False, each[0])
    predictors = one_or_all(cut(each, eqx.tree_at(lambda p: p.reads.values, nothing, True)))
    none = np.zeros((len(prompts), 0), np.float32)
    return Fitted(predictors, none, np.full(len(prompts), -1, np.int32), scores)


def _search(
    predictor: Predictor, candidates: np.ndarray, episodes: Episode, outcome: Any, out: np.ndarray
) -> Any:
    """Score all candidates into `out`, yielding how many are done."""
    for first in range(0, len(candidates), AT_ONCE):
        some = candidates[first : first + AT_ONCE]
        padded = np.pad(some, ((0, AT_ONCE - len(some)), (0, 0)))
        scores = _scores(traced(predictor), jnp.asarray(padded), episodes, outcome)
        out[first : first + len(some)] = np.asarray(scores)[: len(some)]
        yield min(first + AT_ONCE, len(candidates))


@eqx.filter_jit
def _scores(
    predictor: Predictor, prompts: Int[Array, "candidate prompt"], episodes: Episode, outcome: Any
) -> Float[Array, " candidate"]:
    """Mean loss of the episodes after each prompt, nats per sequence."""
    batch, length = episodes.tokens.shape[:2]
    micro = predictor.micro_batch(batch, length)
    chunks = jax.tree.map(
        lambda leaf: leaf.reshape(batch // micro, micro, *leaf.shape[1:]), episodes
    )

    def score(prompt: Int[Array, " prompt"]) -> Float[Array, ""]:
        state = Prompted(predictor, GivenPrompt(prompt)).start()

        def loss(some: Episode) -> Float[Array, ""]:
            return jnp.sum(outcome.log_loss(predictor.advance_batch(state, some.inputs)[1], some))

        return jnp.sum(jax.lax.map(loss, chunks)) / batch

    return jax.lax.map(score, prompts)
