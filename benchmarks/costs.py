"""What must not grow: memory, repetitions, a longer prompt, compilations. A process for each case.

    python benchmarks/costs.py

Sizes are the main paper's unless said otherwise. Memory is the largest resident set of the process
above what it was after imports and the first small computation.
"""

import json
import os
import resource
import subprocess
import sys
import time

import jax

import promptax as px
from promptax.experiments import bench
from promptax.predictors import LSTM, Transformer
from promptax.steering import SoftPrompt

NETWORKS = {"Transformer": Transformer, "LSTM": LSTM}
COMPILED = "/jax/core/compile/backend_compile_duration"
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


def peak_memory() -> float:
    """The largest resident set of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_case(network: str, case: dict) -> dict:
    """One case in this process: seconds, compiled programs and MiB."""
    px.use_cores()
    jax.numpy.ones(3).sum().block_until_ready()
    before, compiling = peak_memory(), []

    def listen(event: str, duration_secs: float, **kwargs: object) -> None:
        del kwargs
        if event == COMPILED:
            compiling.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    architecture, updates = NETWORKS[network](), case.get("updates", 8)
    if case["job"] == "evaluation":
        run = bench.evaluation(architecture, case["sequences"], case["length"])
    else:
        sizes = {name: case[name] for name in ("repetitions", "length", "batch") if name in case}
        tuner = SoftPrompt(length=case["prompt"]) if "prompt" in case else None
        run = bench.ours(architecture, case["job"], case.get("symbols", 2), tuner, **sizes)
    started = time.perf_counter()
    run(updates)
    first, spent, programs = time.perf_counter() - started, sum(compiling), len(compiling)
    times = sorted(run(updates) for _ in range(case.get("rounds", 5)))
    return {
        "seconds": times[len(times) // 2],
        "first": first,
        "compiling": spent,
        "programs": programs,
        "later": len(compiling) - programs,
        "memory": peak_memory() - before,
    }


def measure(network: str, case: dict) -> dict:
    """One case in a fresh process, without a cache of compiled programs."""
    child = subprocess.run(
        [sys.executable, __file__, network, json.dumps(case)],
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "0"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(child.stdout.strip().splitlines()[-1])


def main() -> None:
    """Print a table for each network."""
    if len(sys.argv) == 3 and sys.argv[2].startswith("{"):  # a process of a case
        print(json.dumps(run_case(sys.argv[1], json.loads(sys.argv[2]))))
        return
    for network in sys.argv[1:] or ("Transformer", "LSTM"):
        print(
            f"\n| {network} | s an update | first run, s | of it compiling | programs | "
            "later programs | MiB |"
        )
        print("|---" * 7 + "|")
        for name, case in CASES.items():
            cost = measure(network, case)
            print(
                f"| {name} | {cost['seconds']:.3f} | {cost['first']:.1f} | "
                f"{cost['compiling']:.1f} | {cost['programs']} | {cost['later']} | "
                f"{cost['memory']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
