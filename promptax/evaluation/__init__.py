"""What does a predictor lose? Sampled losses, regret, and exact expectations."""

from promptax.evaluation.control_variates import regret as regret
from promptax.evaluation.evaluate import evaluate as evaluate
from promptax.evaluation.exact.expectations import Expectations as Expectations
from promptax.evaluation.exact.expectations import expected_losses as expected_losses
