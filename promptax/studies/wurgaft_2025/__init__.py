"""Wurgaft et al. 2025, In-Context Learning Strategies Emerge Rationally.

Networks that are trained on pools of few or many dice: when do they memorise the pool, when do
they generalise beyond it, and does a learner that weighs the two explain it?
"""

from promptax.studies.wurgaft_2025.study import Wurgaft2025 as Wurgaft2025
