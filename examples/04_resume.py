"""Stop a fit, resume it from its checkpoint, and get the same numbers bit for bit.

    python examples/04_resume.py            # some seconds
    python examples/04_resume.py --quick    # fewer steps

Expected:

    stopped before the end: True
    resumed to the last step: True
    the same losses: True
    the same weights: True
    refused: StoreError
"""

import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

import promptax as px
from promptax.predictors import LSTM
from promptax.tasks import DirichletCategorical

steps = 30 if "--quick" in sys.argv else 120
settings = px.FitSettings(steps=steps, batch=16)
path = Path(tempfile.mkdtemp()) / "checkpoint.safetensors"
task, network, key = DirichletCategorical(), LSTM(width=8), jax.random.key(0)


def stop_halfway(done, total, note):
    """A callback stops the run by a true answer; a progress bar is a callback, too."""
    del note
    return done >= total // 2


whole = px.pretrain(key, network, task, settings, callbacks=())

checkpoint = px.Checkpoint(path)  # saves every 30 seconds, and when a run stops
part = px.pretrain(key, network, task, settings, checkpoint=checkpoint, callbacks=(stop_halfway,))
print("stopped before the end:", part.loss.shape[1] < steps)

rest = px.pretrain(key, network, task, settings, checkpoint=px.Checkpoint(path), callbacks=())
leaves = [jax.tree.leaves(fitted.predictor) for fitted in (whole, rest)]
print("resumed to the last step:", rest.loss.shape[1] == steps)
print("the same losses:", np.array_equal(whole.loss, rest.loss))
same = all(np.array_equal(one, other) for one, other in zip(*leaves, strict=True))
print("the same weights:", same)
assert same

try:  # a checkpoint belongs to its run: other settings are refused, with the difference
    px.pretrain(key, network, task, px.FitSettings(steps=steps, batch=8), checkpoint=checkpoint)
except ValueError as error:
    print("refused:", type(error).__name__)
else:
    raise AssertionError("Expected a complaint about another batch size.")
