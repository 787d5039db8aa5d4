"""Who hears the numbers of a fit while it runs? A log: one file and its line here."""

from promptax.fit.logs.base import Log as Log
from promptax.fit.logs.base import Logs as Logs
from promptax.fit.logs.base import Metrics as Metrics
from promptax.fit.logs.continued import continued as continued
from promptax.fit.logs.metrics_file import MetricsFile as MetricsFile
from promptax.fit.logs.tensorboard import TensorBoard as TensorBoard
from promptax.fit.logs.weights_and_biases import WeightsAndBiases as WeightsAndBiases
