"""One search on one instance: what it recommends at any cost, judged by exhaustion afterwards.

Nothing of the truth goes to the search. Every repetition has a key of its own, and names of the
symbols of its own (`relabelling`).
"""

import math
import time
from collections.abc import Iterator

import jax
import numpy as np
import xarray as xr

from promptax.analysis.anytime import gaps_at_budgets
from promptax.axes import NATS, labelled
from promptax.experiments.measurement import (
    Announce,
    Keep,
    Measurement,
    Stage,
    keep_nothing,
    silent,
)
from promptax.fit.cost import Cost
from promptax.fit.settings import FitSettings
from promptax.specs import check, later
from promptax.steering import Search
from promptax.steering.base import Tuning
from promptax.steering.searches.annealing import Annealing
from promptax.studies.prompt_arena.instances import Instance, Shape, Truth, truth_of
from promptax.studies.prompt_arena.relabelling import Run, run_relabelled
from promptax.tasks import Categorical, CategoricalMixture

GROUP = "contest"
FIRST = 2**10  # tokens, about what a few readings take


class Contest(Measurement):
    """A search under a budget, on one prior and target."""

    search: Search = Annealing()
    """What searches. It brings its prompt length."""
    prior: CategoricalMixture = CategoricalMixture()
    """Whose exact predictor is prompted."""
    target: Categorical = Categorical()
    """What the prompt is for."""
    length: int = 8
    """Steps of the target's sequences."""
    budget: int = 1024
    """Evaluations in the exact track, tokens in the sampled one."""
    exact: bool = True
    """Which track: losses without noise, or batches."""
    batch: int = 32
    """Sequences of a batch in the sampled track."""
    repetitions: int = 10
    """Runs, each with an order of the symbols that it draws."""
    impossible_may_win: bool = later(False)
    """Whether prompts of probability 0, behind which predictions are uniform, may win."""

    def __check_init__(self) -> None:
        for name in ("budget", "length", "repetitions", "batch"):
            value = getattr(self, name)
            check(value >= 1, f"Expected {name} of at least 1; got {value}.")

    @classmethod
    def examples(cls) -> "tuple[Contest, ...]":
        search = Annealing(length=2)
        return (cls(search=search, length=3, budget=8, repetitions=2),)

    @property
    def instance(self) -> Instance:
        """What is searched for."""
        shape = Shape(self.target.symbols, self.search.length, self.length)
        return Instance(self.prior, self.target, shape, self.impossible_may_win)

    @property
    def settings(self) -> FitSettings:
        """How it is searched. The budget ends it: no search takes more steps than evaluations."""
        tokens = 1 if self.exact else self.search.length + self.batch * self.length
        return FitSettings(
            steps=max(1, self.budget // tokens),
            batch=self.batch,
            length=self.length,
            repetitions=self.repetitions,
            budget=self.budget,
            exact=self.exact,
            impossible_may_win=self.impossible_may_win,
            learning_rate=self.search.default_learning_rate,  # no search has one: a number is asked
        )

    def verify(self) -> None:
        self.search.verify(self.prior.bayes(), self.target, self.settings)

    def work(self) -> float:
        per_evaluation = 1000.0 if self.exact else 1.0
        return per_evaluation * self.budget * self.repetitions

    def stages(
        self, seed: int, announce: Announce = silent, keep: Keep = keep_nothing
    ) -> Iterator[Stage]:
        """The gaps [repetition, budget] at powers of two."""
        began, instance = time.monotonic(), self.instance
        tuning = Tuning(
            jax.random.key(seed),
            instance.prior.bayes(),
            instance.target,
            self.settings,
            (),
            keep("search"),
            announce("search"),
        )
        results = self.judged(run_relabelled(self.search, tuning), truth_of(instance))
        results["elapsed"] = ((), time.monotonic() - began, {"unit": "seconds"})
        yield GROUP, results

    def budgets(self) -> np.ndarray:
        """Powers of two up to the budget, which is the last."""
        return budgets_up_to(self.budget, 1 if self.exact else FIRST)

    def judged(self, run: Run, truth: Truth) -> xr.Dataset:
        """What was recommended at every budget, and how far that is from the best prompt.

        Before a search has recommended anything its gap is infinite. `said`: the least loss that
        each run reported of itself, less that of the best prompt, nats; without noise it cannot be
        below 0.
        """
        spent = self.evaluations(run.cost) if self.exact else tokens(run.cost)
        gaps = truth.of(run.recommended) - truth.best
        start = np.full(len(gaps), np.inf)
        at_budgets = gaps_at_budgets(gaps, spent, self.budgets(), start)
        said = np.min(np.where(np.isnan(run.said), np.inf, run.said), axis=1) - truth.best
        unit, final = "evaluations" if self.exact else "tokens", run.cost.final()
        return labelled(
            {
                "gap": (("repetition", "budget"), at_budgets, {"unit": NATS}),
                "said": ("repetition", said, {"unit": NATS}),
                "spent": ("repetition", spent[:, -1], {"unit": unit}),
                "tokens_forward": ("repetition", final["tokens_forward"], {"unit": "tokens"}),
                "tokens_backward": ("repetition", final["tokens_backward"], {"unit": "tokens"}),
                "typical": ((), truth.typical, {"unit": NATS}),
                "best": ((), truth.best, {"unit": NATS}),
            },
            {"repetition": np.arange(len(gaps)), "budget": self.budgets()},
        )

    def evaluations(self, cost: Cost) -> np.ndarray:
        """Evaluations up to each step [repetition, step]: how often all sequences were read, and
        two more for each derivative. Sequences are read sorted, one for each vector of counts."""
        symbols = self.target.symbols
        sequences = math.comb(self.length + symbols - 1, symbols - 1)
        rows = self.search.length + sequences * self.length  # of one derivative
        return np.asarray(cost.sequences) / sequences + 2 * np.asarray(cost.tokens_backward) / rows

    def numbers(self, results: xr.DataTree) -> list[dict[str, object]]:
        """The final gap of every run."""
        return final_gaps(results)


def budgets_up_to(most: int, first: int = FIRST) -> np.ndarray:
    """Powers of two from the first one that is not below `first`; the last is `most` itself."""
    powers = 2.0 ** np.arange(math.ceil(math.log2(first)), math.ceil(math.log2(most)))
    return np.append(powers, most)


def tokens(cost: Cost) -> np.ndarray:
    """Tokens up to each step [repetition, step]; a derivative costs two more."""
    return np.asarray(cost.tokens_forward) + 2 * np.asarray(cost.tokens_backward)


def final_gaps(results: xr.DataTree) -> list[dict[str, object]]:
    """A row for every run of a search, or of a tuner beside: its final gap in nats per sequence
    (the leaderboard has gaps in those of the median random prompt), and what it spent."""
    measured = results[GROUP].to_dataset()
    return [
        {
            "run": int(run),
            "gap_nats": float(measured["gap"].sel(repetition=run)[-1]),
            "spent": float(measured["spent"].sel(repetition=run)),
        }
        for run in measured["repetition"].values
    ]
