"""What `promptax pretrain` and `promptax tune` share: their flags, and what they leave behind."""

import dataclasses
from pathlib import Path

from promptax import store
from promptax.axes import NATS
from promptax.cli.printing import say
from promptax.cli.saved import ADAPTER
from promptax.fit.fitted import Fitted
from promptax.fit.settings import FitSettings
from promptax.language.adapters import save_adapter
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting:
    """The flags of everything that is fitted."""

    out: str
    """Run folder to write."""
    fit: FitSettings = dataclasses.field(default_factory=FitSettings)
    """How to fit."""
    seed: int = 0
    """Makes initial values and data."""
    overwrite: bool = False
    """Replace the results of an earlier run in that folder."""
    resume: bool = False
    """Continue the run in that folder from its checkpoint."""


def keep(folder: Path, fitted: Fitted, small: bool = False) -> None:
    """Keep the predictor and its losses; `small`: of the predictor only what was tuned, if that has
    the form of an adapter."""
    if not (small and _as_adapter(folder / ADAPTER, fitted.predictor)):
        store.save(folder / "predictor.safetensors", fitted.predictor)
    store.save(folder / "results.nc", fitted.history)
    last = fitted.loss[:, -20:]
    if last.size:
        say(f"loss over the last {last.shape[1]} steps: {last.mean():.3f} {NATS} per sequence")
    if fitted.cost is not None:
        say(f"cost: {fitted.cost.in_words()}")
    if hasattr(fitted.predictor, "prompt") and fitted.scores is not None:
        say(f"prompt: {fitted.prompt}")
    say(f"written to {folder}")


def _as_adapter(folder: Path, predictor: Predictor | Repeated) -> bool:
    """Save an adapter; whether there is a form for it."""
    if isinstance(predictor, Repeated):
        return False
    try:
        save_adapter(folder, predictor)
    except (ValueError, TypeError) as error:
        say(f"saving the whole predictor, because no adapter can hold it: {error}")
        return False
    return True
