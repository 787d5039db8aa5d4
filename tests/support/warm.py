"""Python that has imported what scripts import, and has computed nothing: each script runs in a
fork of it, so that the seconds of importing are spent once.

A fork is a process of its own: what a script defines, sets or computes stays in it. It is safe as
long as nothing was computed, since JAX starts its threads with its first computation. Of promptax
only the front door was imported, which every script imports: one that forgets another room fails.

Run as a program, it reads orders from its input, a line of JSON each, and answers with exit codes.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

IMPORTED = (
    *("equinox", "h5netcdf", "jax", "jax.scipy.stats", "matplotlib.backends.backend_agg"),
    *("matplotlib.figure", "mpl_toolkits.mplot3d", "optax", "rich.progress", "scipy.optimize"),
    *("scipy.stats", "xarray", "promptax.front_door"),
)
LONGEST = 600  # seconds that a script may take
STREAMS = ("output.txt", "errors.txt")


# --- where tests are ------------------------------------------------------------------------


def run_script(folder, script, *arguments):
    """Run a script in that folder, where warnings are errors; its output. A failure fails."""
    order = {"folder": folder, "script": script, "arguments": [*map(str, arguments)]}
    code = _answer(json.dumps(order, default=str))
    said, complaint = ((Path(folder) / name).read_text(encoding="utf-8") for name in STREAMS)
    assert code == 0, said[-6000:] + complaint[-6000:]
    return said


def run_code(folder, code, *arguments):
    """The same for the text of a script."""
    script = Path(folder) / "script.py"
    script.write_text(code, encoding="utf-8")
    return run_script(folder, script, *arguments)


def _answer(order):
    process = _parent()
    process.stdin.write(order + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


@functools.cache
def _parent():
    """The one process of this worker, which ends when its input does."""
    from support.processes import ROOT, environment  # not there where this file is run

    process = subprocess.Popen(
        [sys.executable, "-W", "error", __file__],
        # libraries of linear algebra start threads when they are imported, unless told not to
        env=environment(ROOT, OPENBLAS_NUM_THREADS="1"),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(process.communicate)
    return process


# --- where scripts run ----------------------------------------------------------------------


def next_order():
    """In a fork: what it is to run. None in the process that forks, once there are no orders."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


def become(folder, script, arguments):
    """Stand where a Python that was started with that script would, and run it."""
    signal.alarm(LONGEST)
    os.chdir(folder)
    sys.argv, sys.path[0] = [script, *arguments], str(Path(script).parent)
    for number, name in enumerate((os.devnull, *STREAMS)):
        with open(name, "r" if number == 0 else "w") as file:
            os.dup2(file.fileno(), number)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # pages of memory that no fork need copy
    order = next_order()
    if order is not None:
        become(**order)
