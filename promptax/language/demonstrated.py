"""Pairs behind demonstrations, as a task: what a language model reads to learn to learn in context.

An episode is `shots` demonstrations of one word task, then a query of it. MetaICL (Min et al. 2022,
arXiv 2110.15943) and in-context tuning (Chen et al. 2022, arXiv 2110.07814) tune to many such
tasks, so that a task that none of them is can be learned from its demonstrations. Nothing is
templated beyond `Format`, and there is no instruction.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Int, Key

from promptax.checks import as_tuple, check_fields
from promptax.language.tokenizer import SMOLLM2, Tokenizer
from promptax.language.word_tasks.exam import Format
from promptax.language.word_tasks.further_pairs import FURTHER_TASKS
from promptax.language.word_tasks.pairs import WORD_TASKS, Pair, common_words
from promptax.protocol.outcomes import Episode
from promptax.specs import check
from promptax.tasks.base import Task
from promptax.tasks.recorded import PAD, as_rows

PairTokens = tuple[Sequence[int], Sequence[int], Sequence[int]]


class Demonstrated(Task):
    """Pairs of several word tasks, each behind demonstrations of its own task.

    Each episode draws one of the tasks (all are equally likely) and `shots` + 1 different pairs of
    it in a random order; the last one is the query. The query's answer is scored, or every answer;
    inputs and what separates pairs never are. Where not all fit into an episode, the first
    demonstrations are left out.

    With `shots=0` there are no demonstrations: multi-task tuning, the control.

    Pairs are drawn again and again: standard errors of `evaluate` are those of draws, and say
    nothing of how far these pairs stand for others like them. It warns of that.

    `Demonstrated(tasks=("plurals", "gerunds"))` knows the names of `WORD_TASKS` and
    `FURTHER_TASKS`; of the first ones it leaves out what `WordTask.split(seed)` holds out.
    """

    tasks: tuple[str, ...] = eqx.field(
        default=tuple(FURTHER_TASKS), static=True, converter=as_tuple
    )
    """Names of word tasks."""
    tokenizer: str = eqx.field(default=SMOLLM2, static=True)
    """The predictor's: smollm2, a Hugging Face folder, or a GGUF file."""
    shots: int = 5
    """How many demonstrations stand before the query."""
    scored: Literal["last", "all"] = eqx.field(default="last", static=True)
    """Whose answers are scored: the query's alone (MetaICL), or every pair's, which is 0 to `shots`
    demonstrations in one reading."""
    seed: int = eqx.field(default=0, static=True)
    """Of the split of `WORD_TASKS`, whose held-out pairs are left out."""
    pairs: Annotated[Any, tyro.conf.Suppress] = None
    """In place of names: of each task its pairs, each as tokens of an input, of its answer, and of
    what follows it. Once made, all pairs of all tasks as tokens [pair, time], -1 past the end."""
    spans: Annotated[Any, tyro.conf.Suppress] = None
    """Where each answer begins and ends [pair, 2]; made of `pairs`."""
    members: Annotated[Any, tyro.conf.Suppress] = None
    """The number of each pair's task [pair]; made of `pairs`."""
    vocabulary: int = eqx.field(default=0, static=True)
    """Size of the alphabet (0: the tokenizer's)."""

    def __post_init__(self) -> None:
        check_fields(self)
        check(self.shots >= 0, f"Expected shots of at least 0; got {self.shots}.")
        if self.pairs is None:
            self.pairs = _named_pairs(self.tasks, self.tokenizer, self.seed)
        if self.spans is None:
            self._lay_down(self.pairs)
        for name, axes in (("pairs", 2), ("spans", 2), ("members", 1)):
            _check_numbers(name, getattr(self, name), axes)
        self.vocabulary = self.vocabulary or Tokenizer.named(self.tokenizer).symbols
        least, most = int(np.bincount(self.members).min()), int(np.max(self.pairs))
        check(
            least > self.shots,
            f"Expected more pairs in every task than {self.shots} shots, for a query comes after "
            f"them; got a task of {least}. Show fewer, or leave that task out.",
        )
        check(
            most < self.vocabulary,
            f"Expected tokens from 0 to {self.vocabulary - 1}; got {most}. Name their tokenizer.",
        )

    def _lay_down(self, tasks: Sequence[Sequence[PairTokens]]) -> None:
        """Pairs as rows of one array, with what says where they belong."""
        check(
            isinstance(tasks, list | tuple)
            and all(isinstance(task, list | tuple) for task in tasks),
            f"Expected pairs of each task, a tuple of tuples; got {tasks!r:.60}.",
        )
        parts = [pair for task in tasks for pair in task]
        for pair in parts:
            check(
                isinstance(pair, list | tuple) and len(pair) == 3 and len(pair[1]) > 0,
                "Expected pairs of an input, an answer that is not empty, and what follows it, as "
                f"tokens; got {pair!r:.60}.",
            )
            check(
                all(_is_token(number) for part in pair for number in part),
                f"Expected tokens as whole numbers from 0 on; got {pair!r:.60}.",
            )
        numbers = np.arange(len(tasks), dtype=np.int32)
        self.members = np.repeat(numbers, [len(task) for task in tasks])
        begins = np.array([len(given) for given, _, _ in parts], np.int32)
        answers = np.array([len(answer) for _, answer, _ in parts], np.int32)
        self.spans = np.stack([begins, begins + answers], axis=1)
        self.pairs = as_rows([np.concatenate(pair).astype(np.int32) for pair in parts])

    @property
    def symbols(self) -> int:
        return self.vocabulary

    @property
    def stock(self) -> str:
        tasks = len(np.unique(self.members))
        return f"{len(self.pairs):,} pairs of {tasks} word task{'s' if tasks > 1 else ''}"

    @property
    def longest(self) -> int:
        """Tokens of the longest pair, `shots` + 1 times: episodes of so many steps lack nothing."""
        return (self.shots + 1) * self.pairs.shape[1]

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        which, order = jax.random.split(key)
        members = jnp.asarray(self.members)
        task = jax.random.randint(which, (), 0, jnp.max(members) + 1)
        # the largest of random numbers, one for each pair: different ones, in any order
        heights = jnp.where(members == task, jax.random.uniform(order, members.shape), -1.0)
        chosen = jax.lax.top_k(heights, self.shots + 1)[1]
        rows, spans = jnp.asarray(self.pairs)[chosen], jnp.asarray(self.spans)[chosen]
        tokens, answered = laid_out(rows, spans, length)
        asked = answered == self.shots + 1 if self.scored == "last" else answered > 0
        return Episode(tokens, latent=task, scored=asked)

    @classmethod
    def examples(cls) -> "tuple[Demonstrated, ...]":
        letters = tuple(((0, given), (1, given), (2,)) for given in (3, 4, 5))
        others = tuple(((0, given), (3,), (2,)) for given in (3, 4, 5))
        return (cls(shots=1, pairs=(letters, others), vocabulary=6),)


