"""Figures from labelled results: a Dataset in, a matplotlib Figure out."""

from promptax.report.figures.bars import regret_bars as regret_bars
from promptax.report.figures.curves import regret_over_time as regret_over_time
from promptax.report.figures.curves import tuning_curves as tuning_curves
from promptax.report.figures.decisions import regret_over_rounds as regret_over_rounds
from promptax.report.figures.forgetting import forgetting_curves as forgetting_curves
from promptax.report.figures.heads import attention_heads as attention_heads
from promptax.report.figures.lengths import regret_by_length as regret_by_length
from promptax.report.figures.states import internal_states as internal_states
