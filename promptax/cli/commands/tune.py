"""Steer a saved predictor to a target task."""

import dataclasses

import jax

from promptax.cli import saved
from promptax.cli.arguments import choice
from promptax.cli.fitting import Fitting, keep
from promptax.cli.printing import say
from promptax.experiments import run_folder
from promptax.language import text_model
from promptax.steering import Tuner
from promptax.tasks import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags(Fitting):
    """What is steered to what, and how."""

    predictor: str
    """Run folder or file of the predictor to steer."""
    tuner: Tuner
    """How: the name of a tuner, JSON, or @FILE."""
    target: Task = choice("Categorical")
    """What to steer to: the name of a task, JSON, or @FILE."""


def run(flags: Flags, command: str) -> None:
    """Steer a predictor and keep it, or what was tuned of it, in its run folder."""
    base = saved.one_predictor(flags.predictor)
    flags.tuner.verify(base, flags.target, flags.fit)
    folder, checkpoint = run_folder.reserve(flags.out, flags.overwrite, flags.resume)
    what = {"predictor": flags.predictor, "tuner": flags.tuner, "target": flags.target}
    if not flags.resume:
        run_folder.write_spec(folder, command, flags.seed, **what, fit=flags.fit)
    alphabet = flags.target.outcome.alphabet
    if alphabet and (plan := flags.tuner.plan(alphabet)):
        say(f"trying {plan}")
    fitted = flags.tuner.tune(
        jax.random.key(flags.seed),
        base,
        flags.target,
        flags.fit,
        checkpoint=checkpoint,
        callbacks=None,
    )
    keep(folder, fitted, small=text_model.is_named(flags.predictor))
