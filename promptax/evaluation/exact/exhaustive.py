"""Exact expectations where the order of tokens matters: every sequence of the target is read.

For predictors that are not exchangeable, such as those of Markov sources, there are no counts to
sum over. What is left is the sum over all S^N sequences, which is exact as well, and short.
"""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from promptax.evaluation.exact import enumeration
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.tasks.base import Task

MOST_READ = 30_000_000  # predictions: prompts times sequences times steps, some seconds


def all_words(symbols: int, length: int) -> Int[np.ndarray, "candidate prompt"]:
    """Every word of that length, in order: the first symbol is the most significant digit."""
    words = list(itertools.product(range(symbols), repeat=length))
    return np.array(words, np.int32).reshape(len(words), length)


def check_readable(target: Task, prompts: int, steps: int) -> None:
    """Complain unless the target is exact and that many prompts can be tried on all sequences."""
    check(
        target.has_bayes and target.has_oracle,
        "Expected a target with an oracle and an exact predictor; got "
        f"{type(target).__name__}. Sample instead: promptax.evaluate.",
    )
    work = prompts * steps * target.symbols**steps
    check(
        work <= MOST_READ,
        f"Expected at most {MOST_READ:,} predictions where the order of tokens matters; got "
        f"{prompts:,} prompts on {target.symbols}^{steps} sequences of {steps} steps. Choose fewer "
        "steps or shorter prompts, or search by sampling: promptax.steering.HardPrompt.",
    )


def word_regrets(
    prior: Predictor, words: Int[np.ndarray, "candidate prompt"], target: Task, steps: int
) -> Float[np.ndarray, "candidate time"]:
    """Expected regret of each step [candidate, time], not cumulative, nats, after each prompt.

    Genewein et al. 2025, Eq. 10, with the expectation taken exactly over every sequence. The
    target's sequences have the probabilities that its own exact predictor gives them.

    Raises:
        ValueError: the target has no oracle or exact predictor, or there is too much to read.
    """
    check_readable(target, len(words), steps)
    with enumeration.double_precision():
        tokens = jnp.asarray(all_words(target.symbols, steps))
        own = _log_probs_of(target.bayes(), target.bayes().start(), tokens)
        chances = jnp.exp(jnp.sum(own, axis=1))
        losses = np.asarray(_losses(prior, jnp.asarray(words), tokens, chances))
        return losses - np.asarray(target.oracle_entropy(steps))


def best_word(
    prior: Predictor, words: Int[np.ndarray, "candidate prompt"], target: Task, steps: int
) -> tuple[Int[np.ndarray, " prompt"], float]:
    """The word with the least cumulative regret, the first to 1e-9 nats, and that regret."""
    regrets = word_regrets(prior, words, target, steps).sum(axis=1)
    best = int(np.argmin(np.round(regrets, 9)))
    return words[best], float(regrets[best])


def _log_probs_of(
    predictor: Predictor, state: object, tokens: Int[Array, "sequence time"]
) -> Float[Array, "sequence time"]:
    """Log probability of each token that came, nats."""
    log_probs = predictor.advance_batch(state, tokens)[1].log_probs
    return jnp.take_along_axis(log_probs, tokens[..., None], axis=-1)[..., 0]


@eqx.filter_jit
def _losses(
    predictor: Predictor,
    words: Int[Array, "candidate prompt"],
    tokens: Int[Array, "sequence time"],
    chances: Float[Array, " sequence"],
) -> Float[Array, "candidate time"]:
    def after(word: Int[Array, " prompt"]) -> Float[Array, " time"]:
        state = predictor.start()
        if word.size:
            state = predictor.advance(state, word)[0]
        losses = -_log_probs_of(predictor, state, tokens)
        comes = chances[:, None] > 0
        return jnp.sum(jnp.where(comes, chances[:, None] * losses, 0.0), axis=0)

    return jax.lax.map(after, words)


def expected_regret(predictor: Predictor, target: Task, steps: int) -> Float[np.ndarray, " time"]:
    """Expected regret to the oracle of each step [time], not cumulative, nats, exactly.

    Over counts where order does not matter, over every sequence where it does.
    """
    if predictor.exchangeable and enumeration.is_enumerable(target, steps):
        return enumeration.expected_regret(predictor, target, steps)
    return word_regrets(predictor, np.zeros((1, 0), np.int32), target, steps)[0]
