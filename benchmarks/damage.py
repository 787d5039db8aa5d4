"""Damage every kind of file that promptax reads, and see what becomes of it.

    python benchmarks/damage.py [mutants]

A mutant is a file that was cut, had a bit flipped, two blocks swapped, a block overwritten by
noise or by zeros, or begins with a header that claims billions. For every kind the table says how
many mutants were refused, how many were read as before (the damage changed nothing that is read),
how many were read as something else, how many ended in an error that is none of promptax's, and
the longest time. Of the files that promptax writes, none may be read as something else.
"""

import collections
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import promptax as px
from promptax import files, store
from promptax.predictors import LSTM
from promptax.tasks import Categorical, DirichletCategorical, Recorded

LIMIT = 20  # seconds for one file
REFUSED = (ValueError, OSError, MemoryError)
COINS = DirichletCategorical().bayes()
Reader = Callable[[Path], Any]


def whole_files(folder: Path) -> dict[str, tuple[Path, Reader]]:
    """A whole file of every kind, and how it is read; the first five are promptax's own."""
    network = LSTM(width=4).build(jax.random.key(0), 2)
    results = xr.Dataset(
        {"regret": (("predictor", "time"), np.random.default_rng(0).normal(size=(2, 50)))},
        coords={"predictor": ["a", "b"]},
        attrs={"reference": "oracle", "nothing": None},
    )
    state = {"weights": jnp.arange(50.0), "step": np.array(3)}
    checkpoint = store.Checkpoint(folder / "checkpoint.safetensors")
    checkpoint.save("run", state)
    tokens = np.random.default_rng(1).integers(0, 2, 400)
    rows = "\n".join(",".join(map(str, row)) for row in tokens.reshape(20, 20).tolist())
    return {
        "record": (px.save(folder / "network.safetensors", network), px.load),
        "results": (px.save(folder / "results.nc", results), px.load),
        "checkpoint": (checkpoint.path, lambda path: store.Checkpoint(path).restore("run", state)),
        "spec": (px.save(folder / "task.json", Categorical((0.2, 0.8))), px.load),
        "run folder": (
            files.write_json(folder / "spec.json", {"command": "promptax demo", "seed": 0}),
            files.read_json,
        ),
        "compressed": (
            files.write_bytes(folder / "tokens.ptax", px.compress(COINS, tokens)),
            lambda path: px.decompress(COINS, path.read_bytes()),
        ),
        "symbols (no digest)": (
            files.write_text(folder / "rows.csv", rows),
            lambda path: Recorded(path=str(path)).sequences,
        ),
    }


def mutant(random: np.random.Generator, whole: bytes) -> bytes:
    """The file with one damage."""
    data, size = bytearray(whole), len(whole)
    kind = random.integers(6)
    first, second = sorted(random.integers(0, size, 2).tolist())
    if kind == 0:
        return bytes(data[:first])
    if kind == 1:
        data[first] ^= 1 << int(random.integers(8))
    elif kind == 2:
        data[first : first + 8], data[second : second + 8] = (
            data[second : second + 8],
            data[first : first + 8],
        )
    elif kind == 3:
        data[first : first + 16] = random.bytes(len(data[first : first + 16]))
    elif kind == 4:
        data[first:second] = bytes(second - first)
    else:
        data[: min(8, size)] = (2**40 + int(random.integers(99))).to_bytes(8, "little")[:size]
    return bytes(data)


def equal(one: Any, another: Any) -> bool:
    """Whether two things that were read are the same."""
    if isinstance(one, xr.Dataset):
        return isinstance(another, xr.Dataset) and one.identical(another)
    if isinstance(one, np.ndarray | jax.Array):
        return np.array_equal(one, another)
    return bool(eqx.tree_equal(one, another))


def outcome(read: Reader, path: Path, whole: Any) -> str:
    """What becomes of a damaged file."""
    signal.alarm(LIMIT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "as before" if equal(whole, read(path)) else "something else"
    except TimeoutError:
        return "without end"
    except REFUSED:
        return "refused"
    except Exception as error:
        return f"raw {type(error).__name__}"
    finally:
        signal.alarm(0)


def too_late(*_: Any) -> None:
    """What the alarm does."""
    raise TimeoutError


def main(mutants: int) -> None:
    """Damage, read, count."""
    signal.signal(signal.SIGALRM, too_late)
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        kinds = whole_files(Path(name))
        for kind, (path, read) in kinds.items():
            raw, whole = path.read_bytes(), read(path)
            counts, longest = collections.Counter[str](), 0.0
            for _ in range(mutants // len(kinds)):
                damaged = mutant(random, raw)
                if damaged == raw:
                    continue
                path.write_bytes(damaged)
                started = time.monotonic()
                counts[outcome(read, path, whole)] += 1
                longest = max(longest, time.monotonic() - started)
            path.write_bytes(raw)
            told = ", ".join(f"{count} {what}" for what, count in counts.most_common())
            print(f"{kind:20} {told}; longest {longest:.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
