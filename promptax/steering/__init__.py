"""Tuners: prompts and weights. An open set: one file and its line here."""

from promptax.steering.base import GradientTuner as GradientTuner
from promptax.steering.base import PromptTuner as PromptTuner
from promptax.steering.base import Tuner as Tuner
from promptax.steering.base import WeightTuner as WeightTuner
from promptax.steering.embedding_weights import EmbeddingWeights as EmbeddingWeights
from promptax.steering.full_weights import FullWeights as FullWeights
from promptax.steering.gradient_search import GradientSearch as GradientSearch
from promptax.steering.hard_prompt import HardPrompt as HardPrompt
from promptax.steering.hard_prompt_mixture import HardPromptMixture as HardPromptMixture
from promptax.steering.key_value_prompt import KeyValuePrompt as KeyValuePrompt
from promptax.steering.low_rank import LowRank as LowRank
from promptax.steering.prompt_mixture import PromptMixture as PromptMixture
from promptax.steering.random_prompt import RandomPrompt as RandomPrompt
from promptax.steering.real_prompt import RealPrompt as RealPrompt
from promptax.steering.simplex_prompt import SimplexPrompt as SimplexPrompt
from promptax.steering.soft_prompt import SoftPrompt as SoftPrompt
