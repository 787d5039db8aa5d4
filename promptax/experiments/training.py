"""One network and one task: what the network becomes like while it is trained.

It is the measurement of papers that ask which predictor a trained network imitates, how near it
comes to exact Bayes, and when. Nothing is steered (that is `Experiment`).
"""

import json
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Key

from promptax.analysis.algorithms import HeldAlgorithms, hold_algorithms
from promptax.analysis.sensitivities import answer_gradients, mean_cosine
from promptax.axes import NATS, labelled
from promptax.evaluation.evaluate import evaluate, regret
from promptax.evaluation.exact.expectations import Expectations, can_be_expected
from promptax.experiments.groups import slug
from promptax.experiments.measurement import (
    Announce,
    Keep,
    Measurement,
    Stage,
    keep_nothing,
    silent,
)
from promptax.fit.adapting import Adapting
from promptax.fit.loop import pretrain
from promptax.fit.objectives import InnerSteps, LogLoss, Objective
from promptax.fit.probes import Probe
from promptax.fit.settings import FitSettings
from promptax.predictors import LSTM
from promptax.predictors.base import Architecture
from promptax.protocol.outcomes import Episode, Gaussian, Outcome, Points, Symbols
from promptax.protocol.predictor import Predictor
from promptax.specs import check, later, to_json, traced
from promptax.tasks import DirichletCategorical
from promptax.tasks.base import Task

TRAINING, NETWORK = "training", "network"  # the group of losses, and who is judged
UNADAPTED = "without inner steps"  # the same network as it is, where it is judged after inner steps
LEARNING, DISTANCES = ".learning", ".distances"  # of the groups that belong to a source's


MOST_BELIEFS = 1000  # of an expectation


