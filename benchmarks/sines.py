"""Sines by gradient steps, as published: MAML, its first order, Reptile and a pretrained start.

    python benchmarks/sines.py            # the published law
    python benchmarks/sines.py library    # that of SineRegression, beside exact Bayes

The comparison of Finn et al. 2017, section 5.1, with fewer updates: y = a sin(x + φ) with a uniform
in [0.1, 5], φ in [0, π], x in [-5, 5] and no noise; two layers of 40 rectified units; the squared
error; 25 tasks an update; one inner step of rate 0.01 in training, on 10 points, judged by 10
others; Adam at 1e-3. All four learners see the same tasks in as many updates. Reptile (Nichol et
al. 2018) takes 5 steps of rate 0.02 on all 20 points, which the pretrained network sees together.

Printed is the mean squared error on 1,000 new tasks after some steps on a support of 10 or 5
points: a mean over repetitions with its standard error, and by how much more it is than MAML's,
paired by repetition. The rate of these steps is tuned on other tasks, for each learner, support and
number of steps, as the paper does for the pretrained start.

`SineRegression` has a normal amplitude of the same mean and standard deviation, phases on a grid,
and noise of 0.3, so that exact Bayes is known. There the regret to it is printed too, in nats for
each answer, of a normal distribution with the standard deviation that a learner has on other tasks.
Three and a half minutes of processor time for each law.
"""

import sys
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import promptax as px
from promptax.fit import MAML, FirstOrderMAML, Reptile
from promptax.fit.objectives import LogLoss
from promptax.predictors import FeedForward
from promptax.protocol.outcomes import Episode, Outcome, Points
from promptax.protocol.predictions import Normal
from promptax.protocol.repeated import Repeated
from promptax.specs import traced
from promptax.tasks import SineRegression
from promptax.tasks.base import Task
from promptax.tasks.batches import sample_batch

SHOTS, POINTS = (10, 5), 20  # points of a support, and of a task
TUNED, JUDGED = 300, 1000  # tasks to tune rates on, and to judge on
AFTER = (0, 1, 2, 5, 10)  # steps
RATES = (0.001, 0.003, 0.01, 0.02, 0.05, 0.1)  # of a step on the mean squared error
KEY = jax.random.key(0)
SETTINGS = px.FitSettings(
    steps=4000,
    batch=25,
    length=2 * POINTS,
    learning_rate=1e-3,
    clip=None,
    repetitions=3,
    micro_batch=25,
)


class SquaredError(Outcome):
    """Real numbers, predicted with a standard deviation of 1: nats are half the squared error."""

    def words(self) -> str:
        return "real numbers by squared error"

    def input_width(self) -> int:
        return 1

    def parameter_width(self) -> int:
        return 1

    def encode(self, observations: Any) -> Any:
        return observations[..., None]

    def decode(self, rows: Any) -> Any:
        return rows[..., 0]

    def draw(self, key: Any, length: int) -> Any:
        return jax.random.normal(key, (length, 1))

    def prediction(self, parameters: Any) -> Normal:
        return Normal(parameters[..., 0], jnp.zeros_like(parameters[..., 0]))

    def of_outputs(self, rows: Any, layer: Any) -> Normal:
        return self.prediction(layer(rows))


