"""How do leaves move? The one loop, its compiled updates, and what a fit returns."""

from promptax.fit.adapting import Adapting as Adapting
from promptax.fit.cost import Cost as Cost
from promptax.fit.data_rater import DataRater as DataRater
from promptax.fit.fitted import Checkpoint as Checkpoint
from promptax.fit.fitted import Fitted as Fitted
from promptax.fit.implicit import hypergradient as hypergradient
from promptax.fit.implicit import minimise as minimise
from promptax.fit.logs import Log as Log
from promptax.fit.logs import MetricsFile as MetricsFile
from promptax.fit.logs import TensorBoard as TensorBoard
from promptax.fit.logs import WeightsAndBiases as WeightsAndBiases
from promptax.fit.loop import fit as fit
from promptax.fit.loop import pretrain as pretrain
from promptax.fit.metagradients import MetagradientDescent as MetagradientDescent
from promptax.fit.metagradients import rates_between as rates_between
from promptax.fit.objectives import Objective as Objective
from promptax.fit.probes import Probe as Probe
from promptax.fit.replay import replay as replay
from promptax.fit.replay import replay_bytes as replay_bytes
from promptax.fit.replay import states_kept as states_kept
from promptax.fit.settings import FitSettings as FitSettings
from promptax.specs import members_elsewhere

__getattr__ = members_elsewhere(Objective, __name__)
