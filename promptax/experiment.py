"""One experiment: a network, its pretraining, and every way to steer it to some targets.

This is data and what follows from it: `Experiment` is the spec, `pretrained` and `steered` do the
work for one network and one target, and return labelled results. The demo runs it, studies build on
it; neither is known here.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from promptax.analysis import state_map
from promptax.axes import NATS
from promptax.control_variates import regret
from promptax.enumeration import count_table, expected_regret, is_enumerable
from promptax.evaluation import evaluate
from promptax.fit import Fitted, pretrain
from promptax.predictors import Architecture, Transformer
from promptax.progress import Callback
from promptax.protocol import Predictor, Repeated
from promptax.settings import FitSettings
from promptax.specs import Spec, check, traced
from promptax.steering import (
    EmbeddingWeights,
    FullWeights,
    HardPrompt,
    LowRank,
    RandomPrompt,
    RealPrompt,
    SimplexPrompt,
    SoftPrompt,
    Tuner,
)
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical, Task
from promptax.tasks.base import sample_batch

UNTUNED, RANDOM = "untuned", "random prompt"
STATE_SEQUENCES, BACKGROUND_SEQUENCES = 12, 60

METHODS = {
    "hard prompt": HardPrompt(),
    "simplex prompt": SimplexPrompt(),
    "real prompt": RealPrompt(),
    "soft prompt": SoftPrompt(),
    "full weights": FullWeights(),
    "low rank": LowRank(),
    "embedding": EmbeddingWeights(unembedding=False),
    "unembedding": EmbeddingWeights(embedding=False),
    "both embeddings": EmbeddingWeights(),
    RANDOM: RandomPrompt(),
}
"""The nine methods of Genewein et al. 2025 and their control."""


class Experiment(Spec):
    """What to pretrain, what to steer it to, how, and how to measure."""

    network: Architecture = Transformer()
    """Architecture."""
    prior: Task = DirichletCategorical()
    """What the network is pretrained on."""
    targets: dict[str, Task] = eqx.field(
        default_factory=lambda: {"single coin": Categorical(), "two coins": CategoricalMixture()}
    )
    """What it is steered to, by name."""
    methods: dict[str, Tuner] = eqx.field(default_factory=lambda: dict(METHODS))
    """How, by name."""
    pretraining: FitSettings = FitSettings()
    """How to pretrain."""
    tuning: FitSettings = FitSettings(repetitions=3)
    """How to tune: length, steps, repetitions."""
    sequences: int = 2048
    """Sequences to evaluate on, the same for all predictors."""
    length: int = 200
    """Steps of each of them."""

    def __check_init__(self) -> None:
        check(
            self.sequences >= 2 and self.length >= 1,
            f"Expected at least 2 sequences of length 1; got {self.sequences} of {self.length}.",
        )
        slugs = [PRETRAINING, *map(slug, self.targets)]
        check(
            len(set(slugs)) == len(slugs),
            f"Expected targets whose letters and digits differ, and none named {PRETRAINING!r}; "
            f"got {list(self.targets)}.",
        )
        taken = {UNTUNED, "oracle", "bayes", "prior bayes", "prior bayes, best prompt"}
        taken &= set(self.methods)
        check(not taken, f"Expected methods not named as baselines are; got {sorted(taken)}.")
        for name, target in self.targets.items():
            check(
                target.symbols == self.prior.symbols,
                f"Expected targets over the {self.prior.symbols} symbols of the prior; {name!r} "
                f"has {target.symbols}.",
            )

    def lengths(self) -> tuple[int, int]:
        """Steps of time of a tuning and of a pretraining sequence."""
        return self.tuning.length or 50, self.pretraining.length or 100


class Steered(NamedTuple):
    """One network steered to one target.

    `results`: regret and tuning losses of every predictor; `states`: internal states in two
    dimensions, None where predictors have none; `predictors`, by name.
    """

    results: xr.Dataset
    states: xr.Dataset | None
    predictors: dict[str, Predictor | Repeated]


Announce = Callable[[str], Sequence[Callback]]


def silent(what: str) -> Sequence[Callback]:
    """No progress."""
    del what
    return ()


PRETRAINING, STATES = "pretraining", ".states"  # groups of results beside one for each target


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
        if stage.states is not None:
            self.groups[name + STATES] = stage.states

    def tree(self) -> xr.DataTree:
        """All groups so far."""
        return xr.DataTree.from_dict(self.groups)


def slug(name: str) -> str:
    """A target's or method's name as the name of a group or file."""
    return "".join(c if c.isalnum() else "-" for c in name)


def conducted(
    experiment: Experiment, seed: int, announce: Announce = silent, workers: int = 1
) -> "Iterator[Fitted | Steered]":
    """The experiment from the beginning: the pretraining, then each target in turn."""
    key = jax.random.key(seed)
    fitted = pretrained(jax.random.fold_in(key, 0), experiment, announce)
    yield fitted
    base = fitted.predictor
    assert isinstance(base, Predictor)
    for index, name in enumerate(experiment.targets):
        own = jax.random.fold_in(key, 1 + index)
        yield steered(own, base, experiment, name, announce, workers)


def pretrained(
    key: Key[Array, ""], experiment: Experiment, announce: Announce = silent, checkpoint: Any = None
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
) -> Steered:
    """Steer a network to the target of that name by every method, and measure all of them.

    `workers`: how many methods to tune at the same time. A small network cannot keep several cores
    busy; a large one can, and gains nothing. The results do not depend on it.
    """
    target = experiment.targets[name]
    tune_key, evaluate_key, state_key = jax.random.split(key, 3)
    together = _Together(announce(f"{name}: tuning"), len(experiment.methods))

    def tune(index: int) -> Fitted:
        tuner = list(experiment.methods.values())[index]
        own = jax.random.fold_in(tune_key, index)
        return tuner.tune(own, base, target, experiment.tuning, callbacks=(together.part(index),))

    with ThreadPoolExecutor(workers) as pool:
        each = list(pool.map(tune, range(len(experiment.methods))))
    fits = dict(zip(experiment.methods, each, strict=True))
    together.close()
    tuned = {method: fitted.predictor for method, fitted in fits.items()}
    exact = {"prior bayes": experiment.prior.bayes()} if experiment.prior.has_bayes else {}
    prompt = _prompt_length(experiment, target) if exact else None
    losses = evaluate(
        evaluate_key,
        {UNTUNED: base, **tuned},
        target,
        experiment.sequences,
        experiment.length,
        prior=experiment.prior if exact else None,
        prior_prompt_length=prompt,
        callbacks=announce(f"{name}: evaluation"),
    )
    results = regret(losses, "oracle" if target.has_oracle else UNTUNED)
    results = _labelled(results, experiment, fits, name)
    return Steered(results, _states(state_key, base, tuned, experiment, name), tuned)


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


def _labelled(
    results: xr.Dataset, experiment: Experiment, fits: dict[str, Fitted], name: str
) -> xr.Dataset:
    """Regret, with tuning losses, groups, prompts that were found, and the settings."""
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
            pretraining=_words(experiment.prior),
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


def _found(fitted: Fitted) -> str:
    """Hard prompts as words, one for each repetition."""
    prompt = getattr(fitted.predictor, "prompt", None)
    if prompt is None or not np.issubdtype(np.asarray(prompt).dtype, np.integer):
        return ""
    rows = np.atleast_2d(np.asarray(prompt))
    return " · ".join(" ".join(map(str, row)) for row in rows.tolist())


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
) -> xr.Dataset:
    """Internal states of the untuned network and of every prompted one, first repetitions."""
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
