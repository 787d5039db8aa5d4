"""Prompts and weights that steer. An open set: one file and its line here."""

from promptax.steering.base import Tuner as Tuner
from promptax.steering.gradient import GradientTuner as GradientTuner
from promptax.steering.gradient import PromptTuner as PromptTuner
from promptax.steering.gradient import WeightTuner as WeightTuner
from promptax.steering.prompts.key_value_prompt import KeyValuePrompt as KeyValuePrompt
from promptax.steering.prompts.meta_spo import MetaSPO as MetaSPO
from promptax.steering.prompts.prompt_mixture import PromptMixture as PromptMixture
from promptax.steering.prompts.real_prompt import RealPrompt as RealPrompt
from promptax.steering.prompts.simplex_prompt import SimplexPrompt as SimplexPrompt
from promptax.steering.prompts.soft_prompt import SoftPrompt as SoftPrompt
from promptax.steering.prompts.start import tune_start as tune_start
from promptax.steering.prompts.variational_prompt import VariationalPrompt as VariationalPrompt
from promptax.steering.races import UCB as UCB
from promptax.steering.races import Race as Race
from promptax.steering.races import SuccessiveHalving as SuccessiveHalving
from promptax.steering.races import SuccessiveRejects as SuccessiveRejects
from promptax.steering.races import UniformAllocation as UniformAllocation
from promptax.steering.search import Search as Search
from promptax.steering.search import SearchProblem as SearchProblem
from promptax.steering.searches.annealing import Annealing as Annealing
from promptax.steering.searches.blackbox.square_attack import SquareAttack as SquareAttack
from promptax.steering.searches.blackbox.subspace_evolution import (
    SubspaceEvolution as SubspaceEvolution,
)
from promptax.steering.searches.draws.best_of import BestOf as BestOf
from promptax.steering.searches.draws.random_search import RandomSearch as RandomSearch
from promptax.steering.searches.draws.target_samples import TargetSamples as TargetSamples
from promptax.steering.searches.edits.edit_beam import EditBeam as EditBeam
from promptax.steering.searches.edits.segment_rewriting import SegmentRewriting as SegmentRewriting
from promptax.steering.searches.gradient.projected_gradient import (
    ProjectedGradient as ProjectedGradient,
)
from promptax.steering.searches.gradient_search import GradientSearch as GradientSearch
from promptax.steering.searches.hard_prompt import HardPrompt as HardPrompt
from promptax.steering.searches.hard_prompt_mixture import HardPromptMixture as HardPromptMixture
from promptax.steering.searches.local.coordinate_descent import (
    CoordinateDescent as CoordinateDescent,
)
from promptax.steering.searches.local.tabu_search import TabuSearch as TabuSearch
from promptax.steering.searches.policy.policy_search import PolicySearch as PolicySearch
from promptax.steering.searches.policy.prompters import Prompters as Prompters
from promptax.steering.searches.population.genetic_search import GeneticSearch as GeneticSearch
from promptax.steering.searches.population.harmony_search import HarmonySearch as HarmonySearch
from promptax.steering.searches.prefixes.beam_search import BeamSearch as BeamSearch
from promptax.steering.searches.pruning.evolutionary_pruning import (
    EvolutionaryPruning as EvolutionaryPruning,
)
from promptax.steering.searches.pruning.threshold_pruning import (
    ThresholdPruning as ThresholdPruning,
)
from promptax.steering.searches.random_prompt import RandomPrompt as RandomPrompt
from promptax.steering.searches.tree.tree_search import TreeSearch as TreeSearch
from promptax.steering.searches.wrappers.pruned_alphabet import PrunedAlphabet as PrunedAlphabet
from promptax.steering.searches.wrappers.raced import Raced as Raced
from promptax.steering.searches.wrappers.raced_rates import RacedRates as RacedRates
from promptax.steering.searches.wrappers.restarted import Restarted as Restarted
from promptax.steering.weights.embedding_weights import EmbeddingWeights as EmbeddingWeights
from promptax.steering.weights.full_weights import FullWeights as FullWeights
from promptax.steering.weights.low_rank import LowRank as LowRank
from promptax.steering.weights.prompt_intern import Interned as Interned
from promptax.steering.weights.prompt_intern import intern_prompt as intern_prompt
from promptax.steering.weights.timber import effective_ranks as effective_ranks
from promptax.steering.weights.timber import timber as timber
