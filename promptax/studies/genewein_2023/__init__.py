"""Genewein et al. 2023, Memory-Based Meta-Learning on Non-Stationary Distributions.

Networks that are trained on sources which switch, held against the exact predictors of these.
"""

from promptax.studies.genewein_2023.study import Genewein2023 as Genewein2023
