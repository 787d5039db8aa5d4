"""Studies: one folder or file for each paper."""

from promptax.studies.base import Study as Study
from promptax.studies.coins_in_language import CoinsInLanguage as CoinsInLanguage
from promptax.studies.genewein_2025 import Genewein2025 as Genewein2025
