"""Rules by which plain gradient descent moves leaves, each differentiable at every point.

`sgd` follows the gradient; `momentum` follows m = 0.9 m + g (heavy ball, Polyak 1964); `adam` is
Kingma and Ba 2015 with an ε inside the root too, m̂ / (√(v̂ + ε) + 1e-8): the root of 0 has no
derivative, so that second derivatives would be NaN wherever a gradient is 0. Its steps differ a
little from those of the usual Adam, most where gradients are below √ε; ε = 0 is the usual one.
"""

from typing import TYPE_CHECKING, Literal

from jaxtyping import Array

if TYPE_CHECKING:
    import optax  # takes long to import

DescentRule = Literal["sgd", "momentum", "adam"]
"""How a gradient becomes a step: as it is, with momentum, or scaled by Adam."""

MOMENTUM = 0.9
ROOT_EPSILON = 1e-8  # √ε = 1e-4: gradients below it are not scaled up


def descent(
    rule: str, root_epsilon: float | Array = ROOT_EPSILON
) -> "optax.GradientTransformation":
    """The rule as what makes directions of gradients; a step is then -rate · direction."""
    import optax

    if rule == "momentum":
        return optax.trace(decay=MOMENTUM)
    if rule == "adam":
        return optax.scale_by_adam(eps_root=root_epsilon)  # pyright: ignore[reportArgumentType]
    return optax.identity()
