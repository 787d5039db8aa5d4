"""The question of Genewein et al. 2025 on a real language model: flips of a coin, written as text.

Is what it does in context like exact Bayes, and do prompts suffice where theory says so of a Bayes
predictor, and fail where it says so?
"""

from promptax.studies.coins_in_language.study import CoinsInLanguage as CoinsInLanguage
