"""Labelled results in; figures, sentences, tables and one self-contained page out.

Knows datasets only: no predictor, no task, no disk.
"""

from promptax.report import figures, readings
from promptax.report.page import page
from promptax.report.table import table, to_csv

__all__ = ["figures", "page", "readings", "table", "to_csv"]
