"""The target's own samples as a prompt: demonstrations, without a search for symbols.

A predictor that learns in context is best told what the target looks like by a piece of it. New
prompts are the first symbols of sequences of this step; a prompt that is longer than a sequence
goes on with other ones. With one candidate, one finalist and one step it is a single
demonstration, read but not chosen. With more it is the best of N, read again (`finalists`).

A demonstration competes on the step that it is from, so its own sequence is one of those that it is
judged by; this is one in a batch, and what is read again has others. Where every sequence of the
target is read with its weight, demonstrations are drawn by these weights, and in a random order
where one sequence stands for all orders of its symbols.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from promptax.steering.search import SearchProblem
from promptax.steering.search_problem import Prompts
from promptax.steering.searches.draws.finalists import BestOfDraws
from promptax.steering.searches.pruning.demonstrations import in_any_order


class TargetSamples(BestOfDraws):
    """Takes pieces of the target's sequences as prompts, and keeps the best.

    `loss` [repetition, step] is that of the prompt which led before the step, nats per sequence, on
    episodes that did not choose it; in the first step, that of the best new prompt. Works on any
    predictor over symbols, exact ones included.
    """

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    candidates: int = 8
    """New prompts in a step; 1 with finalists=1 and one step: a demonstration as it comes."""
    finalists: int = 8
    """How many of the best are read again in each step; one at a time enters."""

    @property
    def names_symbols(self) -> bool:
        return True

    @classmethod
    def examples(cls) -> "tuple[TargetSamples, ...]":
        return (cls(length=2, candidates=2, finalists=2),)

    def draw(self, key: Key[Array, ""], problem: SearchProblem) -> Prompts:
        return pieces(key, problem, self.candidates, self.length)


def pieces(key: Key[Array, ""], problem: SearchProblem, count: int, length: int) -> Prompts:
    """So many prompts, made of the first symbols of sequences that are drawn at random; what stands
    behind a sequence's last step that counts is left out."""
    episodes, weights = problem.episodes, problem.weights
    assert episodes is not None
    tokens, scored = episodes.tokens, episodes.scored
    sequences, time = tokens.shape
    # each sequence has a step that counts, so that `length` of them are always enough
    joined = max(1, -(-length // time)) if scored is None else max(1, length)
    chances = jnp.zeros(sequences) if weights is None else jnp.log(weights)
    chosen = jax.random.categorical(key, chances, shape=(count, joined))
    whole = in_any_order(jax.random.fold_in(key, 1), tokens[chosen], problem)
    texts = whole.reshape(count, joined * time)
    if scored is not None:
        counts = jnp.flip(jnp.cumsum(jnp.flip(scored, 1), axis=1), 1) > 0  # up to the last one
        beyond = ~counts[chosen].reshape(count, joined * time)
        order = jnp.argsort(beyond, axis=1)  # stable: what counts comes first, in its order
        texts = jnp.take_along_axis(texts, order, axis=1)
    return texts[:, :length]
