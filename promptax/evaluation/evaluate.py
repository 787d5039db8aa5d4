"""Losses of predictors on the same sampled sequences, streamed; `regret` compares them.

All predictors read the same sequences, so that differences are paired; expectations that are known
exactly come along, because they sharpen the differences (`control_variates`).
"""

import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from promptax import platforms
from promptax.axes import NATS, AnyKey, labelled
from promptax.checks import kind_of
from promptax.doors import door
from promptax.evaluation.control_variates import regret as regret
from promptax.evaluation.control_variates import warn_of_nan
from promptax.evaluation.exact.expectations import Expectations, can_be_expected
from promptax.evaluation.losses import Reader, _at_once, _losses, as_rows
from promptax.evaluation.own_members import check_own
from promptax.predictors.base import Architecture
from promptax.progress import as_callbacks
from promptax.protocol.entries import check_no_nan, condition
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated
from promptax.specs import as_key, check, check_whole_numbers, to_json, traced
from promptax.tasks.base import Task, steps_to_read
from promptax.tasks.batches import held_batch, held_rows, sample_batch

if TYPE_CHECKING:
    import xarray as xr  # takes long to import; annotations alone need it here

ORACLE, BAYES = "oracle", "bayes"


PRIOR_BAYES, PROMPTED_PRIOR = "prior bayes", "prior bayes, best prompt"


MOST_LOSSES = 2**28  # 1 GB: all that are kept of one evaluation
REMEDY = "Choose fewer sequences or steps."


CHUNK = 256  # sequences at a time: the paper's training batch, which fits wherever training did


PROMPT_STEPS = 50  # the best prompt is the best for this many steps: the paper's tuning length


SHARPENED = 25_000  # beliefs of an expectation that only sharpens: a Markov chain at 200 steps


SHARPENED_STEPS = 10_000  # of such an expectation: each takes a millisecond or more


Progress = Callable[[int, int], Any]
"""Is told how many chunks of sequences were read, and of how many."""


