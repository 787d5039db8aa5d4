"""Finds a schedule of learning rates by metagradients, beside a grid of schedules at equal runs.

    python benchmarks/schedules.py

A recurrent network learns to predict coins in 100 steps. The grid has 16 runs: four rates, each
constant, falling linearly or by a cosine, and by a cosine after a warm-up. The metagradient's 16
runs begin at a rate between the grid's, constant. Both keep what was best on held-out sequences;
printed is what that is worth on other held-out sequences, with the data and the initial weights of
five other keys. A run that is differentiated takes longer; seconds are printed, too. About two
minutes on two cores.
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

TASK, STEPS, LENGTH, KNOTS = DirichletCategorical((0.5, 0.5)), 100, 12, 6
SETTINGS = px.FitSettings(steps=STEPS, batch=16, length=LENGTH)
DESCENT = MetagradientDescent(runs=16, move="adam", step=0.3)
SHAPES: tuple[tuple[Literal["constant", "linear", "cosine"], int], ...] = (
    ("constant", 0),
    ("linear", 0),
    ("cosine", 0),
    ("cosine", 10),
)
GRID = [
    px.FitSettings(steps=STEPS, learning_rate=rate, schedule=schedule, warmup=warmup)
    for rate in (0.003, 0.01, 0.03, 0.1)
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


if __name__ == "__main__":
    platforms.compile_quickly()
    key, validation, test = jax.random.key(0), sequences(1), sequences(2)
    run = eqx.filter_jit(final_loss)
    grid = [jnp.asarray(settings.rates()[0]) for settings in GRID]
    run(grid[0], key, validation)  # compiles
    began = time.monotonic()
    losses = [float(run(rates, key, validation)) for rates in grid]
    seconds = time.monotonic() - began
    best = GRID[int(np.argmin(losses))]
    print(f"grid: {len(grid)} runs, {seconds:.1f} s; best {min(losses):.4f} nats: ", end="")
    print(f"{best.schedule} from {best.learning_rate}, warmup {best.warmup}", flush=True)

    def loss_of_knots(knots):
        return final_loss(rates_between(knots, STEPS), key, validation)

    began = time.monotonic()
    found = DESCENT.descend(loss_of_knots, jnp.full(KNOTS, np.log(0.017)))
    seconds = time.monotonic() - began
    print(f"metagradients: {DESCENT.runs} runs, {seconds:.1f} s with compiling;", end=" ")
    print(f"first {found.loss[0]:.4f}, best {found.loss.min():.4f} nats")
    print("rates at the knots:", np.round(np.exp(found.point), 4))
    schedules = {
        "best of the grid": grid[int(np.argmin(losses))],
        "metagradients": rates_between(found.point, STEPS),
        "constant start": grid[0] * 0 + 0.017,
    }
    entropy = float(jnp.sum(TASK.oracle_entropy(LENGTH)))
    print(f"\nother keys and sequences, nats per sequence above the oracle's {entropy:.3f}:")
    for name, rates in schedules.items():
        after = [float(run(rates, jax.random.key(seed), test)) for seed in range(1, 6)]
        error = np.std(after, ddof=1) / np.sqrt(len(after))
        print(f"{name:20s}{np.mean(after) - entropy:8.4f} ± {error:.4f}", flush=True)
