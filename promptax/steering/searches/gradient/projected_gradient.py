"""Gradient descent on soft rows, each read as the nearest symbol (PEZ: Wen et al. 2023, "Hard
Prompts Made Easy: Gradient-Based Discrete Optimization for Prompt Tuning and Discovery").

With P [prompt, width] the soft rows, E the table of the symbols' rows and L the mean loss of this
step's episodes in nats, a step is

    o_i = argmax over v of cos(P_i, E_v)        the prompt: each row's nearest symbol
    P ← P - AdamW(∂L/∂row at E_o)               the slopes of the prompt's rows, not of P

The nearest is so by cosine, not by distance, and the symbol's row is read as it is: where rows
differ in size, the two disagree. On predictors that read weights over symbols, as exact ones do, a
row is such weights and E the identity: the nearest symbol has the largest weight. There rows begin
at random weights, not at symbols: an exchangeable predictor gives all rows of a symbol the same
slopes, and what begins together would stay together.

A problem tells slopes of one-hot rows, ∂L/∂e = ∂L/∂row · Wᵀ, W the embedding's matrix; the slopes
of the rows are what solves this, the least such if there are several. What that leaves out lies
across all symbols' rows, and changes no cosine's order.

Charged: one gradient and one prompt, the best so far, in each step. Published code keeps the prompt
with the least loss on its own step's batch, the least of many noisy numbers. Here the best so far
is read again on the same episodes as the new one. It also projects its rows for good whenever it is
evaluated on language models, another algorithm; here nothing but the update changes them.
"""

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.predictors.base import Network
from promptax.protocol.predictor import WEIGHTS, Predictor, check_reads
from promptax.protocol.prompted import Wrapper
from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.search_problem import Slopes
from promptax.steering.searches.moves import Prompt, draw_prompts

if TYPE_CHECKING:
    import optax

Rows = Float[Array, "prompt width"]
Table = Float[Array, "symbol width"]


class Descent(NamedTuple):
    """`rows` [prompt, width]: the soft rows; `moments`: AdamW's; `best` [prompt]: the best prompt
    so far; `inverse` [width, width]: of the embedding's scalar products, as far as there is one."""

    rows: Any
    moments: Any
    best: Any
    inverse: Any


class ProjectedGradient(Search):
    """Searches a hard prompt by descending on soft rows and reading the symbols nearest to them.

    `loss` [repetition, step] is that of the step's prompt, nats per sequence. Works on any
    predictor that reads weights over symbols, exact ones included.
    """

    reads_by_losses: ClassVar[bool] = True

    rates_to_try: ClassVar[tuple[str, tuple[float, ...]]] = "learning_rate", (0.025, 0.1, 0.4, 1.6)

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    learning_rate: float = 0.1
    """AdamW's, the published one."""
    weight_decay: float = 0.1
    """How fast rows shrink, in units of the learning rate, the published one: rows that nothing
    moves stay at their symbol, smaller, and then turn more easily."""

    def __check_init__(self) -> None:
        check(
            self.learning_rate > 0,
            f"Expected a learning_rate above 0; got {self.learning_rate}.",
        )
        check(
            self.weight_decay >= 0,
            f"Expected a weight_decay of at least 0; got {self.weight_decay}.",
        )

    @classmethod
    def examples(cls) -> "tuple[ProjectedGradient, ...]":
        return (cls(length=2),)

    def suits(self, predictor: Predictor) -> None:
        check_reads(predictor, WEIGHTS, " CoordinateDescent needs no gradients.")

    def plan(self, symbols: int) -> str:
        del symbols
        return "one gradient in each step"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Descent:
        rows, matrix = tables(problem)
        if network_in(problem.predictor) is None:
            soft = jax.random.uniform(key, (self.length, problem.symbols))
        else:
            soft = rows[draw_prompts(key, 1, self.length, problem.symbols)[0]]
        inverse = jnp.linalg.pinv(matrix.T @ matrix, hermitian=True)
        return Descent(soft, self.adamw().init(soft), nearest(soft, rows), inverse)

    def step(
        self, key: Key[Array, ""], state: Descent, problem: SearchProblem
    ) -> tuple[Descent, Float[Array, ""]]:
        del key  # nothing is drawn
        rows, matrix = tables(problem)
        prompt = nearest(state.rows, rows)
        loss, slopes = problem.gradient(prompt)
        wins = (
            loss if problem.sizes.impossible_may_win else refuse_impossible(loss, prompt, problem)
        )
        known = problem.means(state.best[None], wanted=jnp.any(prompt != state.best)[None])[0]
        best = jnp.where(wins < known, prompt, state.best)
        update, moments = self.adamw().update(
            slopes_of_rows(slopes, matrix, state.inverse), state.moments, state.rows
        )
        return Descent(state.rows + update, moments, best, state.inverse), loss

    def prompt(self, state: Descent) -> Int[Any, " prompt"]:
        return state.best

    def adamw(self) -> "optax.GradientTransformation":
        """The rule of the updates."""
        import optax  # takes long to import

        return optax.adamw(self.learning_rate, weight_decay=self.weight_decay)


def refuse_impossible(
    loss: Float[Array, ""], prompt: Prompt, problem: SearchProblem
) -> Float[Array, ""]:
    """The loss, or +inf where the predictor gives the prompt probability 0."""
    return jnp.where(problem.impossible(prompt[None])[0], jnp.inf, loss)


def tables(problem: SearchProblem) -> tuple[Table, Table]:
    """The symbols' rows [symbol, width], and the matrix W by which one-hot rows become them, up to
    a constant; both are the identity where there is no embedding."""
    network = network_in(problem.predictor)
    if network is None:
        return jnp.eye(problem.symbols), jnp.eye(problem.symbols)
    symbols = jnp.arange(network.symbols) if problem.spelling is None else problem.spelling
    return network.embed(symbols), network.embedding.matrix()[symbols]


def network_in(predictor: Any) -> Network | None:
    """The network below any prompts that are read, if there is one."""
    while isinstance(predictor, Wrapper):
        predictor = predictor.predictor
    return predictor if isinstance(predictor, Network) else None


def nearest(soft: Rows, rows: Table) -> Prompt:
    """Of each soft row the symbol whose row has the largest cosine with it."""
    sizes = jnp.linalg.norm(rows, axis=1)
    return jnp.argmax(soft @ (rows / jnp.maximum(sizes, 1e-12)[:, None]).T, axis=1)


def slopes_of_rows(slopes: Slopes, matrix: Table, inverse: Float[Array, "width width"]) -> Rows:
    """The least slopes g of rows with g · Wᵀ = slopes; what is no number counts as 0."""
    return jnp.nan_to_num(slopes, nan=0.0, posinf=0.0, neginf=0.0) @ matrix @ inverse
