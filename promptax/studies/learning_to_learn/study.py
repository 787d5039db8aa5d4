"""The study: three kinds of learners on five sources, at equal training tokens."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import xarray as xr

from promptax.experiments.training import Training
from promptax.fit.objectives import (
    MAML,
    CountRates,
    FirstOrderMAML,
    InnerSteps,
    LogLoss,
    MetaSGD,
    Objective,
    Reptile,
)
from promptax.fit.settings import FitSettings
from promptax.predictors import LSTM, Architecture, Constant, FeedForward, Transformer
from promptax.report.pages.study import Part
from promptax.studies.judging import ClaimList
from promptax.studies.learning_to_learn import claims, figures
from promptax.studies.learning_to_learn.claims import (
    BOTH,
    COINS,
    COUNTS,
    COUNTS_LONGER,
    FIRST_ORDER,
    FIRST_ORDER_LONGER,
    GRADIENT,
    LINES,
    LONGER,
    MEMORY,
    ONE,
    POINTS,
    REPTILE,
    REPTILE_LONGER,
    SINES,
    SOURCES,
    START,
    SWITCHING,
    TWO,
    name_of,
)
from promptax.studies.trainings import Reader, TrainingStudy
from promptax.tasks import (
    CategoricalMixture,
    DirichletCategorical,
    LinearRegression,
    RandomShifts,
    SineRegression,
    Task,
)


class Scale(NamedTuple):
    """Sizes of everything. `kinds`: none are all of them; `tokens`: of a training; `length`: steps
    of sequences of symbols; `rows`: two for each point."""

    sources: tuple[str, ...]
    kinds: tuple[str, ...]
    tokens: int
    width: int
    units: int
    length: int
    rows: int
    sequences: int


SCALES = {
    "smoke": Scale((COINS, SINES), (MEMORY, GRADIENT, START), 20_000, 4, 8, 8, 8, 16),
    "small": Scale(SOURCES, (), 2_000_000, 32, 40, 50, 40, 256),
    "paper": Scale(SOURCES, (), 200_000_000, 128, 40, 50, 40, 2048),
}
"""`paper`: there is none; these sizes are for a GPU. 40 units are those of Finn et al. 2017."""

TASKS: dict[str, Task] = {
    COINS: DirichletCategorical((1.0, 1.0)),
    TWO: CategoricalMixture(((0.2, 0.8), (0.8, 0.2)), (0.5, 0.5)),
    SWITCHING: RandomShifts(period=10.0),
    LINES: LinearRegression(),
    SINES: SineRegression(amplitude=1.0, prior_scale=0.5, noise_scale=0.2),
}
"""Sines have 0.4 times the paper's amplitude: other units, in which a network that was not trained
yet, whose standard deviations are near 1, takes inner steps that are not too long."""

NETWORK_BATCH, SMALLEST_BATCH = 32, 2  # sequences of an update; of a model that is read very often
STEPS = 5  # inner steps; the paper takes 1 in training and up to 10 later
INNER_RATE = 0.05  # of the inner steps on points, in training
INNER_RATES = (0.05, 0.01, 0.002)
"""Each learner of points is judged at the one that loses least on other sequences: at a rate of
0.05 the steps of a network that was not trained for them diverge, which is the rate's fault."""


class Learner(NamedTuple):
    """How something is trained, and how it adapts when it is judged. `as_memory`: on as many
    sequences as memory, not on as many tokens."""

    network: Architecture
    objective: Objective
    rate: float
    adapting: InnerSteps | None = None
    as_memory: bool = False


class LearningToLearn(TrainingStudy):
    """When does memory win, and when do gradient steps?

    Every learner is trained on the same number of tokens. An inner step counts as one more reading
    of the whole sequence through which a derivative is taken, as in `promptax.fit.cost`: a sequence
    costs (inner_steps + 1) times its length, and where every beginning of it is a support, length
    times as much. So it is computed, the steps that are not yet seen masked; the symbols that count
    are half as many, or fewer. Derivatives of derivatives are not charged. This charge leaves
    gradient steps few updates, so that they are also trained on as many sequences as memory.

    Learners whose training asks for nothing before half of the sequence (a support of half) are
    judged behind it, and so is whoever is compared with them. They have seen more there than in
    training, up to all; the mean of their inner loss is surer for that.
    """

    title: ClassVar[str] = "Learning to learn: memory, gradient steps, and both"
    seeds_of: ClassVar[Mapping[str, int]] = {"smoke": 1, "small": 2, "paper": 5}

    seeds: int | None = None
    """Networks of each kind (None: 2 at the small scale, 5 at the paper's)."""

    @classmethod
    def examples(cls) -> "tuple[LearningToLearn, ...]":
        return (cls(seeds=1),)

    def trainings(self, scale: str) -> dict[str, Training]:
        sizes = SCALES[scale]
        return {
            name_of(kind, source): _training(sizes, source, learner)
            for source in sizes.sources
            for kind, learner in _learners(sizes, source).items()
            if not sizes.kinds or kind in sizes.kinds
        }

    def claim_list(self) -> ClaimList[Reader]:
        return claims.CLAIMS

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        return figures.parts(Reader(results))


