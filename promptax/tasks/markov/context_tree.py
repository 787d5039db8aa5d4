"""Random context trees: each sequence draws a tree of contexts, and a row for every leaf of it."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.outcomes import Episode
from promptax.specs import check, floats
from promptax.tasks.base import Task
from promptax.tasks.markov import contexts as histories
from promptax.tasks.markov.counted import Beliefs, expected_oracle_loss
from promptax.tasks.markov.rows import Numbers, expected_entropy, log_evidence_of
from promptax.tasks.markov.weighting import KT, TreePosterior, nodes

TINY = 1e-30  # added to squares of normals, whose sum could be 0 in float32


class DrawnTree(NamedTuple):
    """The latent. `transition` [context, symbol]: the row of the leaf of each context of `depth`
    symbols. `leaf_depth` [context]: how many of the last symbols that leaf looks at."""

    transition: Float[Array, "context symbol"]
    leaf_depth: Int[Array, " context"]


class ContextTree(Task):
    """Each sequence comes from a tree source of its own, which has to be learned in context.

    A tree begins as one node, the root. Every node above `depth` is split with probability `split`,
    and then has one child for each symbol that may have come before its context; at `depth` all are
    leaves. Every leaf draws its row of probabilities from Dirichlet(½, ..., ½), and the next symbol
    comes from the row of the leaf that the history leads to, the most recent symbol first. Every
    sequence follows `depth` symbols 0, which are context and are not scored.

    The exact predictor sums over all trees, of which depth 3 with two symbols has 26 and depth 5
    has 458,330, by context-tree weighting (Willems, Shtarkov and Tjalkens 1995).
    """

    depth: int = 3
    """How many of the last symbols matter at most, at least 1."""
    symbols: int = 2
    """Size of the alphabet."""
    split: float = eqx.field(default=0.5, converter=floats)
    """Probability that a node above `depth` is split; above 0 and below 1."""

    def __check_init__(self) -> None:
        histories.check_whole(
            "a depth", self.depth, 1, "DirichletCategorical is a tree of one leaf."
        )
        histories.check_whole("symbols", self.symbols, 2, "2 are the least that can differ.")
        check(
            0 < self.split < 1,
            f"Expected a probability of a split above 0 and below 1; got {self.split}. A tree that "
            "always splits is MarkovChain, one that never does DirichletCategorical.",
        )
        numbers = nodes(self.symbols, min(self.depth, 64)) * (self.symbols + 2)
        histories.check_room("a depth", self.depth, self.symbols, numbers)

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        hidden, tokens = jax.random.split(key)
        tree = self._draw_tree(hidden)
        return Episode(histories.draw_chain(tokens, tree.transition, length), latent=tree)

    def _draw_tree(self, key: Key[Array, ""]) -> DrawnTree:
        """A split or none, and a row, for every node that a tree may have, one level after another.
        Squares of normals over their sum are Dirichlet(½)."""
        splits, rows = jax.random.split(key)
        every = nodes(self.symbols, self.depth)
        square = jax.random.normal(rows, (every, self.symbols)) ** 2 + TINY
        row = square / jnp.sum(square, axis=1, keepdims=True)
        split = jax.random.bernoulli(splits, self.split, (nodes(self.symbols, self.depth - 1),))
        transition, leaf_depth = row[:1], jnp.zeros(1, jnp.int32)
        for level in range(self.depth):
            above, below = nodes(self.symbols, level - 1), nodes(self.symbols, level)
            reached = leaf_depth == level
            goes_on = jnp.tile(reached & split[above:below], self.symbols)
            inherited = jnp.tile(transition, (self.symbols, 1))
            children = row[below : nodes(self.symbols, level + 1)]
            transition = jnp.where(goes_on[:, None], children, inherited)
            leaf_depth = jnp.tile(leaf_depth, self.symbols) + goes_on
        return DrawnTree(transition, leaf_depth)

    def oracle(self, latent: DrawnTree, tokens: Tokens) -> LogProbs:
        return histories.log_rows(latent.transition, tokens)

    @property
    def lookback(self) -> int:
        return self.depth

    def bayes(self) -> TreePosterior:
        return TreePosterior(self.depth, self.symbols, self.split)

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        """By blocks: from the counts of the whole sequence, the leaves first.

        P(node) = (1 - split) P_KT(its counts) + split Π_children P(child); P_KT in closed form.
        """
        counts = histories.transition_counts(tokens, self.symbols, self.depth)
        return self._evidence(counts, len(tokens))[0][0][0]

    def _evidence(self, counts: Numbers, most: int) -> tuple[list[Numbers], list[Numbers]]:
        """log P(node), and log P(node, it is split), of what followed its context, in nats. Lists
        of one array [..., node of that level] for each level, the root first.

        Args:
            counts: [..., context, symbol], how often each symbol followed each context of `depth`.
            most: no total of them is above that.
        """
        xp, batch = counts.__array_namespace__(), counts.shape[:-2]
        split, half = xp.asarray(self.split), xp.full(self.symbols, KT)
        whole, splits = [log_evidence_of(counts, half, most)], []
        for _ in range(self.depth):
            counts = parents_of(counts)
            children = whole[0].reshape(*batch, self.symbols, -1)  # a column is of one parent
            splits.insert(0, xp.log(split) + xp.sum(children, axis=-2))
            leaf = xp.log1p(-split) + log_evidence_of(counts, half, most)
            whole.insert(0, xp.logaddexp(leaf, splits[0]))
        return whole, splits

    def weigh(self, beliefs: Beliefs) -> tuple[np.ndarray, np.ndarray]:
        """Of each belief: log P(one of its sequences), and E[entropy of the next row], nats: a sum
        over how deep the leaf of the last context may be."""
        counts, most, half = beliefs.counts, int(beliefs.counts[0].sum()), np.full(self.symbols, KT)
        whole, splits = self._evidence(counts, most)
        belief = np.arange(len(counts))
        loss = expected_entropy(counts[belief, beliefs.contexts], half, most)
        for level in reversed(range(self.depth)):
            counts, node = parents_of(counts), beliefs.contexts % self.symbols**level
            leaf_loss = expected_entropy(counts[belief, node], half, most)
            split = np.exp(splits[level] - whole[level])[belief, node]
            loss = (1 - split) * leaf_loss + split * loss
        return whole[0][:, 0], loss

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        """Exact: a sum over how often each symbol may have followed each context of `depth`
        symbols. Given those counts, how deep the next leaf is and its row are known distributions.

        Raises:
            ValueError: too many different counts (`counted.MOST_BELIEFS`), as for depth 3 beyond
                some 25 steps.
        """
        possible = tuple(range(self.symbols))
        return expected_oracle_loss(self, self.symbols, self.depth, length, possible)

    @classmethod
    def examples(cls) -> "tuple[ContextTree, ...]":
        return cls(depth=2), cls(depth=1, symbols=3, split=0.3)


def parents_of(counts: Numbers) -> Numbers:
    """From counts of the nodes of one level [..., context, symbol], those of the level above: a
    parent's context is that of its children without their first digit."""
    *batch, contexts, symbols = counts.shape
    return counts.reshape(*batch, symbols, contexts // symbols, symbols).sum(-3)
