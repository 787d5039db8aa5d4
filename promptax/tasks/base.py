"""A task: a data generator and, where it has them, its oracle and its exact predictor.

A task distribution mixes latent tasks τ; an `Episode` is one sequence with the latent that made it.
The oracle knows τ; `bayes()` is the exact predictor that has to infer it (Genewein et al. 2025,
Eq. 1-2). How a prediction scores an observation is the task's `outcome`, not the loop's.
"""

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.axes import Tokens
from promptax.protocol.entries import as_observations
from promptax.protocol.outcomes import Episode, Outcome, Symbols, alphabet_of
from promptax.protocol.predictor import Predictor
from promptax.specs import Spec, as_key, check


def _look_at_sample(task: "Task", key: Any, length: Any) -> tuple[Any, ...]:
    """A key, and how many steps."""
    del task
    return as_key(key), _steps(length)


def _look_at_oracle(task: "Task", latent: Any, inputs: Any) -> tuple[Any, ...]:
    """What was hidden, and what came."""
    return latent, as_observations(task.outcome, inputs)


def _look_at_evidence(task: "Task", tokens: Any) -> tuple[Any, ...]:
    """What came."""
    return (as_observations(task.outcome, tokens),)


def _look_at_entropy(task: "Task", length: Any) -> tuple[Any, ...]:
    """How many steps."""
    del task
    return (_steps(length),)


def _steps(length: Any) -> int:
    is_whole = isinstance(length, int | np.integer) and not isinstance(length, bool)
    check(
        is_whole and length >= 0,
        f"Expected length, a whole number of at least 0; got {length!r}.",
    )
    check(length <= MOST_STEPS, f"Expected length of at most {MOST_STEPS:,}; got {length}.")
    return int(length)


MOST_UNASKED = 2048  # steps of a sequence that are read where nobody says how many
MOST_STEPS = 2**26  # of one sequence: 268 MB of tokens, and some times that to draw them


