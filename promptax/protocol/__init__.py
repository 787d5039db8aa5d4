"""What is a predictor? A belief, and how tokens move it.

Prompts, repetitions, mixtures and exact predictors that count are predictors too.
"""

from promptax.protocol.entries import checked as checked
from promptax.protocol.entries import condition as condition
from promptax.protocol.entries import one as one
from promptax.protocol.entries import predict as predict
from promptax.protocol.outcomes import Episode as Episode
from promptax.protocol.outcomes import Gaussian as Gaussian
from promptax.protocol.outcomes import Outcome as Outcome
from promptax.protocol.outcomes import Points as Points
from promptax.protocol.outcomes import Symbols as Symbols
from promptax.protocol.outcomes import alphabet_of as alphabet_of
from promptax.protocol.outcomes import as_outcome as as_outcome
from promptax.protocol.predictions import Answers as Answers
from promptax.protocol.predictions import AnyPrediction as AnyPrediction
from promptax.protocol.predictions import Mixed as Mixed
from promptax.protocol.predictions import Normal as Normal
from promptax.protocol.predictions import NormalMixture as NormalMixture
from promptax.protocol.predictions import Prediction as Prediction
from promptax.protocol.predictions import Scores as Scores
from promptax.protocol.predictor import Embedded as Embedded
from promptax.protocol.predictor import Inputs as Inputs
from promptax.protocol.predictor import KeyValues as KeyValues
from promptax.protocol.predictor import Predictor as Predictor
from promptax.protocol.predictor import State as State
from promptax.protocol.predictor import rows_in as rows_in
from promptax.protocol.prompted import GivenPrompt as GivenPrompt
from promptax.protocol.prompted import Prompt as Prompt
from promptax.protocol.prompted import Prompted as Prompted
from promptax.protocol.prompted import Wrapper as Wrapper
from promptax.protocol.repeated import Repeated as Repeated
from promptax.protocol.repeated import cut as cut
from promptax.protocol.repeated import one_or_all as one_or_all
