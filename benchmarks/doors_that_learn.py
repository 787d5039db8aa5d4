"""Doors that tune, search and learn, and those that judge what came of it; see `doors`."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import promptax as px
from promptax import analysis, steering, tasks
from promptax import fit as fitting
from promptax.axes import labelled
from promptax.language.word_tasks.exam import Exam
from promptax.language.word_tasks.pairs import Pair, WordTask
from promptax.language.word_tasks.spread import order_and_choice, summarise_spread
from promptax.predictors import LSTM

Call = tuple[Callable, dict[str, Any]]
KEY = jax.random.key(0)
COINS, COIN = tasks.DirichletCategorical(), tasks.Categorical((0.2, 0.8))
FACTS = tasks.ContextFacts(3, 2)
SETTINGS = px.FitSettings(steps=3, batch=4, length=5)


@functools.cache
def exam() -> Exam:
    """Six letters, each of which is answered by itself."""
    letters = WordTask("letters", tuple(Pair(letter, letter) for letter in "abcdef"))
    return Exam(letters, letters.split(demonstrations=3, held_out=2), "bytes")


def scores() -> Any:
    """What `order_and_choice` gives."""
    axes = ("draw", "order", "sequence")
    return labelled({name: (axes, np.ones((2, 2, 2))) for name in ("log_loss", "correct")})


def calls_on(network: Callable[..., Any]) -> dict[str, Callable[[], Call]]:
    """By the name of a door: the door, and arguments that it takes, on `network()` over two
    symbols, and `network(symbols)`."""
    return {
        "effective_ranks": lambda: (
            steering.effective_ranks, {"base": network(), "tuned": network()}
        ),
        "timber": lambda: (
            steering.timber, {"base": network(), "tuned": network(), "rest": 0.2}
        ),
        "tune_start": lambda: (
            steering.tune_start,
            {"key": KEY, "predictor": network(), "family": COINS, "settings": SETTINGS,
             "prompt": steering.SoftPrompt(length=2),
             "objective": fitting.objectives.SUPMER(support=2)},
        ),
        "intern_prompt": lambda: (
            steering.intern_prompt,
            {"key": KEY, "tuner": steering.LowRank(rank=1), "predictor": network(),
             "pieces": [[0, 1], [1]], "target": COIN, "settings": SETTINGS,
             "shares": (1.0, 0.5, 0.0), "callbacks": ()},
        ),
        "MetaSPO.search": lambda: (
            steering.MetaSPO(rounds=1, sequences=2, steps_of_time=3).search,
            {"key": KEY, "predictor": network(), "tasks": [COIN], "shared": [0, 1]},
        ),
        "DataRater.learn": lambda: (
            fitting.DataRater(inner_steps=1, models=1).learn,
            {"key": KEY, "rater": LSTM(width=2), "model": LSTM(width=2), "task": COINS,
             "settings": px.FitSettings(steps=1, batch=2, length=3), "held_out": COIN},
        ),
        "MetagradientDescent.descend": lambda: (
            fitting.MetagradientDescent(runs=2).descend,
            {"loss": lambda point: (point**2).sum(), "start": np.ones(2, np.float32)},
        ),
        "forgetting": lambda: (
            analysis.forgetting,
            {"key": KEY, "predictor": network(), "task": COINS, "length": 5, "streams": 2,
             "objective": fitting.objectives.OML(stream=2, support=3, adapts=())},
        ),
        "own_answers": lambda: (
            analysis.own_answers, {"predictor": network(FACTS.symbols), "task": FACTS}
        ),
        "grounding": lambda: (
            analysis.grounding, {"predictor": network(FACTS.symbols), "task": FACTS}
        ),
        "order_and_choice": lambda: (
            order_and_choice,
            {"predictor": network(exam().tokenizer.symbols), "exam": exam(), "shots": 2,
             "choices": 2, "orders": 2, "callbacks": ()},
        ),
        "summarise_spread": lambda: (summarise_spread, {"scores": scores()}),
    }  # fmt: skip
