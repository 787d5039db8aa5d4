"""Several devices, and several processes, give what one device gives.

Each case is a process of its own, because the number of devices is settled when JAX starts.
"""

import os
import socket

import numpy as np
import pytest
from support.processes import python, start

from promptax import load

pytestmark = pytest.mark.slow  # the file

WORK = """
import sys
import jax, jax.numpy as jnp, numpy as np
import promptax as px
from promptax.predictors import Transformer
from promptax.steering import PromptMixture, SoftPrompt
from promptax.tasks import Categorical, DirichletCategorical

class Uniform(px.Predictor):
    symbols: int = 2  # a number that is no array

    def start(self, capacity=None):
        return jnp.zeros(())

    def advance(self, state, inputs):
        rows = jnp.zeros((len(inputs), self.symbols)) - jnp.log(float(self.symbols))
        return state, px.Prediction(rows)

def work():
    key, out = jax.random.key(3), {}
    small = px.FitSettings(steps=4, batch=8, length=6)
    fitted = px.pretrain(key, Transformer(width=8, heads=2), DirichletCategorical(), small,
                         callbacks=())
    base, out["weights"] = fitted.predictor, [fitted.loss, fitted.predictor]
    for repetitions, tuner in (1, PromptMixture(SoftPrompt(length=2))), (2, SoftPrompt(length=2)):
        settings = px.FitSettings(steps=4, batch=8, length=5, repetitions=repetitions)
        fitted = tuner.tune(key, base, Categorical(), settings, callbacks=())
        out[type(tuner).__name__] = [fitted.loss, fitted.predictor]
    losses = px.evaluate(key, {"tuned": fitted.predictor, "uniform": Uniform()}, Categorical(),
                         sequences=24, length=9)
    out["losses"] = jnp.asarray(losses.log_loss.values)
    return out
"""

ALONE = WORK + "\nassert len(jax.devices()) == int(sys.argv[1])\npx.save(sys.argv[2], work())\n"


def results(folder, devices):
    path = folder / f"{devices}.safetensors"
    python(folder, "-c", ALONE, devices, path, JAX_NUM_CPU_DEVICES=str(devices))
    return load(path)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    return results(tmp_path_factory.mktemp("one"), 1)


def same(one, other):
    import jax

    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(left, right, rtol=2e-4, atol=2e-5)


def test_several_devices_give_what_one_gives(one_device, tmp_path):
    """Four: a batch in four parts; two repetitions, each with two parts of its batch."""
    same(results(tmp_path, 4), one_device)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


TOGETHER = (
    WORK
    + """
from promptax import platforms
platforms.join(sys.argv[1], 2, int(sys.argv[2]))
assert jax.process_count() == 2 and len(jax.devices()) == 2
px.save(sys.argv[3], work())
"""
)


def test_two_processes_give_what_one_gives_and_only_the_first_writes(one_device, tmp_path):
    where = f"127.0.0.1:{free_port()}"
    paths = [tmp_path / f"{number}.safetensors" for number in range(2)]
    children = [
        start(tmp_path, "-c", TOGETHER, where, number, path) for number, path in enumerate(paths)
    ]
    ended = [child.communicate(timeout=300) for child in children]  # all, before one may fail
    for child, (said, complaint) in zip(children, ended, strict=True):
        assert child.returncode == 0, said + complaint
    same(load(paths[0]), one_device)
    assert not paths[1].exists()


COMMAND = ["-m", "promptax", "pretrain", "--network.width", "8", "--network.heads", "2"]
COMMAND += ["--fit.steps", "3", "--fit.batch", "4", "--fit.length", "5", "--out", "run"]


def test_the_command_line_joins_two_processes(tmp_path):
    where = ["--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", "2", "--process-id"]
    children = [start(tmp_path, *COMMAND, *where, number) for number in range(2)]
    ended = [child.communicate(timeout=300) for child in children]
    assert all(child.returncode == 0 for child in children), ended
    said = [out + complaint for out, complaint in ended]
    assert "written to run" in said[0] and "written" not in said[1]
    assert (tmp_path / "run" / "predictor.safetensors").exists()


CORES = """
import jax, promptax as px
px.use_cores()
print(len(jax.devices()), end=" ")
px.use_cores()  # too late, and no matter
"""


def test_each_core_becomes_a_device_unless_told_otherwise(tmp_path):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    expected = max(n for n in (1, 2, 4, 8, 16) if n <= cores)
    assert python(tmp_path, "-c", CORES) == f"{expected} "
    assert python(tmp_path, "-c", CORES, JAX_NUM_CPU_DEVICES="3") == "3 "
