"""Prompt or tune, beyond coins, by trained networks: the five questions of docs/beyond_coins.md.

    python benchmarks/beyond_coins.py

A network is pretrained on each source, and steered to the target by the prompt that is best for the
exact predictor, by a soft prompt, and by all of its weights. The table has regrets to the oracle in
nats, over the steps of a sequence: those of exact predictors first, then means over pretrained
networks, with half the distance between the extremes. `--quick` shows that it runs.
"""

import argparse
from typing import NamedTuple

import jax
import numpy as np

import promptax as px
from promptax.fit import FitSettings
from promptax.predictors import LSTM
from promptax.steering import FullWeights, SoftPrompt
from promptax.tasks import (
    Categorical,
    ContextTree,
    DirichletCategorical,
    FinitePool,
    HiddenMarkov,
    HiddenMarkovMixture,
    KnownTree,
    Mixture,
    RandomShifts,
    Tagged,
    Task,
)

COINS = Categorical((0.2, 0.8)), Categorical((0.8, 0.2))
QUICK_STATES = HiddenMarkov(
    initial=(0.5, 0.5), transition=((0.1, 0.9), (0.9, 0.1)), emission=((0.9, 0.1), (0.2, 0.8))
)
TREE = KnownTree(((1,), (0, 0), (1, 0)), ((0.5, 0.5), (0.9, 0.1), (0.2, 0.8)))
SEQUENCES = 4096


class Question(NamedTuple):
    """From a source to a target, over `steps`; `prompt` is the best one for the exact predictor."""

    source: Task
    target: Task
    prompt: tuple[int, ...]
    steps: int


QUESTIONS = {
    "tags": Question(Tagged(COINS), Tagged(COINS, weights=(1.0, 0.0), dropped=1.0), (2,), 6),
    "pool": Question(
        FinitePool(DirichletCategorical(), size=4), COINS[0], (0, 1, 1) * 33 + (0,), 30
    ),
    "switches": Question(
        Mixture((RandomShifts(20.0), RandomShifts(2.0))), RandomShifts(2.0), (0, 1, 1, 0), 6
    ),
    "hidden states": Question(HiddenMarkovMixture(), QUICK_STATES, (0, 1, 0, 0), 6),
    "trees": Question(ContextTree(2), TREE, (0, 0), 10),
}
COLUMNS = (
    "exact, no prompt",
    "exact, its best prompt",
    "floor",
    "network, no prompt",
    "network, that prompt",
    "network, soft prompt",
    "network, all weights",
)


def answer(question: Question, seed: int, steps: int) -> list[float]:
    """The regrets of one row, by one pretrained network."""
    source, target, prompt, length = question
    keys = jax.random.split(jax.random.key(seed), 4)
    whole = FitSettings(
        steps=steps, batch=64, length=len(prompt) + length, learning_rate=3e-3, schedule="cosine"
    )
    network = px.pretrain(keys[0], LSTM(width=32), source, whole).predictor
    tuning = FitSettings(
        steps=steps // 4, batch=64, length=length, learning_rate=1e-2, schedule="cosine"
    )
    rows = max(2, min(6, len(prompt)))
    soft = SoftPrompt(length=rows).tune(keys[1], network, target, tuning).predictor
    slow = FitSettings(
        steps=steps // 4, batch=64, length=length, learning_rate=1e-3, schedule="cosine"
    )
    tuned = FullWeights().tune(keys[2], network, target, slow).predictor
    judged = {
        COLUMNS[0]: source.bayes(),
        COLUMNS[1]: px.condition(source.bayes(), prompt),
        COLUMNS[3]: network,
        COLUMNS[4]: px.condition(network, prompt),
        COLUMNS[5]: soft,
        COLUMNS[6]: tuned,
    }
    if target.has_bayes:
        judged[COLUMNS[2]] = target.bayes()
    regrets = px.regret(px.evaluate(keys[3], judged, target, SEQUENCES, length))["regret"]
    last = regrets.isel(time=-1)
    return [float(last.sel(predictor=name).mean()) for name in COLUMNS]


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="pretrained networks")
    parser.add_argument("--steps", type=int, default=4000, help="updates of pretraining")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    seeds, steps = (1, 8) if arguments.quick else (arguments.seeds, arguments.steps)
    print(f"| question | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for name, question in QUESTIONS.items():
        rows = np.array([answer(question, seed, steps) for seed in range(seeds)])
        half = (rows.max(0) - rows.min(0)) / 2
        cells = [
            f"{mean:.3f} ± {apart:.3f}" for mean, apart in zip(rows.mean(0), half, strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