def _learners(sizes: Scale, source: str) -> dict[str, Learner]:
    """The kinds of learners on a source, by name."""
    return _on_points(sizes, source) if source in POINTS else _on_symbols(sizes, source)


def _on_symbols(sizes: Scale, source: str) -> dict[str, Learner]:
    """An LSTM, a model of a logit for each symbol, and an LSTM that takes an inner step behind half
    of the sequence. The logits are adapted at every beginning of a sequence, in training as later,
    and their rates are learned."""
    network = LSTM(width=sizes.width)
    beside = MAML(support=sizes.length // 2, in_context=True)
    anew = MetaSGD(inner_steps=STEPS, inner_loss="sum", support=None)
    learners = {
        MEMORY: Learner(network, LogLoss(), 5e-3),
        GRADIENT: Learner(Constant(), anew, 5e-2, anew),
        BOTH: Learner(network, beside, 5e-3, beside),
        LONGER: Learner(Constant(), anew, 5e-2, anew, as_memory=True),
    }
    if source == COINS:
        one_step = MetaSGD(inner_loss="sum", support=None)
        by_count = CountRates(inner_rate=2.0)
        learners[ONE] = Learner(Constant(), one_step, 5e-2, one_step)
        learners[COUNTS] = Learner(Constant(), by_count, 5e-2, by_count)
        learners[COUNTS_LONGER] = Learner(Constant(), by_count, 5e-2, by_count, as_memory=True)
    return learners


def _on_points(sizes: Scale, source: str) -> dict[str, Learner]:
    """A Transformer, a perceptron that sees questions alone, and a Transformer that takes inner
    steps on half of the points."""
    network = Transformer(width=sizes.width, heads=2, depth=2)
    plain = FeedForward(width=sizes.units)
    fields: dict[str, Any] = {"inner_steps": STEPS, "inner_rate": INNER_RATE}
    behind_half: dict[str, Any] = {"support": sizes.rows // 4 * 2, "in_context": True}
    steps = MAML(**fields, **behind_half)
    one_step = MAML(inner_rate=INNER_RATE, **behind_half)
    learners = {
        MEMORY: Learner(network, LogLoss(), 3e-3),
        GRADIENT: Learner(plain, steps, 3e-3, steps),
        BOTH: Learner(network, one_step, 3e-3, one_step),
        LONGER: Learner(plain, steps, 3e-3, steps, as_memory=True),
    }
    if source == SINES:
        first_order = FirstOrderMAML(**fields, **behind_half)
        learners[FIRST_ORDER] = Learner(plain, first_order, 3e-3, steps)
        learners[REPTILE] = Learner(plain, Reptile(**fields), 3e-3, steps)
        for kind, longer in ((FIRST_ORDER, FIRST_ORDER_LONGER), (REPTILE, REPTILE_LONGER)):
            learners[longer] = learners[kind]._replace(as_memory=True)
        learners[START] = Learner(plain, LogLoss(), 3e-3, steps)
    return learners


def _training(sizes: Scale, source: str, learner: Learner) -> Training:
    """What a learner is trained on, for as many updates as its tokens last, or those of memory."""
    length = sizes.rows if source in POINTS else sizes.length
    readings = 1 if learner.as_memory else learner.objective.readings(length)
    batch = SMALLEST_BATCH if readings > length else NETWORK_BATCH
    task = TASKS[source]
    is_chosen = learner.adapting is not None and source in POINTS
    return Training(
        network=learner.network,
        task=task,
        training=FitSettings(
            steps=max(1, sizes.tokens // (batch * length * readings)),
            batch=batch,
            length=length,
            learning_rate=learner.rate,
            schedule="cosine",
        ),
        sources={source: task},
        looks=1,
        look_sequences=min(16, sizes.sequences),
        sequences=sizes.sequences,
        length=length,
        objective=learner.objective,
        adapting=learner.adapting,
        in_context=learner.adapting is not None and not isinstance(learner.network, Constant),
        inner_rates=INNER_RATES if is_chosen else (),
    )
