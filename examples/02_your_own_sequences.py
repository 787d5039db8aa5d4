"""Steer a network to sequences of your own: a text file with one sequence a line.

    python examples/02_your_own_sequences.py            # about half a minute on two cores
    python examples/02_your_own_sequences.py --quick    # a few steps, to see that it runs

Recorded sequences have no oracle and no exact predictor, so regret is taken to another predictor:
here to the untuned network. Below zero is better than untuned.

Expected, with the settings below (nats, over the first 40 symbols, on lines not tuned on):

    untuned           0.000 ± 0.000
    prior bayes      -0.361 ± 0.039
    soft prompt      -1.107 ± 0.073
    full weights     -8.364 ± 0.185

Coins have no memory, weather has: a prompt cannot say that, tuned weights learn it.
"""

import random
import sys
import tempfile
from pathlib import Path

import jax

import promptax as px
from promptax.predictors import LSTM
from promptax.steering import FullWeights, SoftPrompt
from promptax.tasks import DirichletCategorical, Recorded

QUICK = "--quick" in sys.argv

pretraining = px.FitSettings(steps=300, batch=64, learning_rate=4e-3, schedule="cosine")
tuning = px.FitSettings(
    steps=200, batch=64, length=40, learning_rate=1e-2, schedule="cosine", clip=None
)
if QUICK:
    pretraining = px.FitSettings(steps=10, batch=8)
    tuning = px.FitSettings(steps=10, batch=8, length=40)


def weather(days):
    """A made-up record of sunny and rainy days: tomorrow is like today with probability 0.85."""
    today = random.choice("SR")
    for _ in range(days):
        yield today
        today = today if random.random() < 0.85 else "SR".replace(today, "")


random.seed(0)
folder = Path(tempfile.mkdtemp())
for name, lines in {"tune.txt": 300, "test.txt": 300}.items():
    text = "\n".join("".join(weather(random.randint(30, 40))) for _ in range(lines))
    (folder / name).write_text(text, encoding="utf-8")

# Symbols are those found, sorted: R is 0, S is 1. Lines may differ in length.
mine = Recorded(path=str(folder / "tune.txt"))
held_out = Recorded(path=str(folder / "test.txt"), alphabet=mine.alphabet)
print(f"{mine.in_words()}, e.g. {mine.sequences[0][:12]}")

keys = jax.random.split(jax.random.key(0), 4)
coins = DirichletCategorical()  # pretrained on sequences without any memory
base = px.pretrain(keys[0], LSTM(width=16), coins, pretraining).predictor
methods = {"soft prompt": SoftPrompt(length=6), "full weights": FullWeights()}
tuned = {
    name: tuner.tune(key, base, mine, tuning).predictor
    for key, (name, tuner) in zip(keys[1:3], methods.items(), strict=True)
}
results = px.evaluate(
    keys[3], {"untuned": base, **tuned, "prior bayes": coins.bayes()}, held_out, 512, length=40
)
regret = px.regret(results, reference="untuned")
for name in ("untuned", "prior bayes", "soft prompt", "full weights"):
    row = regret.sel(predictor=name, repetition=0, time=40)
    print(f"{name:14s}{float(row.regret):9.3f} ± {float(row.standard_error):.3f}")
