"""What an experiment does: pretrain, steer to each target by every method, measure all of it.

Every stage is a fit, and every fit can keep a checkpoint: where the caller says what keeps it, an
experiment that was killed goes on where it was.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Int, Key

from promptax import platforms
from promptax.analysis import effective_priors, state_map
from promptax.axes import labelled
from promptax.evaluation.control_variates import regret
from promptax.evaluation.evaluate import PROMPT_STEPS, evaluate
from promptax.evaluation.exact.expectations import Expectations, can_be_expected
from promptax.experiments.groups import PRETRAINING, UNTUNED, Steered, groups_of, slug
from promptax.experiments.labelling import label_results
from promptax.experiments.measurement import Announce, Keep, Stage, keep_nothing, silent
from promptax.experiments.plan import Plan
from promptax.fit.fitted import Checkpoint, Fitted
from promptax.fit.logs.base import Log
from promptax.fit.loop import pretrain
from promptax.progress import Callback, Together
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated
from promptax.steering import Search
from promptax.tasks import Task
from promptax.tasks.batches import batch_to_measure

STATE_SEQUENCES, BACKGROUND_SEQUENCES = 20, 100  # Genewein et al. 2025, Figure 2


def measure_experiment(
    plan: Plan, seed: int, announce: Announce = silent, keep: Keep = keep_nothing
) -> Iterator[Stage]:
    """The experiment's groups of results, by name.

    Several methods may be tuned at once: they share the bars of `announce`, and each has logs of
    its own.
    """

    def bars(what: str) -> Sequence[Callback]:
        return [callback for callback in announce(what) if not isinstance(callback, Log)]

    def logs(fit: str) -> Sequence[Callback]:
        return [callback for callback in announce(fit) if isinstance(callback, Log)]

    workers = platforms.tunings_at_once()
    for stage in run_stages(plan, seed, bars, workers, keep, logs):
        yield from groups_of(stage)


def run_stages(
    plan: Plan,
    seed: int,
    announce: Announce = silent,
    workers: int = 1,
    keep: Keep = keep_nothing,
    log: Announce = silent,
) -> Iterator[Fitted | Steered]:
    """The experiment from the beginning: the pretraining, then each target in turn.

    `log`: the name of a fit → who hears its numbers (`promptax.fit.Log`).
    """
    key = jax.random.key(seed)
    checkpoint = keep(PRETRAINING)
    fitted = pretrain_network(jax.random.fold_in(key, 0), plan, announce, checkpoint, log)
    yield fitted
    base = fitted.predictor
    assert isinstance(base, Predictor)
    if platforms.size(base) > platforms.MOST_COPIED:  # its products keep all cores busy
        workers = 1
    for index, name in enumerate(plan.targets):
        target_key = jax.random.fold_in(key, 1 + index)
        yield steer_to(target_key, base, plan, name, announce, workers, keep, log)


def pretrain_network(
    key: Key[Array, ""],
    plan: Plan,
    announce: Announce = silent,
    checkpoint: Checkpoint | None = None,
    log: Announce = silent,
) -> Fitted:
    """The experiment's network after pretraining."""
    return pretrain(
        key,
        plan.network,
        plan.prior,
        plan.pretraining,
        checkpoint=checkpoint,
        callbacks=(*announce("pretraining"), *log(PRETRAINING)),
    )


def steer_to(
    key: Key[Array, ""],
    base: Predictor,
    plan: Plan,
    name: str,
    announce: Announce = silent,
    workers: int = 1,
    keep: Keep = keep_nothing,
    log: Announce = silent,
) -> Steered:
    """Steer a network to the target of that name by every method, and measure all of them.

    `workers`: how many methods to tune at the same time; with more than one, internal states are
    read while losses are measured. A small network cannot keep several cores busy; a large one can,
    and gains nothing. The results do not depend on it.
    """
    target = plan.targets[name]
    tune_key, evaluate_key, state_key = jax.random.split(key, 3)
    together = Together(announce(f"{name}: tuning"), len(plan.methods))

    def tune(index: int) -> Fitted:
        method, tuner = list(plan.methods.items())[index]
        fit = f"{slug(name)}-{slug(method)}"
        return tuner.tune(
            jax.random.fold_in(tune_key, index),
            base,
            target,
            plan.tuning,
            checkpoint=keep(fit),
            callbacks=(together.part(index), *log(fit)),
        )

    with ThreadPoolExecutor(workers) as pool:
        fits_in_order = list(pool.map(tune, range(len(plan.methods))))
    fits = dict(zip(plan.methods, fits_in_order, strict=True))
    together.close()
    tuned = {method: fitted.predictor for method, fitted in fits.items()}
    # without pretraining there is no prior to compare with
    trained = plan.network.trained or plan.pretraining.steps > 0
    prior_is_exact = plan.prior.has_bayes and trained
    expectations = Expectations(target, plan.length) if can_be_expected(target) else None
    with ThreadPoolExecutor(1) as pool:
        states = pool.submit(_states, state_key, base, tuned, plan, name)
        if workers == 1:
            states.result()
        losses = evaluate(
            evaluate_key,
            {UNTUNED: base, **tuned},
            target,
            plan.sequences,
            plan.length,
            prior=plan.prior if prior_is_exact else None,
            prior_prompt_length=_prompt_length(plan, expectations) if prior_is_exact else None,
            expectations=expectations,
            callbacks=announce(f"{name}: evaluation"),
        )
    results = regret(losses, "oracle" if target.has_oracle else UNTUNED)
    results = label_results(results, plan, fits, name, expectations)
    priors = _priors(evaluate_key, {UNTUNED: base, **tuned}, plan, name, announce)
    return Steered(
        results.assign(priors.reindex(predictor=results.predictor).data_vars),
        states.result(),
        _on_prior(evaluate_key, {UNTUNED: base, **tuned}, plan, name, announce),
        tuned,
    )


