"""One prompt for many tasks, and a short one for each: a shared beginning that serves new tasks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from promptax import platforms
from promptax.axes import AnyKey
from promptax.doors import door
from promptax.protocol.entries import as_tokens
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.specs import Spec, as_key, check, check_kind, traced
from promptax.steering.base import check_length, check_one
from promptax.tasks.base import Task
from promptax.tasks.batches import sample_batch


class SharedPrompt(NamedTuple):
    """What a search over shared and task prompts found.

    `shared` [prompt]: what is read first, for every task; `prompts` [task, prompt]: what follows;
    `loss` [round, task]: the loss of every task in nats per sequence after each round, on the
    sequences that were searched on; `readings`: how often the sequences of a task were read.
    """

    shared: Int[np.ndarray, " prompt"]
    prompts: Int[np.ndarray, "task prompt"]
    loss: Float[np.ndarray, "round task"]
    readings: int

    def of_task(self, task: int) -> Int[np.ndarray, " prompt"]:
        """The whole prompt of one task, for `HardPrompt` or a `Prompted`."""
        return np.concatenate([self.shared, self.prompts[task]])


class MetaSPO(Spec):
    """Searches a prompt that is shared by tasks together with a prompt of each task.

    A round has two parts. For each task, `task_candidates` variants of its prompt are read behind
    the shared one, and the best is kept. Then `candidates` variants of the shared prompt are read
    before the tasks' prompts; one is kept if the mean loss over all tasks falls. A variant has one
    symbol drawn anew. All rounds read the same sequences; judge what was found on others.

    A shared prompt is judged with task prompts that were chosen under the one before it, so that
    rounds favour small changes. The equal-cost control without a shared part is `length=0` with
    `task_candidates` larger by `candidates` + 1: the shared prompt as it was is read again, too.

    Choi, Baek and Hwang 2025, "System Prompt Optimization with Meta-Learning" (arXiv 2505.09666):
    system and user prompts, with a language model in place of random symbols; it keeps the best
    three user prompts, here the best one.

    Example: `MetaSPO().search(key, base, tasks).shared`.
    """

    length: int = 2
    """Number of symbols that all tasks share; 0 is none."""
    task_length: int = 2
    """Number of symbols of each task's prompt; 0 is none."""
    rounds: int = 3
    """How often both parts are searched."""
    candidates: int = 9
    """Variants of the shared prompt in a round."""
    task_candidates: int = 3
    """Variants of each task's prompt in a round."""
    sequences: int = 64
    """Sequences of each task that prompts are judged by."""
    steps_of_time: int = 20
    """Their length."""

    def __check_init__(self) -> None:
        check_length(self.length)
        check_length(self.task_length)
        check(
            self.length + self.task_length >= 1,
            "Expected a prompt to search, of at least 1 shared symbol (length) or 1 of each task "
            "(task_length); got 0 and 0.",
        )
        for name in ("rounds", "candidates", "task_candidates", "sequences", "steps_of_time"):
            value = getattr(self, name)
            check(value >= 1, f"Expected {name} of at least 1; got {value}.")

    @door
    def search(
        self,
        key: AnyKey,
        predictor: Predictor,
        tasks: Sequence[Task],
        *,
        shared: Sequence[int] | None = None,
    ) -> SharedPrompt:
        """Search prompts for tasks over the predictor's alphabet.

        Args:
            predictor: what reads the prompts; it is left as it was.
            tasks: the tasks, each of which gets a prompt.
            shared: a shared prompt that stays as it is, such as one found on other tasks.
        """
        key = as_key(key)
        self.verify(predictor, tasks, shared)
        generator = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
        keys = jax.random.split(key, self.sequences)
        drawn = [sample_batch(traced(task), keys, self.steps_of_time) for task in tasks]
        read = np.stack([episodes.tokens for episodes in drawn]), np.stack(_masks(drawn))
        symbols, count = predictor.symbols, len(tasks)
        first = generator.integers(0, symbols, self.length) if shared is None else shared
        common = np.asarray(first, np.int32).reshape(-1)
        prompts = generator.integers(0, symbols, (count, self.task_length), np.int32)
        rounds, readings = [], 0
        for _ in range(self.rounds):
            tried = _variants(generator, prompts, self.task_candidates, symbols)
            losses = np.asarray(_mean_losses(predictor, _joined(common, tried), *read))
            best = np.argmin(losses, axis=1)
            prompts, current = tried[np.arange(count), best], losses.min(axis=1)
            readings += tried.shape[0] * tried.shape[1]
            if shared is None and self.length:
                tried = _variants(generator, common[None], self.candidates, symbols)[0]
                together = np.stack([_joined(row, prompts[:, None]) for row in tried], axis=1)
                losses = np.asarray(_mean_losses(predictor, together[:, :, 0], *read))
                best = int(np.argmin(losses.mean(axis=0)))  # the first one is the prompt as it was
                common, current = tried[best], losses[:, best]
                readings += losses.size
            rounds.append(current)
        return SharedPrompt(common, prompts, np.stack(rounds), readings)

    def verify(
        self, predictor: Predictor, tasks: Sequence[Task], shared: Sequence[int] | None
    ) -> None:
        """Raise, before any compute, if these do not fit."""
        check_one(predictor)
        check(len(tasks) >= 1, "Expected at least one task; got none.")
        for task in tasks:
            check_kind(task, Task, "Categorical((0.2, 0.8))")
            check(
                task.outcome == predictor.outcome and task.outcome.alphabet is not None,
                f"Expected tasks over the predictor's symbols; got {type(task).__name__} over "
                f"{task.outcome.words()} for {predictor.outcome.words()}.",
            )
        self._check_room(len(tasks), predictor.symbols)
        if shared is None:
            return
        expected = "a shared prompt [prompt] of symbols (int)"
        as_tokens(shared, predictor.symbols, expected, "predictor")
        check(
            self.task_length >= 1,
            "Expected a task_length of at least 1 behind a shared prompt that stays as it is, or "
            "nothing is searched; got 0.",
        )

    def _check_room(self, tasks: int, symbols: int) -> None:
        """Complain about more sequences or prompts than fit into memory."""
        platforms.expect_numbers(
            self.sequences * self.steps_of_time * max(tasks, symbols),
            "the sequences of all tasks, and what is predicted of them",
            "Search on fewer sequences, or shorter ones.",
        )
        variants = 1 + max(self.candidates, self.task_candidates)
        platforms.expect_numbers(
            tasks * variants * (self.length + self.task_length),
            "the prompts of a round",
            "Choose fewer candidates, or shorter prompts.",
        )


