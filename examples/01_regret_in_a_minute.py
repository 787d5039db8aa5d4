"""Pretrain a small network on random coins, tune a soft prompt for one coin, measure the regret.

    python examples/01_regret_in_a_minute.py            # about half a minute on two cores
    python examples/01_regret_in_a_minute.py --quick    # a few steps, to see that it runs

Expected, with the settings below (regret to the oracle that knows the coin, after 50 symbols):

    untuned                      1.499 ± 0.006
    prior bayes                  1.477 ± 0.000
    prior bayes, best prompt     0.571 ± 0.000
    soft prompt                  0.281 ± 0.005
    bayes                        0.000 ± 0.000

The network is about as good as the exact predictor it imitates; six soft rows take it further
than any six symbols could take that one. Other seeds change the rows of the networks a little.
"""

import sys

import jax

import promptax as px
from promptax.predictors import LSTM
from promptax.report import figures
from promptax.steering import SoftPrompt
from promptax.store import write_figure
from promptax.tasks import Categorical, DirichletCategorical

QUICK = "--quick" in sys.argv

# The paper: width 128, 1000 steps of 256 sequences. This is a tenth of the data, at higher rates.
pretraining = px.FitSettings(steps=400, batch=64, learning_rate=4e-3, schedule="cosine")
tuning = px.FitSettings(steps=200, batch=64, learning_rate=2e-2, schedule="cosine")
sequences = 1024
if QUICK:
    pretraining, tuning = px.FitSettings(steps=10, batch=8), px.FitSettings(steps=10, batch=8)
    sequences = 64

coins = DirichletCategorical((1.0, 1.0))  # every sequence comes from a coin of its own
coin = Categorical((0.2, 0.8))  # the target: one coin, symbol 0 with probability 0.2
pretrain_key, tune_key, evaluate_key = jax.random.split(jax.random.key(0), 3)

base = px.pretrain(pretrain_key, LSTM(width=16), coins, pretraining).predictor
tuned = SoftPrompt(length=6).tune(tune_key, base, coin, tuning).predictor
results = px.evaluate(
    evaluate_key,
    {"untuned": base, "soft prompt": tuned},
    coin,
    sequences,
    length=100,
    prior=coins,  # adds "prior bayes", the exact predictor of random coins ...
    prior_prompt_length=6,  # ... and the same behind its best prompt of 6 symbols
)
regret = px.regret(results, reference="oracle")

print("regret after 50 symbols, nats")
for name in ("untuned", "prior bayes", "prior bayes, best prompt", "soft prompt", "bayes"):
    row = regret.sel(predictor=name, repetition=0, time=50)
    print(f"{name:26s}{float(row.regret):8.3f} ± {float(row.standard_error):.3f}")

groups = {"soft prompt": "prompts"}
shown = regret.assign_attrs(target="one coin", tuning_length=50, training_length=100).assign_coords(
    group=("predictor", [groups.get(str(name), "baselines") for name in regret.predictor.values])
)
print("figure:", write_figure("regret.png", figures.regret_over_time(shown)))
