"""A diagonal linear state-space model: the linear recurrent unit of Orvieto et al. 2023.

(arXiv 2303.06349.) Each number of the state is a complex one that is only multiplied and added to,
so that nothing waits for a product of matrices.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Key

from promptax.predictors.parts.layers import Layer, dense, gelu
from promptax.predictors.residual import Residual, SequenceLayer
from promptax.predictors.torso import Outputs, Rows
from promptax.specs import check, floats

Parts = tuple[Float[Array, " state"], Float[Array, " state"]]


class StateSpace(Residual):
    """Blocks of a diagonal state space and perceptrons. With complex h of `states` numbers:

        h[t] = λ ⊙ h[t-1] + γ ⊙ (B x[t]),   y[t] = Re(C h[t]) + D ⊙ x[t]
        output[t] = gelu(y[t]) ⊙ σ(gelu(y[t]) G)

    |λ| is below 1 always: λ = exp(-exp(ν) + i exp(θ)), γ = √(1 - |λ|²). At first |λ| is between
    `least` and `most`, uniform on the ring, with angles from 0 to `angle`.
    """

    positions: bool = False
    """Whether sine-cosine encodings of the positions are added to what the first block reads; a
    state space knows the order of rows without them."""
    states: int = 128
    """How many complex numbers each layer remembers."""
    least: float = eqx.field(default=0.5, converter=floats)
    """The least |λ| at first: a row is forgotten by that factor in each step."""
    most: float = eqx.field(default=0.99, converter=floats)
    """The largest |λ| at first."""
    angle: float = eqx.field(default=6.28, converter=floats)
    """The largest angle of λ at first, in radians for each step."""

    def __check_init__(self) -> None:
        check(self.states >= 1, f"Expected states of at least 1; got {self.states}.")
        check(
            0 <= self.least < self.most < 1,
            f"Expected 0 <= least < most < 1, factors for each step; got least={self.least}, "
            f"most={self.most}.",
        )
        check(
            0 < self.angle <= 2 * math.pi, f"Expected an angle above 0, up to 2π; got {self.angle}."
        )

    @classmethod
    def small(cls) -> "StateSpace":
        return cls(width=32, states=32)

    @classmethod
    def examples(cls) -> "tuple[StateSpace, ...]":
        return (cls(width=6, depth=2, states=5, widening=2),)

    def low_rank_names(self) -> tuple[str, ...]:
        return ("real_in", "imaginary_in", "real_out", "imaginary_out", "gate")

    def layer(self, key: Key[Array, ""]) -> "StateSpaceLayer":
        radius, angle, *keys = jax.random.split(key, 8)
        shape = (self.states,)
        squares = self.least**2 + jax.random.uniform(radius, shape) * (self.most**2 - self.least**2)
        angles = self.angle * jax.random.uniform(angle, shape, minval=1e-3)
        width, states = self.width, self.states
        real_in, imaginary_in, real_out, imaginary_out, gate = (
            dense(one, *sizes, bias=False)
            for one, sizes in zip(
                keys, [(width, states)] * 2 + [(states, width)] * 2 + [(width, width)], strict=False
            )
        )
        return StateSpaceLayer(
            log_decay=jnp.log(-0.5 * jnp.log(squares)),
            log_angle=jnp.log(angles),
            real_in=real_in,
            imaginary_in=imaginary_in,
            real_out=real_out,
            imaginary_out=imaginary_out,
            skip=jax.random.normal(keys[-1], (width,)),
            gate=gate,
        )


class StateSpaceLayer(SequenceLayer):
    """What it remembers: real and imaginary parts of h. Matrices of complex numbers are two layers
    each, so that every leaf is real."""

    log_decay: Float[Array, " state"]
    """ν = log(-log |λ|)."""
    log_angle: Float[Array, " state"]
    """θ, the log of the angle of λ."""
    real_in: Layer
    imaginary_in: Layer
    real_out: Layer
    imaginary_out: Layer
    skip: Float[Array, " width"]
    """D."""
    gate: Layer
    """G."""

    def start(self) -> Parts:
        zeros = jnp.zeros_like(self.log_decay)
        return zeros, zeros

    def read(self, state: Parts, rows: Rows) -> tuple[Parts, Outputs]:
        decay = jnp.exp(self.log_decay)
        factor = jnp.exp(jax.lax.complex(-decay, jnp.exp(self.log_angle)))
        scale = jnp.sqrt(-jnp.expm1(-2 * decay))
        driven = jax.lax.complex(self.real_in(rows) * scale, self.imaginary_in(rows) * scale)
        last, states = _read(factor, jax.lax.complex(*state), driven)
        outputs = self.real_out(states.real) - self.imaginary_out(states.imag) + self.skip * rows
        bent = gelu(outputs)
        return (last.real, last.imag), bent * jax.nn.sigmoid(self.gate(bent))


def _read(
    factor: Complex[Array, " state"],
    first: Complex[Array, " state"],
    driven: Complex[Array, "time state"],
) -> tuple[Complex[Array, " state"], Complex[Array, "time state"]]:
    """The last state, and the states h[t] = factor ⊙ h[t-1] + driven[t]."""

    def step(
        state: Complex[Array, " state"], row: Complex[Array, " state"]
    ) -> tuple[Complex[Array, " state"], Complex[Array, " state"]]:
        state = factor * state + row
        return state, state

    return jax.lax.scan(step, first, driven)
