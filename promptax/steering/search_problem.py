"""What a step of a search over prompts may ask: what prompts lose, and where a gradient points.

Readings are counted as they are asked for, so that no member counts its own. The counts are traced
beside the prompts: a reading inside a scan, a cond or a vmap that the member wrote itself, where a
plain counter would count once what is done many times, is refused.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.races.base import Race
from promptax.steering.search_checks import check_prompt, check_prompts
from promptax.steering.search_readings import Prompts, Sizes, Slopes, after_any, loss_and_slopes


class Readings(NamedTuple):
    """What was read, of one step or [repetition, step]; whole numbers.

    `prompts`: how often sequences were read behind a prompt, all of the batch or a part of it;
    `sequences`: those sequences; `rows`: rows read before them, once for all that are read
    together; `derivatives` and `derivative_rows`: prompts and rows, out of these, through which a
    derivative was taken, always with the whole batch.
    """

    prompts: Any
    sequences: Any
    rows: Any
    derivatives: Any
    derivative_rows: Any

    def tokens(self, batch: int, length: int) -> tuple[Any, Any]:
        """Tokens read forward and backward, where the batch has so many sequences, of that
        length."""
        forward = self.rows + self.sequences * length
        return forward, self.derivative_rows + self.derivatives * (batch * length)

    def spent(self, batch: int, length: int, exact: bool) -> Any:
        """What counts against a budget: tokens, those of a derivative two times more; or
        evaluations where a batch is all that there is."""
        if exact:
            return self.prompts + 2 * self.derivatives
        forward, backward = self.tokens(batch, length)
        return forward + 2 * backward


@dataclasses.dataclass(frozen=True)
class SearchProblem:
    """One step of one repetition, while it is traced.

    `predictor`: what reads; `sizes.prompt_length` rows at most are read before the data.
    `episodes` [sequence]: this step's, drawn by the loop; None in `start`.
    `step` and `steps`: the number of this step, from 0, and of all steps; traced, so that another
    number of steps compiles nothing.
    `weights` [sequence]: how much each of the episodes counts, 1 on average; None: all the same.
    `spelling` [symbol]: what stands for the symbols of prompts, where they are spelled with a part
    of the alphabet; None: the whole alphabet, as it is.
    `race`: how `means` shares the episodes among candidates; None: each reads all of them.
    `readings`, `raced`: what was read so far, and how many candidates each race so far had.
    """

    predictor: Predictor
    sizes: Sizes
    episodes: Episode | None = None
    weights: Float[Array, " sequence"] | None = None
    step: Any = 0
    steps: Any = 1
    readings: list[Readings] = dataclasses.field(default_factory=list)
    spelling: Int[Array, " symbol"] | None = None
    race: Race | None = None
    raced: list[int] = dataclasses.field(default_factory=list)

    @property
    def symbols(self) -> int:
        """The size of the alphabet, or of the part of it that prompts are spelled with."""
        return self.predictor.symbols if self.spelling is None else len(self.spelling)

    @property
    def prompt_length(self) -> int:
        """Rows of the prompt that is searched."""
        return self.sizes.prompt_length

    @property
    def exact(self) -> bool:
        """Whether losses have no noise: all sequences of the target are read, with weights. Known
        while a step is traced, so that `if problem.exact:` may be written."""
        return self.sizes.exact

    @property
    def orders_are_merged(self) -> bool:
        """Whether one of the episodes stands for all orders of its symbols: where all sequences are
        read, and order matters neither to the predictor nor to the target, those are sorted."""
        if self.weights is None:
            return False
        count, time = self._episodes().inputs.shape[:2]
        return count != self.predictor.symbols**time

    def losses(
        self,
        prompts: Prompts,
        rows: Int[Array, " candidate"] | None = None,
        wanted: Bool[Array, " candidate"] | None = None,
    ) -> Float[Array, "candidate sequence"]:
        """The loss of each of this step's episodes behind each prompt, nats per sequence:
        -Σ_t log p(x_t | prompt, x_<t), times the weight of the episode where they have weights.
        Ask once a step, for all candidates together.

        Args:
            prompts: symbols [candidate, prompt].
            rows: how many of a prompt's rows are read, from the first; None: all of them.
            wanted: candidates that count; others lose +inf, and are free. None: all of them.
        """
        check_prompts(prompts)
        spelled, episodes = self._spelled(prompts), self._episodes()
        loss = after_any(self.predictor, spelled, rows, episodes, self.sizes)
        if self.weights is not None:
            loss = jnp.where(self.weights > 0, loss * self.weights, 0.0)  # not ∞ · 0
        if not self.sizes.impossible_may_win:
            loss = jnp.where(self.impossible(prompts, rows)[:, None], jnp.inf, loss)
        count = jnp.ones(len(prompts), jnp.int32) if wanted is None else wanted.astype(jnp.int32)
        read = prompts.shape[1] if rows is None else rows
        self._count(prompts, jnp.sum(count), jnp.sum(count) * loss.shape[1], jnp.sum(count * read))
        return loss if wanted is None else jnp.where(wanted[:, None], loss, jnp.inf)

    def means(
        self,
        prompts: Prompts,
        rows: Int[Array, " candidate"] | None = None,
        wanted: Bool[Array, " candidate"] | None = None,
    ) -> Float[Array, " candidate"]:
        """Each prompt's estimated mean loss on this step's episodes, nats per sequence; +inf where
        it is no number, and for those that are not wanted. A search that picks winners asks for
        these, since not every episode need be read behind every prompt to tell which is best. A
        prompt that is asked for alone races with nobody, and reads all of them.

        Args: those of `losses`.
        """
        check_prompts(prompts)
        if self.race is not None and len(prompts) == 1:  # held against another mean, no candidate
            self.raced.append(1)
        elif self.race is not None:
            return self._raced(self.race, prompts, rows, wanted)
        means = jnp.mean(self.losses(prompts, rows, wanted), axis=1)
        return jnp.where(jnp.isnan(means), jnp.inf, means)

    def _raced(
        self,
        race: Race,
        prompts: Prompts,
        rows: Int[Array, " candidate"] | None,
        wanted: Bool[Array, " candidate"] | None,
    ) -> Float[Array, " candidate"]:
        """The means by which the race picks its winner; what it read is counted afterwards, since
        it may read inside a loop of its own."""
        episodes, candidates, spelled = self._episodes(), len(prompts), self._spelled(prompts)
        self.raced.append(candidates)
        check(self.weights is None, "Expected no race with exact: an expectation needs all of it.")
        counts = jnp.full(candidates, prompts.shape[1]) if rows is None else rows
        lost = jnp.zeros(candidates, bool) if wanted is None else ~wanted
        if not self.sizes.impossible_may_win:
            lost = lost | self.impossible(prompts, rows)

        def read(which: Array, first: Any, number: int) -> Float[Array, "reader part"]:
            def cut(leaf: Array) -> Array:
                return jax.lax.dynamic_slice_in_dim(leaf, first, number)

            part = jax.tree.map(cut, episodes)
            read_rows = None if rows is None else rows[which]
            loss = after_any(self.predictor, spelled[which], read_rows, part, self.sizes)
            return jnp.where(lost[which][:, None], jnp.inf, loss)

        standing = race.run(read, candidates, episodes.inputs.shape[0])
        free = jnp.zeros(candidates, bool) if wanted is None else ~wanted
        turns, numbers = (jnp.where(free, 0, of) for of in (standing.turns, standing.numbers))
        self._count(prompts, jnp.sum(turns), jnp.sum(numbers), jnp.sum(turns * counts))
        return jnp.where(free, jnp.inf, standing.settled())

    def gradient(self, prompt: Int[Array, " prompt"]) -> tuple[Float[Array, ""], Slopes]:
        """The mean loss L of this step's episodes behind the prompt, nats per sequence, and ∂L/∂e
        [prompt, symbol] for its one-hot rows e: to first order, L + ∂L/∂e[i, v] -
        ∂L/∂e[i, prompt[i]] is the loss of the prompt whose row i is symbol v."""
        check_prompt(prompt)
        spelled, episodes = self._spelled(prompt), self._episodes()
        result = loss_and_slopes(self.predictor, spelled, episodes, self.sizes, self.weights)
        self._count(prompt, 1, episodes.inputs.shape[0], self.prompt_length, derivatives=1)
        return result if self.spelling is None else (result[0], result[1][:, self.spelling])

    def impossible(
        self, prompts: Prompts, rows: Int[Array, " candidate"] | None = None
    ) -> Bool[Array, " candidate"]:
        """Which prompts the predictor gives probability 0, as far as they are read: `rows` rows,
        None: all. Nothing is counted: their rows are read anyway, before the data."""
        length = prompts.shape[1]
        counts = jnp.full(len(prompts), length) if rows is None else rows

        def excluded(prompt: Int[Array, " prompt"], count: Array) -> Array:
            _, prediction = self.predictor.advance(self.predictor.start(length), prompt)
            never = jnp.isneginf(prediction.of(prompt))
            return jnp.any(never & (jnp.arange(length) < count))

        return jax.lax.map(lambda given: excluded(*given), (self._spelled(prompts), counts))

    def survivors(self, prompts: Prompts) -> Bool[Array, " candidate"]:
        """Which prompts are what their own text is encoded to. The host is asked, in every step:
        tokenizers are no arrays."""
        judge = self.sizes.survivors
        if judge is None:
            raise TypeError("Expected a target of texts, whose tokenizer says what survives.")
        shape = jax.ShapeDtypeStruct((len(prompts),), bool)
        spelled = self._spelled(prompts)
        return jax.pure_callback(judge, shape, spelled, vmap_method="expand_dims")

    def total(self) -> Readings:
        """Everything that this step read."""
        nothing = Readings(*(jnp.int32(0) for _ in Readings._fields))
        return jax.tree.map(lambda *counts: sum(counts, jnp.int32(0)), nothing, *self.readings)

    def _spelled(self, prompts: Int[Array, "*candidate prompt"]) -> Int[Array, "*candidate prompt"]:
        return prompts if self.spelling is None else self.spelling[prompts]

    def _episodes(self) -> Episode:
        if self.episodes is None:
            raise TypeError(
                "Expected losses and gradients to be asked for in `step`; `start` has no episodes."
            )
        return self.episodes

    def _count(
        self, prompts: Array, number: Any, sequences: Any, rows: Any, derivatives: int = 0
    ) -> None:
        number = jnp.int32(number) + 0 * jnp.sum(prompts)  # traced where the prompts are
        frozen_rows = self.predictor.prompt_rows()  # of prompts that it reads already, frozen
        readers = self.predictor.readers()  # of a mixture: each of its components
        new_rows = readers * jnp.int32(rows) + 0 * number
        forward = number, readers * sequences + 0 * number, new_rows + frozen_rows
        counts = (*forward, readers * derivatives * number, derivatives * new_rows)
        self.readings.append(Readings(*(jnp.int32(count) for count in counts)))
