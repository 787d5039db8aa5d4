"""Few tasks: MAML and MLTI on pools of 10 and 100 tasks, beside endless ones.

    python benchmarks/few_tasks.py

A recurrent network is trained to adapt by gradient steps to waves of one frequency. The pools were
drawn once; printed is the loss on new tasks, after inner steps on 8 points of each, in nats per
sequence of 8 other points: a mean of 3 repetitions with their standard error, and the same on tasks
of the pool. Where the two differ, the pool was memorised. The network starts afresh on the other
points, and remembers those of them that it has read, so that a part of what it learns of a task it
learns in context. About two minutes on two cores.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import promptax as px
from promptax import platforms
from promptax.fit import MAML, MLTI
from promptax.predictors import RNN
from promptax.protocol.repeated import Repeated
from promptax.tasks import FinitePool, FourierRegression

WAVES = FourierRegression(frequencies=1, noise_scale=0.1)
STEPS = {"inner_steps": 3, "inner_rate": 0.05, "support": 16}
SETTINGS = px.FitSettings(steps=400, batch=16, length=32, learning_rate=3e-3, repetitions=3)
POOLS = {"10": FinitePool(WAVES, 10), "100": FinitePool(WAVES, 100), "endless": WAVES}
KEY = jax.random.key(0)


@eqx.filter_jit
def adapted_loss(predictor, episodes):
    given = KEY, predictor, None, episodes, WAVES.outcome
    return jnp.mean(MAML(**STEPS).losses(*given))


def episodes_of(task):
    drawn = jax.vmap(lambda key: task.sample(key, 32))(jax.random.split(jax.random.key(5), 256))
    return dataclasses.replace(drawn, latent=None)


if __name__ == "__main__":
    platforms.compile_quickly()
    print(f"{'tasks':10s}{'objective':10s}{'new tasks':>20s}{'of the pool':>14s}")
    fresh = episodes_of(WAVES)
    for name, task in POOLS.items():
        seen = episodes_of(task)
        for objective in (MAML(**STEPS), MLTI(mixed=0.5, **STEPS)):
            fitted = px.pretrain(
                KEY, RNN(width=24), task, SETTINGS, objective=objective, callbacks=()
            )
            assert isinstance(fitted.predictor, Repeated)
            networks = [fitted.predictor[index] for index in range(len(fitted.predictor))]
            after = [[float(adapted_loss(n, e)) for n in networks] for e in (fresh, seen)]
            error = np.std(after[0], ddof=1) / np.sqrt(len(after[0]))
            new = f"{np.mean(after[0]):.2f} ± {error:.2f}"
            label = type(objective).__name__
            print(f"{name:10s}{label:10s}{new:>20s}{np.mean(after[1]):14.2f}", flush=True)
