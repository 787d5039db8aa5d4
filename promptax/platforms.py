"""What differs between platforms, in one place.

CPUs: gradients of attention networks are taken in micro-batches whose activations stay in the
cache, repetitions run one after the other, and each core can be a device of its own (`use_cores`).
Accelerators are bound by launches: the whole batch at once, all repetitions side by side. Several
devices, of one process or of many, form a mesh.
"""

import contextlib
import ctypes
import functools
import gc
import importlib.metadata
import math
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

F = TypeVar("F", bound=Callable[..., Any])

CPU_ACTIVATIONS = 1600 * 128  # tokens × width of a micro-batch that stays in a core's cache
CPU_STEP = 64 * 128  # sequences × width of which a recurrent step stays in a core's cache
LEAST_IN_STEP = 64  # sequences: with fewer, weights are read too often


PROMPTS_SIDE_BY_SIDE = 32  # more gains nothing, and takes memory

MOST_MAPPINGS = 0.6  # of what the system allows; the rest is for a large program still to come
LOOKS_APART = 1.0  # seconds: few programs are compiled in that time

MOST_COPIED = 2**27  # bytes of a model of which each core may have a copy
MOST_CORES = 16  # more shares of a batch than that are too small

# XLA's older way of generating code for CPUs, in one piece: half the time. Later versions have no
# older way any more, and end the process at a flag that they do not know.
_IN_ONE_PIECE = "--xla_cpu_parallel_codegen_split_count=1"
_OLDER = ("--xla_cpu_use_fusion_emitters=false",) if jax.__version_info__ < (0, 11) else ()
_QUICK = (*_OLDER, _IN_ONE_PIECE)


def use_cores() -> None:
    """Make each CPU core a device of JAX, so that repetitions and sequences are spread over them.

    A core then works through its share alone, where JAX's single CPU device stops all cores after
    every operation: steps take about 4/5 of the time on two cores. Call it before JAX computes
    anything; the command line does. The largest power of two of the cores that this process may
    use, at most 16, is taken; a number in JAX_NUM_CPU_DEVICES is left as it is. Nothing changes on
    accelerators, nor where JAX has already started, which a warning says.

    Warns:
        UserWarning: JAX has started already, with other devices.
    """
    if not spread_over_cores():
        count = len(jax.devices())
        warnings.warn(
            f"JAX has already started with {count} device{'s' * (count > 1)}: use_cores() changes "
            "nothing. Call it before the first JAX call.",
            stacklevel=2,
        )


def spread_over_cores() -> bool:
    """`use_cores` without its warning. Returns False where JAX has started with other devices."""
    if "JAX_NUM_CPU_DEVICES" in os.environ:
        return True
    devices = 1 << (min(_cores(), MOST_CORES).bit_length() - 1)
    try:
        jax.config.update("jax_num_cpu_devices", devices)
    except RuntimeError:  # JAX has started
        return not on_cpu() or len(jax.devices()) == devices
    return True


def _cores() -> int:
    """How many cores this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def compile_quickly() -> None:
    """Compile in a third of the time, to programs that are slow: for runs of seconds, most of which
    would pass compiling. Call it before JAX computes anything; child processes inherit half of it.
    """
    given = os.environ.get("XLA_FLAGS", "").split()
    os.environ["XLA_FLAGS"] = " ".join([*given, *(flag for flag in _QUICK if flag not in given)])
    jax.config.update("jax_disable_most_optimizations", True)


def how_to_install(extra: str) -> str:
    """The end of a message about a package that is not there: the command that brings an extra of
    promptax. In quotes, as zsh takes square brackets for a pattern."""
    return f"In a clone of promptax: pip install '.[{extra}]'"


def in_float32(function: F) -> F:
    """A function whose products keep the 24 bits of float32, unless `jax.default_matmul_precision`
    asks for something else.

    Accelerators would round the factors to 11 bits (TensorFloat-32). On an H100 log probabilities
    were then off by up to 8e-4, and depended on how many sequences were read at once.
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if jax.config.jax_default_matmul_precision is not None:  # pyright: ignore[reportAttributeAccessIssue]
            return function(*args, **kwargs)
        with jax.default_matmul_precision("float32"):
            return function(*args, **kwargs)

    return cast(F, run)


def as_numpy_promotes() -> contextlib.AbstractContextManager:
    """Ranks and kinds of numbers go together as NumPy lets them, as promptax and what it stands on
    are written; a user's stricter settings hold for the user's own code."""
    lax: tuple[tuple[str, str, Callable[[str], contextlib.AbstractContextManager]], ...] = (
        ("jax_numpy_rank_promotion", "allow", jax.numpy_rank_promotion),
        ("jax_numpy_dtype_promotion", "standard", jax.numpy_dtype_promotion),
    )
    stack = contextlib.ExitStack()
    for name, value, set_to in lax:
        if getattr(jax.config, name) != value:  # what is so already is left: programs are shared
            stack.enter_context(set_to(value))
    return stack


