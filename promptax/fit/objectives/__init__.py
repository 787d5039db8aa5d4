"""What does an update make small? An open set: one file and its line here."""

from promptax.fit.objectives.base import Objective as Objective
from promptax.fit.objectives.best_rated import BestRated as BestRated
from promptax.fit.objectives.bootstrapped import Bootstrapped as Bootstrapped
from promptax.fit.objectives.count_rates import CountRates as CountRates
from promptax.fit.objectives.first_order_maml import FirstOrderMAML as FirstOrderMAML
from promptax.fit.objectives.implicit_maml import ImplicitMAML as ImplicitMAML
from promptax.fit.objectives.inner_steps import InnerSteps as InnerSteps
from promptax.fit.objectives.layer_rates import LayerRates as LayerRates
from promptax.fit.objectives.learned_rates import LearnedRates as LearnedRates
from promptax.fit.objectives.log_loss import LogLoss as LogLoss
from promptax.fit.objectives.maml import MAML as MAML
from promptax.fit.objectives.meta_sgd import MetaSGD as MetaSGD
from promptax.fit.objectives.mlti import MLTI as MLTI
from promptax.fit.objectives.oml import OML as OML
from promptax.fit.objectives.paced import Paced as Paced
from promptax.fit.objectives.reckoning import Reckoning as Reckoning
from promptax.fit.objectives.reptile import Reptile as Reptile
from promptax.fit.objectives.supmer import SUPMER as SUPMER
