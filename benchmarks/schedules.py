"""Finds a schedule of learning rates by metagradients, beside a grid of schedules at equal runs.

    python benchmarks/schedules.py

A recurrent network learns to predict coins in 100 steps. A run is 16 such trainings, with data and
initial weights of their own, and its loss is their mean on held-out sequences: with one training,
what a descent gains is that key's luck, and other keys lose by it. The grid has 16 runs: four
rates, each constant, falling linearly or by a cosine, and by a cosine after a warm-up. The
metagradient's 16 runs are those four rates, falling linearly, and 12 steps from the best of them on
the logarithms of factors at four knots. Both keep what was best; printed is what that is worth on
other held-out sequences, with 32 other keys, and the difference, paired by key: the metagradient is
at least as good if it is at most one standard error above 0. A run that is differentiated takes
longer; seconds of processor time are printed, too. Two to three minutes of it.
"""

import time
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import promptax as px
from promptax import platforms
from promptax.fit import replay
from promptax.fit.metagradients import MetagradientDescent, rates_between
from promptax.predictors import RNN
from promptax.tasks import DirichletCategorical

TASK, STEPS, LENGTH, KNOTS = DirichletCategorical((0.5, 0.5)), 100, 12, 4
SETTINGS = px.FitSettings(steps=STEPS, batch=16, length=LENGTH)
RATES, TRAININGS, JUDGES = (0.003, 0.01, 0.03, 0.1), 16, 32
DESCENT = MetagradientDescent(runs=12, move="slope", step=0.6)
SHAPES: tuple[tuple[Literal["constant", "linear", "cosine"], int], ...] = (
    ("constant", 0),
    ("linear", 0),
    ("cosine", 0),
    ("cosine", 10),
)
GRID = [
    px.FitSettings(steps=STEPS, learning_rate=rate, schedule=schedule, warmup=warmup)
    for rate in RATES
    for schedule, warmup in SHAPES
]


def sequences(seed):
    def sample(key):
        return TASK.sample(key, LENGTH).tokens

    return jax.vmap(sample)(jax.random.split(jax.random.key(seed), 512))


def final_loss(rates, key, held_out):
    """Nats per held-out sequence after a whole run."""
    start = RNN(width=8).build(jax.random.fold_in(key, 7), 2)
    network = replay(key, start, TASK, SETTINGS, rates=rates)
    prediction = network.advance_batch(network.start(), held_out)[1]
    return -jnp.mean(jnp.sum(prediction.of(held_out), -1))


def final_losses(rates, keys, held_out):
    """The same for each of the keys [key]."""
    return jax.vmap(lambda key: final_loss(rates, key, held_out))(keys)


if __name__ == "__main__":
    platforms.compile_quickly()
    keys = jax.random.split(jax.random.key(0), TRAININGS)
    judges = jax.random.split(jax.random.key(4), JUDGES).reshape(-1, TRAININGS)
    validation, test = sequences(1), sequences(2)
    run = eqx.filter_jit(final_losses)

    def mean_loss(rates):
        return float(jnp.mean(run(rates, keys, validation)))

    grid = [jnp.asarray(settings.rates()[0]) for settings in GRID]
    run(grid[0], keys, validation)  # compiles
    began = time.process_time()
    losses = [mean_loss(rates) for rates in grid]
    seconds = time.process_time() - began
    best = GRID[int(np.argmin(losses))]
    print(f"grid: {len(grid)} runs, {seconds:.0f} s; best {min(losses):.4f} nats: ", end="")
    print(f"{best.schedule} from {best.learning_rate}, warmup {best.warmup}", flush=True)

    began = time.process_time()
    falling = jnp.asarray(
        px.FitSettings(steps=STEPS, learning_rate=1.0, schedule="linear").rates()[0]
    )
    coarse = [mean_loss(rate * falling) for rate in RATES]

    def loss_of_knots(knots):
        rates = falling * rates_between(knots, STEPS)
        return jnp.mean(final_losses(rates, keys, validation))

    start = np.log(RATES[int(np.argmin(coarse))])
    found = DESCENT.descend(loss_of_knots, jnp.full(KNOTS, start))
    seconds = time.process_time() - began
    print(
        f"metagradients: {len(RATES)} + {DESCENT.runs} runs, {seconds:.0f} s with compiling;",
        end=" ",
    )
    print(f"first {found.loss[0]:.4f}, best {found.loss.min():.4f} nats")
    print("factors at the knots:", np.round(np.exp(found.point), 4))
    schedules = {
        "best of the grid": grid[int(np.argmin(losses))],
        "metagradients": falling * rates_between(found.point, STEPS),
    }
    entropy, first = float(jnp.sum(TASK.oracle_entropy(LENGTH))), None
    print(f"\n{JUDGES} other keys and other sequences, nats above the oracle's {entropy:.3f}:")
    for name, rates in schedules.items():
        after = np.concatenate([np.asarray(run(rates, some, test)) for some in judges])
        first = after if first is None else first
        error, of_difference = (np.std(x, ddof=1) / JUDGES**0.5 for x in (after, after - first))
        print(f"{name:20s}{np.mean(after) - entropy:8.4f} ± {error:.4f}", end="")
        print(f"{np.mean(after - first):+10.4f} ± {of_difference:.4f}", flush=True)
