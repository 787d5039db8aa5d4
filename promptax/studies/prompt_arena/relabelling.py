"""A search under other names of the symbols, which every repetition draws for itself.

Names mean nothing to the question, but they do to a method that begins at the first symbol, or
takes the first of several that are equally good. With names of its own each repetition is a run of
its own, also of a search that draws nothing: intervals may resample runs.

With `order` [symbol] a permutation, symbol v of the search stands for symbol order[v]. The search
sees the prior's probabilities p_k[order] and sequences in its own symbols; what it recommends is
said in the symbols of the instance, so that all runs are judged by one table.
"""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.fit.cost import Cost
from promptax.fit.settings import FitSettings
from promptax.steering import Search
from promptax.steering.base import Tuning
from promptax.steering.search import SearchProblem
from promptax.steering.search_loop import run_search
from promptax.steering.search_steps import Steps


class Named(NamedTuple):
    """`order` [symbol]: what the search's symbols stand for; `inner`: the search's state."""

    order: Any
    inner: Any


class Run(NamedTuple):
    """`recommended` [repetition, step, prompt], in the symbols of the target; `said` [repetition,
    step]: the losses that it reports, nats per sequence, NaN where it read prompts of another
    length or nothing; `cost`: what was spent up to each step [repetition, step]."""

    recommended: Int[np.ndarray, "repetition step prompt"]
    said: Float[np.ndarray, "repetition step"]
    cost: Cost


class Relabelled(eqx.Module):
    """What the loop of searches asks of a search (`search_steps.Steps`), by other names.

    The predictor is one of `CategoricalMixture`, whose `probabilities` [component, symbol] are
    ordered anew. Nothing is read for it, and nothing charged.
    """

    search: Search

    @property
    def class_name(self) -> str:
        """What messages call it: nobody has heard of other names."""
        return self.search.class_name

    @property
    def same_episodes(self) -> bool:
        """Whether all steps read the same episodes."""
        return self.search.same_episodes

    @property
    def recommends(self) -> bool:
        """Whether it says after every step what it would return."""
        return self.search.recommends

    @property
    def reads_parts(self) -> bool:
        """Whether prompts are read behind parts of a batch."""
        return self.search.reads_parts

    @property
    def length(self) -> int:
        """Symbols of the prompt."""
        return self.search.length

    def updates(self, settings: FitSettings, symbols: int) -> int:
        """The number of steps."""
        return self.search.updates(settings, symbols)

    def late_prompts(self, settings: FitSettings) -> int:
        """The number of prompts that its first steps do not tell of."""
        return self.search.late_prompts(settings)

    def batch(self, settings: FitSettings) -> int:
        """Sequences of a step."""
        return self.search.batch(settings)

    def plan(self, symbols: int) -> str:
        """What will be tried, in words."""
        return f"{type(self.search).__name__} {self.search.plan(symbols)}".strip()

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Named:
        """An order of the symbols, and the search before its first step."""
        order_key, inner_key = jax.random.split(key)
        order = jax.random.permutation(order_key, problem.symbols)
        return Named(order, self.search.start(inner_key, renamed(problem, order)))

    def step(
        self, key: Key[Array, ""], state: Named, problem: SearchProblem
    ) -> tuple[Named, Float[Array, ""]]:
        """A step of the search, and its loss."""
        inner, loss = self.search.step(key, state.inner, renamed(problem, state.order))
        return Named(state.order, inner), loss

    def prompt(self, state: Named) -> Int[Any, " prompt"]:
        """What the search recommends, in the symbols of the target. What is no symbol stays none,
        and is refused by the loop: JAX would take the last one instead."""
        prompt = jnp.asarray(self.search.prompt(state.inner))
        is_symbol = (prompt >= 0) & (prompt < len(state.order))
        return jnp.where(is_symbol, state.order[prompt], prompt)


def renamed(problem: SearchProblem, order: Int[Array, " symbol"]) -> SearchProblem:
    """The same problem, in which symbol v stands for order[v]; its readings count as before."""
    rows = jnp.asarray(problem.predictor.probabilities)[:, order]  # pyright: ignore
    predictor = eqx.tree_at(lambda p: p.probabilities, problem.predictor, rows)
    episodes = problem.episodes
    if episodes is not None:
        name = jnp.argsort(order).astype(episodes.observations.dtype)
        tokens = name[episodes.observations]
        episodes = eqx.tree_at(lambda e: e.observations, episodes, tokens)
    return dataclasses.replace(problem, predictor=predictor, episodes=episodes)


def run_relabelled(search: Search, tuning: Tuning) -> Run:
    """Run a search under names that each repetition draws. `tuning`: what `Search.tune` is asked
    for, all choices made."""
    search.verify(tuning.predictor, tuning.target, tuning.settings)
    relabelled: Steps = Relabelled(search)  # pyright: ignore[reportAssignmentType]
    state, cost = run_search(relabelled, tuning)
    done = int(state.step)
    loss, readings = np.asarray(state.loss)[:, :done], state.readings
    prompts, rows = (np.asarray(n)[:, :done] for n in (readings.prompts, readings.rows))
    said = np.where((prompts > 0) & (rows == prompts * search.length), loss, np.nan)
    recommended = np.asarray(state.recommended)[:, :done]
    return Run(recommended, said, cost)
