"""A search with a part of the alphabet: symbols that do little alone are left out before it begins.

ClaPS (Zhou et al. 2023, "Survival of the Most Influential Prompts: Efficient Black-Box Prompt
Search via Clustering and Pruning"). With f the mean loss of a step's episodes, nats per sequence,
and ∅ the empty prompt, the influence of symbol v is what it saves alone,

    f(∅) - f(v),

both read on the same episodes. The `keep` symbols with the largest one stay. Before that,
`clusters` symbols may be chosen to stand for all: k-means of the rows of the network's embedding
(Lloyd 1982; begun as k-means++, Arthur and Vassilvitskii 2007), and of each cluster the symbol
nearest to its mean.

A symbol that helps only beside another one looks useless and is lost: the least loss of the pruned
alphabet may be larger than that of the whole one.

Charged: the empty prompt once a step and each symbol once, one row each, in the first steps; then
what the inner search reads. Clusters read nothing. In the published code the clusters are a file
that comes with it, and the reward's change is measured on up to 2,000 examples that its count of
calls leaves out.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.gradient import network_of
from promptax.steering.search import Search, SearchProblem
from promptax.steering.searches.local.coordinate_descent import CoordinateDescent
from promptax.steering.searches.wrappers.around import Around

SYMBOLS_IN_A_STEP = 64  # whose influence is read
ITERATIONS = 10  # of k-means


class Pruned(NamedTuple):
    """`inner`: the search's state, in places of `kept`; `symbols` [symbol]: those that may stay;
    `influence` [symbol]: what each saves alone, nats per sequence; `kept` [symbol]: those that
    stay, once all are read."""

    inner: Any
    symbols: Any
    influence: Any
    kept: Any


class PrunedAlphabet(Around):
    """Leaves symbols out that do little alone, and runs another search with the others.

    Its first steps read symbols alone, 64 of them in a step, and its `loss` is that of the best
    one; then come the steps of the inner search.
    """

    search: Search = CoordinateDescent()
    """The search that runs with the symbols that are kept."""
    keep: int = 64
    """Symbols that are kept, at least 2; all there are if those are fewer."""
    clusters: int = 0
    """Symbols that stand for all, by the network's embedding; 0: each for itself."""

    def __check_init__(self) -> None:
        check(self.keep >= 2, f"Expected at least 2 symbols to keep; got {self.keep}.")
        check(
            self.clusters == 0 or self.clusters >= self.keep,
            f"Expected no clusters, or at least as many as are kept, {self.keep}; got "
            f"{self.clusters}.",
        )
        check(
            not self.search.names_symbols,
            "Expected a search that draws its symbols, since those that it is given, or takes from "
            f"sequences, may be left out of the alphabet; got {self.search}.",
        )

    @property
    def most_rows(self) -> int:
        return max(1, self.search.most_rows)

    @classmethod
    def examples(cls) -> "tuple[PrunedAlphabet, ...]":
        inner = CoordinateDescent(length=2)
        return (cls(search=inner, keep=2),)  # pyright: ignore[reportCallIssue]

    def suits(self, predictor: Predictor) -> None:
        self.search.suits(predictor)
        if self.clusters:
            network_of(predictor, self)

    def check_room(self, symbols: int, settings: FitSettings) -> None:
        self.search.check_room(self.kept(symbols), settings)

    def plan(self, symbols: int) -> str:
        return f"{symbols:,} symbols alone; then {self.search.plan(self.kept(symbols))}"

    def kept(self, symbols: int) -> int:
        """How many symbols of so many stay."""
        return min(self.keep, self.left(symbols))

    def left(self, symbols: int) -> int:
        """How many symbols of so many are read alone."""
        return min(self.clusters or symbols, symbols)

    def reading_steps(self, symbols: int) -> int:
        """Steps that read symbols alone."""
        return -(-self.left(symbols) // SYMBOLS_IN_A_STEP)

    def updates(self, settings: FitSettings, symbols: int) -> int:
        inner = self.search.updates(settings, self.kept(symbols))
        return self.reading_steps(symbols) + inner

    def run_length(self, symbols: int) -> int | None:
        inner = self.search.run_length(self.kept(symbols))
        return None if inner is None else self.reading_steps(symbols) + inner

    def preparation(self, symbols: int) -> int:
        return self.reading_steps(symbols) + self.search.preparation(self.kept(symbols))

    def inside(self, state: Pruned) -> Any:
        return state.inner

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Pruned:
        symbols = jnp.arange(problem.symbols)
        if self.clusters:
            network, count = network_of(problem.predictor, self), self.left(problem.symbols)
            rows = network.embed(spelled(symbols, problem))
            symbols = representatives(jax.random.fold_in(key, 1), rows, count)
        kept = symbols[: self.kept(problem.symbols)]
        # its shapes; it begins when the kept symbols are known
        inner = self.begin(key, kept, problem)
        return Pruned(inner, symbols, jnp.full(len(symbols), -jnp.inf), kept)

    def begin(self, key: Key[Array, ""], kept: Array, problem: SearchProblem) -> Any:
        """The inner search before its first step, spelled with the kept symbols."""
        return self.search.start(
            key,
            dataclasses.replace(
                problem, episodes=None, weights=None, spelling=spelled(kept, problem)
            ),
        )

    def step(
        self, key: Key[Array, ""], state: Pruned, problem: SearchProblem
    ) -> tuple[Pruned, Float[Array, ""]]:
        first = self.reading_steps(problem.symbols)
        begun, steps = problem.step - first, problem.steps - first

        def read() -> tuple[Pruned, Array, Any]:
            alone = dataclasses.replace(problem, readings=[])
            new, loss = read_symbols(state, alone)
            last = problem.step == first - 1
            inner = jax.lax.cond(last, begin, lambda kept: state.inner, new.kept)
            return new._replace(inner=inner), loss, alone.total()

        def begin(kept: Array) -> Any:
            begun = self.begin(key, kept, problem)
            return jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), begun, state.inner)

        def search() -> tuple[Pruned, Array, Any]:
            inner = dataclasses.replace(
                problem,
                readings=[],
                step=begun,
                steps=steps,
                spelling=spelled(state.kept, problem),
            )
            new, loss = self.search.step(key, state.inner, inner)
            return state._replace(inner=new), loss, inner.total()

        # one of the two runs, and says what it read, since counts cannot leave it otherwise
        new, loss, total = jax.lax.cond(problem.step < first, read, search)
        problem.readings.append(total)
        return new, loss

    def prompt(self, state: Pruned) -> Int[Any, " prompt"]:
        return state.kept[self.search.prompt(state.inner)]


