"""Where do data come from, and what would Bayes say? An open set: one file and its line here."""

from promptax.protocol.exchangeable import Exchangeable as Exchangeable
from promptax.protocol.outcomes import Episode as Episode
from promptax.protocol.outcomes import Gaussian as Gaussian
from promptax.protocol.outcomes import Outcome as Outcome
from promptax.protocol.outcomes import Points as Points
from promptax.protocol.outcomes import Symbols as Symbols
from promptax.specs import members_elsewhere
from promptax.tasks.base import Task as Task
from promptax.tasks.classification.prototype_classification import (
    PrototypeClassification as PrototypeClassification,
)
from promptax.tasks.combined.mixture import Mixture as Mixture
from promptax.tasks.combined.product import Product as Product
from promptax.tasks.combined.switching import Switching as Switching
from promptax.tasks.combined.tagged import Tagged as Tagged
from promptax.tasks.facts.context_facts import ContextFacts as ContextFacts
from promptax.tasks.facts.named_coins import NamedCoins as NamedCoins
from promptax.tasks.formal.formal_language import FormalLanguage as FormalLanguage
from promptax.tasks.hidden.hidden_markov import HiddenMarkov as HiddenMarkov
from promptax.tasks.hidden.hidden_markov_mixture import HiddenMarkovMixture as HiddenMarkovMixture
from promptax.tasks.independent.categorical import Categorical as Categorical
from promptax.tasks.independent.categorical_mixture import CategoricalMixture as CategoricalMixture
from promptax.tasks.independent.dirichlet_categorical import (
    DirichletCategorical as DirichletCategorical,
)
from promptax.tasks.markov.context_tree import ContextTree as ContextTree
from promptax.tasks.markov.known_chain import KnownChain as KnownChain
from promptax.tasks.markov.known_tree import KnownTree as KnownTree
from promptax.tasks.markov.markov_chain import MarkovChain as MarkovChain
from promptax.tasks.pools.finite_pool import FinitePool as FinitePool
from promptax.tasks.programs.programs import Programs as Programs
from promptax.tasks.recorded import Recorded as Recorded
from promptax.tasks.regression.fourier_regression import FourierRegression as FourierRegression
from promptax.tasks.regression.linear_regression import LinearRegression as LinearRegression
from promptax.tasks.regression.sign_regression import SignRegression as SignRegression
from promptax.tasks.regression.sine_regression import SineRegression as SineRegression
from promptax.tasks.regression.sparse_regression import SparseRegression as SparseRegression
from promptax.tasks.switching.live_and_die import LiveAndDie as LiveAndDie
from promptax.tasks.switching.partition_tree import PartitionTree as PartitionTree
from promptax.tasks.switching.random_shifts import RandomShifts as RandomShifts
from promptax.tasks.switching.regular_shifts import RegularShifts as RegularShifts
from promptax.tasks.switching.uniform_shifts import UniformShifts as UniformShifts

__getattr__ = members_elsewhere(Task, __name__)
