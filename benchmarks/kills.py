"""Stop runs at random moments, resume them, and compare every bit with a run that was left alone.

    python benchmarks/kills.py --kills 100 --signals 20 --out runs/kills.md

Runs are those of the command line, `promptax pretrain` and `promptax tune`, and save a checkpoint
after every call of the compiled updates, so that many stops fall into a write. Half of the kills
(SIGKILL) come at a random moment after the first update, half in the midst of a write, at each of
its steps in turn (`PLACES`). Then `--resume` goes on, or, where nothing was kept yet, the command
is given again; predictor and losses must be those of the undisturbed run, bit for bit, and nothing
may be left behind. Stops by SIGTERM and Ctrl-C must end in exit code 143 and 130, keep every update
but the one in work, and print the command that goes on, which a shell then runs as it is.

A trial takes two runs. Most of a short run is importing JAX and compiling, so runs are forked from
a process that has imported all (`nursery`) and started nothing, and share a folder of compiled
programs; from there on they are what the command line does. Commands that were printed are run in
a new process.
"""

import argparse
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import trials
from nursery import Nursery, Run

import promptax as px
from promptax.predictors import RNN

STEPS = 150
FIT = ["--fit.steps", str(STEPS), "--fit.batch", "2", "--fit.length", "8", "--fit.repetitions",
       "2", "--plugin", "watched"]  # fmt: skip
LINES = {
    "pretrain": ["pretrain", "--network", "rnn", "--network.width", "16", *FIT],
    "tune": ["tune", "--predictor", "../base.safetensors", "--tuner", "softprompt", *FIT],
}
LINES["replace"] = [*LINES["tune"], "--overwrite"]  # the results of the first line
PLACES = ("half a file", "before the flush", "before the new name", "after the new name")
LEFT = (".tmp", ".old", ".unfinished")  # how names end of what a stopped run leaves behind
BETWEEN = "between the new names of two folders"
WATCHED = '''
"""Saves whenever it can, writes down every update, and kills itself in a write if asked to."""

import os
import signal

import jax
import safetensors.numpy
from promptax import cli, files, store
from promptax.fit import loop

place, _, number = os.environ.get("KILL_IN", "").partition(":")
passed = {place: 0}
inner = {"save": safetensors.numpy.save_file, "flush": files._flush, "replace": os.replace,
         "updates": loop.run_updates}


def come_to(there):
    if there == place:
        passed[there] += 1
        if passed[there] == int(number):
            os.kill(os.getpid(), signal.SIGKILL)


def save_file(arrays, path, metadata=None):
    inner["save"](arrays, path, metadata)
    if place == "half a file" and passed[place] + 1 == int(number):
        os.truncate(path, os.path.getsize(path) // 2)
    come_to("half a file")


def flush(path):
    come_to("before the flush")
    inner["flush"](path)


def replace(old, new):
    come_to("before the new name")
    inner["replace"](old, new)
    come_to("after the new name")
    if str(new).endswith(".old"):  # earlier results, which were just put aside
        come_to("between the new names of two folders")


def run_updates(moving, block, span, *others):
    moved = inner["updates"](moving, block, span, *others)
    first, last = (int(bound) for bound in span.bounds)
    with open("updates.txt", "a") as file:
        file.write(f"{last - first}\\n")
    return moved


safetensors.numpy.save_file, files._flush, os.replace = save_file, flush, replace
loop.run_updates = run_updates
loop.BLOCK_BYTES = 640  # five updates, so that there are many calls, and many checkpoints
store.Checkpoint.due = lambda self: True


def use_compilation_cache():
    jax.config.update("jax_compilation_cache_dir", os.environ["PROGRAMS"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


cli._use_compilation_cache = use_compilation_cache
'''


class Trial(NamedTuple):
    """What is stopped, how, and when.

    `line`: one of LINES; `how`: a signal; `place`: of PLACES or BETWEEN, "" for a random moment;
    `when`: the share of the run that has passed, or the number of the write.
    """

    line: str
    how: signal.Signals
    place: str
    when: float


