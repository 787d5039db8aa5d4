"""Meta-trains a model of one logit to take gradient steps on coins, and asks how good it became.

    python benchmarks/inner_steps_on_coins.py

Coins from Beta(1, 1), 50 flips. The model adapts anew to every beginning of a sequence; its rates
are learned with its logit. Printed are expected regrets to the oracle in nats, exact: of the best
logit and rates (by a search over them, done once), of what training reached, and of Bayes. Nothing
may be better than Bayes. It takes about a minute on two cores.
"""

import sys
from pathlib import Path

import jax

import promptax as px
from promptax.evaluation import expected_losses
from promptax.fit import Adapting, CountRates, MetaSGD
from promptax.tasks import DirichletCategorical

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.logits import OneLogit

COINS = DirichletCategorical((1.0, 1.0))
SETTINGS = px.FitSettings(steps=150, batch=128, length=50, learning_rate=2e-2, schedule="cosine")
CASES = {
    "one step, summed loss": (MetaSGD(inner_loss="sum", support=None), 2.8779),
    "two steps, summed": (MetaSGD(inner_steps=2, inner_loss="sum", support=None), 2.0294),
    "five steps, summed": (MetaSGD(inner_steps=5, inner_loss="sum", support=None), 1.6580),
    "one step, mean loss": (MetaSGD(inner_rate=2.0, support=None), 2.0383),
    "one step, a rate for each count": (CountRates(inner_rate=5.0), 1.6991),
}


def regret_of(predictor):
    """Expected regret to the oracle after 50 flips, nats, exact."""
    return expected_losses(predictor, COINS, 50).sum() - sum(COINS.oracle_entropy(50))


if __name__ == "__main__":
    print(f"{'':34s}{'best':>8s}{'reached':>9s}")
    bayes = regret_of(COINS.bayes())
    for name, (objective, best) in CASES.items():
        key = jax.random.key(0)
        model = px.pretrain(key, OneLogit(), COINS, SETTINGS, objective=objective, callbacks=())
        reached = regret_of(Adapting(model.predictor, objective))
        print(f"{name:34s}{best:8.4f}{reached:9.4f}", flush=True)
        assert bayes <= reached <= best + 0.02, "Expected between Bayes and the optimum + 0.02."
    print(f"{'exact Bayes':34s}{bayes:8.4f}")
