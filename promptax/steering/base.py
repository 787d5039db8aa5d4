"""Tuners: surgery on a predictor's tree, and where the tuned leaves are.

A prompt tuner wraps the predictor so that it reads something first; a weight tuner marks some of
its weights, or adds some; a search tries prompts of symbols. Checks, and the one signature of
`tune`, are here. Updates of leaves are the business of `fit`, steps of searches of `search_loop`.
"""

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
from jaxtyping import Array, Key

from promptax.axes import AnyKey
from promptax.checks import kind_of
from promptax.doors import door
from promptax.fit.fitted import Checkpoint, Fitted, check_keeping
from promptax.fit.loop import check_outcome
from promptax.fit.probes import Probe
from promptax.fit.settings import FitSettings
from promptax.progress import Callback
from promptax.protocol.entries import check_sound
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated
from promptax.specs import Spec, as_key, check, check_kind
from promptax.tasks.base import Task, steps_to_read

Mask = Any
"""A tree of booleans, one for each leaf of a predictor."""


class Tuning(NamedTuple):
    """One request to a tuner: the arguments of `Tuner.tune`, all open choices made.

    `key` makes every draw; `predictor` is steered to `target`, as `settings` say; `probes` look at
    it on the way; `checkpoint` is where it can go on (None: it is not kept); `callbacks` hear of
    progress (None: a bar).
    """

    key: Key[Array, ""]
    predictor: Predictor
    target: Task
    settings: FitSettings
    probes: Sequence[Probe]
    checkpoint: Checkpoint | None
    callbacks: Sequence[Callback] | None


class Tuner(Spec, open_as="tuner", default="SoftPrompt"):
    """Steers a predictor to a target task.

    Members derive from one of four classes below this one, which say what they owe:

    - `PromptTuner`: a prompt whose numbers are tuned by gradients;
    - `WeightTuner`: weights of a network that are tuned, or added and tuned, by gradients;
    - `GradientTuner`: any other leaves that gradients tune;
    - `Search`: prompts of symbols, found by trying them.

    What is unlike all of these owes `suits(predictor)` and `run_tuning(tuning)`.

    Optional for all: `group`, `starts_unchanged`, `needs_alphabet`, `tries_all`; `check_plan`, to
    refuse what would be too much; `plan`, what will be tried in words; and `examples()`, small
    instances by which the contract tests judge it.
    """

    group: ClassVar[str] = ""
    """Where reports show it: "prompts", "weights" or "baselines"."""
    starts_unchanged: ClassVar[bool] = False
    """Whether the steered predictor predicts as before until it is tuned."""
    needs_alphabet: ClassVar[bool] = False
    """Whether it proposes symbols, or weights over them, so that there must be an alphabet."""
    tries_all: ClassVar[bool] = False
    """Whether all hard prompts of its `length` are tried: the result's `scores` are then the losses
    of all of them, and its `loss` is no curve of training."""
    takes_probes: ClassVar[bool] = False
    """Whether there is a predictor to look at between two steps (`promptax.fit.Probe`)."""

    @door
    def tune(
        self,
        key: AnyKey,
        predictor: Predictor,
        target: Task,
        settings: FitSettings | None = None,
        *,
        probes: Sequence[Probe] = (),
        checkpoint: Checkpoint | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> Fitted:
        """Steer `predictor` to `target`; it is left as it was.

        Args:
            key: makes initial values, data, and what a search draws.
            predictor: one predictor; of repetitions pick one.
            target: the task whose log loss is made small.
            settings: open choices become the tuner's own: `length` 50, or that of the target's
                longest sequence; `learning_rate` that of `rate_on`.
            probes: what to measure along the way, kept in `Fitted.probes`; gradient tuners only.
            checkpoint: where to save while running, and to resume from (`promptax.Checkpoint`).
            callbacks: called as callback(done, total, note); a true answer stops the run. None
                shows a progress bar.

        Returns:
            A `Fitted`. Its `predictor` is a predictor, or `Repeated` for several repetitions.

        Raises:
            TypeError: the predictor lacks what is tuned, or is no single predictor.
            ValueError: predictor and target do not fit, or there is too much to try.
            MemoryError: what is tuned cannot fit.

        Example: `SoftPrompt(length=6).tune(key, base, Categorical((0.2, 0.8))).predictor`
        """
        key = as_key(key)
        check_kind(target, Task, "Categorical((0.2, 0.8))")
        check_keeping(checkpoint, callbacks, probes)
        settings = FitSettings() if settings is None else settings
        check_kind(settings, FitSettings, "FitSettings(steps=100)")
        settings = settings.filled(
            length=steps_to_read(target, settings.length, 50),
            learning_rate=self.rate_on(predictor),
        )
        if probes and not self.takes_probes:
            raise TypeError(
                f"Expected no probes, since {type(self).__name__} has no predictor to look at "
                "before its last step; got some. Leave them out."
            )
        self.verify(predictor, target, settings)
        return self.run_tuning(
            Tuning(key, predictor, target, settings, probes, checkpoint, callbacks)
        )

    @abc.abstractmethod
    def run_tuning(self, tuning: Tuning) -> Fitted:
        """Do what `tune` was asked for; everything was checked."""

    @abc.abstractmethod
    def suits(self, predictor: Predictor) -> None:
        """Raise TypeError, saying what is missing, if the predictor lacks what is tuned."""

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        """Raise if what would be tuned or tried is too much, or does not fit the alphabet."""
        del predictor, target, settings

    @property
    def default_learning_rate(self) -> float:
        """The learning rate where the settings give none; 1 where no update has one."""
        return 1.0

    def rate_on(self, predictor: Predictor) -> float:
        """The learning rate on this predictor where the settings give none."""
        del predictor
        return self.default_learning_rate

    def verify(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        """Raise, before any compute, if this cannot be tuned."""
        check_one(predictor)
        self.check_alphabet(predictor)
        self.suits(predictor)
        check_outcome(lambda key: predictor, jax.random.key(0), target)
        self.check_plan(predictor, target, settings)

    def check_alphabet(self, thing: Predictor | Task) -> None:
        """Raise TypeError if this proposes symbols, and a predictor or task has none."""
        if self.needs_alphabet and thing.outcome.alphabet is None:
            raise TypeError(
                f"Expected symbols, of which {type(self).__name__} makes prompts; got "
                f"{type(thing).__name__} over {thing.outcome.words()}. SoftPrompt, RealPrompt and "
                "weight tuners work on every network."
            )

    def plan(self, symbols: int) -> str:
        """What will be tried over an alphabet of that size, in words; "" for gradient tuners."""
        del symbols
        return ""


MOST_ROWS = 2**20  # of a prompt, which are read one after the other


def check_length(length: int) -> None:
    """Complain about the length of a prompt, in rows."""
    check(length >= 0, f"Expected a prompt length of at least 0; got {length}.")
    check(
        length <= MOST_ROWS,
        f"Expected a prompt length of at most {MOST_ROWS:,} rows; got {length}.",
    )


def check_one(predictor: Any) -> None:
    """Complain unless this is one predictor, and a sound one."""
    if isinstance(predictor, Repeated):
        raise TypeError(
            f"Expected one predictor to steer; got {len(predictor)} repetitions. Pick one: "
            "predictor[0]."
        )
    if not isinstance(predictor, Predictor):
        raise TypeError(
            f"Expected a predictor to steer; got {kind_of(predictor)}. Pretrain one first: "
            "promptax.pretrain(key, architecture, task).predictor."
        )
    check_sound(predictor)
