"""Give every door of promptax, one argument at a time, what it cannot take.

    python benchmarks/bad_input.py --inputs 500 --out runs/bad_input.md
    python benchmarks/bad_input.py --only pretrain --show

Half of the inputs go to functions and specs (`doors.good_calls`, `doors.spec_calls`), half to the
command line (`LINES`, `COMBINED`). Each is tried in a process that is watched (`trials`). What may
become of it:

    refused   an error of promptax, or of the reader of flags, at once
    taken     it means something: True for a number of sequences is not, an empty prompt is
    long      it means something, and is at work after 20 s: a bar of promptax has moved

Forbidden are an error of another library ("raw"), and what is refused late: after LATE seconds, or
after a program of more than COMPILED seconds was compiled, or never. The exit code is 1 if anything
forbidden was seen; --show prints what was taken as well.
"""

import argparse
import collections
import dataclasses
import functools
import inspect
import os
import shutil
import sys
import tempfile
import typing
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import doors
import jax
import numpy as np
import trials

import promptax as px
from promptax import cli, progress, specs
from promptax.cli import overview
from promptax.cli.commands import COMMANDS
from promptax.progress import Stopped

LATE, COMPILED = 2.0, 0.5
FORBIDDEN = ("raw", "late", *trials.ENDED)
VALUES: dict[str, Any] = {
    "None": None, "a word": "word", "no text": "", "a fraction": 2.5, "minus one": -1, "zero": 0,
    "NaN": float("nan"), "infinite": float("inf"), "minus infinite": -float("inf"), "True": True,
    "100 million": 10**8, "beyond 64 bits": 2**70, "nothing": (), "a list of words": ["a", "b"],
    "a list of NaN": [float("nan")] * 2, "nested": [[[1]]], "a dict": {"a": 1}, "bytes": b"\xff\0",
    "an array of NaN": np.full((2, 2), np.nan), "an empty array": np.zeros((0, 2)),
    "a complex number": 1j, "a function": print, "a class": px.FitSettings, "an object": object(),
    "a path that is not there": "no/such/place", "a zero byte": "a\0b", "a device": "/dev/null",
    "a folder": "/", "a task": doors.COIN, "settings": px.FitSettings(steps=1, batch=4, length=5),
    "many repetitions": px.FitSettings(steps=1, repetitions=2, batch=4, length=5),
    "old settings": {"steps": 1},
    "a token outside": [0, 99], "a token below": [-1, 0], "512 numbers": list(range(512)),
}  # fmt: skip
compiled = [0.0]


# --- Python ---------------------------------------------------------------------------------


@functools.cache
def calls() -> dict[str, Callable[[], doors.Call]]:
    """All doors by name."""
    return doors.good_calls() | doors.spec_calls()


def python_jobs() -> Iterator[dict[str, str]]:
    """Every argument of every door with every value."""
    for door, make in calls().items():
        for argument, good in make()[1].items():
            for value in VALUES if good is not None else [*VALUES][1:]:  # the first is None
                yield {"door": door, "argument": argument, "value": value}


def call(job: dict[str, Any]) -> str:
    """Call a door with one argument spoiled."""
    function, given = calls()[job["door"]]()
    given |= {"callbacks": (_note,)} if "callbacks" in given else {}
    began = trials.now(os.getpid())
    compiled[0] = 0.0
    try:
        function(**given | {job["argument"]: VALUES[job["value"]]})
    finally:
        _measure(job, began)
    return "taken"


# --- the command line -----------------------------------------------------------------------

