"""One network and one task: what the network becomes like while it is trained.

It is the measurement of papers that ask which predictor a trained network imitates, how near it
comes to exact Bayes, and when. Nothing is steered (that is `Experiment`).
"""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from promptax.analysis.algorithms import HeldAlgorithms, hold_algorithms
from promptax.checks import as_tuple
from promptax.evaluation.evaluate import evaluate, regret
from promptax.evaluation.exact.expectations import Expectations, can_be_expected
from promptax.experiments.groups import slug
from promptax.experiments.looks import Look, label_looks, mean_distances, probe_weights
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
from promptax.fit.objectives.support_and_query import SupportAndQuery
from promptax.fit.probes import Probe
from promptax.fit.settings import FitSettings
from promptax.predictors import LSTM
from promptax.predictors.base import Architecture
from promptax.protocol.predictor import Predictor
from promptax.specs import check, later, to_json
from promptax.tasks import Categorical, DirichletCategorical
from promptax.tasks.base import Task, steps_to_read
from promptax.tasks.regression.references.base import LinearReference

TRAINING, NETWORK = "training", "network"  # the group of losses, and who is judged
UNADAPTED = "without inner steps"  # the same network as it is, where it is judged after inner steps
# what the name of a source's group is followed by, where a group holds something else of it
LEARNING, DISTANCES, PROBES = ".learning", ".distances", ".probes"


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
      algorithm], of the derivatives of the last answer in its question (`answer_gradients`), and
      `squared_error` [predictor, time], of the predicted mean from the answer;
    - `SOURCE.learning`, by `step`, after how many updates: `distance` [algorithm, step], the mean
      over scored steps; `log_loss`, nats per scored step; `last_log_loss`, that of the last scored
      step; and, where answers are symbols, `last_accuracy` and `first_accuracy`, the shares of
      sequences whose last and whose first scored step had the likeliest symbol. In front of the
      first there is no other answer. Where two algorithms are `mixed`, also `variation` [weight,
      step], the total variation between the network and their mixtures;
    - `SOURCE.probes` [internal, quantity], where `probed` names an algorithm: what a linear map of
      the network's internal states says of XᵀY and of that algorithm's weights (`linear_probes`).
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
    inner_rates: tuple[float, ...] = later((), converter=as_tuple)
    """Rates to choose from for the inner steps after which it is judged: the one that loses least
    on as many other sequences of `task`, behind the support that `adapting` names. It is kept with
    what is measured, as `inner_rate`. Empty: the rate of `adapting`."""
    mixed: tuple[str, ...] = later((), converter=as_tuple)
    """Two algorithms over symbols, by name, with whose mixtures the network is compared at every
    look: `variation`, half the summed difference of probabilities, mean over scored steps, where
    the first of the two has weight 0, 0.05, … 1. Empty: none."""

    probed: str = later("")
    """The algorithm, a linear reference such as `Ridge`, whose weights the network's internal
    states are probed for at the end; "": none."""

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
        check(
            not self.mixed
            or (
                (len({*self.mixed}) == len(self.mixed) == 2 and {*self.mixed} <= {*self.algorithms})
                and self.task.outcome.alphabet is not None
            ),
            f"Expected mixed as two different ones of {list(self.algorithms)}, over an alphabet, "
            f"or none; got {self.mixed} over {self.task.outcome.words()}.",
        )
        check(
            not self.probed or isinstance(self.algorithms.get(self.probed), LinearReference),
            f"Expected probed to name one of the algorithms, a linear reference such as Ridge; got "
            f"{self.probed!r}.",
        )
        check(
            not self.probed or (self.look_sequences >= 4 and self._steps_of_time() >= 4),
            "Expected at least 4 look_sequences, and 2 points of training, for the probes; got "
            f"{self.look_sequences}, and {self.training.length} rows.",
        )
        self._check_adapting()

    def _check_adapting(self) -> None:
        """Complain about inner steps that could not be taken once it is trained."""
        if self.adapting is None:
            check(
                not self.in_context and not self.inner_rates,
                f"Expected inner steps, adapting=MAML(), where in_context or inner_rates are "
                f"given; got none, in_context={self.in_context}, inner_rates={self.inner_rates}.",
            )
            return
        check(
            all(np.isfinite(rate) and rate > 0 for rate in self.inner_rates),
            f"Expected inner_rates above 0; got {self.inner_rates}.",
        )
        settings = dataclasses.replace(self.training, length=self._steps_of_time())
        for steps in self._steps_to_choose_from(self.adapting):

            def build(key: Array, steps: InnerSteps = steps) -> Predictor:
                network = self.network.build(key, self.task.outcome)
                network = self.objective.equip(network, settings)
                adapting = Adapting(network, steps, self.in_context)
                steps.check_leaves(network)
                return adapting

            eqx.filter_eval_shape(build, jax.random.key(0))

    @classmethod
    def examples(cls) -> "tuple[Training, ...]":
        coins = DirichletCategorical()
        return (
            cls(
                network=LSTM(width=2),
                task=coins,
                training=FitSettings(steps=2, batch=2, length=3),
                sources={"coins": coins},
                algorithms={"ours": coins, "fair": Categorical((0.5, 0.5))},
                mixed=("ours", "fair"),
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
        probe = Probe(max(1, self.training.steps // self.looks), Look(held, self.mixed))
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
        judged = {NETWORK: network}
        attributes: dict[str, float] = {}
        if self.adapting is not None:
            held_out_key = jax.random.fold_in(evaluate_key, len(self.sources))
            steps = self._choose(held_out_key, network, self.adapting)
            judged = {NETWORK: Adapting(network, steps, self.in_context), UNADAPTED: network}
            attributes = {"inner_rate": float(steps.inner_rate)} if self.inner_rates else {}
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
            curves = regret(losses, "oracle").assign_attrs(target=name, source=described)
            yield slug(name), curves.assign_attrs(attributes)
            learned = label_looks(fitted.probes, name, list(algorithms))
            yield slug(name) + LEARNING, learned.assign_attrs(target=name)
            if algorithms:
                apart = mean_distances(held[name], {NETWORK: judged[NETWORK], **algorithms})
                yield slug(name) + DISTANCES, apart
            if self.probed:
                probes = probe_weights(held[name], network, algorithms[self.probed])
                yield slug(name) + PROBES, probes

    def _steps_to_choose_from(self, steps: InnerSteps) -> list[InnerSteps]:
        """The inner steps at each of the rates; as they are where there is no choice."""
        rates = self.inner_rates
        return [dataclasses.replace(steps, inner_rate=rate) for rate in rates] or [steps]

    def _choose(self, key: Key[Array, ""], network: Predictor, steps: InnerSteps) -> InnerSteps:
        """The inner steps at the rate that loses least on sequences that nobody is judged on."""
        choices = self._steps_to_choose_from(steps)
        if len(choices) == 1:
            return choices[0]
        contenders: dict[str, Any] = {
            str(index): Adapting(network, choice, self.in_context)
            for index, choice in enumerate(choices)
        }
        losses = evaluate(
            key,
            contenders,
            self.task,
            self.sequences,
            self.length,
            expectations=_few_beliefs(self.task, self.length),
        )
        support = steps.support if isinstance(steps, SupportAndQuery) else None
        curves = losses["log_loss"].sel(predictor=list(contenders)).isel(repetition=0)
        if "scored" in losses:
            curves = curves.where(losses["scored"], 0.0)
        late = curves.isel(time=slice(support or 0, None)).astype(float)
        totals = late.sum(("sequence", "time"), skipna=False).values
        return choices[int(np.argmin(np.where(np.isfinite(totals), totals, np.inf)))]

    def _hold(
        self, key: Key[Array, ""], algorithms: dict[str, Predictor]
    ) -> dict[str, HeldAlgorithms]:
        """What the algorithms predict on the sequences of each source that are looked at."""
        return {
            name: hold_algorithms(
                algorithms,
                source,
                jax.random.fold_in(key, index),
                length=self._steps_of_time(),
                sequences=self.look_sequences,
                symmetric=True,
            )
            for index, (name, source) in enumerate(self.sources.items())
        }

    def _steps_of_time(self) -> int:
        """Of a sequence that is trained on."""
        return steps_to_read(self.task, self.training.length, 100)

    def work(self) -> float:
        """Numbers touched by all updates, and a third of that for each token that is judged. Inner
        steps read whole sequences: as many as the objective says in training, and once for each
        step behind every observation when they are judged."""

        def build(key: Array) -> Predictor:
            return self.network.build(key, self.task.outcome)

        shapes = eqx.filter_eval_shape(build, jax.random.key(0))
        leaves = jax.tree.leaves(shapes)
        size = sum(leaf.size for leaf in leaves if isinstance(leaf, jax.ShapeDtypeStruct))
        length = self._steps_of_time()
        read = self.training.steps * self.training.batch * length
        read *= self.objective.readings(length)
        looked = self.looks * self.look_sequences * length * len(self.sources)
        judged, times = self.sequences * self.length, len(self.sources)
        if self.adapting is not None:  # a step with its derivative is three times as much
            judged *= 1 + self.length * (3 * self.adapting.inner_steps + 1)
            times += len(self.inner_rates)
        return float(size * (read + (looked + judged * times) / 3))

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
