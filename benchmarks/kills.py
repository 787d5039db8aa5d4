"""Kill a run at random moments, resume it, and compare every bit with a run that was left alone.

    python benchmarks/kills.py --kills 20

Every trial is a run of its own that saves a checkpoint whenever it can, so that many of the kills
fall into a write. What is printed: at which update each run was found, and whether its weights and
losses are those of the undisturbed run.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUN = """
import sys, jax
from promptax import Checkpoint, FitSettings, load, pretrain, save
from promptax.predictors import LSTM
from promptax.tasks import DirichletCategorical

checkpoint = Checkpoint(sys.argv[1], every_seconds=0)
settings = FitSettings(steps=600, batch=8, length=20, repetitions=2)
say = lambda done, total, note: print(done, flush=True)
fitted = pretrain(jax.random.key(0), LSTM(width=128), DirichletCategorical(), settings,
                  checkpoint=checkpoint, callbacks=(say,))
save(sys.argv[2], {"predictor": fitted.predictor, "loss": jax.numpy.asarray(fitted.loss)})
"""
READ = """
import sys, jax, numpy as np, promptax
one, other = (jax.tree.leaves(promptax.load(path)) for path in sys.argv[1:])
print(len(one) == len(other) and all(map(np.array_equal, one, other)))
"""


def begin(folder: Path) -> subprocess.Popen:
    """A run in that folder, from its checkpoint if it has one."""
    arguments = [folder / "checkpoint", folder / "result.safetensors"]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def lines(child: subprocess.Popen) -> list[int]:
    """What it says until its end: numbers of updates."""
    said, _ = child.communicate()
    return [int(line) for line in said.split()]


def main() -> None:
    """Print a line for each kill, and how many came out bit-equal."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    kills, equal, torn = parser.parse_args().kills, 0, 0
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        alone = Path(place) / "alone"
        alone.mkdir()
        child = begin(alone)
        assert child.stdout is not None
        child.stdout.readline()  # compiled
        started = time.monotonic()
        assert lines(child)[-1] == 600
        seconds = time.monotonic() - started
        for trial in range(kills):
            folder = Path(place) / str(trial)
            folder.mkdir()
            child = begin(folder)
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(moments.uniform(0, 0.7 * seconds))
            os.kill(child.pid, signal.SIGKILL)
            killed_at = max(lines(child), default=1)
            writing = any(each.name.endswith(".tmp") for each in folder.iterdir())
            resumed_from = min(lines(begin(folder)), default="its end")
            paths = [str(each / "result.safetensors") for each in (alone, folder)]
            told = subprocess.run(
                [sys.executable, "-c", READ, *paths], stdout=subprocess.PIPE, text=True, check=True
            )
            same = told.stdout.strip() == "True"
            equal, torn = equal + same, torn + writing
            during = ", during a write" if writing else ""
            print(
                f"{trial + 1}: killed after update {killed_at}{during}; went on after "
                f"{resumed_from}; bit-equal: {same}",
                flush=True,
            )
    print(f"{equal} of {kills} bit-equal; {torn} killed during a write")


if __name__ == "__main__":
    main()
