"""Exact losses of prompts before a target of independent symbols, as a problem that searches can
step on: no noise, no loop, all seeds in one compiled program.

A mixture prior with weights w and rows p, after a prompt with counts n, loses on a target q

    f(n) = Σ_c P(c) [log Z(n) - log Z(n + c)],     Z(n) = Σ_k w_k Π_v p_k[v]^n_v,

the sum over the count vectors c of T symbols, P multinomial. Where Z(n) = 0 the prompt is
impossible and the predictor uniform: f = T log A.
"""

import dataclasses
import functools
import itertools
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy

from promptax import FitSettings
from promptax.protocol.outcomes import Symbols
from promptax.steering.search_problem import Readings, SearchProblem, Sizes


class Landscape(NamedTuple):
    """Prior and target; hashable, so that programs are shared."""

    rows: tuple  # [component][symbol]
    weights: tuple  # [component]
    target: tuple  # [symbol]
    length: int  # of a prompt
    time: int  # of a sequence

    @property
    def symbols(self):
        return len(self.target)

    @property
    def outcome(self):
        return Symbols(self.symbols)

    def loss(self, counts):
        """f(n) of counts [symbol], nats per sequence; differentiable where it is finite."""
        ends, chances = ends_of(self.target, self.time)
        here, there = self.log_z(counts), jax.vmap(self.log_z)(counts + ends)
        losses = jnp.sum(jnp.where(chances > 0, chances * (here - there), 0.0))
        return jnp.where(jnp.isfinite(here), losses, self.time * math.log(self.symbols))

    def log_z(self, counts):
        terms = np.log(self.weights) + jnp.sum(xlogy(counts, np.asarray(self.rows)), axis=1)
        return jax.nn.logsumexp(terms)

    def losses(self, prompts, rows=None):
        """f of prompts [candidate, prompt], or of their first rows."""
        read = jnp.ones(prompts.shape, bool)
        if rows is not None:
            read = jnp.arange(prompts.shape[1]) < rows[:, None]
        digits = (self.length + 1) ** jnp.arange(self.symbols)
        return jnp.asarray(table_of(self))[jnp.sum(jnp.where(read, digits[prompts], 0), axis=1)]


@functools.cache
def table_of(landscape):
    """f of all counts of at most `length` symbols, at the place that they spell as a number; NaN
    elsewhere."""
    table = np.full((landscape.length + 1) ** landscape.symbols, np.nan, np.float32)
    numbers = itertools.product(range(landscape.length + 1), repeat=landscape.symbols)
    counts = np.array([c for c in numbers if sum(c) <= landscape.length], np.float32)
    with jax.ensure_compile_time_eval():
        losses = np.asarray(jax.jit(jax.vmap(landscape.loss))(counts))
    places = counts @ (landscape.length + 1) ** np.arange(landscape.symbols)
    table[places.astype(int)] = losses
    return table


@functools.cache
def ends_of(target, time):
    """All count vectors of `time` symbols that the target may end with, and their chances."""
    ends = [
        ends
        for ends in itertools.product(range(time + 1), repeat=len(target))
        if sum(ends) == time and all(p > 0 or n == 0 for p, n in zip(target, ends, strict=True))
    ]
    ways = [math.factorial(time) / math.prod(map(math.factorial, end)) for end in ends]
    chances = [math.prod(p**n for p, n in zip(target, end, strict=True)) for end in ends]
    return np.array(ends, np.float32), np.array(ways) * np.array(chances)


NOTHING = Readings(*(jnp.int32(0) for _ in Readings._fields))


@dataclasses.dataclass(frozen=True)
class Exact(SearchProblem):
    """A step's problem without noise: its one episode is the expectation. The landscape stands in
    the predictor's place."""

    def losses(self, prompts, rows=None, wanted=None):
        wanted = jnp.ones(len(prompts), bool) if wanted is None else wanted
        self.readings.append(NOTHING._replace(prompts=jnp.sum(wanted)))
        losses = self.predictor.losses(self._spelled(prompts), rows)
        return jnp.where(wanted, losses, jnp.inf)[:, None]

    def gradient(self, prompt):
        self.readings.append(NOTHING._replace(prompts=jnp.int32(1)))
        counts = jnp.sum(jax.nn.one_hot(prompt, self.symbols), axis=0)
        loss, slopes = jax.value_and_grad(self.predictor.loss)(counts)
        return loss, jnp.broadcast_to(slopes, (len(prompt), self.symbols))


class Run(NamedTuple):
    """What the search would return after each step: `gap` [seed, step], nats above the least loss
    of all prompts; and what it read by then: `read` [seed, step]."""

    gap: np.ndarray
    read: np.ndarray


@eqx.filter_jit
def _run(search, landscape, seeds, steps):
    sizes = Sizes(Symbols(landscape.symbols), landscape.length, None, 1)

    def seed_run(seed):
        start, on = jax.random.split(jax.random.key(seed))

        def step(state, index):
            problem = Exact(landscape, sizes, step=index, steps=jnp.int32(steps))
            state, _ = search.step(jax.random.fold_in(on, index), state, problem)
            prompt = jnp.asarray(search.prompt(state))
            return state, (landscape.losses(prompt[None])[0], problem.total().prompts)

        state = search.start(start, Exact(landscape, sizes))
        return jax.lax.scan(step, state, jnp.arange(steps))[1]

    return jax.vmap(seed_run)(jnp.arange(seeds))


def run(search, landscape, seeds=20, steps=50):
    """Run a search without noise, with each seed."""
    steps = search.updates(FitSettings(steps=steps), landscape.symbols)
    losses, read = map(np.asarray, _run(search, landscape, seeds, steps))
    gap = losses - least_loss(landscape)
    assert gap.min() > -1e-4, f"{-gap.min():.2g} nats below the least loss of all prompts"
    return Run(gap, np.cumsum(read, axis=1))


def least_loss(landscape):
    """The least loss of all prompts of the landscape's length: f depends on counts alone."""
    numbers = np.array(
        list(itertools.product(range(landscape.length + 1), repeat=landscape.symbols))
    )
    places = numbers @ (landscape.length + 1) ** np.arange(landscape.symbols)
    return table_of(landscape)[places[numbers.sum(1) == landscape.length]].min()


def laplace(target, length, time):
    """The uniform prior over coins, by Gauss and Legendre's rule, which is exact for it."""
    nodes, weights = np.polynomial.legendre.leggauss((length + time) // 2 + 1)
    heads = (nodes + 1) / 2
    rows = tuple((1 - p, p) for p in heads.tolist())
    return Landscape(rows, tuple((weights / 2).tolist()), target, length, time)


EASY = laplace((0.2, 0.8), length=6, time=20)
"""Every descent reaches the best prompt."""

HARD = Landscape(
    rows=((0.0, 0.69, 0.31), (0.21, 0.77, 0.02), (0.02, 0.41, 0.57)),
    weights=(0.013, 0.003, 0.984),
    target=(0.09, 0.78, 0.13),
    length=8,
    time=10,
)
"""Drawn until steepest descent from a random prompt reaches the best one (six of symbol 0, two of
2) with a chance below 0.2: it is 0.184."""
