"""The best prompt of real tokens, by trying all of them."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.fit.fitted import Checkpoint, Fitted
from promptax.fit.settings import FitSettings
from promptax.progress import Callback, report
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import GivenPrompt, Prompted
from promptax.protocol.repeated import cut, one_or_all
from promptax.specs import check, on_device, traced
from promptax.steering.base import Tuner, filled
from promptax.tasks.base import Task, sample_batch

AT_ONCE = 8  # prompts between two reports of progress

Progress = Callable[[int, int], Any]


class HardPrompt(Tuner):
    """Exhaustive search over the symbols^length prompts, on sequences of the target.

    "HardPT" of Genewein et al. 2025. Works on any predictor, exact ones included. Every prompt's
    mean loss is kept in the result's `scores` [repetition, candidate]; candidate c spells the
    prompt as a number, its first symbol the most significant digit.
    """

    group: ClassVar[str] = "prompts"
    needs_alphabet: ClassVar[bool] = True

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
        return all_prompts(symbols, self.length, self.limit)

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
        settings = filled(settings, target, 1.0)
        self.verify(predictor, target, settings)
        candidates = self.candidates(target.symbols)
        scores = np.full((settings.repetitions, len(candidates)), np.nan, np.float32)
        search = Search(predictor, target, candidates, self.sequences, settings)
        with report(f"HardPrompt: {self.plan(target.symbols)}", callbacks) as progress:
            for repetition, some, losses in search.losses(key, progress):
                scores[repetition, some] = losses.mean(axis=1)
        best = candidates[np.argmin(np.where(np.isnan(scores), np.inf, scores), axis=1)]
        return found([behind(predictor, prompt) for prompt in best], scores)


def all_prompts(symbols: int, length: int, limit: int) -> Int[np.ndarray, "candidate prompt"]:
    """All prompts of that length, in order; ValueError if there are more than `limit`."""
    digits = length * math.log10(symbols)
    count = symbols**length if digits < 100 else math.inf
    number = f"{count:,}" if digits < 100 else f"10^{digits:,.0f}"
    check(
        count <= limit,
        f"Expected at most {limit:,} prompts to try; {symbols} symbols at length {length:,} make "
        f"{number}. Choose a shorter prompt, raise limit, or let gradients search: "
        "GradientSearch, SoftPrompt, RealPrompt, SimplexPrompt.",
    )
    powers = symbols ** np.arange(length - 1, -1, -1)
    return (np.arange(count)[:, None] // powers % symbols).astype(np.int32)


def behind(predictor: Predictor, prompt: Int[np.ndarray, " prompt"]) -> Prompted:
    """The predictor after a prompt of tokens."""
    return Prompted(predictor, GivenPrompt(on_device(prompt)))


def found(each: Sequence[Any], scores: Any = None, loss: Any = None) -> Fitted:
    """The result of a search from the prompted predictor of each repetition, which differ in what
    they read alone."""
    nothing = jax.tree.map(lambda _: False, each[0])
    reads = jax.tree.map(lambda _: True, each[0].reads)
    predictors = one_or_all(cut(each, eqx.tree_at(lambda p: p.reads, nothing, reads)))
    loss = np.zeros((len(each), 0), np.float32) if loss is None else loss
    return Fitted(predictors, loss, np.full(len(each), -1, np.int32), scores)


class Search(NamedTuple):
    """Losses of candidates on sequences of the target; each repetition has sequences of its own."""

    predictor: Predictor
    target: Task
    candidates: Int[np.ndarray, "candidate prompt"]
    sequences: int
    settings: FitSettings

    def losses(
        self, key: Key[Array, ""], progress: Progress
    ) -> Iterator[tuple[int, slice, Float[np.ndarray, "some sequence"]]]:
        """Repetition, which candidates, and their losses on each sequence in nats, a few candidates
        at a time. A repetition that is stopped leaves its last candidates out."""
        count, total = len(self.candidates), len(self.candidates) * self.settings.repetitions
        for repetition in range(self.settings.repetitions):
            keys = jax.random.split(jax.random.fold_in(key, repetition), self.sequences)
            length = self.settings.length
            episodes = sample_batch(traced(self.target), keys, length)  # pyright: ignore
            for first in range(0, count, AT_ONCE):
                some = slice(first, min(first + AT_ONCE, count))
                yield repetition, some, self._losses(some, episodes)
                if progress(repetition * count + some.stop, total):
                    break

    def _losses(self, some: slice, episodes: Episode) -> Float[np.ndarray, "some sequence"]:
        here = some.stop - some.start
        padded = np.pad(self.candidates[some], ((0, AT_ONCE - here), (0, 0)))
        outcome = self.target.outcome
        return np.asarray(losses_after(traced(self.predictor), padded, episodes, outcome))[:here]


@eqx.filter_jit
def losses_after(
    predictor: Predictor,
    prompts: Int[Any, "candidate prompt"],
    episodes: Episode,
    outcome: Any,
    micro: int | None = None,
) -> Float[Array, "candidate sequence"]:
    """Loss of each episode after each prompt, nats; so many episodes at a time."""
    batch, length = episodes.inputs.shape[:2]
    micro = micro or predictor.micro_batch(batch, length)
    chunks = jax.tree.map(
        lambda leaf: leaf.reshape(batch // micro, micro, *leaf.shape[1:]), episodes
    )

    def losses(prompt: Int[Array, " prompt"]) -> Float[Array, " sequence"]:
        state = Prompted(predictor, GivenPrompt(prompt)).start()

        def loss(some: Episode) -> Float[Array, " sequence"]:
            _, prediction = predictor.advance_batch(state, some.inputs)
            return jnp.sum(outcome.log_loss(prediction, some), axis=-1)

        return jax.lax.map(loss, chunks).reshape(batch)

    return jax.lax.map(losses, prompts)