SMALL = ["--network", "lstm", "--network.width", "4"]
SHORT = ["--fit.steps", "2", "--fit.batch", "4", "--fit.length", "5"]
LM = ["--model", "llama", "--length", "2"]
LINES = {
    "demo": [*SMALL, "--pretraining-steps", "1", "--steps", "1", "--repetitions", "1", "--out",
             "new", "--sequences", "16"],
    "list": [],
    "pretrain": ["--out", "new", *SMALL, *SHORT],
    "tune": ["--out", "new", "--predictor", "base", "--tuner", "softprompt", *SHORT],
    "evaluate": ["base", "--sequences", "4", "--length", "3"],
    "diagnose": ["--length", "2", "--steps", "5", "--longest", "10"],
    "report": ["base"],
    "watch": ["watched"],
    "study": ["genewein2025", "--scale", "smoke", "--only", "no such condition", "--out", "new"],
    "bench": [*SMALL, "--updates", "1", "--rounds", "1"],
    "lm write": [*LM, "a text"],
    "lm chat": [*LM, "a message"],
    "lm compress": ["text.txt", "--out", "text.ptax", "--model", "llama"],
    "lm decompress": ["text.ptax", "--out", "text.txt", "--model", "llama"],
}  # fmt: skip
"""Command lines that are right, in a working folder that `world` makes."""
WORDS = {
    int: ("-1", "0", "2.5", "word", "", "99999999999", "100000000", "1e3", "nan", "0x10"),
    float: ("nan", "inf", "-inf", "-1", "word", "", "1e400", "1e-60"),
    bool: ("word", "2", ""),
    str: ("", "no/such/place", "/dev/null", "/dev/zero", "/", "x" * 5000, "~nobody/x", "base",
          "text.txt", "\udcff", "a\nb"),
    specs.Spec: ("nobody", "{", "[]", "{}", '{"class": 3}', '{"class": "LSTM", "width": "a"}',
                 "@no/such/file", "@base", "@/dev/zero", '{"class": "Condition"}', "[" * 50_000,
                 '{"class": "Categorical", "probabilities": [NaN, 1]}', "", "tas"),
}  # fmt: skip
"""By the kind of a flag: words that are none of it, or too much of it."""
COMBINED = [
    ["pretrain", "--out", "base", "--overwrite", "--resume"],
    ["pretrain", *LINES["pretrain"], "--network.heads", "3"],
    ["pretrain", *LINES["pretrain"], "--fit.micro-batch", "3"],
    ["pretrain", *LINES["pretrain"], "--fit.warmup", "5"],
    ["pretrain", *LINES["pretrain"], "--network", "rnn"],
    ["pretrain", *LINES["pretrain"], "--task", "linearregression", "--task", "categorical"],
    ["pretrain", *LINES["pretrain"], "--fit.batch", "1000000000", "--fit.length", "1000000000"],
    ["pretrain", *LINES["pretrain"], "--fit.learning-rate", "0.1", "0.2"],
    ["pretrain", *LINES["pretrain"], "--coordinator", "localhost:1"],
    ["pretrain", *LINES["pretrain"], "--process-id", "0"],
    ["pretrain", *LINES["pretrain"], "--plugin", "../evil"],
    ["pretrain", *LINES["pretrain"], "--task", "recorded"],
    ["pretrain", *LINES["pretrain"], "--task", "recorded", "--task.path", "base"],
    ["pretrain", *LINES["pretrain"], "--task", "texts", "--task.tokenizer", "bytes"],
    ["tune", *LINES["tune"], "--out", "base", "--overwrite"],
    ["tune", *LINES["tune"], "--tuner", "keyvalueprompt"],
    ["tune", *LINES["tune"], "--target.probabilities", "0.2", "0.3", "0.5"],
    ["tune", "--out", "new", "--predictor", "base", "--tuner", "keyvalueprompt"],
    ["tune", "--out", "new", "--predictor", "base", "--target", "linearregression"],
    ["tune", "--out", "new", "--predictor", "base", "--tuner", "hardprompt", "--tuner.length",
     "100000"],
    ["tune", "--out", "new", "--predictor", "text.txt"],
    ["tune", "--out", "new/\0", "--predictor", "base"],
    ["evaluate"], ["evaluate", "base", "base"], ["evaluate", "oracle=base"],
    ["evaluate", "base", "--prior-prompt-length", "3"],
    ["evaluate", "base", "--prior", "recorded"],
    ["evaluate", "base", "--target", "linearregression"],
    ["evaluate", "base", "--out", "base", "--overwrite"],
    ["evaluate", "llama", "--target", "categorical"],
    ["evaluate", "base", "--sequences", "100000000", "--length", "100000000"],
    ["evaluate", "base", "--target.probabilities", "1.5", "-0.5"],
    ["diagnose", "--length", "10000000"], ["diagnose", "--steps", "10000000"],
    ["diagnose", "--longest", "100000000"], ["diagnose", "--mixture", "10000"],
    ["diagnose", "--prior", "markovchain", "--length", "1000"],
    ["diagnose", "--prior", "hiddenmarkov", "--steps", "100000"],
    ["diagnose", "--prior", "linearregression"], ["diagnose", "--target", "recorded"],
    ["study"], ["study", "nobody"], ["study", "genewein2025", "--scale", "huge"],
    ["study", "genewein2025", "--only", "no such thing", "--out", "base"],
    ["study", "genewein2025", "--executor", "ray", "--address", "nowhere:1"],
    ["report"], ["report", "text.txt"], ["report", "no/such/place"], ["nothing"], ["lm"],
    ["lm", "nothing"], ["lm", "write", "--model", "base", "a"],
    ["lm", "write", *LM, "--adapter", "base", "a"],
    ["lm", "compress", "base", "--out", "x", "--model", "llama"],
    ["lm", "decompress", "text.txt", "--out", "x", "--model", "llama"],
    ["bench", "--network", "languagemodel"], ["--plugin"], ["--coordinator"], ["-x"], ["demo", "x"],
]  # fmt: skip
"""Command lines in which each word is right, and that cannot be done."""