@door
def evaluate(
    key: AnyKey,
    predictors: dict[str, Predictor | Repeated],
    target: Task,
    sequences: int = 2048,
    length: int | None = None,
    *,
    prior: Task | None = None,
    prior_prompt_length: int | None = None,
    expectations: Expectations | None = None,
    chunk: int | None = None,
    callbacks: Iterable[Progress] = (),
) -> "xr.Dataset":
    """Log losses in nats of all predictors on the same sequences of the target.

    Variables: `log_loss` [predictor, repetition, sequence, time] float32, `repetitions`
    [predictor], `expected_log_loss` [predictor, time] float64 where it is known exactly, else NaN;
    `scored` [sequence, time] if the task masks steps. Time counts 1..N. Predictors with fewer
    repetitions than others are padded with NaN.

    Added to the given predictors: "oracle" and "bayes" where the target has them; with `prior`
    "prior bayes", its exact predictor, and with `prior_prompt_length` "prior bayes, best prompt",
    the same behind the hard prompt of that length that is the best for min(50, length) steps.

    `expectations`: exact ones of this target, of any length, where the caller has them already;
    they are made here otherwise. They sharpen `regret` where they take about a second.

    Sequence i depends on the key and on i alone, whatever `sequences` and `chunk`. A target that
    holds its sequences (`Task.held`: `Recorded`, `Texts`) is read without repetition: all of them
    in their order, or `sequences` of them at random; standard errors are then those of so many
    different sequences. `length` None: steps of the longest sequence where they end, otherwise 200.
    Memory beyond the result is that of `chunk` sequences, of all of them at most. `callbacks` are
    called as callback(done, total).

    Raises:
        TypeError: no task, no dict from words to predictors, or callbacks that cannot be called.
        ValueError: sizes below 1, or too large; an alphabet that is not the target's, of
            a predictor or of the prior; a name that would be added; a predictor with NaN among its
            numbers; a best prompt without a prior, or one that cannot be found exactly.

    Losses that come out as NaN are warned of by name.

    Example: `evaluate(key, {"prior bayes": coins.bayes()}, Categorical((0.2, 0.8)), length=50)`.
    """
    key, callbacks = as_key(key), as_callbacks(callbacks)
    platforms.drop_programs()
    check_whole_numbers(
        sequences=sequences, length=length, chunk=chunk, prior_prompt_length=prior_prompt_length
    )
    check(
        sequences >= 1 and (length is None or length >= 1) and (chunk is None or chunk >= 1),
        f"Expected sequences, length and chunk of at least 1; got {sequences}, {length}, {chunk}.",
    )
    _check_predictors(predictors, target)
    length = steps_to_read(target, length, 200)
    _warn_of_drawn_lines(target, sequences)
    held = held_rows(target, key, sequences)
    sequences = sequences if held is None else len(held)
    chunk = min(chunk or CHUNK, 2 ** math.ceil(math.log2(sequences)))
    added_rows = target.has_oracle + target.has_bayes
    added_rows += (prior is not None) + (prior_prompt_length is not None)
    _check_sizes(predictors, added_rows, target, (sequences, length, chunk))
    attributes = {"unit": NATS, "target": json.dumps(to_json(target))}
    attributes |= {"sequences": sequences, "length": length}
    added: dict[str, Reader] = {ORACLE: target} if target.has_oracle else {}
    added |= {BAYES: target.bayes()} if target.has_bayes else {}
    if prior is not None or prior_prompt_length is not None:
        prior_rows, prior_attributes = _prior_rows(
            prior, prior_prompt_length, target, length, expectations
        )
        added, attributes = added | prior_rows, attributes | prior_attributes
    _check_names(predictors, added)
    rows: dict[str, Reader | Repeated] = {**predictors, **added}
    expected = _expected_log_loss(rows, target, length, expectations)
    losses, scored = _stream(key, rows, target, held, (sequences, length, chunk), callbacks)
    warn_of_nan({name: len(_repetitions(row)) for name, row in rows.items()}, losses)
    variables: dict[str, Any] = {
        "log_loss": (("predictor", "repetition", "sequence", "time"), losses, {"unit": NATS}),
        "expected_log_loss": (("predictor", "time"), expected, {"unit": NATS}),
        "repetitions": ("predictor", [len(_repetitions(row)) for row in rows.values()]),
    }
    if scored is not None:
        variables["scored"] = (("sequence", "time"), scored)
    coordinates = {
        "predictor": np.array(list(rows), dtype=object if not rows else str),
        "repetition": np.arange(losses.shape[1]),
        "time": np.arange(1, length + 1),
    }
    return labelled(variables, coordinates, attributes)


def _warn_of_drawn_lines(target: Task, sequences: int) -> None:
    """Warn where lines of a list are drawn again and again, by a task that combines them or one
    that is made of others: errors shrink with the number of draws."""
    stocks = [] if target.held is not None else list(_stocks_of(target))
    if stocks:
        warnings.warn(
            f"{type(target).__name__} draws from {stocks[0]}. Standard errors are those of "
            f"{sequences:,} draws: they say nothing of how far these stand for others like them.",
            stacklevel=4,
        )


def _stocks_of(task: Task) -> Iterator[str]:
    """What a task, and those inside it, draw from, in words, where that is a list."""
    if task.stock is not None:
        yield task.stock
        return
    for field in dataclasses.fields(task):
        value = getattr(task, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Task):
                yield from _stocks_of(part)


def _check_sizes(
    predictors: dict[str, Any], added_rows: int, target: Task, sizes: tuple[int, int, int]
) -> None:
    """Complain about more losses than are kept, and about chunks that do not fit into memory."""
    sequences, length, chunk = sizes
    most = max((len(_repetitions(row)) for row in predictors.values()), default=1)
    rows = len(predictors) + added_rows
    what = expect_few_losses(rows, most, sequences, length)
    width = target.outcome.input_width() + target.outcome.parameter_width()
    needed = 4 * rows * most * sequences * length + 4 * chunk * length * width
    platforms.expect_room(needed, f"{what}, {chunk:,} sequences at a time,", REMEDY)