class Task(Spec, open_as="task", default="DirichletCategorical"):
    """Where sequences come from, and what an exact reader would say of them.

    A member owes, as a frozen class of plain fields:

    - `symbols`: the size of the alphabet; or, where what comes are no symbols, `outcome`;
    - `sample(key, length)`: one episode;
    - `examples()`: small instances, by which the contract tests judge it.

    It may add what it knows exactly. A task with all of these four has exact expectations:

    - `oracle(latent, inputs)`: what a reader says that knows what was hidden;
    - `oracle_entropy(length)`: what that reader loses at each step, in expectation;
    - `bayes()`: the exact predictor, which has to infer what was hidden;
    - `log_evidence(tokens)`, or `latent_quadrature(degree)` from which it follows: the brute force
      by which the contract tests judge `bayes()`.

    A task that is a list of sequences says so (`held`, `held_sequence`), and where sequences end,
    it says after how many steps (`longest`).

    And what tasks that are made of others ask for (`FinitePool`):

    - `lookback`: how far back its oracle looks;
    - of rows without an alphabet, `sample_given(key, latent, length)` and
      `oracle_entropy_given(latent, length)`: the same where the latent is given. Of an alphabet
      `sample_given` follows from the oracle and `lookback`.

    Keys, lengths and tokens are looked at before a member's own method gets them (`doors`).
    """

    doors: ClassVar[Mapping[str, Callable[..., tuple[Any, ...]]]] = {
        "sample": _look_at_sample,
        "oracle": _look_at_oracle,
        "oracle_entropy": _look_at_entropy,
        "log_evidence": _look_at_evidence,
    }
    returns: ClassVar[Mapping[str, tuple[type, str]]] = {"sample": (Episode, "Episode(tokens)")}

    def in_words(self) -> str:
        """What people should know of its data before anything is computed, such as how a file was
        read; "" where its fields say all."""
        return ""

    @property
    def called(self) -> str:
        """What titles call its sequences: its class in words, such as "markov chain", where a
        member says nothing shorter."""
        name = type(self).__name__
        return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()

    @property
    def outcome(self) -> Outcome:
        """What comes, and how a prediction of it is scored."""
        if type(self).symbols is Task.symbols:
            raise NotImplementedError(
                f"Expected {type(self).__name__} to define `symbols`, the size of its alphabet, or "
                "`outcome`, where what comes are no symbols; got neither."
            )
        return Symbols(self.symbols)

    @property
    def symbols(self) -> int:
        """The size of the alphabet; TypeError where what comes are no symbols."""
        return alphabet_of(self)

    @property
    def symbol_names(self) -> tuple[str, ...]:
        """What its symbols are called, in their order, where a user's data say so; () where symbols
        are numbers, or text of a tokenizer. A class with names takes them as `alphabet`."""
        return ()

    @abc.abstractmethod
    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        """One episode with `length` steps; the same key gives the same episode."""

    def oracle(self, latent: Any, inputs: Array) -> Float[Array, "time parameter"]:
        """The outcome's parameters [time, parameter], τ known: row t predicts inputs[t] from
        inputs[:t]. For symbols, log probabilities in nats."""
        raise self._lacks("oracle")

    def bayes(self) -> Predictor:
        """The exact predictor of the task distribution."""
        raise self._lacks("exact predictor")

    def latent_quadrature(self, degree: int) -> tuple[Any, Float[Array, " node"]]:
        """Latents [node, ...] and weights [node] that integrate the likelihoods of all sequences
        of up to `degree` symbols exactly. Optional: `log_evidence` uses it, nothing else does."""
        remedy = "log_evidence(tokens) or latent_quadrature(degree)"
        raise self._to_write("way to sum over what is hidden", remedy)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        """The oracle's expected log loss at each of the first `length` steps, in nats.

        H_t = E[-log p(x_t | τ, x_<t)], the expectation over τ and sequences. It is one number for
        all steps only if each step is like the first, as for independent symbols.
        """
        if self.has_oracle:
            raise self._to_write("expected loss of its oracle", "oracle_entropy(length)")
        raise self._lacks("oracle")

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        """log P(tokens) under the task distribution, in nats, the slow and sure way.

        P(x) = Σ_τ w(τ) Π_t p(x_t | τ, x_<t), summed over the nodes of `latent_quadrature`. A member
        without such a quadrature sums over something else: all trees, all hidden paths. It should
        share no formula with `bayes()`, which is judged by it on every short sequence. The tokens
        may be traced, their number is known; inside `jax.enable_x64(True)` it works in float64.
        """
        latents, weights = self.latent_quadrature(tokens.shape[0])

        def log_likelihood(latent: Any) -> Float[Array, ""]:
            rows = self.oracle(latent, tokens)
            return jnp.sum(jnp.take_along_axis(rows, tokens[:, None], axis=1))

        return jax.nn.logsumexp(jnp.log(weights) + jax.vmap(log_likelihood)(latents))

    @property
    def lookback(self) -> int | None:
        """How many of the last inputs the oracle looks at, where that is all that it looks at.

        k says that row t of `oracle` follows from the latent, which is drawn once, and from
        inputs[t - k:t], by the same function at every t; what comes before a sequence is read as
        zeros. None: nobody said, or something new is hidden at each step.
        """
        return None

    def sample_given(self, key: Key[Array, ""], latent: Any, length: int) -> Episode:
        """One episode whose latent is given, not drawn.

        Symbols are drawn one after the other from `oracle`, which looks back `lookback` of them.
        Where there is no alphabet, a member writes it.
        """
        back = self.lookback
        if self.outcome.alphabet is None or back is None or not self.scores_every_step:
            remedy = "sample_given(key, latent, length), or, of symbols, lookback"
            raise self._to_write("way to draw an episode of a given latent", remedy)

        def step(seen: Array, key: Key[Array, ""]) -> tuple[Array, Array]:
            read = jnp.concatenate([seen, jnp.zeros(1, jnp.int32)])
            symbol = jax.random.categorical(key, self.oracle(latent, read)[back])
            return read.at[back].set(symbol)[1:], symbol

        before = jnp.zeros(back, jnp.int32)
        _, tokens = jax.lax.scan(step, before, jax.random.split(key, length))
        return Episode(tokens, latent=latent)

    def oracle_entropy_given(self, latent: Any, length: int) -> Float[Array, " time"]:
        """`oracle_entropy` where the latent is given: E[-log p(x_t | τ, x_<t)] over sequences."""
        remedy = "oracle_entropy_given(latent, length)"
        raise self._to_write("expected loss of its oracle for a given latent", remedy)

    def _lacks(self, what: str) -> NotImplementedError:
        return NotImplementedError(
            f"{type(self).__name__} has no {what}. Compare predictors with each other "
            "(promptax.regret with reference=NAME), or use a task that has one."
        )

    def _to_write(self, what: str, method: str) -> NotImplementedError:
        """What a task lacks that its author may add; whoever only uses it takes another one."""
        return NotImplementedError(
            f"{type(self).__name__} has no {what}. In a class of your own, write {method}; "
            "otherwise use a task that has one."
        )

    @property
    def longest(self) -> int | None:
        """Steps of the longest sequence, where they end: what is read unless told otherwise.
        None: they go on."""
        return None

    @property
    def held(self) -> int | None:
        """How many sequences there are, where the task is a list of them: what is measured is then
        measured on each of them at most once, as `held_sequence` gives it. None: it draws new ones.

        A line that is drawn twice says nothing new about where the lines came from; standard
        errors would shrink with the number of draws.
        """
        return None

    def held_sequence(self, index: Int[Array, ""], length: int) -> Episode:
        """The first `length` steps of the held sequence of that number, from 0 on."""
        raise NotImplementedError(
            f"{type(self).__name__} says how many sequences it holds (held), and does not give "
            "them. Define held_sequence(index, length)."
        )

    @property
    def stock(self) -> str | None:
        """What sequences are made of, in words, where that is a list: "a Recorded of 40 sequences".
        None: they follow from a distribution. `evaluate` warns where such a list is drawn from
        again and again: by a task that is not `held` itself, or by one that contains it."""
        if self.held is None:
            return None
        return f"a {type(self).__name__} of {self.held:,} sequences"

    @property
    def survivors(self) -> "Callable[[np.ndarray], np.ndarray] | None":
        """Which prompts of its symbols are what their own text is encoded to: a function of prompts
        [..., prompt] that gives booleans [...], equal to those of tasks with the same tokenizer.
        None: its symbols are no text."""
        return None

    @property
    def scores_every_step(self) -> bool:
        """Whether all steps of an episode count, as in a task that draws none. What knows no
        episode, such as an exact sum over all sequences, cannot know which of them do."""

        def draw_one(key: Key[Array, ""]) -> Episode:
            return self.sample(key, 1)

        try:
            return jax.eval_shape(draw_one, jax.random.key(0)).scored is None
        except NotImplementedError:
            return True

    @property
    def has_oracle(self) -> bool:
        """Whether there is a predictor that knows what a sequence was drawn from (`oracle`)."""
        return type(self).oracle is not Task.oracle

    @property
    def has_bayes(self) -> bool:
        """Whether there is an exact Bayes predictor (`bayes`)."""
        return type(self).bayes is not Task.bayes


def steps_to_read(task: Task, given: int | None, otherwise: int) -> int:
    """How many steps of a sequence are read: what was given; or else those of the longest sequence
    where they end, `otherwise` where they go on.

    Raises:
        ValueError: nobody gave them, and the longest has more than 2,048.
    """
    if given is not None or task.longest is None:
        return given or otherwise
    check(
        task.longest <= MOST_UNASKED,
        f"Expected a length, since the longest sequence of this {type(task).__name__} has "
        f"{task.longest:,} steps, more than the {MOST_UNASKED:,} that are read unless one asks for "
        "them. Give how many steps of each sequence to read, such as 200.",
    )
    return task.longest


def draw(key: Key[Array, ""], probabilities: Float[Array, " symbol"], length: int) -> Tokens:
    """Independent symbols [time] by inversion: one random number each, whatever the alphabet.

    Symbols of probability zero are never drawn.
    """
    heights = jnp.cumsum(probabilities)
    points = jax.random.uniform(key, (length,)) * heights[-1]
    return jnp.searchsorted(heights, points, side="right").astype(jnp.int32)
