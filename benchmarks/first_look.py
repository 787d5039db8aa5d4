"""The main paper's single coin at its full settings, one repetition, beside the printed values.

    python benchmarks/first_look.py transformer
    python benchmarks/first_look.py lstm

Settings as the authors ran them (`as_published`): 1000 pretraining and 1001 tuning updates, batch
256, clipping over all weights where weights are tuned, hard prompts scored on 256 distinct
sequences. A first look and no judgement: one pretraining seed, one repetition, while the authors'
own code varies from seed to seed by more than the differences between some methods. About half an
hour on two cores for the Transformer, a quarter of an hour for the LSTM.
"""

import json
import sys
import time

import jax

from promptax.conduct import pretrained, steered
from promptax.experiment import METHODS, Experiment
from promptax.predictors import LSTM, Transformer
from promptax.progress import Bar
from promptax.settings import FitSettings
from promptax.steering import HardPrompt
from promptax.tasks import Categorical

# Genewein et al. 2025, Figures 1 and A5: cumulative regret in nats over the first 50 and 200 steps.
PRINTED = {
    "Transformer": {
        "hard prompt": (0.59, 1.36), "simplex prompt": (0.68, 1.48), "real prompt": (0.27, 1.00),
        "soft prompt": (0.01, 0.23), "full weights": (0.00, 0.02), "low rank": (0.00, 0.04),
        "embedding": (0.00, 0.08), "unembedding": (0.05, 0.26), "both embeddings": (0.03, 0.24),
        "untuned": (1.55, 2.39), "random prompt": (1.97, 2.81), "bayes": (0.0, 0.0),
        "prior bayes": (1.47, 2.14), "prior bayes, best prompt": (0.56, 1.15),
    },
    "LSTM": {
        "hard prompt": (0.57, 1.10), "simplex prompt": (0.62, 1.14), "real prompt": (0.26, 0.63),
        "soft prompt": (0.01, 0.07), "full weights": (0.00, 0.01), "embedding": (0.00, 0.04),
        "unembedding": (0.01, 0.02), "both embeddings": (0.00, 0.03), "untuned": (1.53, 2.14),
        "random prompt": (2.17, 2.88), "bayes": (0.0, 0.0), "prior bayes": (1.47, 2.14),
        "prior bayes, best prompt": (0.56, 1.15),
    },
}  # fmt: skip


def main(name: str) -> None:
    """Run one network and print the table, and the same as JSON."""
    network = {"transformer": Transformer, "lstm": LSTM}[name].as_published()
    experiment = Experiment(
        network=network,
        targets={"single coin": Categorical()},
        methods={**METHODS, "hard prompt": HardPrompt.as_published()},
        tuning=FitSettings.as_published(),
    )
    start = time.monotonic()
    key = jax.random.key(0)

    def announce(what: str) -> list[Bar]:
        print(f"{time.monotonic() - start:7.0f} s  {what}", file=sys.stderr, flush=True)
        return [Bar(what)]

    fitted = pretrained(jax.random.fold_in(key, 0), experiment, announce)
    results = steered(
        jax.random.fold_in(key, 1), fitted.predictor, experiment, "single coin", announce
    ).results.isel(repetition=0)
    printed = PRINTED[type(network).__name__]
    rows = {}
    print(f"| {type(network).__name__} | 50: ours | printed | 200: ours | printed |")
    print("|---|---|---|---|---|")
    for predictor in results.predictor.values.tolist():
        ours = results.sel(predictor=predictor)
        cells = [f"{float(ours.regret.sel(time=t)):.3f}" for t in (50, 200)]
        errors = [f"{float(ours.standard_error.sel(time=t)):.3f}" for t in (50, 200)]
        there = [f"{value:.2f}" for value in printed.get(predictor, ())] or ["–", "–"]
        print(
            f"| {predictor} | {cells[0]} ± {errors[0]} | {there[0]} | {cells[1]} ± {errors[1]} "
            f"| {there[1]} |"
        )
        rows[predictor] = [*map(float, cells), *map(float, errors)]
    print(json.dumps({"network": type(network).__name__, "rows": rows}))
    print(f"{time.monotonic() - start:.0f} s in all", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
