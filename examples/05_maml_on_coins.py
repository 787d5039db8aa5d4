"""Two ways to learn a coin from what was seen: gradient steps (MAML), and reading (in context).

    python examples/05_maml_on_coins.py            # some minutes on two cores
    python examples/05_maml_on_coins.py --quick    # a few steps, to see that it runs

Two models are meta-trained by MAML on random coins: an LSTM, and a logistic model of two numbers,
a logit for each symbol, without any memory. Then both meet one coin. `Adapting` steers them by
inner steps, anew after every observation, on all that was seen; the LSTM can also just read.

Expected, with the settings below (regret to the oracle that knows the coin, after 50 symbols):

    logistic model, inner steps        1.540 ± 0.006
    LSTM, inner steps                  2.202 ± 0.019
    LSTM, inner steps and context      2.118 ± 0.026
    LSTM, in context                   4.023 ± 0.024
    bayes                              0.000 ± 0.000
    prior bayes                        1.477 ± 0.000

For two logits that start equal, five summed steps at this rate have an expected regret of 1.532;
exact Bayes for random coins has 1.477, and no steps at one fixed rate reach it. MAML trained the
LSTM to read 10 symbols after its steps, so that reading 50 without any is beyond what it learned.
"""

import sys

import jax
import jax.numpy as jnp

import promptax as px
from promptax.fit import MAML, Adapting
from promptax.predictors import LSTM, Architecture
from promptax.protocol import Prediction, Predictor
from promptax.report import figures
from promptax.store import write_figure
from promptax.tasks import Categorical, DirichletCategorical

QUICK = "--quick" in sys.argv


class Logistic(Architecture):
    """Predicts softmax(logits) at every step, whatever was read; for coins, two numbers."""

    def embedding_width(self):
        return 0

    def output_width(self):
        return 0

    def torso(self, key):
        raise NotImplementedError("Expected nothing to ask for a torso; this model has none.")

    def build(self, key, outcome):
        return Logits(jax.random.normal(key, (outcome.alphabet,)))

    @classmethod
    def examples(cls):
        return ()


class Logits(Predictor):
    """The built model: its leaves are the logits [symbol]."""

    values: jax.Array

    @property
    def symbols(self):
        return self.values.shape[-1]

    def start(self, capacity=None):
        del capacity
        return ()  # it remembers nothing

    def advance(self, state, inputs):
        rows = jnp.broadcast_to(jax.nn.log_softmax(self.values), (len(inputs), self.symbols))
        return state, Prediction(rows)


# The best single rate for 50 symbols is known for two logits (0.1615 for their difference). An LSTM
# with summed losses would take steps that are too long after 50 symbols, hence the mean.
few = MAML(inner_steps=5, inner_rate=0.08075, inner_loss="sum", support=10)
deep = MAML(inner_steps=5, inner_rate=0.5, inner_loss="mean", support=10)
settings = px.FitSettings(steps=400, batch=64, length=20, learning_rate=1e-2, schedule="cosine")
sequences, length = 256, 50
if QUICK:
    settings = px.FitSettings(steps=2, batch=4, length=20)
    sequences, length = 4, 12

coins = DirichletCategorical((1.0, 1.0))  # every sequence comes from a coin of its own
coin = Categorical((0.2, 0.8))  # the target: one coin, symbol 0 with probability 0.2
keys = jax.random.split(jax.random.key(0), 3)

logistic = px.pretrain(keys[0], Logistic(), coins, settings, objective=few).predictor
lstm = px.pretrain(keys[1], LSTM(width=16), coins, settings, objective=deep).predictor
print("logits after meta-training:", logistic.values)

results = px.evaluate(
    keys[2],
    {
        "logistic model, inner steps": Adapting(logistic, few),
        "LSTM, inner steps": Adapting(lstm, deep),
        "LSTM, inner steps and context": Adapting(lstm, deep, in_context=True),
        "LSTM, in context": lstm,
    },
    coin,
    sequences,
    length,
    prior=coins,  # adds "prior bayes", the exact predictor of random coins
)
regret = px.regret(results, reference="oracle").drop_sel(predictor="oracle")  # which has none

print(f"regret after {length} symbols, nats")
for name in regret.predictor.values:
    row = regret.sel(predictor=name, repetition=0, time=length)
    print(f"{name:32s}{float(row.regret):8.3f} ± {float(row.standard_error):.3f}")

learned = {str(name): "weights" for name in regret.predictor.values if "bayes" not in str(name)}
shown = regret.assign_attrs(
    target="one coin, by MAML", tuning_length=10, training_length=20
).assign_coords(
    group=("predictor", [learned.get(str(name), "baselines") for name in regret.predictor.values])
)
print("figure:", write_figure("maml_on_coins.png", figures.regret_over_time(shown)))
