"""Facts that a model may know, with contexts that agree, contradict, or speak of something else.

What is tuned here is which source an answer follows: the context, or what the weights know.

- KAFT (Li et al. 2022, "Large Language Models with Controllable Working Memory", arXiv 2211.05110)
  tunes to relevant contexts, to counterfactual ones, whose answer is the context's, and to
  irrelevant and empty ones, whose answer is the model's own.
- CINGS (Lee et al. 2025, training with context behind a mask) tunes to questions with their
  contexts, and scores the answer alone (`scored="answer"`, `Episode.scored`).
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from promptax.checks import as_tuple
from promptax.protocol.outcomes import Episode
from promptax.specs import check, floats
from promptax.tasks.base import Task

KINDS = ("relevant", "counterfactual", "irrelevant", "empty")
ROWS = 4  # a fact in the context, the subject that is asked for, and the answer


class ContextFacts(Task):
    """A fact as context, a subject that is asked for, and its value: four symbols.

    *Alphabet*: 0 … values - 1 are values, values + s is subject s, the last symbol is a blank. An
    episode is [subject, value] as context, the subject that is asked for, and the answer; an empty
    context is two blanks, and what is longer than four symbols goes on with blanks, not scored.

    | context | what it says | the answer |
    |---|---|---|
    | relevant | the subject's value in `answers` | that value |
    | counterfactual | another value of the subject | the context's |
    | irrelevant | any value of another subject | that of `answers` |
    | empty | nothing | that of `answers` |

    For irrelevant and empty contexts `answers` should be what the model says before it is tuned
    (`promptax.analysis.own_answers`), right or wrong: else tuning teaches facts instead.

    The latent is the number of the kind in this table.
    """

    subjects: int = 16
    """How many subjects there are."""
    values: int = 8
    """How many values a subject may have."""
    answers: tuple[int, ...] = eqx.field(default=(), static=True, converter=as_tuple)
    """The value of each subject (empty: drawn uniformly from `seed`)."""
    seed: int = eqx.field(default=0, static=True)
    """Of values that are drawn."""
    shares: tuple[float, ...] = eqx.field(default=(0.25, 0.25, 0.25, 0.25), converter=floats)
    """How often each kind of context comes: relevant, counterfactual, irrelevant, empty."""
    scored: Literal["answer", "all"] = eqx.field(default="answer", static=True)
    """Whether the answer alone is scored, or the context and the question as well."""

    def __check_init__(self) -> None:
        check(
            self.subjects >= 2 and self.values >= 2,
            "Expected at least 2 subjects and 2 values, so that a context can speak of another "
            f"one; got {self.subjects} and {self.values}.",
        )
        check(
            len(self.shares) == len(KINDS) and min(self.shares) >= 0 and sum(self.shares) > 0,
            f"Expected a share of at least 0 for each of {KINDS}; got {self.shares}.",
        )
        fits = len(self.answers) == self.subjects and set(self.answers) <= set(range(self.values))
        check(
            not self.answers or fits,
            f"Expected a value from 0 to {self.values - 1} for each of {self.subjects} subjects; "
            f"got {self.answers}.",
        )

    @property
    def symbols(self) -> int:
        return self.values + self.subjects + 1

    @property
    def blank(self) -> int:
        """The symbol that stands for nothing."""
        return self.values + self.subjects

    @property
    def longest(self) -> int:
        return ROWS

    @property
    def table(self) -> Int[np.ndarray, " subject"]:
        """The value of each subject."""
        if self.answers:
            return np.array(self.answers, np.int32)
        rng = np.random.default_rng(self.seed)
        return rng.integers(self.values, size=self.subjects).astype(np.int32)

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        keys = jax.random.split(key, 5)
        shares = jnp.asarray(self.shares)
        kind = jax.random.categorical(keys[0], jnp.log(shares))
        subject = jax.random.randint(keys[1], (), 0, self.subjects)
        further = jax.random.randint(keys[2], (), 1, self.subjects)  # steps to another subject
        table = jnp.asarray(self.table)
        value = table[subject]
        any_value = jax.random.randint(keys[3], (), 0, self.values)
        other = (value + jax.random.randint(keys[4], (), 1, self.values)) % self.values
        spoken_of = jnp.where(kind == 2, (subject + further) % self.subjects, subject)
        said = jnp.stack([value, other, any_value, any_value])[kind]
        answer = jnp.where(kind == 1, other, value)
        context = jnp.where(kind == 3, self.blank, jnp.stack([self.values + spoken_of, said]))
        whole = jnp.concatenate([context, jnp.stack([self.values + subject, answer])])
        tokens = jnp.full(max(length, ROWS), self.blank, jnp.int32).at[:ROWS].set(whole)[:length]
        time = jnp.arange(length)
        counts = time == ROWS - 1 if self.scored == "answer" else time < ROWS
        return Episode(tokens, latent=kind, scored=counts)

    @classmethod
    def examples(cls) -> "tuple[ContextFacts, ...]":
        return (cls(3, 2, shares=(0.4, 0.3, 0.2, 0.1)),)
