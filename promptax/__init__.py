"""Meta-train, prompt and tune sequence predictors; measure each against the exact Bayes optimum.

>>> import jax, promptax as px
>>> from promptax.tasks import Categorical, DirichletCategorical
>>> from promptax.predictors import Transformer
>>> from promptax.steering import SoftPrompt
>>> key = jax.random.key(0)

A task is a data generator with its exact predictor. Here, coins of unknown bias, and one coin:

>>> coins, coin = DirichletCategorical(), Categorical((0.2, 0.8))
>>> episode = coins.sample(key, 100)
>>> oracle_rows = coins.oracle(episode.latent, episode.tokens)
>>> exact = coins.bayes()

Pretrain a network on many coins, steer it to one of them, and measure both in nats of regret:

>>> settings = px.FitSettings(steps=20, batch=32)
>>> base = px.pretrain(key, Transformer(width=16), coins, settings).predictor
>>> tuned = SoftPrompt(length=6).tune(key, base, coin, settings).predictor
>>> tuned.prompt.shape
(6, 16)
>>> results = px.evaluate(
...     key, {"untuned": base, "soft prompt": tuned, "prior bayes": exact}, coin,
...     sequences=64, length=50,
... )
>>> regret = px.regret(results, reference="oracle")
>>> float(regret.regret.sel(predictor="prior bayes", repetition=0, time=50).round(3))
1.477

That number is exact: `regret` removes sampling noise by control variates. A predictor is a belief
and how tokens move it; prompting is reading:

>>> px.predict(px.condition(exact, [1, 1, 1]), [0]).shape
(1, 2)
"""

__version__ = "0.1.0"

from promptax import language as language  # whose classes `load` makes, as those below
from promptax import predictors as predictors
from promptax import steering as steering
from promptax import tasks as tasks
from promptax.evaluation.control_variates import regret as regret
from promptax.evaluation.evaluate import evaluate as evaluate
from promptax.fit.fitted import Fitted as Fitted
from promptax.fit.loop import pretrain as pretrain
from promptax.fit.probes import Probe as Probe
from promptax.fit.settings import FitSettings as FitSettings
from promptax.platforms import use_cores as use_cores
from promptax.protocol.entries import condition as condition
from promptax.protocol.entries import predict as predict
from promptax.protocol.mixture import PromptedMixture as PromptedMixture
from promptax.protocol.mixture import mix as mix
from promptax.protocol.predictions import Prediction as Prediction
from promptax.protocol.predictor import Embedded as Embedded
from promptax.protocol.predictor import Predictor as Predictor
from promptax.protocol.prompted import Prompted as Prompted
from promptax.protocol.repeated import Repeated as Repeated
from promptax.store import Checkpoint as Checkpoint
from promptax.store import load as load
from promptax.store import save as save
from promptax.streaming.compression import code_length as code_length
from promptax.streaming.compression import compress as compress
from promptax.streaming.compression import decompress as decompress
from promptax.streaming.sampling import generate as generate
