"""Neural architectures. An open set: one file and its line here."""

from promptax.exchangeable import Uniform as Uniform
from promptax.predictors.base import Architecture as Architecture
from promptax.predictors.base import Network as Network
from promptax.predictors.base import Torso as Torso
from promptax.predictors.language_model import LanguageModel as LanguageModel
from promptax.predictors.llama import Llama as Llama
from promptax.predictors.lstm import LSTM as LSTM
from promptax.predictors.spelled import SpelledNetwork as SpelledNetwork
from promptax.predictors.transformer import Transformer as Transformer
from promptax.protocol import Embedded as Embedded
