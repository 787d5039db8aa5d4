"""What a predictor's regret is made of: terms that add up to it exactly.

For a predictor π behind a prompt s, N steps, and training on sequences of T symbols; ξ is the exact
predictor of the pretraining task, s* its best hard prompt of at most as many symbols as s, and R
cumulative regret to the target's oracle:

    floor           R(target's own Bayes; N)     what nobody can avoid
    prior mismatch  R(ξ, s*; N) - floor          what no prompt of tokens can remove
    search gap      R(ξ, s; N) - R(ξ, s*; N)     another prompt was better
    amortisation    R(π, s; n) - R(ξ, s; n)      π is not ξ on the n = min(N, T - |s|) trained steps
    extrapolation   the same for the steps after n: π is not ξ beyond what it was trained on

Soft prompts, mixtures of prompts and tuned weights have no ξ behind one s. For them search gap and
amortisation are one term, *beyond any prompt of tokens*: R(π; n) - R(ξ, s*; n), which is below zero
where they went where no tokens could.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int, Key

from promptax.analysis.exhaustive import expected_regret
from promptax.analysis.promptability import promptability
from promptax.axes import NATS
from promptax.control_variates import spans
from promptax.evaluation import evaluate
from promptax.mixture import PromptedMixture
from promptax.protocol import Predictor, Prompted, Repeated, Wrapper, condition, rows_in
from promptax.specs import check
from promptax.tasks.base import Task

FLOOR, MISMATCH, SEARCH = "floor", "prior mismatch", "search gap"
AMORTISATION, BEYOND, EXTRAPOLATION = (
    "amortisation",
    "beyond any prompt of tokens",
    "extrapolation",
)
MEASURED, BEHIND_PROMPT = "measured", "prior bayes behind the prompt"


def ledger(
    key: Key[Array, ""],
    predictor: Predictor,
    prior: Task,
    target: Task,
    steps: int = 50,
    trained_length: int = 100,
    prompt: Sequence[int] | Int[Any, " prompt"] | None = None,
    *,
    tuned_weights: bool = False,
    sequences: int = 2048,
) -> xr.Dataset:
    """The terms of a predictor's regret on the target, which add up to it exactly.

    Args:
        key: makes the sequences.
        predictor: one predictor, as it is: untuned, behind its prompt, or with tuned weights.
        prior: the pretraining task, with an exact predictor.
        target: the task that is judged on, with an oracle and an exact predictor.
        steps: N, steps over which regret is summed.
        trained_length: T, symbols in a sequence that the predictor was pretrained on.
        prompt: tokens that the predictor is to read first. None: it has read its own already, if it
            has any; its tokens are the prompt s then. A soft prompt's rows count as symbols.
        tuned_weights: the predictor's weights were tuned to the target.
        sequences: how many to sample; all terms are of the same ones.

    Returns:
        [term]: `nats`, `standard_error` (0 where the term is exact), `low`, `high`: two standard
        errors below and above. Scalars `regret`, `regret_standard_error`: the measured regret that
        the terms add up to. Attributes: `steps`, `trained_length`, `judged_length` (n), `prompt`
        (s, if it is of tokens), `best_prompt` (s*).

    Raises:
        TypeError: not one predictor (repetitions: pick one).
        ValueError: sizes below 1, other alphabets, two prompts, or tasks that are not exact at N.

    Example: `ledger(key, base, coins, target, prompt=[0, 1, 1, 1, 1, 1]).nats.to_series()`.
    """
    check(
        steps >= 1 and trained_length >= 1,
        f"Expected at least 1 step and a trained length of at least 1; got {steps} and "
        f"{trained_length}.",
    )
    if not isinstance(predictor, Predictor):
        raise TypeError(
            f"Expected one predictor; got {type(predictor).__name__}. Of repetitions pick one: "
            "predictor[0]."
        )
    predictor, tokens, read = _prompted(predictor, prompt)
    tokens = None if tuned_weights else tokens
    longest = read if tokens is None else len(tokens)
    best = promptability(prior, target, longest, steps)
    best_prompt = _best_up_to(best.table)
    own = best_prompt if tokens is None else tokens
    behind = _behind(prior.bayes(), own)
    judged = max(0, min(steps, trained_length - read))
    rows: dict[str, Predictor | Repeated] = {MEASURED: predictor, BEHIND_PROMPT: behind}
    results = evaluate(key, rows, target, sequences, steps)
    parts, errors = spans(results, MEASURED, [judged, steps])
    (total,), (total_error,) = spans(results, MEASURED, [steps])
    floor = float(expected_regret(target.bayes(), target, steps).sum())
    exact = expected_regret(behind, target, steps)
    terms = {FLOOR: (floor, 0.0), MISMATCH: (best.best_up_to - floor, 0.0)}
    if tokens is not None:
        terms[SEARCH] = float(exact.sum()) - best.best_up_to, 0.0
    within = AMORTISATION if tokens is not None else BEYOND
    terms[within] = float(parts[0] - exact[:judged].sum()), float(errors[0])
    terms[EXTRAPOLATION] = float(parts[1] - exact[judged:].sum()), float(errors[1])
    return _labelled(terms, float(total), float(total_error)).assign_attrs(
        unit=NATS,
        steps=steps,
        trained_length=trained_length,
        judged_length=judged,
        best_prompt=best_prompt,
        **({} if tokens is None else {"prompt": tokens}),
    )


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
        return _behind(predictor, given.tolist()), given.tolist(), len(given)
    tokens: list[int] | None = []
    rows, inner = 0, predictor
    while isinstance(inner, Wrapper):  # prompts may be nested: the innermost is read first
        if isinstance(inner, Prompted):
            shown = np.asarray(inner.prompt)
            rows += rows_in(inner.reads.inputs())
            whole = np.issubdtype(shown.dtype, np.integer)
            tokens = [*shown.tolist(), *tokens] if whole and tokens is not None else None
        else:
            tokens = None
        if isinstance(inner, PromptedMixture):  # side by side: as many as the longest
            rows += max(rows_in(each.inputs()) for each in inner.reads)
        inner = inner.predictor
    return predictor, tokens, rows


def _behind(predictor: Predictor, tokens: list[int]) -> Predictor:
    return condition(predictor, jnp.asarray(tokens, jnp.int32)) if tokens else predictor


def _best_up_to(table: xr.Dataset) -> list[int]:
    """The tokens of the best prompt in a table of promptability."""
    row = table.isel(prompt_length=int(np.argmin(np.round(table["regret"].values, 9))))
    if "tokens" in table:
        return [int(token) for token in row["tokens"].values if token >= 0]
    counts: Float[np.ndarray, " symbol"] = row["counts"].values
    return [int(token) for token in np.repeat(np.arange(len(counts)), counts)]


def _labelled(
    terms: dict[str, tuple[float, float]], total: float, total_error: float
) -> xr.Dataset:
    nats = np.array([value for value, _ in terms.values()]) + 0.0  # no minus zero
    errors = np.array([error for _, error in terms.values()])
    unit = {"unit": NATS}
    return xr.Dataset(
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
