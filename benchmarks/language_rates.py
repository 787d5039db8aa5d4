"""Learning rates and starts on a language model: every gradient tuner at several of both.

    pip install '.[lm,words]' && promptax lm fetch
    python benchmarks/language_rates.py                   # some two hours of one core
    python benchmarks/language_rates.py --only soft       # one tuner

SmolLM2-135M-Instruct (49,152 symbols) learns to answer with past tenses, and with capitals:
prompts of 10 rows, updates of 8 pairs, a constant learning rate. Printed is what 40 held-out
answers lose, in nats an answer with its standard error, before and after the updates; * marks the
best of a row. The rates of a row are repetitions of one fit: each has pairs of its own, and a
random start of its own, so that neighbours differ by chance, too.
"""

import argparse
import dataclasses

import jax
import numpy as np

import promptax as px
from promptax import steering
from promptax.language.tokenizer import Tokenizer
from promptax.language.word_tasks import few_shot, pairs
from promptax.language.word_tasks.exam import Exam
from promptax.predictors import Llama
from promptax.steering.gradient import GradientTuner

INSTRUCTIONS = {
    "past tenses": "Write the past tense of each verb:\n",
    "capitals": "Write the capital of each country:\n",
}
LENGTH, HELD_OUT = 10, 40
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def tuners(instruction: tuple[int, ...]) -> dict[str, tuple[GradientTuner, tuple[float, ...]]]:
    """What is tuned, by the words of its row, and at which rates."""
    soft, words = steering.SoftPrompt(length=LENGTH), {"initial_tokens": instruction}
    tokens = dataclasses.replace(soft, initial="tokens")
    layers = steering.KeyValuePrompt(length=LENGTH)
    simplex = steering.SimplexPrompt(length=LENGTH)
    return {
        "soft, one-hot rows": (soft, RATES[2:]),
        "soft, uniform rows": (dataclasses.replace(soft, initial="uniform"), RATES[2:]),
        "soft, zeros": (dataclasses.replace(soft, initial="zeros"), RATES[2:]),
        "soft, random tokens": (tokens, RATES[2:]),
        "soft, an instruction": (dataclasses.replace(tokens, **words), RATES[2:]),
        "keys and values, random tokens": (layers, RATES[2:]),
        "keys and values, an instruction": (dataclasses.replace(layers, **words), RATES[2:]),
        "keys and values, zeros": (dataclasses.replace(layers, initial="zeros"), RATES[2:]),
        "simplex, one-hot rows": (simplex, (1e-1, 1.0, 3.0, 10.0, 30.0)),
        "real, one-hot rows": (steering.RealPrompt(length=LENGTH), RATES),
        "embedding": (steering.EmbeddingWeights(), RATES[:6]),
        "low rank": (steering.LowRank(rank=4), RATES[:5]),
        "full weights": (steering.FullWeights(), (1e-5, 3e-5, *RATES[:4])),
    }


def measure(tuner: GradientTuner, rates: tuple[float, ...], exam: Exam, updates: int) -> None:
    """Print a row: before, and after the updates at each rate."""
    network = Llama.smollm2_135m()
    together = 1 if isinstance(tuner, steering.FullWeights) else len(rates)  # memory
    columns = []
    for first in range(0, len(rates), together):
        settings = px.FitSettings(
            steps=updates,
            batch=8,
            repetitions=together,
            learning_rate=rates[first : first + together],
        )
        _, curve = few_shot.tune(
            jax.random.key(0), tuner, network, exam, settings, every=updates, callbacks=()
        )
        columns.append(curve.log_loss.values)
    losses = np.concatenate(columns, axis=1)  # [look, repetition, sequence]
    means, errors = losses.mean(-1), losses.std(-1, ddof=1) / losses.shape[-1] ** 0.5
    cells = [
        f"{rate:g}: {mean:.2f} ± {error:.2f}{' *' * bool(mean == np.nanmin(means[-1]))}"
        for rate, mean, error in zip(rates, means[-1], errors[-1], strict=True)
    ]
    print(f"  before: {means[0, 0]:.2f} ± {errors[0, 0]:.2f}; at", "; ".join(cells), flush=True)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--updates", type=int, default=20)
    arguments.add_argument("--only", default="", help="rows whose words begin so")
    arguments.add_argument("--task", choices=tuple(INSTRUCTIONS), action="append")
    given = arguments.parse_args()
    tokenizer = Tokenizer.named("smollm2")
    words = pairs.common_words(tokenizer)
    for name in given.task or INSTRUCTIONS:
        task = pairs.past_tenses(words) if name == "past tenses" else pairs.capitals(words)
        exam = Exam(task, task.split(seed=0, held_out=HELD_OUT))
        opening = tuple(tokenizer.encode(INSTRUCTIONS[name]).tolist())
        for row, (tuner, rates) in tuners(opening).items():
            if row.startswith(given.only):
                print(f"{name} · {row}", flush=True)
                measure(tuner, rates, exam, given.updates)
