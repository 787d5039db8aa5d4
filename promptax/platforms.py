"""What differs between platforms, in one place.

CPUs: gradients of attention networks are taken in micro-batches whose activations stay in the
cache, repetitions run one after the other. Accelerators are bound by launches: the whole batch at
once, all repetitions side by side.
"""

import os

import jax

CPU_ACTIVATIONS = 1600 * 128  # tokens × width of a micro-batch that stays in a core's cache


def on_cpu() -> bool:
    """Whether computations run on CPUs."""
    return jax.default_backend() == "cpu"


def micro_batch(batch: int, length: int, width: int) -> int:
    """How many sequences of an attention network to differentiate at a time: a divisor of batch."""
    if not on_cpu():
        return batch
    most = max(1, CPU_ACTIVATIONS // max(1, length * width))
    return max(d for d in range(1, batch + 1) if batch % d == 0 and d <= most)


def repetitions_at_once(repetitions: int) -> int:
    """How many repetitions to compute side by side."""
    return 1 if on_cpu() else repetitions


def free_bytes() -> int | None:
    """Memory that is free on the device, if that can be known."""
    stats = None if on_cpu() else jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
