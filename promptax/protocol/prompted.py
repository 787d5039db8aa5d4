"""Predictors that read something first: prompts, and the wrappers that read them."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
from jaxtyping import Array, Int

from promptax.checks import kind_of
from promptax.protocol.outcomes import Outcome
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import (
    Embedded,
    Inputs,
    KeyValues,
    Predictor,
    State,
    rows_in,
)
from promptax.specs import Record, renamed_from

AnyPredictor = TypeVar("AnyPredictor", bound=Predictor)


class Prompt(Record):
    """What is read before the data: a tuned or given tree that yields inputs."""

    @property
    def before_begin(self) -> bool:
        """Whether it stands before what opens a sequence (`Predictor.begin`), not after."""
        return False  # a member may make it a field

    @abc.abstractmethod
    def inputs(self) -> Inputs:
        """What the predictor reads."""

    def shown(self) -> Array:
        """What was found, for people: tokens [prompt], weights [prompt, symbol], rows
        [prompt, embedding], or keys and values [part, layer, head, prompt, head_width]."""
        inputs = self.inputs()
        return inputs.rows if isinstance(inputs, Embedded) else inputs


class GivenPrompt(Prompt):
    """A prompt of tokens, of weights over symbols, of rows of an outcome, or of what a network
    reads behind its embedding, as it is: `values`."""

    values: Array | Embedded | KeyValues

    def inputs(self) -> Inputs:
        return self.values


class Wrapper(Predictor):
    """A predictor around another one, `predictor`, whose weights it shares: what reads prompts
    before it."""

    predictor: eqx.AbstractVar[Predictor]

    @property
    def symbols(self) -> int:
        return self.predictor.symbols

    @property
    def outcome(self) -> Outcome:
        return self.predictor.outcome

    @property
    def reads(self) -> frozenset[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.predictor.reads

    @property
    def merges(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.predictor.merges

    def most_inputs(self, behind: tuple[Inputs, ...] = ()) -> int | None:
        return self.predictor.most_inputs(behind)

    def prompt_rows(self) -> int:
        return self.predictor.prompt_rows()

    def readers(self) -> int:
        return self.predictor.readers()

    def reading_operations(self, rows: int) -> float:
        return self.predictor.reading_operations(rows)

    def prompts_at_once(self, prompts: int, sequences: int, length: int) -> int:
        return self.predictor.prompts_at_once(prompts, sequences, length)


def with_innermost(predictor: AnyPredictor, change: Callable[[Any], Any]) -> AnyPredictor:
    """The predictor, with what is inside all of its wrappers changed; they stay as they are."""
    if not isinstance(predictor, Wrapper):
        return change(predictor)
    inner = with_innermost(predictor.predictor, change)
    return dataclasses.replace(predictor, predictor=inner)  # pyright: ignore[reportCallIssue]


def rows_read(prompt: Prompt) -> int:
    """How many rows of a prompt a predictor reads: of keys and values none, they are put there."""
    inputs = eqx.filter_eval_shape(prompt.inputs)
    return 0 if isinstance(inputs, KeyValues) else rows_in(inputs)


class Prompted(Wrapper):
    """A predictor that has read a prompt; the prompt is one of its leaves.

    `predictor`: what reads. `context`: what it read, a `Prompt`; `prompt` shows it.
    """

    predictor: Predictor
    context: Prompt = eqx.field(metadata=renamed_from("reads"))

    def __check_init__(self) -> None:
        if not isinstance(self.context, Prompt):
            raise TypeError(
                f"Expected a prompt, such as a tuned predictor's context; got "
                f"{kind_of(self.context)}. Tokens, weights, and rows are read by "
                "promptax.condition(predictor, inputs)."
            )

    @property
    def prompt(self) -> Array:
        """What is read before the data."""
        return self.context.shown()

    @property
    def exchangeable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.predictor.exchangeable

    def most_inputs(self, behind: tuple[Inputs, ...] = ()) -> int | None:
        read = eqx.filter_eval_shape(self.context.inputs)
        return self.predictor.most_inputs((read, *behind))

    def prompt_rows(self) -> int:
        return self.predictor.prompt_rows() + rows_read(self.context)

    def start(self, capacity: int | None = None) -> State:
        return self.begin(self.blank(capacity))

    def blank(self, capacity: int | None = None) -> State:
        room = None if capacity is None else capacity + rows_in(self.context.inputs())
        state = self.predictor.blank(room)
        return self._read(state)[0] if self.context.before_begin else state

    def begin(self, state: State) -> State:
        state = self.predictor.begin(state)
        return state if self.context.before_begin else self._read(state)[0]

    def reading(self) -> AnyPrediction:
        """What the predictor says while it reads the prompt."""
        first = self.context.before_begin
        return self._read(self.predictor.blank() if first else self.predictor.start())[1]

    def _read(self, state: State) -> tuple[State, AnyPrediction]:
        return self.predictor.advance(state, self.context.inputs())

    def advance(self, state: State, inputs: Inputs) -> tuple[State, AnyPrediction]:
        return self.predictor.advance(state, inputs)

    def advance_batch(self, state: State, inputs: Inputs) -> tuple[State, AnyPrediction]:
        return self.predictor.advance_batch(state, inputs)

    def predict_behind(self, state: State, prompts: Inputs, inputs: Inputs) -> AnyPrediction | None:
        return self.predictor.predict_behind(state, prompts, inputs)

    @property
    def forgets(self) -> bool:
        return self.predictor.forgets

    def advance_first(
        self,
        state: State,
        tokens: Int[Array, " time"],
        count: Int[Array, ""],
        capacity: int | None = None,
    ) -> State:
        return self.predictor.advance_first(state, tokens, count, capacity)

    def reading_bytes(self, rows: int) -> int:
        return self.predictor.reading_bytes(rows)

    def micro_batch(self, batch: int, length: int) -> int:
        return self.predictor.micro_batch(batch, length)

    def reading_lengths(self, length: int) -> tuple[int, ...]:
        return self.predictor.reading_lengths(length)
