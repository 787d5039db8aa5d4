"""Monte-Carlo tree search over prompts (PromptAgent, Wang et al. 2024, "PromptAgent: Strategic
Planning with Language Models Enables Expert-level Prompt Optimization"), by the library mctx.

A node is a prefix of the prompt, an action is its next symbol. A step is one simulation: from the
root, actions are followed that make (PUCT, Schrittwieser et al. 2020, with equal priors)

    Q(s, a) + c(n(s)) √n(s) / (symbols · (1 + n(s, a))),   c(n) ≈ exploration

greatest, with n the number of visits and Q the mean value of what was read below, scaled to 0..1
between the node and its children. The first prefix that is not in the tree yet becomes a node; its
value is minus the mean loss, in nats, of this step's episodes behind `rollouts` prompts that begin
with it and go on at random; a whole prompt is read once, and again whenever the tree leads to it.
An infinite loss counts as the greatest finite one, or the uniform predictor's if that is greater.
That value goes into the mean of every node on the way.

What is returned is the best prompt, which is read anew in every step beside the rollouts, on the
same episodes. The published code adds up rewards along a path, which favours deep ones, counts
back-propagations instead of visits, and presumes rewards in 0..1; its nodes are whole prompts that
a language model edits. Charged: every rollout, and the best prompt.

The tree of a whole search is in its state: mctx plans from a fresh tree in each call, so its
documented `loop_fn` is given one that runs a single simulation on the tree that is there.
"""

import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax import platforms
from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.search_problem import Prompts
from promptax.tasks.base import Task

EDGE_BYTES = 6 * 4  # six numbers of every action of every node


class TreeSearch(Search):
    """Searches a hard prompt in the tree of its prefixes (`pip install '.[search]'`).

    `loss` [repetition, step] is that of the best prompt before the step, nats per sequence. Works
    on any predictor over symbols, exact ones included.
    """

    reads_by_losses: ClassVar[bool] = True

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    rollouts: int = 4
    """Random endings of a new prefix that are read in a step."""
    exploration: float = 1.25
    """Weight of what was seldom visited, against values scaled to 0..1 (1.25 in mctx)."""
    nodes: int = 2048
    """Prefixes that the tree has room for; each step takes one. Under a budget the search ends
    where the tree is full."""

    def __check_init__(self) -> None:
        for name in ("rollouts", "nodes"):
            value = getattr(self, name)
            check(value >= 1, f"Expected {name} of at least 1; got {value}.")
        check(self.exploration >= 0, f"Expected exploration of at least 0; got {self.exploration}.")

    def suits(self, predictor: Predictor) -> None:
        del predictor
        library()

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        del predictor, target
        check(
            settings.budget is not None or settings.steps <= self.nodes,
            f"Expected at most {self.nodes:,} steps, since the tree has room for as many nodes; "
            f"got {settings.steps:,}. Choose more nodes or fewer steps.",
        )

    def updates(self, settings: FitSettings, symbols: int) -> int:
        del symbols
        return min(settings.steps, self.nodes)

    def check_room(self, symbols: int, settings: FitSettings) -> None:
        edges = settings.repetitions * self.nodes * symbols
        remedy = "Choose fewer nodes or repetitions."
        platforms.expect_room(EDGE_BYTES * edges, "the nodes of the tree", remedy)

    @classmethod
    def examples(cls) -> "tuple[TreeSearch, ...]":
        return (cls(length=2, rollouts=2, nodes=7),)

    def plan(self, symbols: int) -> str:
        del symbols
        return f"{self.rollouts} endings of a prefix in each step"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> "Planned":
        def no_simulation(first: int, last: int, body: Any, carry: Any) -> Any:
            del first, last, body
            return carry

        best = jax.random.randint(key, (self.length,), 0, problem.symbols)
        return Planned(best, self.plan_on(key, problem.symbols, None, no_simulation))

    def step(
        self, key: Key[Array, ""], state: "Planned", problem: SearchProblem
    ) -> tuple["Planned", Float[Array, ""]]:
        read = []

        def evaluate(key: Key[Array, ""], prefix: "Prefix") -> Float[Array, ""]:
            prompts = complete(key, prefix, self.rollouts, problem.symbols)
            tried = jnp.concatenate([state.best[None], prompts])
            # a whole prompt has no endings: all rollouts are the same one
            wanted = (jnp.arange(len(tried)) < 2) | (prefix.depth < self.length)
            means = problem.means(tried, wanted=wanted)
            read.append((tried[jnp.argmin(means)], means[0]))
            assert problem.episodes is not None
            uniform = problem.episodes.inputs.shape[1] * math.log(problem.predictor.symbols)
            return -jnp.mean(bounded(means[1:], uniform), where=wanted[1:])

        def one_simulation(first: int, last: int, body: Any, carry: Any) -> Any:
            del first, last
            return body(problem.step, (carry[0], state.tree))

        tree = self.plan_on(key, problem.symbols, evaluate, one_simulation)
        ((best, loss),) = read
        return Planned(best, tree), loss

    def prompt(self, state: "Planned") -> Int[Any, " prompt"]:
        return state.best

    def plan_on(self, key: Key[Array, ""], symbols: int, evaluate: Any, loop: Any) -> Any:
        """The tree after mctx was run with that loop; mctx has a batch axis, of one tree."""
        mctx = library()
        equal = jnp.zeros((1, symbols))

        def follow(params: None, key: Key[Array, ""], action: Array, prefix: "Prefix") -> Any:
            del params
            longer = extend(jax.tree.map(lambda leaf: leaf[0], prefix), action[0])
            value = evaluate(key, longer)[None]
            output = mctx.RecurrentFnOutput(
                reward=jnp.zeros(1), discount=jnp.ones(1), prior_logits=equal, value=value
            )
            return output, jax.tree.map(lambda leaf: leaf[None], longer)

        def choose(key: Key[Array, ""], tree: Any, node: Array, depth: Any) -> Array:
            weight = jnp.asarray(self.exploration)
            return mctx.muzero_action_selection(key, tree, node, depth, pb_c_init=weight)

        empty = Prefix(jnp.zeros((1, self.length), jnp.int32), jnp.zeros(1, jnp.int32))
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return mctx.search(
                None,
                key,
                root=mctx.RootFnOutput(prior_logits=equal, value=jnp.zeros(1), embedding=empty),
                recurrent_fn=follow,
                root_action_selection_fn=lambda key, tree, node: choose(key, tree, node, 0),
                interior_action_selection_fn=choose,
                num_simulations=self.nodes,
                max_depth=self.length,
                loop_fn=loop,
            )


