"""What does an update make small? An open set: one file and its line here."""

from promptax.fit.objectives.base import Objective as Objective
from promptax.fit.objectives.first_order_maml import FirstOrderMAML as FirstOrderMAML
from promptax.fit.objectives.inner_steps import InnerSteps as InnerSteps
from promptax.fit.objectives.log_loss import LogLoss as LogLoss
from promptax.fit.objectives.maml import MAML as MAML
from promptax.fit.objectives.reptile import Reptile as Reptile