class Sines(Task):
    """Rows of sines: the published law, or that of `SineRegression`."""

    is_published: bool = True
    """Whether it is the published law."""

    @property
    def outcome(self) -> Points:
        return Points(1, SquaredError())

    def sample(self, key: Any, length: int) -> Episode:
        if not self.is_published:
            return Episode(SineRegression().sample(key, length).observations)
        a, phase, x = jax.random.split(key, 3)
        x = jax.random.uniform(x, (-(-length // 2), 1), minval=-5.0, maxval=5.0)
        size = jax.random.uniform(a, minval=0.1, maxval=5.0)
        y = size * jnp.sin(x[:, 0] + jax.random.uniform(phase, maxval=jnp.pi))
        return Episode(self.outcome.rows(x, y, length))


def inner(rate: float) -> dict[str, float]:
    """An inner step of this rate on the mean squared error. The library's inner loss is the mean
    over rows, of which half are answers, of half the squared error."""
    return {"inner_rate": 4 * rate}


OBJECTIVES = {
    "MAML": MAML(support=POINTS, **inner(0.01)),
    "first order": FirstOrderMAML(support=POINTS, **inner(0.01)),
    "Reptile": Reptile(inner_steps=5, **inner(0.02)),
    "pretrained": LogLoss(),
}


@eqx.filter_jit
def squared_errors(objective, network, episodes):
    """The mean squared error behind the support of each task."""
    nats = objective.losses(KEY, network, None, episodes, network.outcome)
    return 2 * nats / (POINTS // 2) - jnp.log(2 * jnp.pi)


@eqx.filter_jit
def bayes_losses(rows):
    """Nats of exact Bayes for an answer behind the support, the mean over each task."""
    bayes = SineRegression().bayes()

    def of_task(rows):
        state, _ = bayes.advance(bayes.start(), rows[:POINTS])

        def of_point(point):
            return -jnp.sum(bayes.advance(state, point)[1].of(point))

        return jnp.mean(jax.vmap(of_point)(rows[POINTS:].reshape(POINTS // 2, 2, -1)))

    return jax.vmap(of_task)(rows)


def judged(networks, shots, tuning, judging):
    """Of every network and number of steps: the mean squared error, the rate chosen for it, and the
    mean nats of an answer [network, step]."""

    def error_of(network, steps, rate, rows):
        pace = inner(rate if steps else 1e-9)
        objective = traced(MAML(inner_steps=max(steps, 1), support=2 * shots, **pace))
        shown = Episode(rows[:, POINTS - 2 * shots :])
        return float(jnp.mean(squared_errors(objective, network, shown)))

    def of_network(network, steps):
        tuned = [error_of(network, steps, rate, tuning) for rate in (RATES if steps else RATES[:1])]
        best = int(np.nanargmin(tuned))
        error, variance = error_of(network, steps, RATES[best], judging), tuned[best]
        return error, RATES[best], 0.5 * np.log(2 * np.pi * variance) + error / (2 * variance)

    table = [[of_network(network, steps) for steps in AFTER] for network in networks]
    return np.moveaxis(np.array(table), -1, 0)


def told(values):
    """A mean over repetitions and its standard error, for every number of steps."""
    error = np.std(values, axis=0, ddof=1) / np.sqrt(len(values))
    return "".join(f"{m:9.3f} ± {e:.3f}" for m, e in zip(np.mean(values, 0), error, strict=True))


def rows_of(task, seed, tasks):
    """Rows of so many tasks [sequence, time, input]."""
    keys = jax.random.split(jax.random.key(seed), tasks)
    return sample_batch(task, keys, 2 * POINTS).observations


def main(law):
    """Train the four, and print a table for each support."""
    task, started = Sines(is_published=law == "published"), time.process_time()
    trained = {}
    for name, objective in OBJECTIVES.items():
        began = time.process_time()
        fitted = px.pretrain(KEY, FeedForward(), task, SETTINGS, objective=objective, callbacks=())
        assert isinstance(fitted.predictor, Repeated)
        trained[name] = [fitted.predictor[index] for index in range(len(fitted.predictor))]
        print(f"{name}: {time.process_time() - began:.0f} s of processor time", flush=True)
    tuning, judging = rows_of(task, 1, TUNED), rows_of(task, 2, JUDGED)
    bayes = None if law == "published" else float(jnp.mean(bayes_losses(judging)))
    for shots in SHOTS:
        print(f"\n{law} law, {shots} points of support, {SETTINGS.steps} updates; steps:")
        print(" " * 14 + "".join(f"{steps:17d}" for steps in AFTER))
        first = None
        for name, networks in trained.items():
            errors, rates, nats = judged(networks, shots, tuning, judging)
            first = errors if first is None else first
            print(f"{name:14s}{told(errors)}")
            print(f"{'  rates':14s}" + "".join(f"{np.median(rate):17g}" for rate in rates.T))
            if first is not errors:
                print(f"{'  above MAML':14s}{told(errors - first)}")
            if bayes is not None and shots == POINTS // 2:
                print(f"{'  regret, nats':14s}{told(nats - bayes)}")
            sys.stdout.flush()
    print(f"{time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "published")
