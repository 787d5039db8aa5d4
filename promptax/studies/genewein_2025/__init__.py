"""Genewein et al. 2025: its conditions, and its claims about theory."""

from promptax.studies.genewein_2025.conditions import Genewein2025 as Genewein2025
