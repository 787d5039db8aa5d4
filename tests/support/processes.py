"""Python in a process of its own, with the folder of compiled programs that the tests share."""

import os
import subprocess
import sys
from pathlib import Path

import jax

ROOT = Path(__file__).parent.parent.parent


def environment(folder, **more):
    """The environment of a child: what the tests compiled, and this repository."""
    shared = {
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or "",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "0",
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "COLUMNS": "120",
    }
    return os.environ | shared | more


def start(folder, *arguments, **more):
    """Start Python in that folder, with these environment variables."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment(folder, **more),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def python(folder, *arguments, **more):
    """Run Python to its end; its output. A failure fails."""
    with start(folder, *arguments, **more) as child:
        said, complaint = child.communicate(timeout=600)
    assert child.returncode == 0, said[-6000:] + complaint[-6000:]
    return said