class Result(NamedTuple):
    """What came of a trial.

    `stopped_at`: updates that were done by then; `code`: the exit code, 0 where the run had ended
    before; `is_told`: the command that goes on was printed; `is_clean`: nothing of a killed write
    is left; `lost`: updates that had to be done again.
    """

    trial: Trial
    stopped_at: int
    code: int
    is_told: bool
    is_equal: bool
    is_clean: bool
    lost: int


def pasted(folder: Path, line: str, programs: Path) -> None:
    """Run a line that was printed, as a shell does."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    about = {"PYTHONPATH": str(trials.ROOT), "PATH": paths, "PROGRAMS": str(programs)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(line, shell=True, cwd=folder, env=os.environ | about, check=False, **quiet)


def updates(folder: Path) -> int:
    """How many updates were computed there so far, in all runs."""
    file = folder / "updates.txt"
    return sum(map(int, file.read_text().split())) if file.exists() else 0


def in_new_folder(place: Path, name: str) -> Path:
    """A folder with the plugin in it."""
    folder = place / name
    folder.mkdir()
    (folder / "watched.py").write_text(WATCHED)
    return folder


def undisturbed(nursery: Nursery, place: Path, line: str) -> tuple[Path, float]:
    """A run that nobody stops, and how long its updates took."""
    folder = in_new_folder(place, f"{line} alone")
    run = nursery.begin(folder, [*LINES[line], "--out", "run"])
    began = _first_update(run)
    code, complaint = run.end()
    assert code == 0 and updates(folder) == STEPS, complaint
    return folder, time.monotonic() - began


def _first_update(run: Run) -> float:
    """Wait until something was computed; when that was."""
    while not updates(run.folder) and not run.is_over():
        time.sleep(0.01)
    return time.monotonic()


def attempt(nursery: Nursery, place: Path, number: int, trial: Trial, alone: Any) -> Result:
    """Stop a run, go on with it, and compare it with the one that was left alone."""
    folder = in_new_folder(place, str(number))
    if trial.line == "replace":
        shutil.copytree(place / "pretrain alone" / "run", folder / "run")
    line = [*LINES[trial.line], "--out", "run"]
    inside = {"KILL_IN": f"{trial.place}:{trial.when:.0f}"} if trial.place else {}
    run = nursery.begin(folder, line, **inside)
    _first_update(run)
    if not trial.place:
        time.sleep(trial.when * alone[1])
        run.stop(trial.how)
    code, complaint = run.end()
    stopped_at = updates(folder)
    advice = re.search(r"^ +(promptax .*--resume.*)$", complaint, re.MULTILINE)
    if code != 0 and advice:
        pasted(folder, advice[1], place / "programs")
    elif code != 0:
        _go_on(nursery, folder, line)
    is_equal = is_same(alone[0] / "run", folder / "run")
    lost, is_told = updates(folder) - STEPS, advice is not None
    is_clean = not [path for ending in LEFT for path in folder.rglob(f"*{ending}")]
    return Result(trial, stopped_at, code, is_told, is_equal, is_clean, lost)


def _go_on(nursery: Nursery, folder: Path, line: list[str]) -> None:
    """Resume a run that was killed; begin again where no checkpoint was there yet."""
    words = [word for word in line if word != "--overwrite"]
    code, refusal = nursery.begin(folder, [*words, "--resume"]).end()
    if code != 0 and "there is none" in refusal:
        again = ["--overwrite"] if "--overwrite" in refusal else []
        nursery.begin(folder, [*words, *again]).end()


def is_same(one: Path, another: Path) -> bool:
    """Whether two run folders hold the same predictor and the same losses, bit for bit."""
    try:
        predictors = [px.load(folder / "predictor.safetensors") for folder in (one, another)]
        losses = [px.load(folder / "results.nc")["loss"].values for folder in (one, another)]
    except (OSError, ValueError):
        return False
    pairs = zip(*map(jax.tree.leaves, predictors), strict=True)
    return np.array_equal(*losses) and all(np.array_equal(*map(np.asarray, p)) for p in pairs)


def planned(kills: int, signals: int) -> list[Trial]:
    """The trials: half of the kills at random moments, half in writes; then signals."""
    draw, lines = random.Random(0), [*LINES]
    chosen = []
    for number in range(kills):
        place = PLACES[number // 2 % len(PLACES)] if number % 2 else ""
        most = 50 if place == PLACES[1] else 25  # a write has two flushes
        when = draw.randint(1, most) if place else draw.uniform(0, 0.9)
        line = lines[number // 2 % len(lines)]
        chosen.append(Trial(line, signal.SIGKILL, place, when))
        if line == "replace" and not place:
            chosen[-1] = Trial(line, signal.SIGKILL, BETWEEN, 1)
    for number in range(signals):
        how = (signal.SIGTERM, signal.SIGINT)[number % 2]
        chosen.append(Trial(lines[number // 2 % len(lines)], how, "", draw.uniform(0, 0.8)))
    return chosen


def table_of(results: list[Result]) -> str:
    """A row for each way to stop a run."""
    rows = []
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        for place in ("", *PLACES, BETWEEN):
            seen = [r for r in results if (r.trial.how, r.trial.place) == (how, place)]
            stopped = [result for result in seen if result.code != 0]
            if not seen:
                continue
            codes = ", ".join(sorted({str(result.code) for result in stopped}))
            told = "–" if how == signal.SIGKILL else f"{sum(r.is_told for r in stopped)}"
            rows.append(
                (f"{how.name}, {place or 'at a random moment'}", len(seen), len(stopped), codes,
                 sum(r.is_equal for r in seen), sum(r.is_clean for r in seen), told,
                 max((r.lost for r in stopped), default=0))
            )  # fmt: skip
    headings = ("stopped by", "runs", "stopped before the end", "exit code", "bit-equal in the end",
                "nothing left behind", "command printed", "most updates lost")  # fmt: skip
    return trials.as_table(headings, rows)


def main() -> None:
    """Print a line for each trial, then the table; exit code 1 if one is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--signals", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=2, help="trials at the same time")
    parser.add_argument("--out", type=Path, help="file to write the table to")
    given = parser.parse_args()
    began, results = time.monotonic(), []
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(given.at_once) as pool:
        place = Path(name)
        px.save(place / "base.safetensors", RNN(width=16).build(jax.random.key(0), 2))
        nurseries: queue.Queue[Nursery] = queue.Queue()
        for _ in range(given.at_once):
            nurseries.put(Nursery(place / "programs"))

        def attempt_one(number: int, trial: Trial) -> Result:
            nursery = nurseries.get()
            try:
                return attempt(nursery, place, number, trial, alone[trial.line])
            finally:
                nurseries.put(nursery)

        first = nurseries.get()
        alone = {line: undisturbed(first, place, line) for line in LINES}
        nurseries.put(first)
        futures = [
            pool.submit(attempt_one, number, trial)
            for number, trial in enumerate(planned(given.kills, given.signals))
        ]
        for number, future in enumerate(futures, start=1):
            results.append(future.result())
            print(f"{number}: {results[-1]}", flush=True)
        while not nurseries.empty():
            nurseries.get().close()
    table = table_of(results)
    seconds = (time.monotonic() - began) / len(results)
    print(f"{table}\n{seconds:.1f} s for each, {given.at_once} at the same time")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(table)
    sys.exit(not all(map(is_as_promised, results)))


def is_as_promised(result: Result) -> bool:
    """Whether nothing was lost that should not have been."""
    if result.trial.how == signal.SIGKILL or result.code == 0:
        return result.is_equal and result.is_clean
    is_well_stopped = result.code == 128 + result.trial.how and result.is_told
    return result.is_equal and result.is_clean and is_well_stopped and result.lost <= 1


if __name__ == "__main__":
    main()
