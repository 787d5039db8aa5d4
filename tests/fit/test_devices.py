"""Several devices, and several processes, give what one device gives.

Each case is a process of its own, because the number of devices is settled when JAX starts.
"""

import os
import socket

import jax
import numpy as np
import pytest
from support import judges as laws
from support.processes import python, start
from support.several_devices import work
from support.warm import run_code

from promptax import load, save

pytestmark = pytest.mark.slow  # the file

WORK = f"""
import sys
sys.path.append({str(laws.TESTS)!r})
import jax, promptax as px
from support.several_devices import work
"""
ALONE = (
    WORK
    + """
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
assert len(jax.devices()) == int(sys.argv[1])
px.save(sys.argv[2], work())
"""
)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    assert len(jax.devices()) == 1
    return load(save(tmp_path_factory.mktemp("one") / "one.safetensors", work()))


def same(one, other):
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(left, right, rtol=2e-4, atol=2e-5)


def test_several_devices_give_what_one_gives(one_device, tmp_path):
    """Four: a batch in four parts; two repetitions, each with two parts of its batch."""
    path = tmp_path / "four.safetensors"
    run_code(tmp_path, ALONE, 4, path)
    same(load(path), one_device)


THREADS = (
    WORK
    + """
from concurrent.futures import ThreadPoolExecutor
jax.config.update("jax_num_cpu_devices", 4)
with ThreadPoolExecutor(2) as pool:
    px.save(sys.argv[1], list(pool.map(lambda _: work(), range(2))))
"""
)


def test_threads_share_several_devices(one_device, tmp_path):
    """Devices that wait for each other are all asked in one order, or they would wait for ever."""
    run_code(tmp_path, THREADS, tmp_path / "threads.safetensors")
    for result in load(tmp_path / "threads.safetensors"):
        same(result, one_device)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


COMMAND = ["pretrain", "--network.width", "8", "--network.heads", "2"]
COMMAND += ["--fit.steps", "3", "--fit.batch", "4", "--fit.length", "5", "--out", "run"]
TOGETHER = (
    WORK
    + f"""
from promptax import cli
where = ["--coordinator", sys.argv[1], "--num-processes", "2", "--process-id", sys.argv[2]]
cli.main([*{COMMAND}, *where])
assert jax.process_count() == 2 and len(jax.devices()) == 2
px.save(sys.argv[3], work())
"""
)


def test_two_processes_give_what_one_gives_and_only_the_first_writes(one_device, tmp_path):
    """A command joins them."""
    where, one = f"127.0.0.1:{free_port()}", {"JAX_NUM_CPU_DEVICES": "1"}
    paths = [tmp_path / f"{number}.safetensors" for number in range(2)]
    children = [
        start(tmp_path, "-c", TOGETHER, where, number, path, **one)
        for number, path in enumerate(paths)
    ]
    ended = [child.communicate(timeout=300) for child in children]  # all, before one may fail
    for child, (said, complaint) in zip(children, ended, strict=True):
        assert child.returncode == 0, said + complaint
    said = [out + complaint for out, complaint in ended]
    assert "written to run" in said[0] and "written" not in said[1]
    assert (tmp_path / "run" / "predictor.safetensors").exists()
    same(load(paths[0]), one_device)
    assert not paths[1].exists()


CORES = """
import jax, promptax as px
px.use_cores()
print(len(jax.devices()), end=" ")
px.use_cores()  # too late, and no matter
"""


def test_each_core_becomes_a_device_unless_told_otherwise(tmp_path):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    expected = max(n for n in (1, 2, 4, 8, 16) if n <= cores)
    assert run_code(tmp_path, CORES) == f"{expected} "
    assert python(tmp_path, "-c", CORES, JAX_NUM_CPU_DEVICES="3") == "3 "
