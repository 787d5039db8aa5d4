"""What an experiment does: pretrain, steer to each target by every method, measure all of it.

Every stage is a fit, and every fit can keep a checkpoint: where the caller says what keeps it, an
experiment that was killed goes on where it was.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from promptax import platforms
from promptax.analysis import effective_priors, state_map
from promptax.axes import NATS
from promptax.control_variates import regret
from promptax.enumeration import count_table, expected_regret, is_enumerable
from promptax.evaluation import evaluate
from promptax.experiment import PRETRAINING, UNTUNED, Experiment, slug
from promptax.fit import Checkpoint, Fitted, pretrain
from promptax.progress import Callback
from promptax.protocol import Predictor, Repeated
from promptax.specs import traced
from promptax.steering import HardPrompt
from promptax.tasks import Task
from promptax.tasks.base import sample_batch

STATE_SEQUENCES, BACKGROUND_SEQUENCES = 20, 100  # Genewein et al. 2025, Figure 2
STATES, ON_PRIOR = ".states", ".prior"  # groups of results that belong to a target's


class Steered(NamedTuple):
    """One network steered to one target.

    `results`: regret and tuning losses of every predictor; `states`: internal states in two
    dimensions, None where predictors have none; `on_prior`: regret to exact Bayes on the
    pretraining task, None if it was not asked for; `predictors`, by name.
    """

    results: xr.Dataset
    states: xr.Dataset | None
    on_prior: xr.Dataset | None
    predictors: dict[str, Predictor | Repeated]


Announce = Callable[[str], Sequence[Callback]]
Keep = Callable[[str], Checkpoint | None]  # the name of a stage → where its fit is kept


def silent(what: str) -> Sequence[Callback]:
    """No progress."""
    del what
    return ()


def keep_nothing(stage: str) -> None:
    """No checkpoints."""
    del stage


class Measured:
    """The groups of results of an experiment, as its stages come in."""

    def __init__(self) -> None:
        self.groups: dict[str, xr.Dataset] = {}

    def add(self, stage: "Fitted | Steered") -> None:
        """Results of the pretraining, or of one target."""
        if isinstance(stage, Fitted):
            self.groups[PRETRAINING] = stage.losses.to_dataset(name="loss")
            return
        name = slug(stage.results.attrs["target"])
        self.groups[name] = stage.results
        for suffix, more in {STATES: stage.states, ON_PRIOR: stage.on_prior}.items():
            if more is not None:
                self.groups[name + suffix] = more

    def tree(self) -> xr.DataTree:
        """All groups so far."""
        return xr.DataTree.from_dict(self.groups)


def target_groups(tree: xr.DataTree) -> list[str]:
    """The groups of a tree of results that hold a target's regret."""
    return [name for name in tree.children if name != PRETRAINING and "." not in name]


def conducted(
    experiment: Experiment,
    seed: int,
    announce: Announce = silent,
    workers: int = 1,
    keep: Keep = keep_nothing,
) -> "Iterator[Fitted | Steered]":
    """The experiment from the beginning: the pretraining, then each target in turn."""
    key = jax.random.key(seed)
    checkpoint = keep(PRETRAINING)
    fitted = pretrained(jax.random.fold_in(key, 0), experiment, announce, checkpoint)
    yield fitted
    base = fitted.predictor
    assert isinstance(base, Predictor)
    if platforms.size(base) > platforms.MOST_COPIED:  # its products keep all cores busy
        workers = 1
    for index, name in enumerate(experiment.targets):
        own = jax.random.fold_in(key, 1 + index)
        yield steered(own, base, experiment, name, announce, workers, keep)