def line_jobs() -> Iterator[dict[str, Any]]:
    """Every flag of every command with words that it cannot take, and with none; flags of specs
    are also given twice."""
    for command, good in LINES.items():
        flags = overview.module_of(command).Flags
        for flag, kind in _flags(flags):
            words = [word for word in WORDS[kind] if (flag, word) != ("--out", "")]  # the default
            lines = [[*good, flag, word] for word in words]
            lines += [[*good, flag], *[[*good, flag, "x", flag, "y"]] * (kind is specs.Spec)]
            for line in lines:
                yield {"line": [*command.split(), *line]}
    for line in COMBINED:
        yield {"line": line}


def _flags(cls: type, before: str = "--") -> Iterator[tuple[str, Any]]:
    """The flags of a command, or of a spec in it, and the kind of word that each takes."""
    kinds = typing.get_type_hints(cls)
    bases = {base: default for base, default in specs.open_sets.values()}
    for field in dataclasses.fields(cls):
        kind, flag = kinds[field.name], before + field.name.replace("_", "-")
        if kind in bases:
            yield flag, specs.Spec
            yield from _flags(specs.member(kind, bases[kind]), flag + ".")
        elif inspect.isclass(kind) and issubclass(kind, specs.Spec):
            yield from _flags(kind, flag + ".")
        else:
            parts = {kind, *typing.get_args(kind)}
            yield flag, next((plain for plain in WORDS if plain in parts), str)


def type_line(job: dict[str, Any]) -> str:
    """Run a command line; what the reader of flags refuses ends in exit code 2."""
    began = trials.now(os.getpid())
    compiled[0] = 0.0
    shutil.rmtree("new", ignore_errors=True)
    try:
        cli.main(list(job["line"]))
    except SystemExit as stop:
        return "refused" if stop.code == cli.REFUSED else "taken"
    finally:
        _measure(job, began)
    return "taken"


# --- in a worker ----------------------------------------------------------------------------


def world() -> None:
    """A working folder with what the command lines name."""
    os.chdir(tempfile.mkdtemp(prefix="doors-"))
    doors.llama()
    Path("text.txt").write_text("a text\n")
    px.save("base/predictor.safetensors", doors.network())
    px.save("base/results.nc", doors.losses())
    Path("watched").mkdir()
    for name in (progress.RUN_MARK, progress.METRICS):
        Path("watched", name).touch()
    cli._use_compilation_cache = lambda: None  # the user's stays as it is
    _watch_bars()
    jax.monitoring.register_event_duration_secs_listener(_count_compiling)


def _note(done: int, total: int, note: str = "") -> bool:
    """A callback as users write them."""
    del total, note
    trials.tell(trials.MOVED if done > 0 else trials.BEGUN)
    return False


def _watch_bars() -> None:
    """Say of every job that its work has begun, and that it made progress."""
    enter, move = progress.reporting.__enter__, progress.Bar.__call__

    def begin(self: progress.reporting) -> progress.reporting:
        trials.tell(trials.BEGUN)
        return enter(self)

    def show(self: Any, done: int, total: int, note: str = "") -> bool:
        _note(done, total)
        return (move if isinstance(self, progress.Bar) else call_all)(self, done, total, note)

    call_all = progress.reporting.__call__
    progress.reporting.__enter__, progress.reporting.__call__ = begin, show
    progress.Bar.__call__ = show


def _count_compiling(event: str, seconds: float, **about: Any) -> None:
    del about
    if "backend_compile" in event:
        compiled[0] += seconds


