"""Genewein et al. 2025, Understanding Prompt Tuning and In-Context Learning via Meta-Learning.

Networks pretrained on random coins, or not at all, steered to a single coin, to a mixture of two
and to random coins, by prompts and by weights.
"""

from promptax.studies.genewein_2025.study import Genewein2025 as Genewein2025