def expect_few_losses(rows: int, repetitions: int, sequences: int, length: int) -> str:
    """Complain about more losses than an evaluation keeps; returns what they are, in words."""
    kept = rows * repetitions * sequences * length
    what = f"losses of {rows} predictors on {sequences:,} sequences of {length:,} steps"
    check(
        kept <= MOST_LOSSES,
        f"Expected at most {MOST_LOSSES:,} losses; got {what}, {kept:,} in all. {REMEDY} Several "
        "evaluations with keys of their own say as much.",
    )
    return what


def _check_predictors(predictors: Any, target: Any) -> None:
    if not isinstance(target, Task):
        raise TypeError(f"Expected a Task as the target; got {kind_of(target)}.")
    if not isinstance(predictors, dict):
        raise TypeError(
            f"Expected a dict from names to predictors; got {kind_of(predictors)}. Name "
            'them: promptax.evaluate(key, {"untuned": predictor}, target).'
        )
    for name, predictor in predictors.items():
        if not isinstance(name, str):
            raise TypeError(f"Expected names that are words; got {name!r}, {type(name).__name__}.")
        if not isinstance(predictor, Predictor | Repeated):
            raise TypeError(
                f"Expected a Predictor or Repeated as {name!r}; got {kind_of(predictor)}."
                + _remedy(predictor)
            )
        check(
            predictor.outcome == target.outcome,
            f"Expected a predictor over {target.outcome.words()}, as the target "
            f"{type(target).__name__} has; got {predictor.outcome.words()} in {name!r}. Pretrain "
            "one on a task like the target, or choose another target.",
        )
        if isinstance(predictor, Predictor):  # of repetitions, one that is lost spares the others
            check_no_nan(predictor, name)


def _remedy(thing: Any) -> str:
    if isinstance(thing, Architecture):
        return " Build it: architecture.build(key, symbols); or train it: promptax.pretrain."
    if isinstance(thing, Task):
        return " Pass the task's exact predictor: task.bayes()."
    return " Of what a fit returned, pass its predictor: result.predictor."


def _check_names(predictors: dict[str, Any], added: dict[str, Any]) -> None:
    for name in predictors:
        check(
            name not in added,
            f"Expected names other than {', '.join(map(repr, added))}, which evaluate adds; got "
            f"{name!r}. Leave it out, or give it another name.",
        )


def _prior_like(prior: Task, target: Task) -> str:
    """How to write the prior over the target's alphabet, if one of its fields has a number for each
    symbol; otherwise that it can be left out."""
    before, after = prior.outcome.alphabet, target.outcome.alphabet
    if before is None or after is None or not prior.has_bayes:
        return "Leave out prior."
    for field in dataclasses.fields(prior):
        value = getattr(prior, field.name)
        if not isinstance(value, tuple) or len(value) != before:
            continue
        if len(set(value)) == 1:
            over = dataclasses.replace(prior, **{field.name: value[:1] * after})
            return f"Leave out prior, or take {json.dumps(to_json(over))}."
        if all(isinstance(number, float) for number in value):
            return f"Give its {field.name} {after:,} numbers, one for each symbol."
    return "Leave out prior."


def _prior_rows(
    prior: Task | None,
    prompt_length: int | None,
    target: Task,
    length: int,
    expectations: Expectations | None,
) -> tuple[dict[str, Reader], dict[str, Any]]:
    """Rows and attributes that come with the pretraining task."""
    if prior is None:
        raise ValueError(
            f"Expected prior with prior_prompt_length={prompt_length}; got none. Pass the "
            "pretraining task: prior=task."
        )
    check(
        prior.has_bayes and prior.outcome == target.outcome,
        f"Expected a prior over {target.outcome.words()} with an exact predictor; got "
        f"{type(prior).__name__} over {prior.outcome.words()}. {_prior_like(prior, target)}",
    )
    rows: dict[str, Reader] = {PRIOR_BAYES: prior.bayes()}
    attributes: dict[str, Any] = {"prior": json.dumps(to_json(prior))}
    if prompt_length is not None:
        check(prompt_length >= 0, f"Expected prior_prompt_length from 0 up; got {prompt_length}.")
        judged_length = min(PROMPT_STEPS, length)
        expectations = (expectations or Expectations(target, judged_length)).at(judged_length)
        best = expectations.best_prompt(prior.bayes(), prompt_length).tokens
        prompted = condition(prior.bayes(), jnp.asarray(best, jnp.int32)) if best else prior.bayes()
        rows[PROMPTED_PRIOR] = prompted
        attributes["prior_prompt"] = json.dumps(best)
    return rows, attributes