def laid_out(
    rows: Int[Array, "pair _time"], spans: Int[Array, "pair 2"], length: int
) -> tuple[Int[Array, " time"], Int[Array, " time"]]:
    """Pairs one after the other as tokens [time], and which pair's answer each token is, counted
    from 1 on; 0 elsewhere. The first pairs are left out where not all fit; the last one is cut."""
    there = rows != PAD
    sizes = jnp.sum(there, axis=-1)
    count = len(rows)
    to_the_end = jnp.cumsum(sizes[::-1])[::-1]
    fits = (to_the_end <= length) | (jnp.arange(count) == count - 1)
    sizes = jnp.where(fits, sizes, 0)
    begins = jnp.cumsum(sizes) - sizes
    columns = jnp.arange(rows.shape[1])
    places = jnp.where(there & fits[:, None], begins[:, None] + columns, length)  # dropped
    is_answer = (columns >= spans[:, :1]) & (columns < spans[:, 1:])
    numbers = jnp.where(is_answer, jnp.arange(1, count + 1)[:, None], 0)
    empty = jnp.zeros(length, jnp.int32)
    return empty.at[places].set(rows, mode="drop"), empty.at[places].set(numbers, mode="drop")


def pair_tokens(
    pairs: Sequence[Pair], tokenizer: Tokenizer, format: Format = Format()
) -> tuple[PairTokens, ...]:
    """Pairs as tokens of the input, of the answer, and of what follows it."""
    after = tuple(tokenizer.encode(format.after).tolist())
    return tuple(
        (
            tuple(tokenizer.encode(format.prompt(pair.given)).tolist()),
            tuple(tokenizer.encode(format.completion(pair.answer)).tolist()),
            after,
        )
        for pair in pairs
    )


def _is_token(number: Any) -> bool:
    is_whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    return bool(is_whole and 0 <= number < 2**31)


def _check_numbers(name: str, values: Any, axes: int) -> None:
    """Complain about what is not such an array of whole numbers with something in it."""
    held = isinstance(values, np.ndarray | jax.Array)
    check(
        held
        and values.ndim == axes
        and values.size > 0
        and np.issubdtype(values.dtype, np.integer),
        f"Expected {name} as whole numbers with {axes} axes; got {values!r:.60}. It is made of "
        "`pairs`, which are given as tokens.",
    )


def _named_pairs(
    names: tuple[str, ...], word: str, seed: int
) -> tuple[tuple[PairTokens, ...], ...]:
    """The pairs of word tasks by their names, without those that are held out."""
    tasks = WORD_TASKS | FURTHER_TASKS
    check(len(names) > 0, "Expected names of word tasks; got none.")
    for name in names:
        check(name in tasks, f"Expected word tasks from {list(tasks)}; got {name!r}.")
    tokenizer = Tokenizer.named(word)
    common = common_words(tokenizer)

    def to_learn(name: str) -> Sequence[Pair]:
        task = tasks[name](common)
        if name in FURTHER_TASKS:
            return task.pairs
        split = task.split(seed)
        return split.demonstrations + split.training

    return tuple(pair_tokens(to_learn(name), tokenizer) for name in names)
