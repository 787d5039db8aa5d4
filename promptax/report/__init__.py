"""How is it shown? Figures, sentences, tables and one self-contained page.

Knows datasets only: no predictor, no task, no disk.
"""

from promptax.report import figures, readings
from promptax.report.pages.run import page
from promptax.report.table import table, to_csv

__all__ = ["figures", "page", "readings", "table", "to_csv"]
