"""Studies: one folder or file for each paper."""

from promptax.studies.base import Study as Study
from promptax.studies.genewein_2025 import Genewein2025 as Genewein2025
