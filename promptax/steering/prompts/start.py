"""Prompts that start well: tuned on many tasks, so that few steps learn one more."""

from collections.abc import Sequence

from jaxtyping import Array, Key

from promptax.axes import AnyKey
from promptax.doors import door
from promptax.fit.fitted import Checkpoint, Fitted
from promptax.fit.loop import fit
from promptax.fit.objectives.supmer import SUPMER
from promptax.fit.probes import Probe
from promptax.fit.settings import FitSettings
from promptax.progress import Callback
from promptax.protocol.predictor import Predictor
from promptax.specs import as_key, check_kind
from promptax.steering.base import check_one
from promptax.steering.gradient import PromptTuner
from promptax.steering.prompts.soft_prompt import SoftPrompt
from promptax.tasks.base import Task, steps_to_read


@door
def tune_start(
    key: AnyKey,
    predictor: Predictor,
    family: Task,
    settings: FitSettings | None = None,
    *,
    prompt: PromptTuner = SoftPrompt(initial="tokens"),
    objective: SUPMER = SUPMER(),
    probes: Sequence[Probe] = (),
    checkpoint: Checkpoint | None = None,
    callbacks: Sequence[Callback] | None = None,
) -> Fitted:
    """Tune where a prompt starts, so that the inner steps of `objective` make it fit a new task.

    Args:
        predictor: what reads the prompt; its weights stay as they are.
        family: draws a task for each sequence, of which the first symbols are adapted to.
        settings: as for `fit`; `length` is 50 and `learning_rate` the prompt's if not given.
        prompt: how the prompt is made, and where it starts before it is tuned.
        objective: the inner steps; `gate=1` leaves their direction as it is.
        probes: as for `fit`, and so are the next two.
        checkpoint: where to save while running, and to resume from.
        callbacks: whom to tell of progress.

    Returns:
        A `Fitted`. `objective.adapt(fitted.predictor, tokens)` is the predictor behind the prompt
        after inner steps on the tokens of one task, or of several sequences of it.

    Raises:
        TypeError: no single network, family, prompt tuner or `SUPMER`; and what `fit` refuses.
        ValueError: one of the network's numbers is NaN; a family over other symbols; a `support`
            that leaves nothing of the length to predict; and what `fit` refuses.
        StoreError: the checkpoint is of another run, truncated or damaged.

    Example: `tune_start(key, base, DirichletCategorical((0.3,) * 4), FitSettings(steps=200))`.
    """
    key = as_key(key)
    check_one(predictor)
    for thing, kind, example in (
        (family, Task, "DirichletCategorical()"),
        (prompt, PromptTuner, "SoftPrompt()"),
        (objective, SUPMER, "SUPMER()"),
    ):
        check_kind(thing, kind, example)
    settings = FitSettings() if settings is None else settings
    settings = settings.filled(
        length=steps_to_read(family, settings.length, 50), learning_rate=prompt.rate_on(predictor)
    )
    prompt.verify(predictor, family, settings)

    def make(key: Key[Array, ""]) -> Predictor:
        return objective.equip(prompt.steer(key, predictor), settings)

    return fit(
        key,
        make,
        objective.where,
        family,
        settings,
        objective=objective,
        probes=probes,
        checkpoint=checkpoint,
        callbacks=callbacks,
        description="tuning a start",
    )
