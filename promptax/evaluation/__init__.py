"""What does a predictor lose? Sampled losses, regret, and exact expectations."""

from promptax.evaluation.control_variates import regret as regret
from promptax.evaluation.evaluate import evaluate as evaluate
