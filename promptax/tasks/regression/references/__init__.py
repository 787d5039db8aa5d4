"""What learns from points by other rules than Bayes': to tell which one a network behaves like.

Every reference is a predictor of `Points(dimensions, Gaussian())`. It predicts N(its answer, s²)
with s its field `noise_scale`, whatever it has read: only Bayes says how sure one can be.
"""

from promptax.tasks.regression.references.averaging import Averaging as Averaging
from promptax.tasks.regression.references.gradient_descent import GradientDescent as GradientDescent
from promptax.tasks.regression.references.lasso import Lasso as Lasso
from promptax.tasks.regression.references.minimum_norm import MinimumNorm as MinimumNorm
from promptax.tasks.regression.references.nearest_neighbours import (
    NearestNeighbours as NearestNeighbours,
)
from promptax.tasks.regression.references.ridge import Ridge as Ridge
