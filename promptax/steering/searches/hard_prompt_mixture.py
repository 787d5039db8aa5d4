"""Several prompts of real tokens as a Bayes-weighted mixture, by search."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.evaluation.exact.best_set import best_set
from promptax.protocol.mixture import check_components, mix
from promptax.protocol.predictor import Predictor
from promptax.steering.search import SearchProblem
from promptax.steering.searches.hard_prompt import UNTRIED, ExhaustiveSearch, next_losses


class HardPromptMixture(ExhaustiveSearch):
    """Searches the set of hard prompts whose equally weighted mixture is the best on the target.

    Every prompt is scored once; log p(sequence) of a set is then the log mean of what is known. Of
    two components all pairs are tried. More are added one by one to the best pair, and each is
    exchanged for a better one while there is any. Works on any predictor, exact ones included, and
    scores what a task scores: the first steps of a sequence, or all. The losses of single prompts,
    in nats, are kept in `scores` [repetition, candidate], as by `HardPrompt`; the result is a
    `PromptedMixture`, its `prompt` [repetition, component, prompt]. Mixtures of prompts: Qin and
    Eisner 2021, "Learning How to Ask".
    """

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
        check_components(self.components)

    @classmethod
    def examples(cls) -> "tuple[HardPromptMixture, ...]":
        return cls(length=2, sequences=16), cls(length=1, components=3, sequences=8, pairs=1)

    def plan(self, symbols: int) -> str:
        count = len(self.candidates(symbols))
        return (
            f"{count:,} prompts of length {self.length}, each on {self.sequences:,} sequences, and "
            f"sets of {self.components}"
        )

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> "AllLosses":
        del key
        prompts = jnp.asarray(self.candidates(problem.symbols))
        return AllLosses(prompts, jnp.full((len(prompts), self.sequences), UNTRIED))

    def step(
        self, key: Key[Array, ""], state: "AllLosses", problem: SearchProblem
    ) -> tuple["AllLosses", Float[Array, ""]]:
        del key
        losses, places = next_losses(problem, len(state.losses))
        losses = state.losses.at[places].set(losses, mode="drop")
        means = jnp.mean(jnp.where(losses == UNTRIED, jnp.inf, losses), axis=1)
        return AllLosses(state.prompts, losses), jnp.nanmin(means)

    def prompt(self, state: "AllLosses") -> Int[Any, "component prompt"]:
        tried = state.losses[state.losses[:, 0] != UNTRIED]  # what was not tried is left out
        return state.prompts[best_set(-tried, self.components, self.pairs)]

    def scores(self, state: "AllLosses") -> Float[np.ndarray, " candidate"]:
        return np.where(state.losses == UNTRIED, np.nan, state.losses).mean(axis=1)

    def steer(self, predictor: Predictor, prompt: Int[np.ndarray, "component prompt"]) -> Predictor:
        return mix(predictor, list(prompt))


class AllLosses(NamedTuple):
    """Every prompt [candidate, prompt], and its losses [candidate, sequence] in nats, `UNTRIED`
    where still to try."""

    prompts: Any
    losses: Any