def _expected_log_loss(
    rows: dict[str, Any], target: Task, length: int, expectations: Expectations | None
) -> Float[np.ndarray, "predictor time"]:
    """Exact expectations in nats; NaN where they are unknown, or would take long."""
    expected = np.full((len(rows), length), np.nan)
    if not can_be_expected(target) or length > SHARPENED_STEPS:
        return expected
    expectations = (expectations or Expectations(target, length, SHARPENED)).at(length)
    # Whoever merges has at least the target's own beliefs: if those are too many, all have more.
    if np.isnan(_loss_if_affordable(expectations, expectations.bayes)).any():
        return expected
    for index, row in enumerate(rows.values()):
        if isinstance(row, Task) or (isinstance(row, Predictor) and row.merges):
            expected[index] = _loss_if_affordable(expectations, row)
    return expected


def _loss_if_affordable(expectations: Expectations, reader: Reader) -> Float[np.ndarray, " time"]:
    """Expected losses in nats; NaN where they would take too long, or nobody wrote the oracle's."""
    try:
        return expectations.oracle_loss if isinstance(reader, Task) else expectations.loss(reader)
    except (ValueError, NotImplementedError):  # the message says why; sampled losses suffice here
        return np.full(expectations.length, np.nan)


def _repetitions(row: Any) -> Repeated | list[Reader]:
    """What has a length and is indexed by repetition."""
    return row if isinstance(row, Repeated) else [row]


def _stream(
    key: Array,
    rows: dict[str, Any],
    target: Task,
    held: np.ndarray | None,
    sizes: tuple[int, int, int],
    callbacks: tuple[Progress, ...],
) -> tuple[np.ndarray, np.ndarray | None]:
    """Losses [predictor, repetition, sequence, time] and the mask, chunk by chunk."""
    sequences, length, chunk = sizes
    mesh = platforms.mesh(1, chunk, max(map(platforms.size, rows.values()), default=0))
    task = traced(target)
    readers = [_repetitions(platforms.everywhere(traced(row), mesh)) for row in rows.values()]
    most = max(map(len, readers), default=1)
    losses = np.full((len(rows), most, sequences, length), np.nan, np.float32)
    scored, done = None, 0
    total = math.ceil(sequences / chunk) * sum(map(len, readers))
    for first in range(0, sequences, chunk):
        part = slice(first, min(first + chunk, sequences))
        # the last chunk draws sequences that are not kept: another shape would compile again
        indices = jnp.arange(first, first + chunk)
        if held is None:
            episodes = sample_batch(task, _keys(key, indices), length)
        else:
            episodes = held_batch(task, jnp.asarray(held)[indices % len(held)], length)
        if episodes.scored is not None:
            scored = np.zeros((sequences, length), bool) if scored is None else scored
            scored[part] = np.asarray(episodes.scored)[: part.stop - first]
        episodes = platforms.everywhere(episodes, mesh)
        observed = dataclasses.replace(episodes, latent=None)  # one program, whatever was hidden
        for index, repetitions in enumerate(readers):
            for repetition in range(len(repetitions)):
                reader, read = repetitions[repetition], episodes
                if first == repetition == 0:
                    check_own(reader, read, target.outcome)
                if not isinstance(reader, Task):
                    reader, read = as_rows(reader), observed
                at_once = _at_once(reader, chunk, length, mesh)
                with jax.default_matmul_precision("float32"):  # accelerators round otherwise
                    chunk_losses = _losses(reader, target.outcome, read, at_once, mesh)
                losses[index, repetition, part] = np.asarray(chunk_losses)[: part.stop - first]
                done += 1
                for callback in callbacks:
                    callback(done, total)
    return losses, scored


@jax.jit
def _keys(key: Array, indices: Array) -> Array:
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, indices)