def _prompt_length(plan: Plan, expectations: Expectations | None) -> int | None:
    """The length of the prior's best hard prompt, where it can be found exactly."""
    searches = [tuner for tuner in plan.methods.values() if isinstance(tuner, Search)]
    lengths = [search.length for search in searches if search.tries_all]
    if not lengths or expectations is None:
        return None
    short = expectations.at(min(PROMPT_STEPS, plan.length))
    try:
        short.best_prompt(plan.prior.bayes(), lengths[0])  # `evaluate` asks for it again
    except ValueError:  # too much to try
        return None
    return lengths[0]


def _on_prior(
    key: Key[Array, ""],
    predictors: dict[str, Predictor | Repeated],
    plan: Plan,
    name: str,
    announce: Announce,
) -> xr.Dataset | None:
    """Regret to exact Bayes on sequences of the pretraining task, as long as it was trained on."""
    if not (plan.also_on_prior and plan.prior.has_bayes):
        return None
    losses = evaluate(
        jax.random.fold_in(key, 1),
        predictors,
        plan.prior,
        plan.sequences,
        plan.lengths(name)[1],
        callbacks=announce(f"{name}: what was forgotten"),
    )
    return regret(losses, "bayes").assign_attrs(target=name)


def _priors(
    key: Key[Array, ""],
    predictors: dict[str, Predictor | Repeated],
    plan: Plan,
    name: str,
    announce: Announce,
) -> xr.Dataset:
    """The prior that each predictor behaves like on the target; nothing if it was not asked for,
    and no variables where there is no alphabet, over which a prior would be."""
    if plan.prior.outcome.alphabet is None:
        return labelled({}, coords={"predictor": np.array([], dtype=str)})
    return effective_priors(
        predictors if plan.prior_sequences else {},
        plan.targets[name],
        plan.lengths(name)[0],
        key=jax.random.fold_in(key, 2),
        sequences=max(1, plan.prior_sequences),
        callbacks=announce(f"{name}: effective priors") if plan.prior_sequences else (),
    )


def _states(
    key: Key[Array, ""],
    base: Predictor,
    tuned: dict[str, Predictor | Repeated],
    plan: Plan,
    name: str,
) -> xr.Dataset | None:
    """Internal states of the untuned network and of every prompted one, first repetitions; nothing
    if there is none to compare with, or no alphabet, whose symbols the components are held
    against."""
    if not plan.methods or plan.prior.outcome.alphabet is None:
        return None
    length, _ = plan.lengths(name)
    background_key, target_key = jax.random.split(key)
    prompts: dict[str, Predictor] = {UNTUNED: base}
    for method, tuner in plan.methods.items():
        if tuner.group == "prompts":
            predictor = tuned[method]
            prompts[method] = predictor[0] if isinstance(predictor, Repeated) else predictor

    background, target = (
        batch_to_measure(task, key, count, length)
        for task, key, count in (
            (plan.prior, background_key, BACKGROUND_SEQUENCES),
            (plan.targets[name], target_key, STATE_SEQUENCES),
        )
    )
    states = state_map(
        prompts,
        base,
        background.tokens,
        target.tokens,
        background_steps=_steps(plan.prior, background),
        target_steps=_steps(plan.targets[name], target),
    )
    return states.assign_attrs(target=name)


def _steps(task: Task, batch: Episode) -> Int[np.ndarray, " sequence"] | None:
    """How many steps of each sequence there are, where sequences of the task end: up to the last
    that is scored. None: all of them."""
    if task.longest is None or batch.scored is None:
        return None
    steps = np.arange(1, batch.scored.shape[1] + 1)
    return np.maximum(1, np.max(np.where(batch.scored, steps, 0), axis=1))
