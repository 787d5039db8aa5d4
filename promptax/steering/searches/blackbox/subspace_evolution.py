"""Covariance matrix adaptation in a random subspace (Black-Box Tuning, Sun et al. 2022, "Black-Box
Tuning for Language-Model-as-a-Service").

A point z of few dimensions stands for a prompt: its scores [prompt, symbol] are

    S(z) = S_0 + A z,   S_0 and A drawn once, A with variance 1 / dimensions,

and at each place the symbol with the greatest score is read. In a step, a population
z_k ~ N(m, σ² C) is read on the same episodes, and m, σ and C adapt to the better half of it by
CMA-ES (Hansen 2016, "The CMA Evolution Strategy: A Tutorial", figure 6), with its standard weights
and rates.

The published method adds A z to soft rows before the embedding. Here symbols are read, so that the
result is a hard prompt, comparable with all other searches, and text; numbers are tuned where
gradients are to be had, by `SoftPrompt` and `SimplexPrompt`. The strategy is written out, since
libraries that have it bring a neural-network and a checkpoint library along for 40 lines. Its C is
whole, which suits tens of dimensions, not thousands.

Many z stand for one prompt; equal ones of a step are read once. What is returned is the best
prompt, which is read anew in every step. Charged: every distinct prompt of the step, and the best
one.
"""

import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.search_problem import Prompts
from promptax.steering.searches.duplicates import first_of_equals

Axes = tuple[Float[Array, " axis"], Float[Array, "dimension axis"]]
SIGMA = 1e-3, 1e3  # bounds of the step size, beyond which only the same prompts, or noise, are read


class SubspaceEvolution(Search):
    """Searches a hard prompt by CMA-ES over scores of symbols, in a random subspace.

    `loss` [repetition, step] is that of the best prompt before the step, nats per sequence. Works
    on any predictor over symbols; no gradient goes through the predictor.
    """

    reads_by_losses: ClassVar[bool] = True

    rates_to_try: ClassVar[tuple[str, tuple[float, ...]]] = "sigma", (0.0625, 0.25, 1.0, 4.0)

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    dimensions: int = 16
    """Dimensions of the subspace; length · symbols of them at most."""
    population: int = 16
    """Prompts that are read in a step; 4 + 3 log(dimensions) is 12 for 16 dimensions."""
    sigma: float = 1.0
    """Standard deviation at first, of scores whose own is 1."""

    def __check_init__(self) -> None:
        check(self.dimensions >= 1, f"Expected dimensions of at least 1; got {self.dimensions}.")
        check(self.population >= 4, f"Expected a population of at least 4; got {self.population}.")
        check(0 < self.sigma < math.inf, f"Expected a sigma above 0; got {self.sigma}.")

    @classmethod
    def examples(cls) -> "tuple[SubspaceEvolution, ...]":
        return (cls(length=2, dimensions=2, population=4),)

    def plan(self, symbols: int) -> str:
        del symbols
        return f"{self.population} prompts in each step"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> "Evolved":
        offset, directions = jax.random.split(key)
        shape = self.length, problem.symbols
        dimensions = max(1, min(self.dimensions, self.length * problem.symbols))
        subspace = Subspace(
            jax.random.normal(offset, shape),
            jax.random.normal(directions, (*shape, dimensions)) / math.sqrt(dimensions),
        )
        zeros = jnp.zeros(dimensions)
        strategy = Strategy(
            zeros, jnp.asarray(self.sigma, jnp.float32), jnp.eye(dimensions), zeros, zeros
        )
        return Evolved(subspace.prompts(zeros[None])[0], subspace, strategy)

    def step(
        self, key: Key[Array, ""], state: "Evolved", problem: SearchProblem
    ) -> tuple["Evolved", Float[Array, ""]]:
        axes = state.strategy.axes()  # once a step: it costs as much as what is read
        points = state.strategy.draw(key, self.population, axes)
        tried = jnp.concatenate([state.best[None], state.subspace.prompts(points)])
        first = first_of_equals(tried, problem.predictor.exchangeable)
        means = problem.means(tried, wanted=first == jnp.arange(len(tried)))
        strategy = state.strategy.adapt(points, means[first][1:], problem.step, axes)
        return Evolved(tried[jnp.argmin(means)], state.subspace, strategy), means[0]

    def prompt(self, state: "Evolved") -> Int[Any, " prompt"]:
        return state.best


