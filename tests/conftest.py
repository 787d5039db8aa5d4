"""Types and shapes are checked in all tests: jaxtyping's axis words with beartype, in promptax.

The hook has to be there before promptax is imported for the first time. Most of the suite's time is
XLA compiling small functions: it compiles quickly, except where programs are judged by what they do
(test_efficiency), and what was compiled is kept in pytest's cache for the next run.
"""

import ctypes
import gc
import importlib
import os
import sys
from pathlib import Path

import pytest

gc.set_threshold(100_000, 50, 50)  # tracing makes many objects, and little garbage

GIB = 2**30
MOST_PIECES, MOST_BYTES = 30_000, 1.7 * GIB  # from which on compiled programs are dropped
MOST_PIECES_WITHIN, MOST_BYTES_WITHIN = 50_000, 1.9 * GIB  # the same within a file
BETWEEN_COUNTS = 10  # tests of a file, since counting pieces takes a while
GROWTH = 0.3 * GIB  # since the last time; what stays however often they are dropped is no reason
_after_drop = 0
_since_count = 0

# What promptax imports. While a module is loaded through the hook, Python looks for compiled code
# under another name, also for what that module imports, and would compile all of it anew.
IMPORTED = (
    *("beartype", "equinox", "jax", "jax.scipy.stats", "matplotlib.figure", "mpl_toolkits.mplot3d"),
    *("optax", "rich.progress", "scipy.optimize", "scipy.stats", "tyro", "xarray"),
)


def pytest_configure(config):
    if config.getoption("numprocesses", None):
        return  # this process only hands out work
    for name in IMPORTED:
        importlib.import_module(name)
    jax, jaxtyping = sys.modules["jax"], sys.modules["jaxtyping"]
    jaxtyping.install_import_hook("promptax", "beartype.beartype")

    from promptax.platforms import compile_quickly
    from promptax.specs import import_plugin

    compile_quickly()
    jax.config.update("jax_traceback_in_locations_limit", 0)  # in programs that nobody reads
    if plugin := os.environ.get("PROMPTAX_PLUGIN"):  # members of your own, for the contract tests
        import_plugin(plugin)
    # pytest's own folder: git-ignored, and gone with `pytest --cache-clear` or `make clean`
    if hasattr(config, "cache"):
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("jax")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_collection_modifyitems(items):
    """Files that take long come first, so that the workers end together: contracts, which all new
    members make longer, and then what has slow tests. Within contracts the laws of a member follow
    each other: they share programs, which are dropped from time to time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item):
        contract = item.path.parent.name == "contracts"
        member = (str(item.path), _member(item)) if contract else ()
        return not contract, item.path not in slow, member

    items.sort(key=place)


def _member(item):
    """The member that a law judges, by the name that its parameters begin with."""
    return item.callspec.id.partition("-")[0] if hasattr(item, "callspec") else ""


def pytest_collection_finish():
    gc.freeze()  # what is there by now stays


def pytest_runtest_teardown(item, nextitem):
    """Drop what was compiled once it is much. Each program takes some of the pieces of memory that
    Linux lets a process map (65,530): the one too many kills the process. And a worker should need
    no more than 2.5 GiB: what the C library kept of freed memory goes back. The tests of a file
    share what was compiled, so that it is dropped between files, or within one when it is due."""
    global _since_count
    within = nextitem is not None and nextitem.path == item.path
    most = max(MOST_BYTES_WITHIN if within else MOST_BYTES, _after_drop + GROWTH)
    _since_count += 1
    counts = not within or _since_count >= BETWEEN_COUNTS
    pieces = _pieces() if counts else 0
    if counts:
        _since_count = 0
    if _resident_bytes() > most or pieces > (MOST_PIECES_WITHIN if within else MOST_PIECES):
        _drop()


def _drop():
    global _after_drop
    sys.modules["jax"].clear_caches()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    _after_drop = _resident_bytes()


def _pieces():
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else 0


def _resident_bytes():
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") if pages.exists() else 0


@pytest.fixture
def as_users_see_it(monkeypatch):
    """Without the tests' type checks: values of a wrong kind reach promptax's own messages."""
    monkeypatch.setattr(sys.modules["jaxtyping"].config, "jaxtyping_disable", True)
