"""Phasing a prompt out while weights are tuned, until they need none.

    stage s:   the pieces p_1 … p_⌈share_s · n⌉ are read before every sequence,     share_last = 0

Zou et al. 2024, "PromptIntern: Saving Inference Costs by Internalizing Recurrent Prompt during
Large Language Model Fine-tuning" (arXiv 2407.02211). A piece is what goes as a whole: a
demonstration, or one symbol of a template. The last stage has no prompt, so that what comes out
reads none. The first pieces stay longest.

A function and no tuner: it tunes several times, and each stage is a `Fitted` of its own.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from promptax.axes import AnyKey
from promptax.checks import as_numbers
from promptax.doors import door
from promptax.fit.fitted import Fitted, check_keeping
from promptax.fit.logs import Logs, continued
from promptax.fit.loop import fit
from promptax.fit.settings import FitSettings
from promptax.progress import Callback
from promptax.protocol.entries import as_tokens
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import GivenPrompt, Prompted
from promptax.specs import as_key, check, check_kind
from promptax.steering.base import check_one
from promptax.steering.gradient import WeightTuner
from promptax.tasks.base import Task, steps_to_read


class Interned(NamedTuple):
    """What phasing out returns."""

    predictor: Predictor
    """The tuned predictor, which reads no prompt."""
    stages: tuple[Fitted, ...]
    """The fit of each stage; its predictor reads what that stage had of the prompt."""

    @property
    def tokens(self) -> int:
        """Tokens that all stages read, prompts included: what direct tuning may be given, too."""
        costs = [stage.cost for stage in self.stages]
        return int(sum(cost.tokens_forward[0, -1] for cost in costs if cost is not None))


@door
def intern_prompt(
    key: AnyKey,
    tuner: WeightTuner,
    predictor: Predictor,
    pieces: Sequence[Sequence[int]],
    target: Task,
    settings: FitSettings | None = None,
    *,
    shares: Sequence[float] = (1.0, 0.5, 0.0),
    callbacks: Sequence[Callback] | None = None,
) -> Interned:
    """Tune weights behind less and less of a prompt.

    Args:
        key: makes initial values and data.
        tuner: which weights are tuned, such as `LowRank()`; the same ones in all stages.
        predictor: the network, without the prompt.
        pieces: the prompt's pieces in order, each a row of symbols.
        target: the task whose log loss is made small, behind the prompt and at last without it.
        settings: `steps` are those of all stages together, shared equally; the first stages get
            what is left over. The schedule of the rate, and Adam's moments, begin anew with a
            stage. One repetition.
        shares: the share of the pieces that each stage reads, rounded up; falling, and 0 at last.
        callbacks: as those of `pretrain`, of each stage. Logs among them hear of all stages as of
            one fit.

    Each stage compiles anew, for its prompt has another length. To compare with direct tuning at
    equal tokens, see `Interned.tokens`.

    Raises:
        TypeError: the tuner tunes no weights of this predictor.
        ValueError: shares that do not end at 0, symbols that are not in the alphabet, fewer steps
            than stages, or several repetitions.

    Example: `intern_prompt(key, LowRank(), network, [[0, 1], [1, 1]], coin, settings).predictor`
    """
    key = as_key(key)
    if not isinstance(tuner, WeightTuner):
        raise TypeError(
            f"Expected a tuner of weights, which can take a prompt over; got "
            f"{type(tuner).__name__}. LowRank() and FullWeights() tune weights."
        )
    check_one(predictor)
    check_kind(target, Task, "Categorical((0.2, 0.8))")
    settings = FitSettings() if settings is None else settings
    check_kind(settings, FitSettings, "FitSettings(steps=90)")
    settings = settings.filled(
        length=steps_to_read(target, settings.length, 50),
        learning_rate=tuner.rate_on(predictor),
    )
    check_keeping(None, callbacks, ())
    rows = _rows_of(predictor, pieces)
    _check_plan(settings, shares)
    tuner.verify(predictor, target, settings)
    start, *keys = jax.random.split(key, len(shares) + 1)
    network, stages = tuner.steer(start, predictor), []
    of_all = continued(callbacks, settings.steps)
    with Logs(callbacks):  # closes them after the last stage
        for stage, (share, stage_key) in enumerate(zip(shares, keys, strict=True)):
            steps = settings.steps // len(shares) + (stage < settings.steps % len(shares))
            behind = _behind(network, rows, share)

            def make(key: Key[Array, ""], behind: Predictor = behind) -> Predictor:
                del key  # every stage goes on from the last one
                return behind

            fitted = fit(
                stage_key,
                make,
                tuner.where,
                target,
                dataclasses.replace(settings, steps=steps, warmup=min(settings.warmup, steps)),
                objective=tuner.objective,
                watched=tuner.watched if settings.clip_over == "all" else None,
                callbacks=of_all,
                description=f"stage {stage + 1} of {len(shares)}",
            )
            stages.append(fitted)
            tuned = fitted.predictor
            assert isinstance(tuned, Predictor)  # there is one repetition
            network = _without(tuned) if behind is not network else tuned
    return Interned(network, tuple(stages))


def _behind(network: Predictor, rows: Sequence[np.ndarray], share: float) -> Predictor:
    """The network behind the first pieces of the prompt; itself, where none is left."""
    count = math.ceil(share * len(rows) - 1e-9)  # 0.3 of 10 pieces are 3, whatever rounding says
    tokens = np.concatenate(rows[:count] or [[]])
    if not len(tokens):
        return network
    return Prompted(network, GivenPrompt(jnp.asarray(tokens, jnp.int32)))


def _without(prompted: Predictor) -> Predictor:
    """What has read the prompt."""
    assert isinstance(prompted, Prompted)
    return prompted.predictor


def _rows_of(
    predictor: Predictor, pieces: Sequence[Sequence[int]]
) -> list[Int[np.ndarray, " prompt"]]:
    """The pieces as rows of symbols, after a look at them as they were given."""
    symbols = predictor.outcome.alphabet
    if symbols is None:
        raise TypeError(
            f"Expected a predictor of symbols, of which prompts are; got one of "
            f"{predictor.outcome.words()}."
        )
    expected = "pieces of a prompt, each a row of symbols (int)"
    return [np.asarray(as_tokens(piece, symbols, expected, "predictor")) for piece in pieces]


def _check_plan(settings: FitSettings, shares: Sequence[float]) -> None:
    """Complain about a plan that is none, before any compute."""
    numbers = as_numbers("shares", shares)
    are_shares = numbers.ndim == 1 and numbers.size > 0 and numbers[-1] == 0 and numbers[0] <= 1
    check(
        are_shares and bool((np.diff(numbers) <= 0).all()),
        "Expected shares of the prompt that fall from at most 1 to 0, so that the last stage reads "
        f"no prompt; got {tuple(shares) if numbers.ndim else shares}.",
    )
    check(
        settings.repetitions == 1,
        f"Expected one repetition, which each stage hands on; got {settings.repetitions}. Call it "
        "once for each, with keys of their own.",
    )
    check(
        settings.steps >= len(shares),
        f"Expected at least a step for each of {len(shares)} stages; got {settings.steps}.",
    )
