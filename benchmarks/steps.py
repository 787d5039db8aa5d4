"""One update of ours beside what a user could write instead, measured in turns within one run.

    python benchmarks/steps.py transformer
    python benchmarks/steps.py lstm --torch          # also PyTorch, eager and compiled

Sizes are the main paper's: batch 256, 100 steps of time for pretraining and 50 for tuning, a prompt
of length 6, width 128. `torch` is an optional extra: pip install torch==2.13.0.
"""

import argparse

import plain_jax

from promptax import bench
from promptax.predictors import LSTM, Transformer

JOBS = {"pretraining": 100, "full weights": 50, "soft prompt": 50}


def main() -> None:
    """Print a table of seconds and of ratios to ours."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", choices=("transformer", "lstm"))
    parser.add_argument("--torch", action="store_true", help="also PyTorch, eager and compiled")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=10)
    given = parser.parse_args()
    architecture = {"transformer": Transformer, "lstm": LSTM}[given.network]()
    name = type(architecture).__name__
    peak = bench.matrix_product_peak()
    others = ("plain JAX", *(("torch eager", "torch compiled") if given.torch else ()))
    print(f"{name}: seconds per update; matrix products here reach {peak / 1e9:.0f} GFLOP/s\n")
    print(f"| update of | promptax | {' | '.join(f'{each} | ratio' for each in others)} |")
    print("|---" * (2 + 2 * len(others)) + "|")
    for job, length in JOBS.items():
        contenders = {
            "promptax": bench.ours(architecture, job),
            "plain JAX": plain_jax.update(name, job, length),
        }
        if given.torch:
            import plain_torch

            contenders["torch eager"] = plain_torch.update(name, job, length, False)
            contenders["torch compiled"] = plain_torch.update(name, job, length, True)
        found = bench.in_turns(contenders, given.updates, given.rounds)
        own = found["promptax"]
        cells = " | ".join(f"{found[each]:.3f} | {found[each] / own:.2f}" for each in others)
        print(f"| {job} | {own:.3f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
