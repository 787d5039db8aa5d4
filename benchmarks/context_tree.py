"""What a symbol costs context-tree weighting, by depth, beside a Markov chain of order 1.

A tree of depth D has 2^(D+1) - 1 nodes over two symbols; a symbol touches D + 1 of them. Each row
is measured in turns with depth 3, on the same tokens: ratios are medians of pairs, since other work
on the machine slows both; times are the least.
"""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from promptax.tasks import ContextTree, MarkovChain, Task

DEPTHS, ROUNDS = (3, 5, 8, 11), 9
ONE, BATCH = (1, 10_000), (256, 200)  # sequences, symbols of each


def reader(task: Task, shape: tuple[int, int]) -> Callable[[], float]:
    """A function that reads one batch and says the microseconds for a symbol."""
    bayes = task.bayes()
    tokens = jax.random.bernoulli(jax.random.key(0), 0.3, shape).astype(jnp.int32)
    tokens = tokens[0] if shape[0] == 1 else tokens
    read = bayes.advance if shape[0] == 1 else bayes.advance_batch
    compiled = jax.jit(lambda state, tokens: read(state, tokens)[1].of(tokens))

    def measure() -> float:
        began = time.perf_counter()
        jax.block_until_ready(compiled(bayes.start(), tokens))
        return (time.perf_counter() - began) / tokens.size * 1e6

    measure()  # compiles
    return measure


def main() -> None:
    """Print a Markdown table."""
    tasks = {f"tree, depth {depth}": (depth, ContextTree(depth)) for depth in DEPTHS}
    tasks["chain, order 1"] = (0, MarkovChain())
    print("| | nodes touched | µs, one of 10,000 | ratio | µs, 256 × 200 | ratio | state, bytes |")
    print("|---|---|---|---|---|---|---|")
    readers = {name: [reader(task, ONE), reader(task, BATCH)] for name, (_, task) in tasks.items()}
    for name, (depth, task) in tasks.items():
        cells = []
        for kind in (0, 1):
            pairs = [
                (readers[name][kind](), readers[next(iter(readers))][kind]()) for _ in range(ROUNDS)
            ]
            best = min(first for first, _ in pairs)
            ratio = statistics.median(first / base for first, base in pairs)
            cells += [f"{best:.3f}", f"{ratio:.2f}"]
        state = sum(leaf.nbytes for leaf in jax.tree.leaves(task.bayes().start()))
        print(f"| {name} | {depth + 1} | {' | '.join(cells)} | {state:,} |", flush=True)


if __name__ == "__main__":
    main()
