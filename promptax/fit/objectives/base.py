"""What an update of the one loop makes small.

    J  =  E_key [ mean over the batch's sequences of `losses`  +  the penalty of `prepare` ],   nats

The loop differentiates J for the tuned leaves; clipping and Adam come after. It calls the methods
of an objective inside its compiled program, so they have to be pure functions of their arguments.
Floats among an objective's fields are data, as in every spec: another value compiles nothing.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.fit.settings import FitSettings
from promptax.protocol.outcomes import Episode, Outcome
from promptax.protocol.predictor import Predictor, State
from promptax.specs import Spec
from promptax.tasks.base import Task
from promptax.tasks.batches import sample_batch


class Objective(Spec, open_as="objective", default="LogLoss"):
    """What a fit makes small: `px.pretrain(…, objective=)`, `fit(…, objective=)`.

    A member owes one or both of

    - `prepare(key, predictor)`: this step's predictor, with noise drawn or leaves replaced, and a
      penalty;
    - `losses(key, predictor, state, episodes, outcome)`: the loss of every sequence.

    Optional: `equip`, which gives a fresh network leaves of the objective's own; `verify`, which
    refuses by name what the objective does not fit; `draw`, where sequences are not simply those of
    the task, with `row_numbers` where its rows are wider; `readings`, where a batch is read more
    than once; `slope_is_of_value`; and `examples()`, small instances by which the contract tests
    judge it. What is not written is that of `LogLoss`: nothing drawn, no penalty, log loss.
    """

    slope_is_of_value: ClassVar[bool] = True
    """Whether updates follow the gradient of the value that is recorded; not so where a member puts
    another direction in its place (`jax.lax.stop_gradient`)."""

    def prepare(
        self, key: Key[Array, ""], predictor: Predictor
    ) -> tuple[Predictor, Float[Array, ""]]:
        """This step's predictor, of the same structure, and a penalty in nats.

        The penalty is added once to the mean loss of the batch. All micro-batches of a step, on all
        devices, get the same key.
        """
        del key
        return predictor, jnp.zeros(())

    def losses(
        self,
        key: Key[Array, ""],
        predictor: Predictor,
        state: State,
        episodes: Episode,
        outcome: Any,
    ) -> Float[Array, " sequence"]:
        """The loss of each sequence in nats, summed over its steps of time.

        Args:
            key: another one for each micro-batch.
            predictor: what `prepare` returned.
            state: `predictor.start()`, which was read and is differentiated once for all sequences.
            episodes: some sequences of the batch [sequence, time].
            outcome: the task's; `outcome.log_loss(prediction, episodes)` is [sequence, time].
        """
        del key
        _, prediction = predictor.advance_batch(state, episodes.inputs)
        return jnp.sum(outcome.log_loss(prediction, episodes), axis=-1)

    def draw(self, task: Task, keys: Key[Array, "*batch"] | Array, length: int) -> Episode:
        """One sequence of `length` steps for each key: what an update is given. To override where
        a sequence is more than one of the task's."""
        return sample_batch(task, keys, length)

    def row_numbers(self, outcome: Outcome) -> int:
        """How many numbers `draw` gives for a step of time: a symbol is one, and a row of another
        outcome as many as it is wide. So many sequences are drawn at a time as fit into memory."""
        return 1 if outcome.alphabet else outcome.input_width()

    def equip(self, predictor: Predictor, settings: FitSettings) -> Predictor:
        """A fresh predictor with the leaves that the objective learns beside its weights, such as
        learning rates. What is learned is trained, stored and used as a part of the predictor.

        `pretrain` calls it once, for what the architecture built. It draws nothing.
        """
        del settings
        return predictor

    def verify(self, predictor: Predictor, settings: FitSettings) -> None:
        """Raise, before any update, if the predictor or the settings do not fit."""
        del predictor, settings

    def readings(self, length: int) -> int:
        """How many times an update reads a batch of sequences of that length and takes the
        derivative, for its cost."""
        del length
        return 1
