"""One update of ours beside what a user could write instead, measured in turns within one run.

    python benchmarks/steps.py transformer
    python benchmarks/steps.py lstm --torch          # also PyTorch, eager and compiled

Sizes are the main paper's: batch 256, 100 steps of time for pretraining and 50 for tuning, a prompt
of length 6, width 128; evaluation reads 2,048 sequences of length 200. `torch` is an optional
extra: pip install torch==2.13.0.
"""

import argparse

import plain_jax

from promptax import use_cores
from promptax.experiments import bench
from promptax.predictors import LSTM, Architecture, Transformer

JOBS = {"pretraining": 100, "full weights": 50, "soft prompt": 50, "low rank": 50}
EVALUATION = "evaluation"


def contenders(architecture: Architecture, job: str, torch: bool) -> dict[str, bench.Contender]:
    """Who can do that job: ours, and what is written without a library."""
    name = type(architecture).__name__
    if job == EVALUATION:
        found = {
            "promptax": bench.evaluation(architecture),
            "plain JAX": plain_jax.evaluation(name),
        }
    else:
        found = {
            "promptax": bench.ours(architecture, job),
            "plain JAX": plain_jax.update(name, job, JOBS[job]),
        }
    if torch and job != "low rank":
        import plain_torch

        for way in ("eager", "compiled"):
            found[f"torch {way}"] = (
                plain_torch.evaluation(name, way == "compiled")
                if job == EVALUATION
                else plain_torch.update(name, job, JOBS[job], way == "compiled")
            )
    return found


def main() -> None:
    """Print a table of seconds and of ratios to ours."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", choices=("transformer", "lstm"))
    parser.add_argument("--torch", action="store_true", help="also PyTorch, eager and compiled")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=10)
    given = parser.parse_args()
    use_cores()
    architecture = {"transformer": Transformer, "lstm": LSTM}[given.network]()
    name = type(architecture).__name__
    peak = bench.matrix_product_peak()
    others = ("plain JAX", *(("torch eager", "torch compiled") if given.torch else ()))
    print(f"{name}: seconds per update; matrix products here reach {peak / 1e9:.0f} GFLOP/s\n")
    print(f"| update of | promptax | {' | '.join(f'{each} | ratio' for each in others)} |")
    print("|---" * (2 + 2 * len(others)) + "|")
    for job in (*JOBS, EVALUATION):
        running = contenders(architecture, job, given.torch)
        seconds = bench.in_turns(running, 1 if job == EVALUATION else given.updates, given.rounds)
        own = seconds["promptax"]
        cells = [
            f"{seconds[each]:.3f} | {seconds[each] / own:.2f}" if each in seconds else "– | –"
            for each in others
        ]
        print(f"| {job} | {own:.3f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
