"""How fast it is here: seconds of one update through the front door, as shares and as ratios.

Absolute times say little, because machines are noisy and differ. What is compared is therefore
measured in turns within one run: each contender a few updates, round after round, medians at the
end; and the work of an update is set against the matrix product that this machine does fastest.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from promptax.evaluation.evaluate import evaluate
from promptax.fit.loop import pretrain
from promptax.fit.settings import FitSettings
from promptax.fit.updates import Program, loss_and_gradient
from promptax.predictors import Architecture, Network
from promptax.progress import Callback, reporting
from promptax.protocol.outcomes import Episode, Symbols
from promptax.steering import FullWeights, GradientTuner, LowRank, SoftPrompt, Tuner
from promptax.tasks import Categorical, DirichletCategorical

Contender = Callable[[int], float]  # how many updates to run → seconds per update

TUNERS: dict[str, Tuner] = {
    "full weights": FullWeights(),
    "soft prompt": SoftPrompt(),
    "low rank": LowRank(),
}
JOBS = ("pretraining", *TUNERS)
"""Steps of the main paper: a batch of 256 sequences, 100 long for pretraining, else 50."""
SEED = 0


def matrix_product_peak(size: int = 2048, rounds: int = 5) -> float:
    """Floating-point operations a second of a large float32 product, the fastest of some rounds."""
    product = jax.jit(lambda a: jnp.sum(a @ a))
    matrix = jnp.ones((size, size))
    product(matrix).block_until_ready()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        product(matrix).block_until_ready()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def ours(
    architecture: Architecture,
    job: str,
    symbols: int = 2,
    tuner: Tuner | None = None,
    **changes: Any,
) -> Contender:
    """A job of `JOBS` through the front door; `changes`: fields of its `FitSettings`."""
    tuner = tuner or TUNERS.get(job)
    network = _built(architecture, symbols)
    prior = DirichletCategorical((1.0,) * symbols)
    target = Categorical((0.2, *(0.8 / (symbols - 1),) * (symbols - 1)))

    def run(updates: int) -> float:
        stamps: list[tuple[int, float]] = []

        def stamp(done: int, total: int, note: str = "") -> bool:
            del total, note
            stamps.append((done, time.perf_counter()))
            return False

        settings = FitSettings(steps=updates + 1, **changes)
        if tuner is None:
            pretrain(jax.random.key(SEED), architecture, prior, settings, callbacks=(stamp,))
        else:
            tuner.tune(jax.random.key(SEED), network, target, settings, callbacks=(stamp,))
        (first, began), (last, ended) = stamps[0], stamps[-1]
        return (ended - began) / (last - first)

    return run


def evaluation(architecture: Architecture, sequences: int = 2048, length: int = 200) -> Contender:
    """Evaluating one network; an update is the whole of it."""
    network = _built(architecture, 2)

    def run(updates: int) -> float:
        started = time.perf_counter()
        for _ in range(updates):
            evaluate(jax.random.key(SEED), {"network": network}, Categorical(), sequences, length)
        return (time.perf_counter() - started) / updates

    return run


@eqx.filter_jit
def _built(architecture: Architecture, symbols: int) -> Network:
    return architecture.build(jax.random.key(SEED), symbols)


def work(architecture: Architecture, job: str, batch: int = 256) -> float | None:
    """Floating-point operations of one update, as XLA counts them; None where it cannot.

    It counts the body of a loop once, so that the count of a recurrent network is of no use.
    """
    network = _built(architecture, 2)
    tuner = TUNERS.get(job, FullWeights())
    assert isinstance(tuner, GradientTuner)
    steered = tuner.steer(jax.random.key(SEED), network)
    tuned, frozen = eqx.partition(steered, tuner.where(steered))
    program = Program(*eqx.partition(frozen, False), jnp.float32(1.0))
    episodes = Episode(jnp.zeros((batch, 100 if job == "pretraining" else 50), jnp.int32))

    def gradient(tuned: Any, program: Program, episodes: Episode) -> Any:
        return loss_and_gradient(tuned, program, episodes, Symbols(2), batch)

    compiled = eqx.filter_jit(gradient).lower(tuned, program, episodes).compile().compiled
    loops = " while(" in compiled.as_text()
    return None if loops else float(compiled.cost_analysis()["flops"])


def in_turns(
    contenders: dict[str, Contender],
    updates: int = 10,
    rounds: int = 5,
    callbacks: Sequence[Callback] | None = None,
) -> dict[str, float]:
    """Median seconds per update of each contender; the first, uncounted call compiles."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    total = len(contenders) * (rounds + 1)
    with reporting("bench", callbacks) as progress:
        for turn in range(rounds + 1):
            for index, (name, run) in enumerate(contenders.items()):
                seconds = run(updates if turn else 2)
                if turn:
                    times[name].append(seconds)
                progress(turn * len(contenders) + index + 1, total, name)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def growth(architecture: Architecture) -> Iterator[tuple[str, dict[int, Contender]]]:
    """What one update costs as each size grows: a kind of size, and contenders by the size. Those
    of a kind are built when it is their turn, so that the first bar comes soon."""
    names = [field.name for field in dataclasses.fields(architecture)]
    spec = {name: getattr(architecture, name) for name in names}
    kind, job = type(architecture), "soft prompt"
    yield "length", {n: ours(architecture, job, length=n) for n in (25, 50, 100, 200)}
    if "width" in spec:
        yield "width", {n: ours(kind(**spec | {"width": n}), job) for n in (32, 64, 128, 256)}
    yield "symbols", {n: ours(architecture, job, symbols=n) for n in (2, 8, 64, 512)}
    yield "repetitions", {n: ours(architecture, job, repetitions=n) for n in (1, 5, 10)}
    prompts = {n: SoftPrompt(length=n) for n in (1, 6, 25, 100)}
    yield "prompt", {n: ours(architecture, job, tuner=tuner) for n, tuner in prompts.items()}
    yield "sequences", {n: evaluation(architecture, n, 50) for n in (256, 512, 1024, 2048)}
