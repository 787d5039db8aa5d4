"""Use hundreds of shapes in one process, as a long notebook does, at the system's own limit.

    python benchmarks/shapes.py --shapes 600 --out runs/shapes.md

JAX keeps the program of every shape, in many pieces of memory, and Linux kills the process that
maps more than `vm.max_map_count` pieces. promptax forgets programs before that
(`platforms.drop_programs`). Here a small transformer predicts sequences of 1, 2, 3, … tokens, also
behind a prompt; on every twentieth length it is measured, which compiles most. The table
says, by the number of shapes, how many pieces are mapped, and how much memory is in use; exit code
1 if the limit of mappings came closer than 10 %. XLA compiles with few optimisations, which leaves
as many programs and takes a third of the time.
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import trials

import promptax as px
from promptax import platforms
from promptax.predictors import Transformer
from promptax.tasks import Categorical

ROWS = 20  # of the table
MEASURED = 20  # every so many lengths, since an evaluation compiles for ten seconds


def use(network: px.Predictor, length: int) -> None:
    """What is compiled anew for a new length."""
    tokens = [0, 1] * (length // 2) + [1] * (length % 2)
    px.predict(network, tokens)
    behind = px.condition(network, tokens[: 1 + length // 2])
    px.predict(behind, tokens)
    if length % MEASURED == 0:
        px.evaluate(jax.random.key(0), {"network": network, "prompted": behind}, COIN, 4, length)


COIN = Categorical((0.2, 0.8))


def main() -> None:
    """Use one shape after the other; print a line now and then, and the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", type=int, default=600)
    parser.add_argument("--out", type=Path, help="file to write the table to")
    given = parser.parse_args()
    platforms.compile_quickly()
    network = Transformer(width=16, heads=2, depth=2).build(jax.random.key(0), 2)
    most, forgotten, before, rows = 0, 0, 0, []
    began = time.monotonic()
    for length in range(1, given.shapes + 1):
        use(network, length)
        now = platforms._mappings()
        most, forgotten, before = max(most, now), forgotten + (now < 0.8 * before), now
        if length % max(1, given.shapes // ROWS) == 0:
            used = trials.memory(trials.os.getpid()) / 1e6
            rows.append((length, f"{now:,}", f"{most:,}", forgotten, f"{used:,.0f}",
                         f"{time.monotonic() - began:.0f}"))  # fmt: skip
            print(*rows[-1], flush=True)
    headings = ("shapes", "mappings", "most so far", "times that programs were forgotten",
                "memory, MB", "seconds")  # fmt: skip
    limit = platforms._most_mappings()
    table = trials.as_table(headings, rows) + f"\nThe system's limit: {limit:,} mappings.\n"
    print(table)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(table)
    sys.exit(most > 0.9 * limit)


if __name__ == "__main__":
    main()
