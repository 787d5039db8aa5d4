"""Beam search over prompts of real tokens: written from the first symbol on, never changed.

A step extends each of the `width` best prefixes by each symbol, reads all of them on the same
episodes, and keeps the `width` best: with f the mean loss of this step's episodes in nats,

    the width prefixes o·v with the least f(o·v),     o in the beam, v a symbol.

Prefixes that predict the same have one place in the beam. An exchangeable predictor reads 01 and 10
alike, and without this its beam fills with orders of the same symbols. Losses of the same episodes
tell: prefixes are alike where their mean losses agree to one part in a million.

A greedy search is a beam of width 1. BEAST (Sadasivan et al. 2024, "Fast Adversarial Attacks on
Language Models In One GPU Minute") is one of width 15 that tries 15 symbols, drawn from what the
predictor says next; here they are drawn uniformly, since not all predictors write prompts well.

Charged: each different prefix with each symbol, as many rows as it has; so a step costs at most
width · symbols readings, and the first one `symbols`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from promptax.fit.settings import FitSettings
from promptax.specs import check
from promptax.steering.search import Search, SearchProblem

ALIKE = 1e-6  # of a loss: float32 adds up one prompt's losses in one order, to some 1e-7


class Beam(NamedTuple):
    """`prompts` [candidate, prompt]: the prefixes, best first, zeros where still to write; `alive`
    [candidate]: which of them there are."""

    prompts: Any
    alive: Any


class BeamSearch(Search):
    """Searches a hard prompt from its first symbol on; a beam of width 1 is greedy search.

    Takes as many steps as the prompt has symbols, whatever the fit settings say. `loss`
    [repetition, step] is that of the best prefix, nats per sequence. Works on any predictor over
    symbols, exact ones included.
    """

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    width: int = 4
    """Prefixes that are kept; 1 is greedy search."""
    candidates: int = 128
    """Symbols that are tried behind each prefix, the same ones, drawn at random; all there are if
    those are fewer."""

    def __check_init__(self) -> None:
        for name in ("width", "candidates"):
            value = getattr(self, name)
            check(value >= 1, f"Expected {name} of at least 1; got {value}.")

    @classmethod
    def greedy(cls, length: int = 6) -> "BeamSearch":
        """The best symbol at each place, given those before it."""
        return cls(length=length, width=1)

    @classmethod
    def examples(cls) -> "tuple[BeamSearch, ...]":
        return cls(length=2, width=2), cls(length=3, width=1, candidates=2)

    def plan(self, symbols: int) -> str:
        return f"{min(self.candidates, symbols):,} symbols behind {self.width:,} prefixes"

    def updates(self, settings: FitSettings, symbols: int) -> int:
        del settings, symbols
        return self.length  # a step for each place

    def run_length(self, symbols: int) -> int:
        del symbols
        return self.length

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Beam:
        del key, problem  # nothing is drawn
        prompts = jnp.zeros((self.width, self.length), jnp.int32)
        return Beam(prompts, jnp.arange(self.width) == 0)  # one prefix: nothing

    def step(
        self, key: Key[Array, ""], state: Beam, problem: SearchProblem
    ) -> tuple[Beam, Float[Array, ""]]:
        symbols = jnp.arange(problem.symbols, dtype=jnp.int32)
        if self.candidates < problem.symbols:
            symbols = jax.random.permutation(key, symbols)[: self.candidates]
        tried = jnp.repeat(state.prompts, len(symbols), axis=0)
        tried = tried.at[:, problem.step].set(jnp.tile(symbols, self.width))
        wanted = jnp.repeat(state.alive, len(symbols))
        rows = jnp.full(len(tried), problem.step + 1)  # what comes later is not read
        losses = problem.means(tried, wanted=wanted, rows=rows)
        order = jnp.argsort(losses)  # stable: of equals the first
        different = are_different(losses[order])
        places = order[jnp.argsort(~different)][: self.width]
        alive = wanted[places] & (jnp.arange(len(places)) < jnp.sum(different))
        return fill(Beam(tried[places], alive), self.width), losses[places[0]]

    def prompt(self, state: Beam) -> Int[Any, " prompt"]:
        return state.prompts[0]


def are_different(losses: Float[Array, " candidate"]) -> Bool[Array, " candidate"]:
    """Which losses, in ascending order, are larger than the one before them."""
    before, after = losses[:-1], losses[1:]
    larger = after > before + ALIKE * jnp.abs(before)  # not by a difference: inf - inf is NaN
    return jnp.concatenate([jnp.ones(1, bool), larger])


def fill(beam: Beam, width: int) -> Beam:
    """The beam with places that nobody has, up to its width."""
    missing = max(0, width - len(beam.prompts))
    return Beam(*(jnp.pad(part, [(0, missing)] + [(0, 0)] * (part.ndim - 1)) for part in beam))
