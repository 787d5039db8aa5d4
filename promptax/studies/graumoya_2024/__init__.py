"""Grau-Moya et al. 2024, Learning Universal Predictors: the part with context trees.

Networks of several sizes that are trained on random context trees, held against context-tree
weighting.
"""

from promptax.studies.graumoya_2024.study import GrauMoya2024 as GrauMoya2024