def attempt(job: dict[str, Any]) -> tuple[str, str]:
    """Try one input; the verdict, and what the error says."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            verdict, message = (type_line if "line" in job else call)(job), ""
    except (Exception, Stopped) as error:
        is_of_user = trials.raised_in(error, doors.__file__)  # whose function got what was given
        verdict = "taken" if is_of_user else _verdict(error)
        message = trials.shown(error)
    seconds, compiling = job.get("seconds", 0.0), job.get("compiling", 0.0)
    if verdict == "refused" and (seconds > LATE or compiling > COMPILED):
        verdict = "late"
        message += f" ({seconds:.1f} s, {compiling:.1f} s of them compiling)"
    return verdict, message


def _measure(job: dict[str, Any], began: trials.Moment) -> None:
    """Note how long a job worked, and which part of that it compiled: JAX tells by the clock how
    long that was, which on a machine with other work is longer."""
    clock = trials.now(os.getpid()).clock - began.clock
    job["seconds"] = trials.lasted(os.getpid(), began)
    job["compiling"] = job["seconds"] * min(1.0, compiled[0] / max(clock, 1e-9))


def _verdict(error: BaseException) -> str:
    """Whether promptax said it, or Python, of a path that the system does not have."""
    of_the_system = isinstance(error, OSError) and error.filename is not None
    return "refused" if trials.is_told(error) or of_the_system else "raw"


# --- in the first process -------------------------------------------------------------------


def jobs_of(count: int, only: str, seed: int) -> list[dict[str, Any]]:
    """Half of the inputs for Python, half for the command line, drawn evenly."""
    chosen = []
    for jobs in (list(python_jobs()), list(line_jobs())):
        jobs = [job for job in jobs if only in _words(job)]
        order = np.random.default_rng(seed).permutation(len(jobs))
        chosen += [jobs[place] for place in sorted(order[: count // 2])]
    return chosen


def _words(job: dict[str, Any]) -> str:
    """A line, or a door, its argument and what it is."""
    words = job.get("line") or (f"{job['door']}:", job["argument"], "is", job["value"])
    return " ".join(words)


def table_of(outcomes: list[tuple[dict[str, Any], trials.Outcome]]) -> str:
    """A row for each kind of door."""
    rows = []
    for kind, fits in {
        "functions": lambda job: "door" in job and not job["door"].endswith("()"),
        "specs": lambda job: "door" in job and job["door"].endswith("()"),
        **{name: functools.partial(_is_line_of, name) for name in (*COMMANDS,)},
        "other command lines": lambda job: "line" in job and job["line"][0] not in COMMANDS,
        "all": lambda job: True,
    }.items():
        seen = [outcome for job, outcome in outcomes if fits(job)]
        counts = collections.Counter(outcome.verdict for outcome in seen)
        late = sum(counts[verdict] for verdict in ("late", *trials.ENDED))
        told = (counts[verdict] for verdict in ("refused", "taken", trials.LONG, "raw"))
        rows.append((kind, len(seen), *told, late))
    return trials.as_table(("door", "inputs", "refused", "taken", "long", "raw", "late"), rows)


def _is_line_of(command: str, job: dict[str, Any]) -> bool:
    return "line" in job and job["line"][0] == command


def main() -> None:
    """Try all inputs, print and save the table, then what must not be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="doors, or lines, that contain this")
    parser.add_argument("--seed", type=int, default=0, help="others than the usual inputs")
    parser.add_argument("--show", action="store_true", help="show what was taken, too")
    parser.add_argument("--out", type=Path, help="file to write the table to")
    given = parser.parse_args()
    out = given.out and given.out.absolute()
    os.chdir(tempfile.mkdtemp(prefix="doors-"))
    without = list(doors.missing())
    if without:
        print(f"not tried, for want of a good call in doors.py: {', '.join(without)}", flush=True)
    outcomes, bad = [], len(without)
    jobs = jobs_of(given.inputs, given.only, given.seed)
    for job, outcome in trials.run(__file__, jobs, given.workers):
        outcomes.append((job, outcome))
        bad += outcome.verdict in FORBIDDEN
        if outcome.verdict in FORBIDDEN or given.show:
            told = f"{outcome.verdict} ({outcome.seconds:.1f} s): {_words(job)!r:.300}"
            print(f"{told}: {outcome.message}", flush=True)
    table = table_of(outcomes)
    print(table)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(table)
    sys.exit(bad > 0)


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        trials.serve(attempt, world)
    else:
        main()
