"""What is expected of the sequences of one target, exactly: one object that answers everybody.

An expectation over all sequences of a target is a sum over S^N of them. Where order matters neither
to the target nor to the judged predictor, it is a sum over counts (`enumeration`); else over the
distinct beliefs of both (`beliefs`). Which of the two is taken makes no difference to the numbers.
All is in float64, and in nats.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Int

from promptax.doors import door
from promptax.evaluation.exact import beliefs, enumeration
from promptax.evaluation.exact.beliefs import MOST_BELIEFS
from promptax.protocol.entries import one
from promptax.protocol.predictor import Predictor
from promptax.specs import check, check_kind, check_whole_numbers, traced
from promptax.tasks.base import Task

MOST_LENGTH = 2**20  # steps of a sequence, which are summed one after the other
MOST_PROMPTS = 5_000_000  # to try, order being free: seconds, and a gigabyte
MOST_WORD = 128  # symbols where order matters: two counts of pairs already differ in too many ways
EQUAL = 9  # decimals, in nats: prompts that differ by less are equally good


@door
def expected_losses(
    judged: Predictor, target: Predictor | Task, length: int, most: int = MOST_BELIEFS
) -> Float[np.ndarray, " time"]:
    """A predictor's expected log loss at each step of the target's sequences, exactly.

        L_t  =  E[-log q(x_t | x_<t)],    x ~ target

    Args:
        judged: the predictor q: an exact one, one behind a prompt, or a network on few steps.
        target: what makes the sequences: a task with an exact predictor, or that predictor.
        length: steps of a sequence.
        most: how many distinct beliefs there may be after any step, where order matters.

    Returns:
        [time], nats, float64; not cumulative. Infinite where the predictor excludes what may come.

    Raises:
        TypeError: what is judged is no single predictor.
        ValueError: alphabets differ, a length below 1, a task without an exact predictor, a
            predictor with NaN among its numbers, or too many beliefs (`TooManyBeliefs`): the
            message says how many.
        FloatingPointError: its predictions come out as NaN.

    Example: `expected_losses(DirichletCategorical().bayes(), Categorical((0.2, 0.8)), 50).sum()`
    is 26.4973.
    """
    _check_length(length)
    bayes = _exact_predictor(target)
    one(judged)
    check(
        judged.symbols == bayes.symbols,
        f"Expected a predictor over the target's {bayes.symbols} symbols; got {judged.symbols}.",
    )
    if enumeration.counts_suffice(length, judged, bayes):
        losses = enumeration.losses(judged, enumeration.count_table(bayes, length))
    else:
        losses = beliefs.merged_losses(judged, bayes, length, most=most)[0]
    if np.isnan(losses).any():
        raise FloatingPointError(
            f"Expected predictions that are numbers of {type(judged).__name__}; got NaN at step "
            f"{int(np.isnan(losses).argmax()) + 1}. Load other weights."
        )
    return losses


def can_be_expected(target: Task) -> bool:
    """Whether a target has what `Expectations` need: an alphabet, an oracle, an exact predictor,
    and sequences of which every step is scored."""
    is_exact = target.outcome.alphabet is not None and target.has_bayes and target.has_oracle
    return is_exact and target.scores_every_step


class BestPrompt(NamedTuple):
    """The `tokens` of a prompt, and the expected cumulative `regret` behind it in nats."""

    tokens: tuple[int, ...]
    regret: float


class Expectations:
    """Exact expectations over the sequences of a target, each computed once and when asked for.

    Args:
        target: a task with an exact predictor.
        length: steps of a sequence.
        most: how many distinct beliefs there may be after any step, where order matters.

    Raises:
        ValueError: the task has no exact predictor, or a length below 1.

    All that it answers raises a ValueError where sums are too long.

    Example: `Expectations(Categorical((0.2, 0.8)), 50).best_prompt(coins.bayes(), 6).regret`.
    """

    def __init__(self, target: Task, length: int, most: int = MOST_BELIEFS) -> None:
        _check_length(length)
        self.target, self.length, self.most = target, length, most
        self.bayes = _exact_predictor(target)
        self._by_length: dict[int, Expectations] = {length: self}
        self._best: list[tuple[Predictor, dict[int, BestPrompt]]] = []

    @functools.cached_property
    def floor(self) -> Float[np.ndarray, " time"]:
        """The least expected log loss that any predictor has at each step: that of exact Bayes."""
        return self._losses_of(self.bayes)

    @functools.cached_property
    def oracle_loss(self) -> Float[np.ndarray, " time"]:
        """The oracle's expected log loss at each step.

        Raises:
            NotImplementedError: the target has no oracle, or no `oracle_entropy`.
        """
        with enumeration.double_precision():
            return np.asarray(self.target.oracle_entropy(self.length))

    def loss(self, predictor: Predictor) -> Float[np.ndarray, " time"]:
        """A predictor's expected log loss at each step."""
        one(predictor)
        is_target = _equal(predictor, self.bayes) or _equal(predictor, self.target.bayes())
        return self.floor if is_target else self._losses_of(predictor)

    def regret(self, predictor: Predictor) -> Float[np.ndarray, " time"]:
        """A predictor's expected regret to the oracle at each step, not cumulative.

        Genewein et al. 2025, Eq. 10, with the expectation taken exactly.
        """
        return self.loss(predictor) - self.oracle_loss

    def best_prompt(self, prior: Predictor, prompt_length: int) -> BestPrompt:
        """The hard prompt of exactly that length that leaves the least cumulative regret.

        Of prompts that are equally good to 1e-9 nats, the one with the fewest symbols 0, sorted,
        where order does not matter; else the first in order.
        """
        return self.best_prompts(prior, [prompt_length])[0]

    def best_prompts(self, prior: Predictor, prompt_lengths: Sequence[int]) -> list[BestPrompt]:
        """The best hard prompt of exactly each of these lengths: see `best_prompt`."""
        best = self._best_of(prior)
        missing = sorted(set(prompt_lengths) - set(best))
        if missing:
            search = self._best_counts if self.counts_suffice(prior) else self._best_words
            best.update(zip(missing, search(prior, missing), strict=True))
        return [best[prompt_length] for prompt_length in prompt_lengths]

    def regrets_after_words(
        self, prior: Predictor, words: Int[np.ndarray, "candidate prompt"]
    ) -> Float[np.ndarray, " candidate"]:
        """The cumulative regret behind each of these prompts."""
        if self.counts_suffice(prior):
            counts = [np.bincount(word, minlength=prior.symbols) for word in words]
            return self.regrets_after_counts(prior, np.array(counts))
        return self._regrets_from(prior, beliefs.states_after(prior, words, self.length))

    def regrets_after_counts(
        self, prior: Predictor, counts: Int[np.ndarray, "candidate symbol"]
    ) -> Float[np.ndarray, " candidate"]:
        """The cumulative regret behind each prompt, given by how often it has each symbol.

        Order must matter neither to the prior nor to the target.
        """
        return enumeration.prompt_losses(prior, counts, self._table) - math.fsum(self.oracle_loss)

    def at(self, length: int) -> "Expectations":
        """The expectations over the same target's sequences of another length."""
        if length not in self._by_length:
            self._by_length[length] = Expectations(self.target, length, self.most)
        return self._by_length[length]

    @functools.cached_property
    def _table(self) -> enumeration.CountTable:
        return enumeration.count_table(self.bayes, self.length)

    def counts_suffice(self, predictor: Predictor) -> bool:
        """Whether order matters neither to the predictor nor to the target, so that sums over
        counts are at hand: a prompt is then as good in every order."""
        return enumeration.counts_suffice(self.length, predictor, self.bayes)

    def _best_of(self, prior: Predictor) -> dict[int, BestPrompt]:
        """The best prompts of a prior, by their length, as far as they were asked for."""
        for predictor, best in self._best:
            if _equal(predictor, prior):
                return best
        self._best.append((prior, {}))
        return self._best[-1][1]

    def _losses_of(self, predictor: Predictor) -> Float[np.ndarray, " time"]:
        if self.counts_suffice(predictor):
            return enumeration.losses(predictor, self._table)
        return beliefs.merged_losses(predictor, self.bayes, self.length, most=self.most)[0]

    def _regrets_from(self, prior: Predictor, states: Any) -> Float[np.ndarray, " start"]:
        """The cumulative regret from each of the prior's states; equal ones are judged once."""
        first, group = beliefs.distinct(states)
        starts = beliefs.take(states, first)
        losses = beliefs.merged_losses(prior, self.bayes, self.length, starts, self.most)
        return (losses.sum(axis=1) - math.fsum(self.oracle_loss))[group]

    def _best_counts(self, prior: Predictor, prompt_lengths: Sequence[int]) -> list[BestPrompt]:
        others = prior.symbols - 1
        count = sum(math.comb(length + others, others) for length in prompt_lengths)
        check(
            count <= MOST_PROMPTS,
            f"Expected at most {MOST_PROMPTS:,} prompts to try, order being free; got {count:,} of "
            f"up to {max(prompt_lengths):,} symbols. Choose a shorter length.",
        )
        layers = [enumeration.compositions(length, prior.symbols) for length in prompt_lengths]
        regrets = _split(self.regrets_after_counts(prior, np.concatenate(layers)), layers)
        return [
            BestPrompt(_sorted_word(layer[index]), float(of_length[index]))
            for layer, of_length in zip(layers, regrets, strict=True)
            for index in (_least(of_length),)
        ]

    def _best_words(self, prior: Predictor, prompt_lengths: Sequence[int]) -> list[BestPrompt]:
        longest = max(prompt_lengths)
        check_word(longest)
        words = beliefs.distinct_words(prior, longest, self.length, self.most)
        words = [words[length] for length in prompt_lengths]
        states = beliefs.joined([layer.states for layer in words])
        regrets = _split(self._regrets_from(prior, states), [layer.tokens for layer in words])
        return [
            BestPrompt(tuple(layer.tokens[index].tolist()), float(of_length[index]))
            for layer, of_length in zip(words, regrets, strict=True)
            for index in (_least(of_length),)
        ]


