"""Reddy 2023, The mechanistic basis of data dependence and abrupt learning; with Chan et al. 2022,
Data distributional properties drive emergent in-context learning.

When do networks learn classes into their weights, and when to look them up in their context?
"""

from promptax.studies.reddy_2023.study import Reddy2023 as Reddy2023