class Subspace(NamedTuple):
    """Scores of symbols that are affine in few numbers: an offset [prompt, symbol], and directions
    [prompt, symbol, dimension]."""

    offset: Any
    directions: Any

    def prompts(self, points: Float[Array, "candidate dimension"]) -> Prompts:
        """The symbols with the greatest scores."""
        scores = self.offset + jnp.einsum("psd,cd->cps", self.directions, points)
        return jnp.argmax(scores, axis=-1).astype(jnp.int32)


class Strategy(NamedTuple):
    """CMA-ES: mean m [dimension], step size σ, covariance C [dimension, dimension], and the two
    evolution paths, of C and of σ [dimension]."""

    mean: Any
    sigma: Any
    covariance: Any
    path: Any
    sigma_path: Any

    def axes(self) -> "Axes":
        """Standard deviations along the principal axes of C, and the axes."""
        values, axes = jnp.linalg.eigh(self.covariance)
        return jnp.sqrt(jnp.maximum(values, 1e-10)), axes

    def draw(
        self, key: Key[Array, ""], count: int, axes_of_c: "Axes"
    ) -> Float[Array, "candidate dimension"]:
        """Points from N(m, σ² C)."""
        deviations, axes = axes_of_c
        normal = jax.random.normal(key, (count, len(self.mean)))
        return self.mean + self.sigma * (normal * deviations) @ axes.T

    def adapt(
        self,
        points: Float[Array, "candidate dimension"],
        losses: Array,
        step: Any,
        axes_of_c: "Axes",
    ) -> "Strategy":
        """The strategy after a generation; of equal losses the first is the better one."""
        rates = Rates.of(*points.shape)
        better = points[jnp.argsort(losses)[: len(rates.weights)]]
        steps = (better - self.mean) / self.sigma
        weights = jnp.asarray(rates.weights, jnp.float32)
        move = weights @ steps
        deviations, axes = axes_of_c
        white = axes @ ((axes.T @ move) / deviations)
        keep = math.sqrt(rates.sigma_path * (2 - rates.sigma_path) * rates.effective)
        sigma_path = (1 - rates.sigma_path) * self.sigma_path + keep * white
        grown = jnp.sqrt(jnp.sum(sigma_path**2))
        # the path is shorter at first, when it has had few steps to add up
        share = 1 - (1 - rates.sigma_path) ** (2.0 * (step + 1))
        dimensions = len(self.mean)
        calm = grown / jnp.sqrt(share) < (1.4 + 2 / (dimensions + 1)) * rates.expected_norm
        keep = math.sqrt(rates.path * (2 - rates.path) * rates.effective)
        path = (1 - rates.path) * self.path + jnp.where(calm, keep, 0.0) * move
        rank_one = jnp.outer(path, path)
        rank_many = jnp.einsum("c,ci,cj->ij", weights, steps, steps)
        old = 1 - rates.one - rates.many
        stalled = jnp.where(calm, 0.0, rates.path * (2 - rates.path))
        covariance = (
            (old + rates.one * stalled) * self.covariance
            + rates.one * rank_one
            + rates.many * rank_many
        )
        change = rates.sigma_path / rates.damping * (grown / rates.expected_norm - 1)
        sigma = jnp.clip(self.sigma * jnp.exp(change), *SIGMA)
        return Strategy(self.mean + self.sigma * move, sigma, covariance, path, sigma_path)


class Rates(NamedTuple):
    """Hansen's standard settings (2016, table 1, without negative weights)."""

    weights: Any
    effective: float
    path: float
    sigma_path: float
    one: float
    many: float
    damping: float
    expected_norm: float

    @classmethod
    def of(cls, population: int, dimensions: int) -> "Rates":
        """Those of that many points in that many dimensions n."""
        half, n = population // 2, dimensions
        weights = math.log((population + 1) / 2) - np.log(np.arange(1, half + 1))
        weights /= weights.sum()
        effective = float(1 / np.sum(weights**2))
        sigma_path = (effective + 2) / (n + effective + 5)
        one = 2 / ((n + 1.3) ** 2 + effective)
        many = min(1 - one, 2 * (effective - 2 + 1 / effective) / ((n + 2) ** 2 + effective))
        return cls(
            weights,
            effective,
            (4 + effective / n) / (n + 4 + 2 * effective / n),
            sigma_path,
            one,
            many,
            1 + 2 * max(0.0, math.sqrt((effective - 1) / (n + 1)) - 1) + sigma_path,
            math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2)),
        )


class Evolved(NamedTuple):
    """The best prompt [prompt] so far, the subspace, and the strategy in it."""

    best: Any
    subspace: Subspace
    strategy: Strategy