class Prefix(NamedTuple):
    """The first symbols of a prompt [..., prompt], and how many of them count [...]."""

    symbols: Any
    depth: Any


class Planned(NamedTuple):
    """The best prompt [prompt] so far, and mctx's tree of one batch."""

    best: Any
    tree: Any


def extend(prefix: Prefix, symbol: Int[Array, ""]) -> Prefix:
    """The prefix with one symbol more; whole prompts stay what they are."""
    symbols = prefix.symbols.at[prefix.depth].set(symbol.astype(jnp.int32), mode="drop")
    return Prefix(symbols, jnp.minimum(prefix.depth + 1, len(symbols)))


def complete(key: Key[Array, ""], prefix: Prefix, count: int, symbols: int) -> Prompts:
    """Prompts that begin with the prefix and go on at random."""
    drawn = jax.random.randint(key, (count, len(prefix.symbols)), 0, symbols)
    return jnp.where(jnp.arange(len(prefix.symbols)) < prefix.depth, prefix.symbols, drawn)


def bounded(losses: Float[Array, " ending"], uniform: float) -> Float[Array, " ending"]:
    """Losses, with a finite one where they are infinite: the greatest of the others, or that of
    the uniform predictor, nats per sequence, if it is greater. A mean of them has to be finite, and
    an ending that cannot be is no better than one that says nothing."""
    there = jnp.isfinite(losses)
    worst = jnp.max(jnp.where(there, losses, uniform), initial=uniform)
    return jnp.where(there, losses, worst)


def library() -> Any:
    """The library mctx, which is imported when it is needed."""
    try:
        import mctx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Expected the library mctx for TreeSearch; it is not installed. "
            f"{platforms.how_to_install('search')}"
        ) from error
    return mctx