def spelled(symbols: Int[Array, " symbol"], problem: SearchProblem) -> Int[Array, " symbol"]:
    """What symbols are in the whole alphabet, where the problem has a part of it already."""
    return symbols if problem.spelling is None else problem.spelling[symbols]


def read_symbols(state: Pruned, problem: SearchProblem) -> tuple[Pruned, Float[Array, ""]]:
    """The influence of this step's symbols, and the loss of the best of them."""
    places = problem.step * SYMBOLS_IN_A_STEP + jnp.arange(SYMBOLS_IN_A_STEP)
    there = places < len(state.symbols)
    symbols = state.symbols[jnp.where(there, places, 0)]
    prompts = jnp.tile(symbols[:, None], (1, max(1, problem.prompt_length)))
    prompts = jnp.concatenate([jnp.zeros_like(prompts[:1]), prompts])
    rows = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.ones(len(symbols), jnp.int32)])
    wanted = jnp.concatenate([jnp.ones(1, bool), there])
    empty, *_ = losses = problem.means(prompts, rows=rows, wanted=wanted)
    saved = jnp.where(jnp.isfinite(losses[1:]), empty - losses[1:], -jnp.inf)
    influence = state.influence.at[places].set(saved, mode="drop")
    kept = state.symbols[jax.lax.top_k(influence, len(state.kept))[1]]
    return state._replace(influence=influence, kept=kept), jnp.min(losses[1:])


def representatives(
    key: Key[Array, ""], rows: Float[Array, "symbol embedding"], count: int
) -> Int[Array, " cluster"]:
    """Of each of `count` clusters of rows the symbol nearest to its mean."""
    sizes = jnp.sum(rows**2, axis=1)

    def distances(means: Float[Array, "cluster embedding"]) -> Float[Array, "symbol cluster"]:
        return sizes[:, None] - 2 * rows @ means.T + jnp.sum(means**2, axis=1)

    def improve(_: Any, means: Float[Array, "cluster embedding"]) -> Array:
        nearest = jnp.argmin(distances(means), axis=1)
        sums = jax.ops.segment_sum(rows, nearest, count)
        members = jax.ops.segment_sum(jnp.ones(len(rows)), nearest, count)[:, None]
        return jnp.where(members > 0, sums / jnp.maximum(members, 1), means)

    def add(number: Any, given: tuple[Array, Array]) -> tuple[Array, Array]:
        """One more mean, a row that is drawn by its squared distance from those before it."""
        means, apart = given
        drawn = jax.random.categorical(jax.random.fold_in(key, number), jnp.log(apart))
        distance = jnp.sum((rows - rows[drawn]) ** 2, axis=1)
        return means.at[number].set(rows[drawn]), jnp.minimum(apart, distance)

    blank = jnp.zeros((count, rows.shape[1]), rows.dtype)
    begin, _ = jax.lax.fori_loop(0, count, add, (blank, jnp.full(len(rows), 1e30)))
    means = jax.lax.fori_loop(0, ITERATIONS, improve, begin)
    return jnp.argmin(distances(means), axis=0)
