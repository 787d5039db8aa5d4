"""What derivatives keep, as it is stated before it is spent, beside what XLA takes for it.

    python benchmarks/memory.py

A replay of 1,000 steps keeps some states at a time (`states_kept`), `replay_bytes` says how many
bytes these are, and XLA says what the compiled derivative takes beside its arguments. The same of
MAML's inner steps (`inner_bytes`), whose number grows. Stated are lower bounds: a state may be
there twice, and gradients and batches come on top. It takes about a minute on two cores; nothing
runs but the compiler.
"""

import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp

import promptax as px
from promptax import platforms
from promptax.fit import MAML, replay, replay_bytes, states_kept
from promptax.predictors import RNN
from promptax.protocol.outcomes import Episode, Symbols
from promptax.tasks import DirichletCategorical

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.logits import Logits

MB = 1e6
SYMBOLS = 10_000
DICE = DirichletCategorical((1.0,) * SYMBOLS)
LONG = px.FitSettings(steps=1000, batch=2, length=4, learning_rate=0.1)
KEY = jax.random.key(0)


def taken(function, *given):
    """Bytes that the compiled function takes beside its arguments and results."""
    compiled = jax.jit(function).lower(*given).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes


def replay_loss(levels):
    def lose(values):
        end = replay(KEY, Logits(values), DICE, LONG, levels=levels)
        return -jax.nn.log_softmax(jax.tree.leaves(end)[0])[0]

    return jax.grad(lose)


def maml_loss(network, steps, sequences):
    leaves, others = eqx.partition(network, eqx.is_inexact_array)
    tokens = jnp.zeros((sequences, 100), jnp.int32)

    def lose(leaves):
        given = KEY, eqx.combine(leaves, others), None, Episode(tokens), Symbols(2)
        return jnp.sum(MAML(inner_steps=steps, support=50).losses(*given))

    return jax.grad(lose), leaves


if __name__ == "__main__":
    platforms.compile_quickly()
    start = jnp.zeros(SYMBOLS)
    print(f"replay of {LONG.steps} steps, {3 * 4 * SYMBOLS / MB:.2f} MB a state")
    for levels in (1, 2, 3, 10):
        stated, states = replay_bytes(Logits(start), LONG, levels=levels), states_kept(1000, levels)
        print(
            f"  levels={levels:2d}: {states:4d} states, stated {stated / MB:7.2f} MB, "
            f"taken {taken(replay_loss(levels), start) / MB:7.2f} MB",
            flush=True,
        )
    network = RNN(width=32).build(KEY, 2)
    print("MAML, 16 sequences at a time, a support of 50 symbols")
    for steps in (1, 4, 16):
        function, leaves = maml_loss(network, steps, 16)
        stated = 16 * MAML(inner_steps=steps, support=50).inner_bytes(network, 50)
        print(
            f"  {steps:2d} inner steps: stated {stated / MB:7.2f} MB, "
            f"taken {taken(function, leaves) / MB:7.2f} MB",
            flush=True,
        )