def drop_programs() -> None:
    """Forget compiled programs before they are too many for this process.

    JAX keeps the program of every shape for good, in some 245 pieces of memory for a new length of
    text, and Linux kills the process that maps more than `vm.max_map_count` pieces (65,530). Called
    at the doors, where nothing is being traced; programs that are used again are compiled again.
    """
    now = time.monotonic()
    if now - _last_look[0] < LOOKS_APART:
        return
    _last_look[0] = now
    if _mappings() > MOST_MAPPINGS * _most_mappings() and not isinstance(jnp.zeros(()), Tracer):
        jax.clear_caches()
        gc.collect()  # what held the programs may stand in circles
        _give_back_memory()


def _give_back_memory() -> None:
    """Return what was freed to the system: the C library keeps it. Only GNU's can be asked."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


_last_look = [0.0]


def _mappings() -> int:
    """How many pieces of memory this process maps; 0 where that is not known."""
    try:
        with open("/proc/self/maps", "rb") as file:
            return file.read().count(b"\n")
    except OSError:
        return 0


@functools.cache
def _most_mappings() -> int:
    """How many it may map."""
    try:
        with open("/proc/sys/vm/max_map_count", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 65_530


def expect_platform() -> None:
    """Complain if JAX_PLATFORMS asks for what is not here; JAX itself fails an assertion then.

    Raises:
        ValueError: with what was asked for.
    """
    asked = os.environ.get("JAX_PLATFORMS", "")
    try:
        if asked not in ("", "cpu"):  # asking starts JAX
            jax.devices()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"Expected a platform that JAX finds here; JAX_PLATFORMS is {asked!r} ({error}). Unset "
            "it, or install JAX for that platform."
        ) from error


def on_cpu() -> bool:
    """Whether computations run on CPUs."""
    return jax.default_backend() == "cpu"


def micro_batch(batch: int, length: int, width: int) -> int:
    """How many sequences of an attention network to differentiate at a time: a divisor of batch."""
    if not on_cpu():
        return batch
    return _divisor(batch, max(1, CPU_ACTIVATIONS // max(1, length * width)))


def step_batch(batch: int, width: int) -> int:
    """How many sequences of a recurrent network to differentiate at a time: a divisor of batch."""
    if not on_cpu():
        return batch
    return _divisor(batch, max(LEAST_IN_STEP, CPU_STEP // max(1, width)))


def _divisor(batch: int, wanted: int) -> int:
    """The largest divisor of a batch that is at most as wanted; the next one above where that is
    less than a quarter of it, as for a prime batch: pieces that small take twice the time."""
    divisors = [d for d in range(1, batch + 1) if batch % d == 0]
    below = max(d for d in divisors if d <= wanted)
    above = min((d for d in divisors if d >= wanted), default=batch)
    return below if 4 * below >= wanted else above


def prompts_at_once(prompts: int) -> int:
    """How many prompts of a search a small network reads side by side: on CPUs a batch fills the
    cores already, and several behind each other are faster."""
    return 1 if on_cpu() else min(prompts, PROMPTS_SIDE_BY_SIDE)


def repetitions_at_once(repetitions: int) -> int:
    """How many repetitions to compute side by side."""
    return 1 if on_cpu() else repetitions


def tunings_at_once() -> int:
    """How many tunings of a small network to run at the same time, in threads: one is compiled
    while another computes, for which it takes more than one core. Threads of one process ask its
    cores in one order, as JAX sees to; several processes would each have an order of their own."""
    return 2 if on_cpu() and _cores() > 1 and jax.process_count() == 1 else 1


def free_bytes() -> int | None:
    """Memory that is free on the device, if that can be known."""
    stats = None if on_cpu() else jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    try:  # pages that hold files count as free, which sysconf does not know
        with open("/proc/meminfo", encoding="ascii") as file:
            facts = dict(line.split(":", 1) for line in file)
        return 1024 * int(facts["MemAvailable"].split()[0])
    except (ValueError, OSError, KeyError):
        return None


MOST_NUMBERS = 2**28  # 1 GB of float32, and some times that while they are computed with


def expect_numbers(count: int, what: str, remedy: str) -> None:
    """Complain about more numbers of one kind at a time than anybody means, or than fit into
    memory.

    Memory that is free is no measure of what is meant: a slip of three digits fills all of it.

    Raises:
        ValueError: with how many there are, how many there may be, and the remedy.
    """
    if count > MOST_NUMBERS:
        raise ValueError(
            f"Expected at most {MOST_NUMBERS:,} numbers in {what}; got {count:,}. {remedy}"
        )
    expect_room(4 * count, what, remedy)


def expect_room(needed: int, what: str, remedy: str) -> None:
    """Complain if something needs more memory than is free, where that can be known.

    A system may promise more memory than it has, and end the process that uses it.

    Raises:
        ValueError: with what is needed, what is free, and the remedy.
    """
    free = free_bytes()
    if free is not None and needed > free:
        raise ValueError(
            f"Expected {what} that fit into memory; they take {needed / 1e9:,.1f} GB, and "
            f"{free / 1e9:,.1f} GB are free. {remedy}"
        )


def mesh(repetitions: int, sequences: int, held: int = 0) -> Mesh | None:
    """All devices of all processes as repetition × sequence; None for a single device.

    Repetitions need no exchange, so they are spread first, and the rest of the devices shares the
    sequences. Both must divide; devices beyond that stay idle in a single process, while several
    processes must all have a part. `held`: bytes that every device would hold; cores get no copy
    each of a large model, whose products keep them all busy anyway.
    """
    devices = jax.devices()
    if on_cpu() and jax.process_count() == 1 and held > MOST_COPIED:
        return None
    rows = math.gcd(repetitions, len(devices))
    columns = math.gcd(sequences, len(devices) // rows)
    if len(devices) == 1 or (rows * columns == 1 and jax.process_count() == 1):
        return None
    if jax.process_count() > 1 and rows * columns < len(devices):
        raise ValueError(
            f"Expected {sequences} sequences × {repetitions} repetitions that divide over all "
            f"{len(devices)} devices of {jax.process_count()} processes; they divide over "
            f"{rows * columns}. Choose a batch that is a multiple of {len(devices)}."
        )
    grid = np.array(devices[: rows * columns]).reshape(rows, columns)
    return Mesh(grid, ("repetition", "sequence"), axis_types=(AxisType.Auto,) * 2)


def everywhere(tree: Any, mesh: Mesh | None) -> Any:
    """The arrays of a tree on every device of the mesh: what each process has, it has alike."""
    if mesh is None:
        return tree
    place = NamedSharding(mesh, PartitionSpec())

    def put(leaf: Any) -> Any:
        there = isinstance(leaf, jax.Array) and leaf.sharding == place
        if eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):  # no NumPy array
            numbers, kind = put(jax.random.key_data(leaf)), jax.random.key_impl(leaf)
            return jax.random.wrap_key_data(numbers, impl=kind)
        return leaf if there or not eqx.is_array(leaf) else jax.device_put(np.asarray(leaf), place)

    return jax.tree.map(put, tree)


def size(tree: Any) -> int:
    """How many bytes the arrays of a tree take."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array)))


