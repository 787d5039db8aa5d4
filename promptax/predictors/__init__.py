"""Which networks are there? An open set: one file and its line here."""

from promptax.predictors.base import Architecture as Architecture
from promptax.predictors.base import Network as Network
from promptax.predictors.constant import Constant as Constant
from promptax.predictors.fast_weights.delta_net import DeltaNet as DeltaNet
from promptax.predictors.fast_weights.linear_attention import LinearAttention as LinearAttention
from promptax.predictors.fast_weights.momentum_attention import (
    MomentumAttention as MomentumAttention,
)
from promptax.predictors.fast_weights.self_referential import SelfReferential as SelfReferential
from promptax.predictors.feed_forward import FeedForward as FeedForward
from promptax.predictors.gru import GRU as GRU
from promptax.predictors.llama import Llama as Llama
from promptax.predictors.lstm import LSTM as LSTM
from promptax.predictors.rnn import RNN as RNN
from promptax.predictors.state_space import StateSpace as StateSpace
from promptax.predictors.torso import Torso as Torso
from promptax.predictors.transformer import Transformer as Transformer
from promptax.protocol.exchangeable import Uniform as Uniform
from promptax.protocol.predictor import Embedded as Embedded
from promptax.specs import members_elsewhere

__getattr__ = members_elsewhere(Architecture, __name__)