def check_word(length: int) -> None:
    """Complain about a length of prompts that cannot all be told apart, if their order matters."""
    check(
        length <= MOST_WORD,
        f"Expected prompts of at most {MOST_WORD:,} symbols to try all of them, since their order "
        f"matters; got {length:,}. Choose a shorter length; `longest` tries some that are longer.",
    )


def _split(
    values: Float[np.ndarray, " candidate"], layers: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The values [candidate] of each layer's candidates."""
    return np.split(values, np.cumsum([len(layer) for layer in layers])[:-1])


def _least(regrets: Float[np.ndarray, " candidate"]) -> int:
    return int(np.argmin(np.round(regrets, EQUAL)))


def _sorted_word(counts: Int[np.ndarray, " symbol"]) -> tuple[int, ...]:
    return tuple(np.repeat(np.arange(len(counts)), counts).tolist())


def _exact_predictor(target: Predictor | Task) -> Predictor:
    if isinstance(target, Predictor):
        return target
    check_kind(target, Task, "Categorical((0.2, 0.8))")
    check(
        target.has_bayes,
        f"Expected a target with an exact predictor; got {type(target).__name__}, which has none. "
        "Sample instead: promptax.evaluate.",
    )
    check(
        target.scores_every_step,
        f"Expected a target of which every step is scored; got {type(target).__name__}, whose "
        "episodes say which steps count. Sample instead: promptax.evaluate.",
    )
    with enumeration.double_precision():  # tables that it makes of its numbers are in float64
        return traced(target).bayes()


def _check_length(length: int) -> None:
    check_whole_numbers(length=length)
    check(length >= 1, f"Expected a length of at least 1 step; got {length}.")
    check(
        length <= MOST_LENGTH,
        f"Expected a length of at most {MOST_LENGTH:,} steps to sum exactly; got {length:,}. "
        "Sample instead: promptax.evaluate.",
    )


def _equal(first: Predictor, second: Predictor) -> bool:
    """Compared in NumPy, which compiles nothing."""
    first, second = (jax.tree.map(_on_host, predictor) for predictor in (first, second))
    return type(first) is type(second) and bool(eqx.tree_equal(first, second))


def _on_host(leaf: Any) -> Any:
    return np.asarray(leaf) if eqx.is_array(leaf) else leaf
