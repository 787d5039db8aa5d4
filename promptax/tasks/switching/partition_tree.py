"""Dyadic partitions: the source of partition-tree weighting, and its exact predictor.

Veness, White, Bowling and György 2013, "Partition Tree Weighting"; studied with networks in
Genewein et al. 2023, "Memory-Based Meta-Learning on Non-Stationary Distributions".
"""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import TOKENS, Inputs, Predictor
from promptax.specs import check, floats
from promptax.tasks.base import Task
from promptax.tasks.markov.contexts import check_whole, only_tokens
from promptax.tasks.markov.weighting import (
    add_to_pair,
    log_of,
    one_of,
    sequences_first,
    sequences_last,
    weighted,
)
from promptax.tasks.switching import segments
from promptax.tasks.switching.segments import Segments

DEEPEST = 30  # 2^30 steps are counted in 32 bits


class PartitionTree(Task):
    """Time is cut in halves at random, and every piece has a row of probabilities of its own.

    Steps 0 .. 2^depth - 1 are one block. A block of 2^d steps, d > 0, is split with probability
    `split` into its two halves, each of which may be split again; a block that is not split is one
    segment, and so is a block of one step. Each segment draws its row from Dirichlet(½, ..., ½),
    and symbols in it are independent. After 2^depth steps a new, independent block begins.

    *Conventions*: `depth` is a field and does not follow from the length of a sequence. Nothing
    precedes a sequence. A prompt uses up steps: what follows is read at the time behind it.

    The exact predictor sums over all partitions, of which depth 3 has 26 and depth 5 has 458,330,
    by partition-tree weighting: depth + 1 looks at counts for each symbol.
    """

    depth: int = 8
    """The block that begins with the first step has 2^depth steps, at least 2."""
    symbols: int = 2
    """Size of the alphabet."""
    split: float = eqx.field(default=0.5, converter=floats)
    """Probability that a block of more than one step is split; above 0 and below 1."""

    def __check_init__(self) -> None:
        check_whole("a depth", self.depth, 1, "DirichletCategorical is a block without splits.")
        check(
            self.depth <= DEEPEST,
            f"Expected a depth of at most {DEEPEST}; got {self.depth}. A block would have "
            f"2^{self.depth} steps.",
        )
        check_whole("symbols", self.symbols, 2, "2 are the least that can differ.")
        check(
            0 < self.split < 1,
            f"Expected a probability of a split above 0 and below 1; got {self.split}. A block "
            "that is never split is DirichletCategorical.",
        )

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        """Draws a split or none, and a row, for every block that the sequence meets."""
        hidden, tokens = jax.random.split(key)
        time = jnp.arange(length)
        rows = jnp.zeros((length, self.symbols))
        begins, whole = jnp.zeros(length, bool), jnp.ones(length, bool)
        for level in range(self.depth + 1):  # from the largest blocks to single steps
            size = 2 ** (self.depth - level)
            blocks, place = -(-length // size), time // size
            chance, row = jax.random.split(jax.random.fold_in(hidden, level))
            split = jax.random.bernoulli(chance, self.split, (blocks,)) & (size > 1)
            ends = whole & ~split[place]  # the segment of that step is this block
            rows = jnp.where(
                ends[:, None], segments.draw_rows(row, blocks, self.symbols)[place], rows
            )
            begins |= ends & (time % size == 0)
            whole &= split[place]
        return Episode(segments.draw_tokens(tokens, rows), latent=Segments(rows, begins))

    def oracle(self, latent: Segments, tokens: Tokens) -> LogProbs:
        return segments.log_rows(latent, tokens)

    def bayes(self) -> "PartitionPosterior":
        return PartitionPosterior(self.depth, self.symbols, self.split)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        return segments.entropy_of_a_drawn_row(self.symbols, length)

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        """By blocks, from single steps to the largest, with the evidence of each in closed form.

        P(block) = (1 - split) P_KT(its symbols) + split P(first half) P(second half), where what
        lies behind the end of the sequence has no symbols and probability 1.
        """
        length, split = len(tokens), jnp.asarray(self.split)
        of_segment = segments.log_evidence_of_segments(tokens, self.symbols)
        edges = np.arange(max(1, -(-length // 2**self.depth)) * 2**self.depth + 1)
        edges = np.minimum(edges, length)  # steps behind the end are empty
        blocks = of_segment[edges[:-1], edges[1:]]
        for level in range(1, self.depth + 1):
            places = edges[:: 2**level]
            halves = blocks[::2] + blocks[1::2]
            alone = jnp.log1p(-split) + of_segment[places[:-1], places[1:]]
            blocks = jnp.logaddexp(alone, jnp.log(split) + halves)
        return jnp.sum(blocks)

    @classmethod
    def examples(cls) -> "tuple[PartitionTree, ...]":
        return cls(depth=3), cls(depth=2, symbols=3, split=0.3)


class Blocks(NamedTuple):
    """The belief: of the current block of 2^depth, ..., 2, 1 steps the counts [block, symbol] and,
    but for the last, the log odds [inner, 2] of split against whole, high and low part; and the
    time within the largest block."""

    counts: Int[Array, "block symbol"]
    odds: Float[Array, "inner 2"]
    time: Int[Array, ""]


class PartitionPosterior(Predictor):
    """Exact prediction by partition-tree weighting. Reads tokens only; O(depth) for each.

    The recursion is that of context-tree weighting (`markov.weighting`), with the blocks of time
    that a step lies in for the contexts of a history. A block that begins forgets the one before.
    """

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    depth: int
    symbols: int
    split: float | Float[Array, ""]

    def _odds(self) -> Float[Array, "inner 2"]:
        split = jnp.asarray(self.split)
        prior = jnp.stack([jnp.log(split) - jnp.log1p(-split), jnp.zeros_like(split)])
        return jnp.broadcast_to(prior, (self.depth, 2))

    def start(self, capacity: int | None = None) -> Blocks:
        del capacity  # the state never grows
        counts = jnp.zeros((self.depth + 1, self.symbols), jnp.int32)
        return Blocks(counts, self._odds(), jnp.zeros((), jnp.int32))

    def advance(self, state: Blocks, inputs: Inputs) -> tuple[Blocks, Prediction]:
        state, rows = self._read(state, only_tokens(inputs))
        return state, Prediction(log_of(rows))

    def advance_batch(self, state: Blocks, inputs: Inputs) -> tuple[Blocks, Prediction]:
        """The sequences are the last axis of every array but the time, which they share: so a
        processor works on many at once."""
        tokens = jax.vmap(only_tokens)(inputs).T
        sequences = tokens.shape[1]
        many = sequences_last(state, sequences)
        blocks, rows = self._read(Blocks(many.counts, many.odds, state.time), tokens)
        after = sequences_first(blocks._replace(time=jnp.repeat(blocks.time[None], sequences)))
        return after, Prediction(jax.vmap(log_of)(jnp.moveaxis(rows, -1, 0)))

    def _read(
        self, state: Blocks, tokens: Int[Array, "time *sequence"]
    ) -> tuple[Blocks, Float[Array, "time symbol *sequence"]]:
        """The belief after the tokens, and what was predicted of them; sequences, if any, last."""
        alone = (1,) * (tokens.ndim - 1)
        prior = self._odds().reshape(self.depth, 2, *alone)
        sizes = jnp.asarray(2 ** np.arange(self.depth, -1, -1), jnp.int32)

        def step(blocks: Blocks, token: Int[Array, "*sequence"]) -> tuple[Blocks, Array]:
            begins = (blocks.time % sizes == 0).reshape(-1, 1, *alone)
            counts = jnp.where(begins, 0, blocks.counts)
            odds = jnp.where(begins[:-1], prior, blocks.odds)
            row, gains = weighted(counts, odds[:, 0], token)
            odds = jnp.stack(add_to_pair(odds[:, 0], odds[:, 1], gains), axis=1)
            counts += one_of(self.symbols, token)
            return Blocks(counts, odds, (blocks.time + 1) % sizes[0]), row

        return jax.lax.scan(step, state, tokens)
