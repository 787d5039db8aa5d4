"""Quartiles over repetitions, of which some may be missing."""

import numpy as np
import scipy  # loads its parts when they are first used
from jaxtyping import Float

_HUGE = 1e300  # stands in for ∞, of which no mean can be taken


def quartiles(
    values: Float[np.ndarray, "predictor repetition time"],
) -> Float[np.ndarray, "quartile=3 predictor time"]:
    """Lower quartile, median and upper quartile over repetitions that are not NaN, in the unit of
    the values; NaN where there is none."""
    finite = np.nan_to_num(np.asarray(values, float), nan=np.nan, posinf=_HUGE, neginf=-_HUGE)
    levels = np.array([0.25, 0.5, 0.75])[None, :, None]
    at_levels = np.moveaxis(scipy.stats.quantile(finite, levels, axis=1, nan_policy="omit"), 1, 0)
    return np.where(np.abs(at_levels) > _HUGE * 1e-10, np.copysign(np.inf, at_levels), at_levels)
