"""Prompts that start well: meta-learned starts, with and without a turn of the steps, and random.

    python benchmarks/prompt_starts.py

A network was trained on dice of four faces. For each of 512 new dice, a soft prompt takes gradient
steps on 10 throws; printed is what 20 other throws of that die then lose, in nats above the die's
entropy, with its standard error over dice, and how much more that is than from random starts,
paired by die. The starts are tuned with equal outer steps; inner steps and their rate are equal,
too. Half a minute of processor time.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import promptax as px
from promptax import platforms
from promptax.fit.objectives import SUPMER
from promptax.predictors import RNN
from promptax.protocol import Predictor
from promptax.protocol.outcomes import Episode
from promptax.steering import SoftPrompt, tune_start
from promptax.tasks import DirichletCategorical

DICE = DirichletCategorical((0.3,) * 4)
PROMPT = SoftPrompt(length=2)
STEPS = {"inner_steps": 3, "inner_rate": 1.0, "support": 10}
SETTINGS = px.FitSettings(steps=200, batch=32, length=30, learning_rate=1e-2)
KEY, COUNT = jax.random.key(0), 512


@eqx.filter_jit
def losses_after_steps(objective, predictor, episodes):
    return objective.losses(KEY, predictor, None, episodes, DICE.outcome)


if __name__ == "__main__":
    platforms.compile_quickly()
    training = px.FitSettings(steps=400, batch=32, length=30, learning_rate=1e-2)
    base = px.pretrain(KEY, RNN(width=16), DICE, training, callbacks=()).predictor
    assert isinstance(base, Predictor)
    dice = jax.vmap(lambda key: DICE.sample(key, 30))(jax.random.split(jax.random.key(1), COUNT))
    chances = np.asarray(dice.latent)
    entropy = -20 * np.sum(np.where(chances > 0, chances * np.log(chances + 1e-30), 0), -1)
    dice, above = Episode(dice.tokens), {}
    plain = SUPMER(gate=1.0, **STEPS)
    starts = [plain.equip(PROMPT.steer(jax.random.key(s), base), SETTINGS) for s in range(5)]
    losses = [np.asarray(losses_after_steps(plain, start, dice)) for start in starts]
    above["random starts (5)"] = np.mean(losses, axis=0) - entropy
    for name, objective in {
        "turned (SUPMER)": SUPMER(**STEPS),
        "not turned (gate=1)": plain,
    }.items():
        fitted = tune_start(KEY, base, DICE, SETTINGS, prompt=PROMPT, objective=objective)
        above[name] = np.asarray(losses_after_steps(objective, fitted.predictor, dice)) - entropy
    for name, predictor in {"in context, no prompt": base, "exact Bayes": DICE.bayes()}.items():
        rows = predictor.advance_batch(predictor.start(), dice.tokens)[1]
        above[name] = -np.asarray(jnp.sum(rows.of(dice.tokens)[:, 10:], -1)) - entropy
    for name, nats in above.items():
        more = nats - above["random starts (5)"]
        error, error_of_more = nats.std() / COUNT**0.5, more.std() / COUNT**0.5
        print(f"{name:24s}{nats.mean():8.3f} ± {error:.3f}", end="")
        print(f"{more.mean():+10.3f} ± {error_of_more:.3f}")
