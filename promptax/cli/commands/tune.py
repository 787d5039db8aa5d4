"""Steer a saved predictor to a target task."""

import dataclasses

import jax

from promptax.cli import saved
from promptax.cli.alphabets import check_names
from promptax.cli.arguments import choice
from promptax.cli.fitting import Fitting, keep, show_fit, tell_data
from promptax.cli.printing import note
from promptax.experiments import run_folder
from promptax.fit.logs.metrics_file import MetricsFile
from promptax.fit.settings import FitSettings
from promptax.language import text_model
from promptax.language.tokenizer import Tokenizer
from promptax.progress import METRICS, Bar
from promptax.specs import check
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
    budget: int | None = None
    """Searches over prompts: tokens to read at most; short for --fit.budget."""

    def settings(self) -> FitSettings:
        """How to fit, the budget included."""
        if self.budget is None:
            return self.fit
        check(
            self.fit.budget in (None, self.budget),
            f"Expected one budget; got --budget {self.budget} and --fit.budget {self.fit.budget}.",
        )
        return dataclasses.replace(self.fit, budget=self.budget)


imply = saved.with_tokenizer


def run(flags: Flags, command: str) -> None:
    """Steer a predictor and keep it, or what was tuned of it, in its run folder."""
    base, settings = saved.one_predictor(flags.predictor), flags.settings()
    check_names([flags.predictor], target=flags.target)
    flags.tuner.verify(base, flags.target, settings)
    where = saved.lasting(flags.predictor)
    what = {"predictor": where, "tuner": flags.tuner, "target": flags.target, "fit": settings}
    alphabet = flags.target.outcome.alphabet
    name = type(flags.tuner).__name__
    tell_data(flags.target)
    with flags.at_work(command, reads=[flags.predictor]) as at:
        if not at.is_resumed:
            run_folder.write_spec(at.folder, command, flags.seed, **what)
        if alphabet and (plan := flags.tuner.plan(alphabet)):
            note(f"trying {plan}")
        fitted = flags.tuner.tune(
            jax.random.key(flags.seed),
            base,
            flags.target,
            settings,
            checkpoint=at.checkpoint,
            callbacks=(Bar(name), MetricsFile(at.folder / METRICS, "tuning")),
        )
        keep(at.folder, fitted, base=where if text_model.is_named(where) else "")
    is_of_text = text_model.is_named(where)
    show_fit(fitted, flags.out, Tokenizer.named(where) if is_of_text else None)