def _variants(
    generator: np.random.Generator, prompts: np.ndarray, count: int, symbols: int
) -> Int[np.ndarray, "task candidate prompt"]:
    """The prompts as they are, and `count` variants of each with one symbol drawn anew."""
    tried = np.repeat(prompts[:, None], count + 1, axis=1)
    if tried.shape[2]:
        tasks, candidates = np.indices((len(prompts), count))
        places = generator.integers(0, tried.shape[2], tasks.shape)
        tried[tasks, candidates + 1, places] = generator.integers(0, symbols, tasks.shape)
    return tried


def _joined(common: np.ndarray, prompts: np.ndarray) -> Int[np.ndarray, "task candidate prompt"]:
    """The shared prompt before prompts [task, candidate, prompt]."""
    before = np.broadcast_to(common, (*prompts.shape[:2], len(common)))
    return np.concatenate([before, prompts], axis=2)


def _masks(drawn: Sequence[Episode]) -> list[np.ndarray]:
    """Which steps [sequence, time] of each task's sequences are scored."""
    return [
        np.ones(episodes.tokens.shape, bool)
        if episodes.scored is None
        else np.asarray(episodes.scored)
        for episodes in drawn
    ]


@eqx.filter_jit
def _mean_losses(
    predictor: Predictor, prompts: Any, tokens: Any, scored: Any
) -> Float[Array, "task candidate"]:
    """Mean losses of prompts [task, candidate, prompt], nats, on the steps of tokens [task,
    sequence, time] that are scored."""

    def lose(prompt: Array, tokens: Array, scored: Array) -> Array:
        state, _ = predictor.advance(predictor.start(), prompt)
        _, prediction = predictor.advance_batch(state, tokens)
        return -jnp.mean(jnp.sum(jnp.where(scored, prediction.of(tokens), 0.0), -1))

    most = predictor.prompts_at_once(prompts.shape[1], *tokens.shape[1:])

    def lose_all(given: tuple[Array, Array, Array]) -> Float[Array, " candidate"]:
        candidates, *read = given
        return jax.lax.map(lambda prompt: lose(prompt, *read), candidates, batch_size=most)

    return jax.lax.map(lose_all, (prompts, tokens, scored))