def pretrained(
    key: Key[Array, ""],
    experiment: Experiment,
    announce: Announce = silent,
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """The experiment's network after pretraining."""
    return pretrain(
        key,
        experiment.network,
        experiment.prior,
        experiment.pretraining,
        checkpoint=checkpoint,
        callbacks=announce("pretraining"),
    )


def steered(
    key: Key[Array, ""],
    base: Predictor,
    experiment: Experiment,
    name: str,
    announce: Announce = silent,
    workers: int = 1,
    keep: Keep = keep_nothing,
) -> Steered:
    """Steer a network to the target of that name by every method, and measure all of them.

    `workers`: how many methods to tune at the same time. A small network cannot keep several cores
    busy; a large one can, and gains nothing. The results do not depend on it.
    """
    target = experiment.targets[name]
    tune_key, evaluate_key, state_key = jax.random.split(key, 3)
    together = _Together(announce(f"{name}: tuning"), len(experiment.methods))

    def tune(index: int) -> Fitted:
        method, tuner = list(experiment.methods.items())[index]
        return tuner.tune(
            jax.random.fold_in(tune_key, index),
            base,
            target,
            experiment.tuning,
            checkpoint=keep(f"{slug(name)}-{slug(method)}"),
            callbacks=(together.part(index),),
        )

    with ThreadPoolExecutor(workers) as pool:
        each = list(pool.map(tune, range(len(experiment.methods))))
    fits = dict(zip(experiment.methods, each, strict=True))
    together.close()
    tuned = {method: fitted.predictor for method, fitted in fits.items()}
    # without pretraining there is no prior to compare with
    trained = experiment.network.trained or experiment.pretraining.steps > 0
    known = experiment.prior.has_bayes and trained
    losses = evaluate(
        evaluate_key,
        {UNTUNED: base, **tuned},
        target,
        experiment.sequences,
        experiment.length,
        prior=experiment.prior if known else None,
        prior_prompt_length=_prompt_length(experiment, target) if known else None,
        callbacks=announce(f"{name}: evaluation"),
    )
    results = regret(losses, "oracle" if target.has_oracle else UNTUNED)
    results = _labelled(results, experiment, fits, name)
    priors = _priors(evaluate_key, {UNTUNED: base, **tuned}, experiment, name, announce)
    return Steered(
        results.assign(priors.reindex(predictor=results.predictor).data_vars),
        _states(state_key, base, tuned, experiment, name),
        _on_prior(evaluate_key, {UNTUNED: base, **tuned}, experiment, name, announce),
        tuned,
    )


class _Together:
    """Progress of several fits as one: a hundredth of each is a piece of work."""

    def __init__(self, callbacks: Sequence[Callback], fits: int):
        self.callbacks = callbacks
        self.done = [0] * fits
        self.lock = threading.Lock()

    def part(self, index: int) -> Callback:
        def update(done: int, total: int, note: str = "") -> bool:
            del note
            with self.lock:
                self.done[index] = 100 * done // max(1, total)
                self._tell()
            return False

        return update

    def close(self) -> None:
        """All fits are done, also those that reported nothing."""
        self.done = [100] * len(self.done)
        self._tell()

    def _tell(self) -> None:
        for callback in self.callbacks:
            callback(sum(self.done), 100 * len(self.done))


def _prompt_length(experiment: Experiment, target: Task) -> int | None:
    """The length of the prior's best hard prompt, where it can be found exactly."""
    lengths = [t.length for t in experiment.methods.values() if isinstance(t, HardPrompt)]
    exact = experiment.prior.bayes().exchangeable and is_enumerable(target, experiment.length)
    return lengths[0] if lengths and exact else None


def _on_prior(
    key: Key[Array, ""],
    predictors: dict[str, Predictor | Repeated],
    experiment: Experiment,
    name: str,
    announce: Announce,
) -> xr.Dataset | None:
    """Regret to exact Bayes on sequences of the pretraining task, as long as it was trained on."""
    if not (experiment.also_on_prior and experiment.prior.has_bayes):
        return None
    losses = evaluate(
        jax.random.fold_in(key, 1),
        predictors,
        experiment.prior,
        experiment.sequences,
        experiment.lengths()[1],
        callbacks=announce(f"{name}: what was forgotten"),
    )
    return regret(losses, "bayes").assign_attrs(target=name)


def _priors(
    key: Key[Array, ""],
    predictors: dict[str, Predictor | Repeated],
    experiment: Experiment,
    name: str,
    announce: Announce,
) -> xr.Dataset:
    """The prior that each predictor behaves like on the target; nothing if it was not asked for."""
    return effective_priors(
        predictors if experiment.prior_sequences else {},
        experiment.targets[name],
        experiment.lengths()[0],
        key=jax.random.fold_in(key, 2),
        sequences=max(1, experiment.prior_sequences),
        callbacks=announce(f"{name}: effective priors") if experiment.prior_sequences else (),
    )


def _labelled(
    results: xr.Dataset, experiment: Experiment, fits: dict[str, Fitted], name: str
) -> xr.Dataset:
    """Regret, with tuning losses, scores of searches, groups, prompts, and the settings."""
    tuning, training = experiment.lengths()
    groups = {method: tuner.group for method, tuner in experiment.methods.items()}
    order = [n for g in ("prompts", "weights") for n in groups if groups[n] == g]
    rest = [n for n in results.predictor.values.tolist() if n not in order and n != "oracle"]
    results = results.sel(predictor=order + sorted(rest, key=[UNTUNED, *rest].index))
    names = results.predictor.values.tolist()
    steps = max((fit.loss.shape[1] for fit in fits.values()), default=0)
    loss = np.full((len(names), results.sizes["repetition"], steps), np.nan, np.float32)
    diverged = np.full(loss.shape[:2], -1)
    for index, method in enumerate(names):
        if method in fits:
            own = fits[method].loss
            loss[index, : own.shape[0], : own.shape[1]] = own
            diverged[index, : len(own)] = fits[method].diverged
    return (
        results.assign(
            tuning_loss=(("predictor", "repetition", "step"), loss, {"unit": NATS}),
            diverged=(("predictor", "repetition"), diverged),
            **_floor(experiment, name, tuning),
            **_scores(experiment, fits),
        )
        .assign_coords(
            step=np.arange(1, steps + 1),
            group=("predictor", [groups.get(n, "baselines") for n in names]),
            found=("predictor", [_found(fits[n]) if n in fits else "" for n in names]),
        )
        .assign_attrs(
            target=name,
            tuning_length=tuning,
            training_length=training,
            network=type(experiment.network).__name__,
            pretraining=_pretrained_on(experiment),
            reference=results.attrs.get("reference", "oracle"),
        )
    )


def _floor(experiment: Experiment, name: str, length: int) -> dict[str, Any]:
    """The expected loss of the target's exact predictor over a tuning sequence, if it is known."""
    target = experiment.targets[name]
    if not is_enumerable(target, length):
        return {}
    table = count_table(target, length)
    floor = expected_regret(target.bayes(), target, length, table).sum()
    return {"target_entropy": ((), float(floor + length * table.oracle_loss), {"unit": NATS})}


def _scores(experiment: Experiment, fits: dict[str, Fitted]) -> dict[str, Any]:
    """Every candidate's loss in the first exhaustive search [repetition, candidate]."""
    for method, tuner in experiment.methods.items():
        if isinstance(tuner, HardPrompt):
            return {"scores": (("repetition", "candidate"), fits[method].scores, {"unit": NATS})}
    return {}


def _found(fitted: Fitted) -> str:
    """Hard prompts as words, one for each repetition."""
    prompt = getattr(fitted.predictor, "prompt", None)
    if prompt is None or not np.issubdtype(np.asarray(prompt).dtype, np.integer):
        return ""
    rows = np.atleast_2d(np.asarray(prompt))
    return " · ".join(" ".join(map(str, row)) for row in rows.tolist())


def _pretrained_on(experiment: Experiment) -> str:
    if experiment.pretraining.steps:
        return _words(experiment.prior)
    return "text" if experiment.network.trained else "nothing"


def _words(task: Task) -> str:
    """A task's class as words: "dirichlet categorical"."""
    name = type(task).__name__
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def _states(
    key: Key[Array, ""],
    base: Predictor,
    tuned: dict[str, Predictor | Repeated],
    experiment: Experiment,
    name: str,
) -> xr.Dataset | None:
    """Internal states of the untuned network and of every prompted one, first repetitions; nothing
    if there is none to compare with."""
    if not experiment.methods:
        return None
    tuning, _ = experiment.lengths()
    background, own = jax.random.split(key)
    prompts: dict[str, Predictor] = {UNTUNED: base}
    for method, tuner in experiment.methods.items():
        if tuner.group == "prompts":
            each = tuned[method]
            prompts[method] = each[0] if isinstance(each, Repeated) else each

    def draw(key: Key[Array, ""], task: Task, count: int) -> Array:
        return sample_batch(traced(task), jax.random.split(key, count), tuning).tokens

    states = state_map(
        prompts,
        base,
        draw(background, experiment.prior, BACKGROUND_SEQUENCES),
        draw(own, experiment.targets[name], STATE_SEQUENCES),
    )
    return states.assign_attrs(target=name)
