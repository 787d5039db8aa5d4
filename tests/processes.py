"""Python in a process of its own, with the folder of compiled programs that the tests share."""

import os
import subprocess
import sys
from pathlib import Path

import jax

ROOT = Path(__file__).parent.parent


def python(folder, *arguments, **environment):
    """Run Python in that folder, with these environment variables; its output. A failure fails."""
    shared = {
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or "",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "COLUMNS": "120",
    }
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=os.environ | shared | environment,
        text=True,
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return done.stdout
