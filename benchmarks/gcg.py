"""Greedy coordinate gradient on a language model: ours beside nanoGCG, in turns.

    pip install torch==2.13.0 transformers==4.47.1 nanogcg==0.3.0   # which no extra installs
    python benchmarks/llama.py --write FOLDER       # the same weights in the Hugging Face format
    python benchmarks/gcg.py FOLDER                 # seconds of a step, candidates a second
    python benchmarks/gcg.py FOLDER --steps 30      # also the loss that is reached at equal reads

A prompt of 10 symbols before one text of 15 tokens, on SmolLM2-135M in float32. Both begin with the
same prompt, swap symbols for one of the 256 most promising, and read every candidate. What one
second is worth differs from hour to hour, so that every round gives a ratio, and the median counts.
"Cores" are seconds that all cores worked: what is compared where other work is on the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import promptax as px
from promptax.language import Texts, Tokenizer
from promptax.predictors import Llama, Network
from promptax.protocol.outcomes import Episode
from promptax.steering import GradientSearch
from promptax.steering.search_problem import SearchProblem, Sizes

TEXT = "The library opens at nine in the morning, and closes before it gets dark outside."
TARGET, PROMPT, TOP = 15, 10, 256
Seconds = tuple[float, float]  # that passed, and that all cores worked


class Steps(NamedTuple):
    """What a few steps of a search took, and came to."""

    seconds: list[Seconds]
    losses: list[float]
    """The loss of the prompt before each step (ours) or after it (theirs), nats per sequence."""


def start(seed: int, symbols: int) -> tuple[int, ...]:
    """The prompt that both begin with."""
    return tuple(np.random.default_rng(seed).integers(0, symbols, PROMPT).tolist())


def ours(network: Network, target: Sequence[int], candidates: int) -> Callable[[int, int], Steps]:
    """Steps by number and seed, through the front door; one more is run, with which it begins."""
    texts = Texts(sequences=(tuple(target),), vocabulary=network.symbols)

    def run(steps: int, seed: int) -> Steps:
        stamps: list[Seconds] = []

        def stamp(done: int, total: int, note: str = "") -> bool:
            del done, total, note
            stamps.append((time.perf_counter(), time.process_time()))
            return False

        initial = start(seed, network.symbols)
        tuner = GradientSearch(PROMPT, candidates, TOP, initial_tokens=initial)
        settings = px.FitSettings(steps=steps + 1, batch=1, length=len(target))
        fitted = tuner.tune(jax.random.key(seed), network, texts, settings, callbacks=(stamp,))
        whole = np.diff(np.array(stamps), axis=0).sum(axis=0) / steps  # fast steps share a stamp
        return Steps([tuple(whole.tolist())] * steps, np.asarray(fitted.loss)[0].tolist())

    return run


def theirs(
    ask: Callable[..., Any], symbols: int, target: Sequence[int], candidates: int, given: Any
) -> Callable[[int, int], Steps]:
    """Steps by number and seed, in the other process."""

    def run(steps: int, seed: int) -> Steps:
        asked = {"candidates": candidates, "top": TOP, "keep": given.keep, "at_once": given.at_once}
        initial = start(seed, symbols)
        return Steps(*ask("search", start=initial, target=target, steps=steps, seed=seed, **asked))

    return run


def compare_steps(mine: Any, others: Any, candidates: int, rounds: int) -> None:
    """Print a row of the first table."""
    pairs = []
    for turn in range(rounds + 1):
        taken = [np.mean(run(1, turn).seconds, axis=0) for run in (mine, others)]
        if turn:  # the first one compiles
            pairs.append(taken)
            shown = " and ".join(f"{own:.2f} s ({cores:.2f} of cores)" for own, cores in taken)
            print(f"{candidates} candidates, round {turn}: {shown}", file=sys.stderr, flush=True)
    seconds = np.median(pairs, axis=0)  # [side, clock]
    ratios = np.array([other / own for own, other in pairs])  # [round, clock]
    low, ratio, high = np.percentile(ratios[:, 0], [25, 50, 75])
    rates = candidates / seconds[:, 0]
    print(
        f"| {candidates} | {seconds[0, 0]:.2f} | {seconds[1, 0]:.2f} | {ratio:.2f} "
        f"({low:.2f} … {high:.2f}) | {rates[0]:.1f} | {rates[1]:.1f} | {seconds[0, 1]:.2f} | "
        f"{seconds[1, 1]:.2f} | {np.median(ratios[:, 1]):.2f} |",
        flush=True,
    )


def compare_losses(mine: Any, others: Any, candidates: int, given: argparse.Namespace) -> None:
    """Print a row of the second table: the best losses after so many prompts were read. Of ours one
    more is read in every step, the prompt as it is."""
    steps = given.steps * candidates // (candidates + 1)
    pairs = [
        (min(mine(steps, seed).losses), min(others(given.steps, seed).losses))
        for seed in range(given.seeds)
    ]
    apart = [own - other for own, other in pairs]
    error = statistics.stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else float("nan")
    means = np.mean(pairs, axis=0)
    print(
        f"| {candidates} | {given.steps * candidates:,} | {means[0]:.2f} | {means[1]:.2f} | "
        f"{np.mean(apart):+.2f} ± {error:.2f} |",
        flush=True,
    )


def difference(network: Network, ask: Callable[..., Any], target: Sequence[int]) -> float:
    """How far losses behind the same 33 prompts are apart at most, nats per sequence."""
    prompts = np.array([start(seed, network.symbols) for seed in range(33)], np.int32)

    @eqx.filter_jit
    def read(network: Network, prompts: Any) -> Any:
        sizes = Sizes(network.outcome, PROMPT, None, 1)
        return SearchProblem(network, sizes, Episode(jnp.array([target]))).losses(prompts)

    own = read(network, jnp.asarray(prompts))[:, 0]
    other = ask("losses", prompts=prompts.tolist(), target=target, at_once=None)
    return float(np.abs(np.asarray(own) - other).max())


def asking(folder: str) -> Callable[..., Any]:
    """Start the other process. Returns a function that asks it."""
    script = str(Path(__file__).with_name("nano_gcg.py"))
    command = [sys.executable, script, folder]
    quiet = os.environ | {"TQDM_DISABLE": "1"}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet
    )
    assert process.stdin is not None and process.stdout is not None
    questions, answers = process.stdin, process.stdout

    def ask(name: str, **arguments: Any) -> Any:
        print(json.dumps([name, arguments]), file=questions, flush=True)
        answer = answers.readline()
        if not answer:
            raise SystemExit(
                f"nano_gcg.py ended, with {process.wait()}; what it needs stands there."
            )
        return json.loads(answer)

    return ask


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", help="weights that benchmarks/llama.py --write FOLDER made")
    parser.add_argument("--candidates", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, help="candidates that nanoGCG reads at once")
    parser.add_argument("--keep", type=int, default=1, help="the size of nanoGCG's buffer")
    parser.add_argument("--steps", type=int, default=0, help="for the loss at equal reads")
    parser.add_argument("--seeds", type=int, default=3, help="for the loss at equal reads")
    given = parser.parse_args()
    ask = asking(given.folder)
    network = Llama.smollm2_135m()
    target = Tokenizer.named("smollm2").encode(TEXT)[:TARGET].tolist()
    print(f"losses of the same prompts: {difference(network, ask, target):.1g} nats apart\n")
    sides = {
        count: (
            ours(network, target, count),
            theirs(ask, network.symbols, target, count, given),
        )
        for count in given.candidates
    }
    print(
        "| candidates | ours, s a step | nanoGCG, s | times as fast (quartiles) | ours, candidates "
        "a second | nanoGCG | ours, cores' s | nanoGCG, cores' s | ratio |\n|" + "---|" * 9
    )
    for count, (mine, others) in sides.items():
        compare_steps(mine, others, count, given.rounds)
    if given.steps:
        print(
            "\n| candidates | reads | ours, nats | nanoGCG, nats | apart ± error |\n|" + "---|" * 5
        )
        for count, (mine, others) in sides.items():
            compare_losses(mine, others, count, given)


if __name__ == "__main__":
    main()
