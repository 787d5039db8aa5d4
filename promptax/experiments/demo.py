"""The demo: the main paper's experiment in small."""

from promptax.experiments.experiment import Experiment
from promptax.experiments.plan import METHODS
from promptax.fit.settings import FitSettings
from promptax.predictors import Architecture
from promptax.steering import HardPrompt


def demo_experiment(
    network: Architecture, pretraining_steps: int, steps: int, repetitions: int, sequences: int
) -> Experiment:
    """The main paper's experiment in small: a quarter of its batch, less than half of its steps, at
    four times its learning rates, which fall to zero."""
    pretraining = FitSettings(
        steps=pretraining_steps,
        batch=64,
        learning_rate=4e-3,
        schedule="cosine",
        warmup=pretraining_steps // 20,
    )
    tuning = FitSettings(
        steps=steps, batch=64, learning_rate=2e-2, schedule="cosine", repetitions=repetitions
    )
    return Experiment(
        network=network,
        methods={**METHODS, "hard prompt": HardPrompt(sequences=256)},
        pretraining=pretraining,
        tuning=tuning,
        sequences=sequences,
    )
