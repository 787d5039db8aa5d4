"""Several prompts of real tokens as a Bayes-weighted mixture, by search."""

import itertools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Array, Int, Key

from promptax.evaluation.exact.best_set import best_set
from promptax.fit.fitted import Checkpoint, Fitted
from promptax.fit.settings import FitSettings
from promptax.progress import Callback, report
from promptax.protocol.mixture import mix
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.base import Tuner, filled
from promptax.steering.searches.hard_prompt import Search, all_prompts, found
from promptax.tasks.base import Task


class HardPromptMixture(Tuner):
    """Searches the set of hard prompts whose equally weighted mixture is the best on the target.

    Every prompt is scored once; log p(sequence) of a set is then the log mean of what is known. Of
    two components all pairs are tried. More are added one by one to the best pair, and each is
    exchanged for a better one while there is any. Works on any predictor, exact ones included, and
    scores what a task scores: the first steps of a sequence, or all. The losses of single prompts,
    in nats, are kept in `scores` [repetition, candidate], as by `HardPrompt`; the result is a
    `PromptedMixture`, its `prompt` [repetition, component, prompt]. Mixtures of prompts: Qin and
    Eisner 2021, "Learning How to Ask".
    """

    group: ClassVar[str] = "prompts"
    needs_alphabet: ClassVar[bool] = True

    length: int = 6
    """Number of symbols of each prompt; 0 is no prompt."""
    components: int = 2
    """Number of prompts."""
    sequences: int = 2048
    """Distinct tuning sequences that score every prompt."""
    limit: int = 10_000
    """Refuse to try more single prompts than that."""
    pairs: int = 1_000_000
    """Try all pairs up to that many; beyond, begin with the best single prompt."""

    def __check_init__(self) -> None:
        check(self.length >= 0, f"Expected a prompt length of at least 0; got {self.length}.")
        check(self.components >= 1, f"Expected at least 1 component; got {self.components}.")
        check(self.sequences >= 1, f"Expected at least 1 sequence; got {self.sequences}.")

    @classmethod
    def examples(cls) -> "tuple[HardPromptMixture, ...]":
        return cls(length=2, sequences=16), cls(length=1, components=3, sequences=8, pairs=1)

    def suits(self, predictor: Predictor) -> None:
        del predictor

    def verify(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        super().verify(predictor, target, settings)
        self.candidates(target.symbols)

    def candidates(self, symbols: int) -> Int[np.ndarray, "candidate prompt"]:
        """All prompts over that many symbols, in order; refuses absurd numbers of them."""
        return all_prompts(symbols, self.length, self.limit)

    def plan(self, symbols: int) -> str:
        count = len(self.candidates(symbols))
        return (
            f"{count:,} prompts of length {self.length}, each on {self.sequences:,} sequences, and "
            f"sets of {self.components}"
        )

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
        search, mixtures = Search(predictor, target, candidates, self.sequences, settings), []
        with report(f"HardPromptMixture: {self.plan(target.symbols)}", callbacks) as progress:
            pieces = search.losses(key, progress)
            for repetition, own in itertools.groupby(pieces, key=lambda piece: piece[0]):
                losses = np.concatenate([piece[2] for piece in own])  # what was not tried is left
                scores[repetition, : len(losses)] = losses.mean(axis=1)
                chosen = best_set(-losses, self.components, self.pairs)
                mixtures.append(mix(predictor, list(candidates[chosen])))
        return found(mixtures, scores)
