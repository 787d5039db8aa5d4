"""What must not grow: memory, repetitions, a longer prompt, compilations. A process for each case.

    python benchmarks/costs.py

Sizes are the main paper's unless said otherwise. Memory is the largest resident set of the process
above what it was after imports and the first small computation.
"""

import json
import os
import subprocess
import sys

CASE = """
import json, resource, sys, time
import jax
import promptax as px
from promptax import bench, fit
from promptax.predictors import LSTM, Transformer
from promptax.steering import FullWeights, SoftPrompt
from promptax.tasks import Categorical, DirichletCategorical

px.use_cores()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
jax.numpy.ones(3).sum().block_until_ready()
before, compilations, compiling = peak(), [], []
counted = {"/jax/core/compile/backend_compile_duration"}
jax.monitoring.register_event_duration_secs_listener(
    lambda name, seconds, **_: compiling.append(seconds) if name in counted else None)
network = {"Transformer": Transformer, "LSTM": LSTM}[sys.argv[1]]
case = json.loads(sys.argv[2])
if case["job"] == "evaluation":
    run = bench.evaluation(network(), case["sequences"], case["length"])
else:
    more = {name: case[name] for name in ("repetitions", "length", "batch") if name in case}
    tuner = SoftPrompt(length=case["prompt"]) if "prompt" in case else None
    run = bench.ours(network(), case["job"], case.get("symbols", 2), tuner, **more)
started = time.perf_counter()
run(case.get("updates", 8))
first, spent, programs = time.perf_counter() - started, sum(compiling), len(compiling)
times = sorted(run(case.get("updates", 8)) for _ in range(case.get("rounds", 5)))
print(json.dumps({"seconds": times[len(times) // 2], "first": first, "compiling": spent,
                  "programs": programs, "later": len(compiling) - programs,
                  "memory": peak() - before}))
"""
EVALUATION = {"job": "evaluation", "length": 200, "updates": 1}
SOFT = {"job": "soft prompt"}
CASES = {
    "evaluation, 2,048 × 200": EVALUATION | {"sequences": 2048},
    "evaluation, 4,096 × 200": EVALUATION | {"sequences": 4096},
    "pretraining": {"job": "pretraining"},
    "full weights": {"job": "full weights"},
    "soft prompt": SOFT,
    "soft prompt, 5 repetitions": SOFT | {"repetitions": 5, "updates": 4},
    "soft prompt, 10 repetitions": SOFT | {"repetitions": 10, "updates": 4},
    "full weights, 10 repetitions": {"job": "full weights", "repetitions": 10, "updates": 2},
    "soft prompt of length 100": SOFT | {"prompt": 100},
    "soft prompt, 4,096 symbols, 32 × 50": SOFT | {"symbols": 4096, "batch": 32, "updates": 4},
}


def measure(network: str, case: dict) -> dict:
    """One case in a fresh process, without a cache of compiled programs."""
    child = subprocess.run(
        [sys.executable, "-c", CASE, network, json.dumps(case)],
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "0"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(child.stdout.strip().splitlines()[-1])


def main() -> None:
    """Print a table for each network."""
    for network in sys.argv[1:] or ("Transformer", "LSTM"):
        print(
            f"\n| {network} | s an update | first run, s | of it compiling | programs | "
            "later programs | MiB |"
        )
        print("|---" * 7 + "|")
        for name, case in CASES.items():
            found = measure(network, case)
            print(
                f"| {name} | {found['seconds']:.3f} | {found['first']:.1f} | "
                f"{found['compiling']:.1f} | {found['programs']} | {found['later']} | "
                f"{found['memory']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