def at_home(tree: Any) -> Any:
    """Arrays that are whole on every device of a mesh, as ordinary arrays of this process."""

    def fetch(leaf: Any) -> Any:
        spread = isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) > 1
        return jnp.asarray(np.asarray(leaf)) if spread else leaf

    return jax.tree.map(fetch, tree)


def leads() -> bool:
    """Whether this process is the one that writes and prints."""
    if not jax.distributed.is_initialized():  # asking for the number would start JAX
        return True
    return jax.process_index() == 0


def join(coordinator: str, processes: int, number: int) -> None:
    """Become one of several processes that compute together (`jax.distributed`)."""
    bind = coordinator if number == 0 else None
    jax.distributed.initialize(coordinator, processes, number, coordinator_bind_address=bind)


def spread(function: Callable, mesh: Mesh, given: tuple, out: PartitionSpec) -> Callable:
    """The function with its arguments spread over the mesh as `given` says, for use in a compiled
    function; what comes out is whole on every device. What is no array stays what it is."""

    def run(*arguments: Any) -> Any:
        arrays, structure = eqx.partition(arguments, eqx.is_array)
        everywhere = NamedSharding(mesh, PartitionSpec())

        def compute_part(*arrays: Any) -> Any:
            return function(*eqx.combine(arrays, structure))

        def make_whole(leaf: Any) -> Any:
            return jax.lax.with_sharding_constraint(leaf, everywhere)

        parts = jax.shard_map(
            compute_part, mesh=mesh, in_specs=given, out_specs=out, check_vma=False
        )
        return jax.tree.map(make_whole, parts(*arrays))

    return run


def environment() -> dict[str, Any]:
    """What this ran on: versions, platform, device, number of CPUs."""
    others = ("jax", "jaxlib", "equinox", "optax", "numpy")
    return {
        "python": platform.python_version(),
        "promptax": getattr(sys.modules["promptax"], "__version__", "unknown"),
        **{name: importlib.metadata.version(name) for name in others},
        "platform": platform.platform(),
        "device": jax.devices()[0].device_kind,
        "devices": len(jax.devices()),
        "cpus": os.cpu_count(),
    }
