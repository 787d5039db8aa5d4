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

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptax.front_door import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """A room of the house, or what `front_door` offers under that name; imported when asked for,
    because JAX takes longer to import than a page of help to print."""
    thing = None
    if not name.startswith("__"):
        if importlib.util.find_spec(f"{__name__}.{name}") is not None:
            return importlib.import_module(f"{__name__}.{name}")
        thing = vars(importlib.import_module(f"{__name__}.front_door")).get(name)
    if thing is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = thing  # the next time, Python finds it without asking
    return thing


def __dir__() -> list[str]:
    front_door = importlib.import_module(f"{__name__}.front_door")
    return sorted({*globals(), *vars(front_door)})
