"""What can be said of a predictor? Plain functions to labelled datasets."""

from promptax.analysis.algorithms import algorithm_distances as algorithm_distances
from promptax.analysis.effective_prior import EffectivePrior as EffectivePrior
from promptax.analysis.effective_prior import effective_prior as effective_prior
from promptax.analysis.effective_prior import effective_priors as effective_priors
from promptax.analysis.induction_heads import in_context_learning as in_context_learning
from promptax.analysis.induction_heads import induction_heads as induction_heads
from promptax.analysis.internal_states import PrincipalComponents as PrincipalComponents
from promptax.analysis.internal_states import internal_states as internal_states
from promptax.analysis.internal_states import principal_components as principal_components
from promptax.analysis.internal_states import state_map as state_map
from promptax.analysis.linear_probes import linear_probes as linear_probes
from promptax.analysis.memorise_or_generalise import compressed_bits as compressed_bits
from promptax.analysis.memorise_or_generalise import hierarchical_fit as hierarchical_fit
from promptax.analysis.memorise_or_generalise import relative_position as relative_position
from promptax.analysis.nearest_tokens import nearest_tokens as nearest_tokens
from promptax.analysis.order_sensitivity import order_sensitivity as order_sensitivity
from promptax.analysis.order_sensitivity import tuning_order_sensitivity as tuning_order_sensitivity
from promptax.analysis.prompt_or_tune.best_prompts import Promptability as Promptability
from promptax.analysis.prompt_or_tune.best_prompts import promptability as promptability
from promptax.analysis.prompt_or_tune.diagnose import Diagnosis as Diagnosis
from promptax.analysis.prompt_or_tune.diagnose import diagnose as diagnose
from promptax.analysis.prompt_or_tune.ledger import ledger as ledger
from promptax.analysis.prompt_or_tune.prompt_mixtures import prompt_mixtures as prompt_mixtures
from promptax.analysis.sensitivities import answer_gradients as answer_gradients
from promptax.analysis.sensitivities import mean_cosine as mean_cosine
from promptax.analysis.state_clusters import state_clusters as state_clusters
