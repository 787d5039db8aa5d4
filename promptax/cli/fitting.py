"""What `promptax pretrain` and `promptax tune` share: their flags, and what they leave behind."""

import dataclasses
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from promptax import store
from promptax.axes import NATS
from promptax.cli.printing import note, say
from promptax.cli.saved import ADAPTER
from promptax.experiments import run_folder
from promptax.fit.fitted import Fitted
from promptax.fit.settings import FitSettings
from promptax.language.adapters import save_adapter
from promptax.language.tokenizer import SMOLLM2, Tokenizer
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import Prompted
from promptax.protocol.repeated import Repeated
from promptax.tasks import Task

HUB_NAMES = {SMOLLM2: "HuggingFaceTB/SmolLM2-135M-Instruct"}  # as PEFT finds them


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

    def at_work(
        self, command: str, reads: Iterable[str] = ()
    ) -> AbstractContextManager[run_folder.At]:
        """Hold the run folder while the fit runs; `reads`: what the command reads."""
        return run_folder.at_work(
            self.out,
            command,
            overwrite=self.overwrite,
            resume=self.resume,
            reads=reads,
            tell=note,
        )


def tell_data(task: Task) -> None:
    """Say what was read, before anything is computed."""
    if task.in_words():
        note(f"{type(task).__name__}: {task.in_words()}")


def keep(folder: Path, fitted: Fitted, base: str = "") -> None:
    """Keep the predictor and its losses.

    `base`: the language model that was tuned. Of the predictor only what was tuned is kept then, if
    that has the form of an adapter.
    """
    if base == "" or not _as_adapter(folder / ADAPTER, fitted.predictor, base):
        store.save(folder / "predictor.safetensors", fitted.predictor)
    store.save(folder / "results.nc", fitted.history)


def show_fit(fitted: Fitted, out: str, tokenizer: Tokenizer | None = None) -> None:
    """Print what a fit came to: its last losses, its cost, and a prompt of tokens.

    `tokenizer`: of the language model that was tuned; the prompt is then shown as text, too.
    """
    last = fitted.loss[:, -20:]
    if last.size:
        say(f"loss over the last {last.shape[1]} steps: {last.mean():.3f} {NATS} per sequence")
    else:
        note(f"0 updates: what is written to {out} is untrained")
    if fitted.cost is not None:
        say(f"cost: {fitted.cost.in_words()}")
    for tokens in prompts_of(fitted.predictor):
        say(f"prompt: {' '.join(map(str, tokens))}")
        if tokenizer is not None:
            say(f"as text: {in_text(tokenizer, tokens)}")
    note(f"written to {out}")


def in_text(tokenizer: Tokenizer, tokens: list[int]) -> str:
    """A prompt as text, and whether the text stands for it: not every row of tokens is what its
    own text is encoded to."""
    is_kept = tokenizer.survives(tokens)
    verdict = "is encoded to these tokens" if is_kept else "is encoded to other tokens: keep these"
    return f"{tokenizer.decode(tokens)!r}, which {verdict}"


def prompts_of(predictor: Predictor | Repeated) -> list[list[int]]:
    """The prompts of tokens that a predictor reads first, one for each repetition."""
    if isinstance(predictor, Repeated):
        return [prompt for part in predictor for prompt in prompts_of(part)]
    shown = predictor.prompt if isinstance(predictor, Prompted) else np.zeros(0)
    is_of_tokens = isinstance(shown, jax.Array) and jnp.issubdtype(shown.dtype, jnp.integer)
    return [np.asarray(shown).tolist()] if is_of_tokens and shown.ndim == 1 else []


def _as_adapter(folder: Path, predictor: Predictor | Repeated, base: str) -> bool:
    """Save an adapter for a language model. Returns whether there is a form for it."""
    if isinstance(predictor, Repeated):
        return False
    try:
        save_adapter(folder, predictor, HUB_NAMES.get(base, base))
    except (ValueError, TypeError) as error:
        note(f"saving the whole predictor, because no adapter can hold it: {error}")
        return False
    return True
