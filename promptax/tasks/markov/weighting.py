"""Context-tree weighting: exact prediction when both a tree and its leaves are unknown.

Of every node of a tree of contexts, this holds counts of what followed there and the log odds that
the node is split against being a leaf. Going up the path of the current context from its deepest
node,

    p_node = (1 - w) KT + w p_below,    w = sigmoid(odds),    odds += log p_below(x) - log KT(x),

where KT is the posterior mean of a Dirichlet(½) row, and x the symbol that comes. What the root
says is Σ over all trees of their posterior probability times what they predict (Willems, Shtarkov
and Tjalkens 1995, "The Context-Tree Weighting Method: Basic Properties"), for depth + 1 looks at
counts. Rows are convex sums of probabilities and need no evidence to be held or divided.

Four things keep float32 exact over 100,000 symbols:

- Log odds are held, not weights, and nothing clips them. A weight reaches exactly 1 and stays
  there when the source changes; odds of e^30,000 come back after as much evidence.
- Log odds are the sum of a high and a low part. Near 1,000 a float32 moves by 6e-5, and
  increments may be smaller.
- Increments are log1p of (p_below - KT) / KT. Where KT is near 1, that gap is minus the sum of the
  gaps of all *other* symbols, which keep their digits.
- Counts are whole numbers. Float32 ones stop growing at 2^24. They lie in an array of their own,
  which costs 1.0 to 1.3 times the time of one array of floats in batches.
"""

from typing import ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from promptax.axes import LogProbs
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import TOKENS, Inputs, Predictor
from promptax.tasks.markov import contexts as histories

State = TypeVar("State")

KT = 0.5  # the concentration of every leaf's Dirichlet prior, for each symbol


class Tree(NamedTuple):
    """The belief. Nodes lie level by level from the root; node c of level d has the last d symbols
    as its context, numbered as in `contexts`.

    `counts` [node, symbol]: what followed there. `odds` [inner node, 2]: log odds of split against
    leaf, high and low part, of the nodes above the deepest level. `context`: the last one.
    """

    counts: Int[Array, "node symbol"]
    odds: Float[Array, "node 2"]
    context: Int[Array, ""]


def nodes(symbols: int, depth: int) -> int:
    """How many nodes the levels 0..depth have together."""
    return (symbols ** (depth + 1) - 1) // (symbols - 1)


class TreePosterior(Predictor):
    """Exact prediction by context-tree weighting. Reads tokens only; O(depth) for each."""

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    depth: int
    symbols: int
    split: float | Float[Array, ""]

    def start(self, capacity: int | None = None) -> Tree:
        del capacity  # the state never grows
        split = jnp.asarray(self.split)
        prior = jnp.stack([jnp.log(split) - jnp.log1p(-split), jnp.zeros_like(split)])
        odds = jnp.broadcast_to(prior, (nodes(self.symbols, self.depth - 1), 2))
        counts = jnp.zeros((nodes(self.symbols, self.depth), self.symbols), jnp.int32)
        return Tree(counts, odds, jnp.zeros((), jnp.int32))

    def advance(self, state: Tree, inputs: Inputs) -> tuple[Tree, Prediction]:
        tokens = histories.only_tokens(inputs)
        contexts = histories.contexts_of(tokens, self.symbols, self.depth, state.context)
        sizes = self.symbols ** np.arange(self.depth + 1)
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]])  # node of each level

        def step(tables: tuple[Array, Array], place: tuple[Array, Array]):
            counts, odds = tables
            context, token = place
            path = jnp.asarray(first, context.dtype) + context % jnp.asarray(sizes, context.dtype)
            node_counts, pairs = counts.at[path].get(**SURE), odds.at[path[:-1]].get(**SURE)
            row, gains = weighted(node_counts, pairs[:, 0], token)
            pairs = jnp.stack(add_to_pair(pairs[:, 0], pairs[:, 1], gains), axis=1)
            node_counts += jnp.arange(self.symbols) == token
            return (
                counts.at[path].set(node_counts, **SURE),
                odds.at[path[:-1]].set(pairs, **SURE),
            ), row

        tables, rows = jax.lax.scan(step, (state.counts, state.odds), (contexts[:-1], tokens))
        return Tree(*tables, contexts[-1].astype(jnp.int32)), Prediction(log_of(rows))


