"""What a symbol costs exact predictors of structured sources, and what few starts lose.

    python benchmarks/symbols.py
    taskset -c 0 python benchmarks/symbols.py --processor-time  # beside other work

Times are the least of some rounds, in which all predictors take turns; ratios to the hidden Markov
model are medians over rounds, since other work on the machine slows both. The second table reads
one sequence of live and die by its exact predictor and by `nearly_bayes(slots)`: the largest
difference of a single probability, and that of the whole log loss, at two lengths.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from promptax.protocol import Predictor
from promptax.tasks import ContextTree, HiddenMarkov, LiveAndDie, PartitionTree

Clock = Callable[[], float]
ONE, BATCH = (1, 10_000), (256, 200)  # sequences, symbols of each
SHORT, LONG = 2_000, 20_000  # symbols, of the second table
STATES = HiddenMarkov(
    (1 / 3, 1 / 3, 1 / 3),
    ((0.9, 0.05, 0.05), (0.05, 0.9, 0.05), (0.05, 0.05, 0.9)),
    ((0.9, 0.1), (0.5, 0.5), (0.1, 0.9)),
)


def predictors() -> dict[str, Predictor]:
    """Those of the table, by name; what the others are held against comes first."""
    table: dict[str, Predictor] = {"hidden Markov, 3 states": STATES.bayes()}
    table |= {f"context tree, depth {depth}": ContextTree(depth).bayes() for depth in (3, 5, 8, 11)}
    table |= {f"partitions, depth {depth}": PartitionTree(depth).bayes() for depth in (8, 14, 17)}
    table |= {f"few starts, {s}": LiveAndDie().nearly_bayes(slots=s) for s in (16, 32, 64)}
    return table | {"live and die": LiveAndDie().bayes()}


def reader(bayes: Predictor, shape: tuple[int, int], clock: Clock) -> Callable[[], float]:
    """A function that reads one batch and says the microseconds for a symbol."""
    tokens = jax.random.bernoulli(jax.random.key(0), 0.3, shape).astype(jnp.int32)
    tokens = tokens[0] if shape[0] == 1 else tokens
    read = bayes.advance if shape[0] == 1 else bayes.advance_batch
    compiled = jax.jit(lambda state, tokens: read(state, tokens)[1].of(tokens))
    start = bayes.start(shape[1])

    def measure() -> float:
        began = clock()
        jax.block_until_ready(compiled(start, tokens))
        return (clock() - began) / tokens.size * 1e6

    measure()  # compiles
    return measure


def costs(rounds: int, clock: Clock) -> None:
    """Print the table of costs."""
    print("| | µs, one of 10,000 | ratio | µs, 256 × 200 | ratio | state, bytes |")
    print("|---|---|---|---|---|---|")
    table = predictors()
    rows = {name: [] for name in table}
    for shape in (ONE, BATCH):
        readers = {name: reader(bayes, shape, clock) for name, bayes in table.items()}
        times = [{name: measure() for name, measure in readers.items()} for _ in range(rounds)]
        first = next(iter(table))
        for name, cells in rows.items():
            ratio = statistics.median(turn[name] / turn[first] for turn in times)
            cells += [f"{min(turn[name] for turn in times):.3f}", f"{ratio:.1f}"]
    for name, cells in rows.items():
        state = sum(leaf.nbytes for leaf in jax.tree.leaves(table[name].start(ONE[1])))
        print(f"| {name} | {' | '.join(cells)} | {state:,} |", flush=True)


def errors() -> None:
    """Print the table of what few starts lose."""
    tokens = LiveAndDie().sample(jax.random.key(1), LONG).tokens

    def rows(bayes: Predictor) -> np.ndarray:
        read = jax.jit(lambda tokens: bayes.advance(bayes.start(LONG), tokens)[1].log_probs)
        return np.asarray(read(tokens), float)

    exact, places = rows(LiveAndDie().bayes()), np.arange(LONG)
    print(f"\n| slots | probability, {SHORT:,} | nats, {SHORT:,} | probability, {LONG:,} | nats |")
    print("|---|---|---|---|---|")
    for slots in (16, 32, 64):
        few, cells = rows(LiveAndDie().nearly_bayes(slots=slots)), []
        for length in (SHORT, LONG):
            apart = np.abs(np.exp(few[:length]) - np.exp(exact[:length])).max()
            loss = (exact - few)[places[:length], np.asarray(tokens)[:length]].sum()
            cells += [f"{apart:.1e}", f"{loss:+.1e}"]
        print(f"| {slots} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print both tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--processor-time", action="store_true", help="count this, and not the time that passes"
    )
    arguments = parser.parse_args()
    print(jax.devices()[0].device_kind)
    costs(arguments.rounds, time.process_time if arguments.processor_time else time.perf_counter)
    errors()


if __name__ == "__main__":
    main()
