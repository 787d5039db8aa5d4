"""How probable each of several hypotheses is, after ever more evidence.

    w_k(n + 1)  ∝  w_k(n) p_k(x_n | x_<n)

Log weights are held against the mixture's own prediction, as a high and a low part. So the weights
that matter stay near 0, where float32 has all its digits, and a hypothesis that lost ten thousand
nats can win them back. One that gave what came a probability of zero has a weight of exactly zero
for ever.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from promptax.tasks.hidden.forward import log_sum
from promptax.tasks.markov.weighting import add_to_pair


class Odds(NamedTuple):
    """`log_weights` [component, 2]: log w_k up to a constant, high and low part, nats. `possible`:
    whether any component allows what was read."""

    log_weights: Float[Array, "component 2"]
    possible: Bool[Array, ""]


def prior_odds(weights: Float[Array, " component"]) -> Odds:
    """The odds before anything is read; weights of zero are legal."""
    high = jnp.log(weights)
    return Odds(jnp.stack([high, jnp.zeros_like(high)], axis=1), jnp.ones((), bool))


def log_posterior(odds: Odds) -> Float[Array, " component"]:
    """log w_k, whose exponentials sum to 1; all of them -inf where no component is possible."""
    high = jnp.where(odds.possible, odds.log_weights[:, 0], 0.0)
    return jnp.where(odds.possible, high - log_sum(high, axis=0), -jnp.inf)


def weigh(odds: Odds, gains: Float[Array, " component"]) -> Odds:
    """The odds once something came whose log probability, or log density, a component says is
    `gains`, nats."""
    joint = log_posterior(odds) + gains
    alive = joint > -jnp.inf
    possible = odds.possible & jnp.any(alive)
    said = jnp.where(possible, log_sum(joint, axis=0), 0.0)  # by the mixture
    high, low = odds.log_weights[:, 0], odds.log_weights[:, 1]
    safe = jnp.where(alive, high, 0.0), jnp.where(alive, gains - said, 0.0)
    high, low = add_to_pair(safe[0], low, safe[1])
    dead = jnp.stack([jnp.full_like(high, -jnp.inf), jnp.zeros_like(high)], axis=1)
    pair = jnp.stack([high, low], axis=1)
    return Odds(jnp.where(alive[:, None], pair, dead), possible)


def weigh_all(
    odds: Odds, gains: Float[Array, "time component"]
) -> tuple[Odds, Float[Array, "time component"]]:
    """The odds after all of the evidence, and log w_k in front of each step, nats."""

    def step(odds: Odds, gain: Float[Array, " component"]) -> tuple[Odds, Array]:
        return weigh(odds, gain), log_posterior(odds)

    return jax.lax.scan(step, odds, gains)