class Training(Measurement):
    """A network that is trained on a task, and held against named predictors: while it learns, and
    at the end, on sequences of several sources.

    Stages: `training`, the loss of every update; then of each source, by its name:

    - `SOURCE`: regret to the oracle of the network (`network`), of every algorithm, and of exact
      Bayes where there is one, over `length` steps (`promptax.regret`);
    - `SOURCE.distances` [predictor, algorithm, time]: how far the network and the algorithms are
      from each algorithm, mean over sequences as long as those of training
      (`algorithm_distances`, symmetric); where answers are numbers also `cosine` [predictor,
      algorithm], of the derivatives of the last answer in its question (`answer_gradients`);
    - `SOURCE.learning`, by `step`, after how many updates: `distance` [algorithm, step], the mean
      over scored steps; `log_loss`, nats per scored step; `last_log_loss`, that of the last scored
      step; and, where answers are symbols, `last_accuracy` and `first_accuracy`, the shares of
      sequences whose last and whose first scored step had the likeliest symbol. In front of the
      first there is no other answer.
    """

    network: Architecture = LSTM()
    """Architecture."""
    task: Task = DirichletCategorical()
    """What it is trained on."""
    training: FitSettings = FitSettings(length=100)
    """How it is trained."""
    sources: dict[str, Task] = eqx.field(default_factory=lambda: {"coins": DirichletCategorical()})
    """Where the sequences come from on which it is judged, by name."""
    algorithms: dict[str, Task | Predictor] = eqx.field(default_factory=dict)
    """What it is held against, by name. A task stands for its exact predictor."""
    looks: int = 10
    """How often to look while it is trained."""
    look_sequences: int = 64
    """Sequences of each source to look at."""
    sequences: int = 512
    """Sequences of each source to evaluate on at the end."""
    length: int = 100
    """Steps of each of these."""
    objective: Objective = later(LogLoss())
    """What training makes small."""
    adapting: InnerSteps | None = later(None)
    """The inner steps after which the network is judged at the end, taken anew after every
    observation (`Adapting`). What it says without them is `without inner steps`; so it is looked at
    while it is trained. None: it is judged as it is."""
    in_context: bool = later(False)
    """Whether, after its inner steps, it has also read what it adapted to."""

    def __check_init__(self) -> None:
        check(
            self.training.repetitions == 1 and self.training.steps >= 1,
            f"Expected one network that is trained, repetitions=1 and steps of at least 1; got "
            f"{self.training.repetitions} and {self.training.steps}. Another seed is another "
            "condition.",
        )
        for name in ("looks", "look_sequences", "sequences", "length"):
            check(
                getattr(self, name) >= 1,
                f"Expected {name} of at least 1; got {getattr(self, name)}.",
            )
        slugs = [TRAINING, *map(slug, self.sources)]
        check(
            len(set(slugs)) == len(slugs) > 1,
            f"Expected sources whose letters and digits differ, and none named {TRAINING!r}; got "
            f"{list(self.sources)}.",
        )
        taken = sorted({NETWORK, UNADAPTED, "oracle", "bayes"} & set(self.algorithms))
        check(not taken, f"Expected algorithms with names of their own; got {taken}.")
        for name, source in self.sources.items():
            check(
                source.outcome == self.task.outcome and source.has_oracle,
                f"Expected sources over {self.task.outcome.words()}, as the task, with an oracle; "
                f"got {type(source).__name__} as {name!r}.",
            )
        for name, algorithm in self.algorithms.items():
            check(
                algorithm.outcome == self.task.outcome,
                f"Expected algorithms that predict {self.task.outcome.words()}, as the task; "
                f"{name!r} predicts {algorithm.outcome.words()}.",
            )
            check(
                not isinstance(algorithm, Task) or algorithm.has_bayes,
                f"Expected algorithms that are predictors, or tasks with an exact one; "
                f"{type(algorithm).__name__} as {name!r} has none. Give it a predictor.",
            )

    @classmethod
    def examples(cls) -> "tuple[Training, ...]":
        coins = DirichletCategorical()
        return (
            cls(
                network=LSTM(width=2),
                task=coins,
                training=FitSettings(steps=2, batch=2, length=3),
                sources={"coins": coins},
                algorithms={"ours": coins},
                looks=2,
                look_sequences=2,
                sequences=2,
                length=3,
            ),
        )

    def named_algorithms(self) -> dict[str, Predictor]:
        """The predictors that it is held against."""
        return {
            name: algorithm.bayes() if isinstance(algorithm, Task) else algorithm
            for name, algorithm in self.algorithms.items()
        }

    def stages(
        self, seed: int, announce: Announce = silent, keep: Keep = keep_nothing
    ) -> Iterator[Stage]:
        fit_key, look_key, evaluate_key = jax.random.split(jax.random.key(seed), 3)
        algorithms = self.named_algorithms()
        held = self._hold(look_key, algorithms)
        probe = Probe(max(1, self.training.steps // self.looks), Look(held))
        fitted = pretrain(
            fit_key,
            self.network,
            self.task,
            self.training,
            objective=self.objective,
            probes=(probe,),
            checkpoint=keep(TRAINING),
            callbacks=announce(TRAINING),
        )
        yield TRAINING, fitted.history
        network = fitted.predictor
        assert isinstance(network, Predictor)  # one repetition
        judged = {NETWORK: self._judged(network)}
        if self.adapting is not None:
            judged[UNADAPTED] = network
        for index, (name, source) in enumerate(self.sources.items()):
            losses = evaluate(
                jax.random.fold_in(evaluate_key, index),
                {**judged, **algorithms},
                source,
                self.sequences,
                self.length,
                expectations=_few_beliefs(source, self.length),
                callbacks=announce(f"{name}: evaluation"),
            )
            described = json.dumps(to_json(source))
            yield slug(name), regret(losses, "oracle").assign_attrs(target=name, source=described)
            learned = _learned(fitted.probes, name, list(algorithms))
            yield slug(name) + LEARNING, learned.assign_attrs(target=name)
            if algorithms:
                apart = _distances(held[name], {NETWORK: judged[NETWORK], **algorithms})
                yield slug(name) + DISTANCES, apart

    def _judged(self, network: Predictor) -> Predictor:
        """What is judged of a network: itself, or what it says after its inner steps."""
        if self.adapting is None:
            return network
        return Adapting(network, self.adapting, self.in_context)

    def _hold(
        self, key: Key[Array, ""], algorithms: dict[str, Predictor]
    ) -> dict[str, HeldAlgorithms]:
        """What the algorithms predict on the sequences of each source that are looked at."""
        return {
            name: hold_algorithms(
                algorithms,
                source,
                jax.random.fold_in(key, index),
                length=self.training.length or 100,
                sequences=self.look_sequences,
                symmetric=True,
            )
            for index, (name, source) in enumerate(self.sources.items())
        }

    def work(self) -> float:
        """Numbers touched by all updates, and a third of that for each token that is judged."""

        def build(key: Array) -> Predictor:
            return self.network.build(key, self.task.outcome)

        shapes = eqx.filter_eval_shape(build, jax.random.key(0))
        leaves = jax.tree.leaves(shapes)
        size = sum(leaf.size for leaf in leaves if isinstance(leaf, jax.ShapeDtypeStruct))
        length = self.training.length or 100
        read = self.training.steps * self.training.batch * length
        looked = self.looks * self.look_sequences * length + self.sequences * self.length
        return float(size * (read + looked * len(self.sources) / 3))

    def numbers(self, results: xr.DataTree) -> list[dict[str, object]]:
        """Regret of every predictor on every source, at the end; and the network's distance."""
        rows: list[dict[str, object]] = []
        for name in self.sources:
            ends = results[slug(name)].to_dataset().isel(time=-1, repetition=0)
            group = slug(name) + DISTANCES
            held = group in results.children
            distance = results[group].to_dataset()["distance"] if held else None
            for predictor in ends.predictor.values.tolist():
                row: dict[str, object] = {"source": name, "predictor": predictor}
                for variable in ("regret", "standard_error"):
                    row[variable] = float(ends[variable].sel(predictor=predictor))
                measured = distance is not None and predictor in distance.algorithm
                row["networks_distance"] = (
                    float(distance.sel(predictor=NETWORK, algorithm=predictor).mean())
                    if distance is not None and measured
                    else ""
                )
                rows.append(row)
        return rows


def _few_beliefs(source: Task, length: int) -> Expectations | None:
    """Exact expectations that sharpen regret, where they take no time: a switching source or a
    tree has as many beliefs as sequences, and to count them takes longer than to sample more."""
    return Expectations(source, length, MOST_BELIEFS) if can_be_expected(source) else None


class Look:
    """What a probe does: how far a network is from the algorithms, and what it loses."""

    def __init__(self, held: dict[str, HeldAlgorithms]) -> None:
        self.held = held

    def __call__(self, network: Predictor) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for name, held in self.held.items():
            scored = held.scored
            for algorithm, values in zip(held.predicted, held.distances(network), strict=True):
                numbers[_word(name, "distance", algorithm)] = float(values[scored].mean())
            losses, right = _losses_and_hits(traced(network), held.outcome, held.episodes)
            losses = np.asarray(losses)
            last = np.max(np.where(scored, np.arange(scored.shape[1]), 0), axis=1)
            rows = np.arange(len(scored)), last
            numbers[_word(name, "log_loss")] = float(losses[scored].mean())
            numbers[_word(name, "last_log_loss")] = float(losses[rows].mean())
            if right is not None:
                first = np.arange(len(scored)), scored.argmax(axis=1)
                numbers[_word(name, "last_accuracy")] = float(np.asarray(right)[rows].mean())
                numbers[_word(name, "first_accuracy")] = float(np.asarray(right)[first].mean())
        return numbers


def _word(source: str, *parts: str) -> str:
    """The name under which a probe keeps a number: it has no "/"."""
    return "|".join((source, *parts)).replace("/", "∕")


@eqx.filter_jit
def _losses_and_hits(
    network: Predictor, outcome: Outcome, episodes: Episode
) -> tuple[Float[Array, "sequence time"], Array | None]:
    """Losses in nats, and whether the likeliest symbol came [sequence, time]; None in its place
    where answers are numbers."""
    prediction = network.advance_batch(network.start(), episodes.inputs)[1]
    losses = outcome.log_loss(prediction, episodes)
    answer = outcome.answer if isinstance(outcome, Points) else outcome
    if not isinstance(answer, Symbols):
        return losses, None
    read = episodes.inputs
    symbols = outcome.answers(read) if isinstance(outcome, Points) else outcome.decode(read)
    return losses, prediction.shown().argmax(axis=-1) == symbols


def _answers_numbers(outcome: Outcome) -> bool:
    return isinstance(outcome, Points) and isinstance(outcome.answer, Gaussian)


def _learned(probes: xr.Dataset, source: str, algorithms: list[str]) -> xr.Dataset:
    """The looks at one source, by step."""
    looks = probes.isel(repetition=0, drop=True)
    variables: dict[str, Any] = {
        word: ("step", looks[_word(source, word)].values)
        for word in ("log_loss", "last_log_loss", "last_accuracy", "first_accuracy")
        if _word(source, word) in looks
    }
    for word in ("log_loss", "last_log_loss"):
        variables[word] = (*variables[word], {"unit": NATS})
    rows = [looks[_word(source, "distance", name)].values for name in algorithms]
    if rows:
        variables["distance"] = (("algorithm", "step"), np.array(rows))
    coords = {"step": looks["step"].values} | ({"algorithm": algorithms} if rows else {})
    return labelled(variables, coords)


def _distances(held: HeldAlgorithms, judged: dict[str, Predictor]) -> xr.Dataset:
    """Mean distance over the sequences at every scored step [predictor, algorithm, time]."""
    rows = np.array([held.distances(predictor) for predictor in judged.values()])
    counts = held.scored.sum(axis=0)
    sums = np.where(held.scored, rows, 0.0).sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, sums / counts, np.nan)
    variables: dict[str, Any] = {"distance": (("predictor", "algorithm", "time"), means)}
    if _answers_numbers(held.outcome) and means.shape[-1] % 2 == 0:
        read = held.episodes.inputs
        slopes = {name: answer_gradients(predictor, read) for name, predictor in judged.items()}
        cosines = [
            [mean_cosine(ours, slopes[a]) for a in held.predicted] for ours in slopes.values()
        ]
        variables["cosine"] = (("predictor", "algorithm"), np.array(cosines))
    return labelled(
        variables,
        {
            "predictor": list(judged),
            "algorithm": list(held.predicted),
            "time": np.arange(1, means.shape[-1] + 1),
        },
    )