# Of a path's nodes: they exist, are different, and lie in order. Without checks a look is cheaper.
SURE = {"mode": "promise_in_bounds", "unique_indices": True, "indices_are_sorted": True}


def weighted(
    counts: Int[Array, "level symbol *sequence"],
    odds: Float[Array, "inner *sequence"],
    token: Int[Array, "*sequence"],
) -> tuple[Float[Array, "symbol *sequence"], Float[Array, "inner *sequence"]]:
    """What the root predicts [symbol], and how the log odds of the path's nodes change once `token`
    comes, from what its nodes hold, the root first; of one sequence, or of many, the last axis."""
    symbols = counts.shape[1]
    leaf = (counts + KT) / (jnp.sum(counts, axis=1, keepdims=True) + KT * symbols)
    weights = jax.nn.sigmoid(odds)
    row, rows_below = leaf[-1], []
    for level in reversed(range(len(odds))):
        rows_below.insert(0, row)
        row = leaf[level] + weights[level] * (row - leaf[level])
    return row, log_ratio(jnp.stack(rows_below), leaf[:-1], token)


def log_ratio(
    below: Float[Array, "inner symbol *sequence"],
    leaf: Float[Array, "inner symbol *sequence"],
    token: Int[Array, "*sequence"],
) -> Float[Array, "inner *sequence"]:
    """log below(token) - log leaf(token), to float32's last digits also where they are close."""
    came, gaps = one_of(leaf.shape[1], token), below - leaf
    alone = jnp.sum(jnp.where(came, leaf, 0.0), axis=1)
    gap_of_token = jnp.sum(jnp.where(came, gaps, 0.0), axis=1)
    gap_of_others = jnp.sum(jnp.where(came, 0.0, gaps), axis=1)  # minus the same number
    relative = jnp.where(alone < 0.5, gap_of_token, -gap_of_others) / alone
    near = jnp.abs(relative) < 0.5  # else -1 + a little: log1p would have lost the little
    far = jnp.log(jnp.sum(jnp.where(came, below, 0.0), axis=1) / alone)
    return jnp.where(near, jnp.log1p(jnp.where(near, relative, 0.0)), far)


def add_to_pair(
    high: Float[Array, "..."], low: Float[Array, "..."], increment: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """high + low + increment as a high and a low part (Knuth's two-sum)."""
    added = increment + low
    total = high + added
    part = total - high
    return total, (high - (total - part)) + (added - part)


def one_of(symbols: int, token: Int[Array, "*sequence"]) -> Bool[Array, "symbol *sequence"]:
    """Which symbol it is."""
    return jnp.arange(symbols).reshape(-1, *(1,) * token.ndim) == token


def sequences_last(state: State, sequences: int) -> State:
    """A belief for each of so many sequences, all of them alike, on the last axis."""
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[..., None], (*leaf.shape, sequences)), state
    )


def sequences_first(state: State) -> State:
    """Beliefs whose sequences are the last axis, with sequences first."""
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), state)


def log_of(rows: Float[Array, "time symbol"]) -> LogProbs:
    """Log probabilities. Of the one above ½ by the sum of the others, which has more digits."""
    top = jnp.arange(rows.shape[1]) == jnp.argmax(rows, axis=1, keepdims=True)
    others = jnp.sum(jnp.where(top, 0.0, rows), axis=1, keepdims=True)
    sure = top & (rows > 0.5)
    return jnp.where(sure, jnp.log1p(-jnp.where(sure, others, 0.0)), jnp.log(rows))
