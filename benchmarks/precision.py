"""What rounded matrix products do to regret, where the platform does not round: an emulation.

    python benchmarks/precision.py

`FitSettings.precision` tells an accelerator to round the factors of products while fitting; CPUs
ignore it. Here every product of the fit, forward and backward, gets its factors rounded to that
many bits of mantissa before it is computed in float32, as those units do. Evaluation is in float32,
as always. Small networks, several seeds: differences are to be read beside the spread.
"""

import statistics
import sys

import jax
from jax._src.lax import lax as internal  # the rule that every product is lowered by
from jax.extend.mlir.dialects import stablehlo
from jax.interpreters import mlir

import promptax as px
from promptax.predictors import LSTM, Transformer
from promptax.steering import SoftPrompt
from promptax.tasks import Categorical, DirichletCategorical

MANTISSA = {"float32": 23, "tensorfloat32": 10, "bfloat16": 7}
SEEDS = 3
NETWORKS = {"transformer": Transformer(width=32, heads=2), "lstm": LSTM(width=32)}


def round_products(bits: int) -> None:
    """From now on, compiled products round their factors to so many bits of mantissa."""

    def rule(context, left, right, **settings):
        rounded = [stablehlo.reduce_precision(factor, 8, bits) for factor in (left, right)]
        return internal._dot_general_lower(context, *rounded, **settings, platform="cpu")

    mlir.register_lowering(internal.dot_general_p, rule, platform="cpu")
    jax.clear_caches()


def regrets(network: str, precision: str, seed: int) -> tuple[float, float]:
    """Nats over 100 steps: untuned on random coins to Bayes; soft prompt on one coin, 50 steps."""
    coins, target = DirichletCategorical(), Categorical()
    keys = jax.random.split(jax.random.key(seed), 4)
    fit = lambda steps, rate: px.FitSettings(  # noqa: E731
        steps=steps, batch=64, learning_rate=rate, schedule="cosine", warmup=steps // 20
    )
    round_products(MANTISSA[precision])
    base = px.pretrain(keys[0], NETWORKS[network], coins, fit(700, 4e-3), callbacks=()).predictor
    tuned = SoftPrompt().tune(keys[1], base, target, fit(300, 2e-2), callbacks=()).predictor
    round_products(MANTISSA["float32"])
    on_prior = px.regret(px.evaluate(keys[2], {"it": base}, coins, 1024, 100), "bayes")
    on_target = px.regret(px.evaluate(keys[3], {"it": tuned}, target, 1024, 50), "oracle")
    last = lambda results: float(results.regret.sel(predictor="it")[0, -1])  # noqa: E731
    return last(on_prior), last(on_target)


def main() -> None:
    """Print a table for each network."""
    for network in sys.argv[1:] or NETWORKS:
        print(
            f"\n| {network} | untuned, random coins, 100 steps | soft prompt, one coin, 50 steps |"
        )
        print("|---|---|---|")
        for precision in MANTISSA:
            found = [regrets(network, precision, seed) for seed in range(SEEDS)]
            cells = [
                f"{statistics.mean(each):.4f} ({min(each):.4f} … {max(each):.4f})"
                for each in zip(*found, strict=True)
            ]
            print(f"| {precision} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
