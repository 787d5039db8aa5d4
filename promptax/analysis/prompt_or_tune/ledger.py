"""What a predictor's regret is made of: terms that add up to it exactly.

For a predictor π behind a prompt s, N steps, and training on sequences of T symbols; ξ is the exact
predictor of the pretraining task, s* its best hard prompt of at most as many symbols as s, s∞ that
of any length (of those that are tried, or what long ones are known to lead to), and R cumulative
regret to the target's oracle:

    floor             R(target's own Bayes; N)       what nobody can avoid
    prior mismatch    R(ξ, s∞; N) - floor            what no prompt of tokens can remove
    prompt too short  R(ξ, s*; N) - R(ξ, s∞; N)      a longer prompt was better
    search gap        R(ξ, s; N) - R(ξ, s*; N)       another prompt was better
    amortisation      R(π, s; n) - R(ξ, s; n)        π is not ξ, first n = min(N, T - |s|) steps
    extrapolation     the same for later steps       π is not ξ beyond the length it was trained on

Soft prompts, mixtures of prompts and tuned weights have no ξ behind one s. For them the three terms
before extrapolation are one, *beyond any prompt of tokens*: R(π; n) - R(ξ, s∞; n), which is below
zero where they went where no tokens could.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Int

from promptax.analysis.prompt_or_tune.best_prompts import (
    behind,
    best_tokens,
    exact_expectations,
)
from promptax.analysis.prompt_or_tune.limits import limits
from promptax.analysis.prompt_or_tune.longer_prompts import longer_prompts
from promptax.axes import NATS, AnyKey, labelled
from promptax.checks import warn
from promptax.doors import door
from promptax.evaluation.control_variates import regret_of_spans
from promptax.evaluation.evaluate import evaluate, expect_few_losses
from promptax.fit.settings import USUAL_LENGTH
from promptax.predictors.base import Network
from promptax.protocol.mixture import PromptedMixture
from promptax.protocol.predictor import Predictor, rows_in
from promptax.protocol.prompted import Prompted, Wrapper
from promptax.protocol.repeated import Repeated
from promptax.specs import as_key, check, check_whole_numbers
from promptax.tasks.base import Task

FLOOR, MISMATCH = "floor", "prior mismatch"
TOO_SHORT, SEARCH = "prompt too short", "search gap"
AMORTISATION, BEYOND, EXTRAPOLATION = (
    "amortisation",
    "beyond any prompt of tokens",
    "extrapolation",
)
MEASURED, BEHIND_PROMPT = "measured", "prior bayes behind the prompt"


@door
def ledger(
    key: AnyKey,
    predictor: Predictor,
    prior: Task,
    target: Task,
    steps: int = 50,
    trained_length: int | None = None,
    prompt: Sequence[int] | Int[Any, " prompt"] | None = None,
    *,
    tuned_weights: bool = False,
    sequences: int = 2048,
    longest: int = 1000,
) -> xr.Dataset:
    """The terms of a predictor's regret on the target, which add up to it exactly.

    Args:
        key: makes the sequences.
        predictor: one predictor, as it is: untuned, behind its prompt, or with tuned weights.
        prior: the pretraining task, with an exact predictor.
        target: the task that is judged on, with an oracle and an exact predictor.
        steps: N, steps over which regret is summed.
        trained_length: T, symbols in a sequence that the predictor was pretrained on. A predictor
            does not know it. None: 100, as `pretrain` has it; of a network that is a guess, of
            which it warns.
        prompt: tokens that the predictor is to read first. None: it has read its own already, if it
            has any; its tokens are the prompt s then. A soft prompt's rows count as symbols.
        tuned_weights: the predictor's weights were tuned to the target, which it does not know
            either. Say so, or what they gained passes for amortisation.
        sequences: how many to sample; all terms are of the same ones.
        longest: the exact predictor's prompts are tried up to that length, as by `diagnose`.

    Returns:
        [term]: `nats`, `standard_error` (0 where the term is exact), `low`, `high`: two standard
        errors below and above. Scalars `regret`, `regret_standard_error`: the measured regret that
        the terms add up to. Attributes: `steps`, `trained_length`, `judged_length` (n), and of
        a prompt of tokens `prompt` (s) and `best_prompt` (s*).

    Raises:
        TypeError: not one predictor (repetitions: pick one).
        ValueError: sizes below 1, other alphabets, two prompts, or tasks that are not exact at N.

    Example: `ledger(key, base, coins, target, prompt=[0, 1, 1, 1, 1, 1]).nats.to_series()`.
    """
    key = as_key(key)
    check_whole_numbers(steps=steps, trained_length=trained_length, sequences=sequences)
    check(
        steps >= 1 and (trained_length is None or trained_length >= 1),
        f"Expected at least 1 step and a trained length of at least 1; got {steps} and "
        f"{trained_length}.",
    )
    if not isinstance(predictor, Predictor):
        raise TypeError(
            f"Expected one predictor; got {type(predictor).__name__}. Of repetitions pick one: "
            "predictor[0]."
        )
    expect_few_losses(2, 1, sequences, steps)  # what comes next takes a while
    predictor, tokens, read = _prompted(predictor, prompt)
    tokens = None if tuned_weights else tokens
    trained_length = _trained_length(predictor, trained_length)
    length = read if tokens is None else len(tokens)
    expectations = exact_expectations(prior, target, length, steps)
    table = longer_prompts(prior, expectations, length, max(length, longest))
    best = limits(prior, expectations, table).predictor
    exact = behind(prior.bayes(), tokens) if tokens is not None else best
    judged = max(0, min(steps, trained_length - read))
    rows: dict[str, Predictor | Repeated] = {MEASURED: predictor, BEHIND_PROMPT: exact}
    results = evaluate(key, rows, target, sequences, steps, expectations=expectations)
    parts, errors = regret_of_spans(results, MEASURED, [judged, steps])
    (total,), (total_error,) = regret_of_spans(results, MEASURED, [steps])
    floor = float(expectations.regret(expectations.bayes).sum())
    of_exact = expectations.regret(exact)
    reached = float(expectations.regret(best).sum())
    terms = {FLOOR: (floor, 0.0), MISMATCH: (reached - floor, 0.0)}
    prompts: dict[str, Any] = {}
    if tokens is not None:
        short = table.sel(prompt_length=slice(0, length))
        prompts = {"prompt": tokens, "best_prompt": best_tokens(short).tolist()}
        least = float(short["regret"].min())
        terms[TOO_SHORT] = least - reached, 0.0
        terms[SEARCH] = float(of_exact.sum()) - least, 0.0
    within = AMORTISATION if tokens is not None else BEYOND
    terms[within] = float(parts[0] - of_exact[:judged].sum()), float(errors[0])
    terms[EXTRAPOLATION] = float(parts[1] - of_exact[judged:].sum()), float(errors[1])
    return _labelled(terms, float(total), float(total_error)).assign_attrs(
        unit=NATS,
        steps=steps,
        trained_length=trained_length,
        judged_length=judged,
        **prompts,
    )


def _trained_length(predictor: Predictor, given: int | None) -> int:
    """T, or the usual one; a warning if that is a guess about a network."""
    inner = predictor
    while isinstance(inner, Wrapper):
        inner = inner.predictor
    if given is None and isinstance(inner, Network):
        warn(
            f"ledger takes the network for one that was pretrained on sequences of {USUAL_LENGTH} "
            "symbols, which says where extrapolation begins. Say how many they had: "
            f"trained_length={USUAL_LENGTH}."
        )
    return given or USUAL_LENGTH


def _prompted(predictor: Predictor, prompt: Any) -> tuple[Predictor, list[int] | None, int]:
    """The predictor behind its prompt; the prompt's tokens, None if it is not of tokens; how many
    rows were read."""
    if prompt is not None:
        check(
            not isinstance(predictor, Wrapper),
            "Expected prompt=None with a predictor that has read a prompt already; got "
            f"{prompt}. Give the predictor inside: predictor.predictor.",
        )
        given = np.asarray(prompt, np.int32).reshape(-1)
        return behind(predictor, given.tolist()), given.tolist(), len(given)
    tokens: list[int] | None = []
    rows, inner = 0, predictor
    while isinstance(inner, Wrapper):  # prompts may be nested: the innermost is read first
        if isinstance(inner, Prompted):
            shown = np.asarray(inner.prompt)
            rows += rows_in(inner.context.inputs())
            whole = np.issubdtype(shown.dtype, np.integer)
            tokens = [*shown.tolist(), *tokens] if whole and tokens is not None else None
        else:
            tokens = None
        if isinstance(inner, PromptedMixture):  # side by side: as many as the longest
            rows += max(rows_in(prompt.inputs()) for prompt in inner.context)
        inner = inner.predictor
    return predictor, tokens, rows


def _labelled(
    terms: dict[str, tuple[float, float]], total: float, total_error: float
) -> xr.Dataset:
    nats = np.array([value for value, _ in terms.values()]) + 0.0  # no minus zero
    errors = np.array([error for _, error in terms.values()])
    unit = {"unit": NATS}
    return labelled(
        {
            "nats": ("term", nats, unit),
            "standard_error": ("term", errors, unit),
            "low": ("term", nats - 2 * errors, unit),
            "high": ("term", nats + 2 * errors, unit),
            "regret": ((), total, unit),
            "regret_standard_error": ((), total_error, unit),
        },
        coords={"term": list(terms)},
    )
