"""The best of many random prompts: the baseline that a search has to beat.

N prompts of uniform symbols are drawn, and the best is kept (Lu et al. 2024, "Strings from the
Library of Babel: Random Sampling as a Strong Baseline for Prompt Optimisation"). Where a share p of
all prompts is good enough, N draws find one of them with

    1 - (1 - p)^N        N = ln 0.05 / ln(1 - p) draws for 95 %.

The paper keeps the winner by the scores that chose it; here it is read again (`finalists`).
"""

from jaxtyping import Array, Key

from promptax.steering.search import SearchProblem
from promptax.steering.search_problem import Prompts
from promptax.steering.searches.draws.finalists import BestOfDraws
from promptax.steering.searches.moves import draw_prompts


class RandomSearch(BestOfDraws):
    """Searches a hard prompt by drawing random ones and keeping the best.

    `loss` [repetition, step] is that of the prompt which led before the step, nats per sequence, on
    episodes that did not choose it; in the first step, that of the best new prompt. Works on any
    predictor over symbols, exact ones included. Of the fit settings, `steps` times `candidates`
    prompts are drawn, with replacement.
    """

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    candidates: int = 56
    """New prompts in a step."""
    finalists: int = 8
    """How many of the best are read again in each step; one at a time enters."""

    @classmethod
    def examples(cls) -> "tuple[RandomSearch, ...]":
        return cls(length=2, candidates=3, finalists=2), cls(length=3, candidates=1, finalists=1)

    def draw(self, key: Key[Array, ""], problem: SearchProblem) -> Prompts:
        return draw_prompts(key, self.candidates, self.length, problem.symbols)
