"""Plain functions from predictors or tasks to labelled datasets."""

from promptax.analysis.diagnosis import Diagnosis as Diagnosis
from promptax.analysis.diagnosis import diagnose as diagnose
from promptax.analysis.effective_prior import EffectivePrior as EffectivePrior
from promptax.analysis.effective_prior import effective_prior as effective_prior
from promptax.analysis.effective_prior import effective_priors as effective_priors
from promptax.analysis.internal_states import PrincipalComponents as PrincipalComponents
from promptax.analysis.internal_states import internal_states as internal_states
from promptax.analysis.internal_states import principal_components as principal_components
from promptax.analysis.internal_states import state_map as state_map
from promptax.analysis.ledger import ledger as ledger
from promptax.analysis.nearest_tokens import nearest_tokens as nearest_tokens
from promptax.analysis.prompt_mixtures import prompt_mixtures as prompt_mixtures
from promptax.analysis.promptability import Promptability as Promptability
from promptax.analysis.promptability import promptability as promptability
