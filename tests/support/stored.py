"""What tests of files save: a file that is read again, and labelled results of every kind."""

import numpy as np
import xarray as xr

from promptax import store


def again(path, thing):
    store.save(path, thing)
    return store.load(path)


def small_results():
    """Labelled results with NaN, an empty axis, no axis, and words beyond ASCII."""
    return xr.Dataset(
        {
            "regret": (("predictor", "time"), np.array([[1.0, np.nan]]), {"unit": "nats"}),
            "nothing": (("predictor", "prompt"), np.zeros((1, 0))),
            "seconds": ((), 3.0, {"units": "seconds"}),
            "solved": ("predictor", np.array([True])),
            "count": ("time", np.array([1, 2], np.int32)),
        },
        coords={"predictor": ["τ prompt"], "time": [1, 2]},
        attrs={"unit": "nats", "shares": [0.1, 0.2]},
    )
