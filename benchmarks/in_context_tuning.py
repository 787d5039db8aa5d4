"""Does tuning a language model to learn in context help on word tasks that it was not tuned to?

SmolLM2-135M-Instruct gets low-rank changes from nine word tasks (`FURTHER_TASKS`), shown as
demonstrations and a query (MetaICL, in-context tuning) or without demonstrations (multi-task). It
is judged on the four of `WORD_TASKS`: loss and accuracy behind five demonstrations and behind none,
with what choice and order of the demonstrations do. All ways read equally many tokens.

    python benchmarks/in_context_tuning.py --way raw --way "query alone" --out RESULTS.jsonl

Needs the weights (`promptax lm fetch`) and the words (`pip install promptax[lm,words]`).
"""

import argparse
import json
import time
from pathlib import Path

import jax

import promptax as px
from promptax.language.demonstrated import Demonstrated
from promptax.language.tokenizer import Tokenizer
from promptax.language.word_tasks.exam import Exam
from promptax.language.word_tasks.pairs import WORD_TASKS, common_words
from promptax.language.word_tasks.spread import order_and_choice, summarise_spread
from promptax.predictors import Llama
from promptax.steering import LowRank

SHOTS = 5
TOKENS = 192  # of an update, padding included
LENGTHS = {
    SHOTS: 48,
    0: 12,
}  # of an episode: six pairs of 5.3 tokens on average, or one of up to 11
WAYS = {
    "raw": None,
    "multi-task": {"shots": 0},
    "query alone": {"shots": SHOTS},
    "all answers": {"shots": SHOTS, "scored": "all"},
}
DRAWS = {"choices": 3, "orders": 2}  # of demonstrations


def tune(network, way, steps, rate, seed):
    """The network tuned in that way, and the seconds of processor time that it took."""
    if WAYS[way] is None:
        return network, 0.0
    task = Demonstrated(**WAYS[way])
    length = LENGTHS[task.shots]
    settings = px.FitSettings(
        steps=steps, batch=TOKENS // length, length=length, schedule="cosine", warmup=steps // 20
    )
    started = time.process_time()
    fitted = LowRank(rank=4, learning_rate=rate).tune(
        jax.random.key(seed), network, task, settings, callbacks=()
    )
    return fitted.predictor, time.process_time() - started


def judge(predictor, exam):
    """Numbers of one held-out task: behind demonstrations, and behind none."""
    shown = summarise_spread(order_and_choice(predictor, exam, SHOTS, callbacks=(), **DRAWS))
    without = exam.judge(predictor, room=exam.room(SHOTS))
    return shown | {"without": float(without.log_loss.mean())}


def main():
    """Tune and judge each way, and append a line for each held-out task."""
    parser = argparse.ArgumentParser(description="Tuning to learn in context")
    parser.add_argument("--way", action="append", choices=list(WAYS), required=True)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", type=int, default=16, help="inputs of each task")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    common = common_words(Tokenizer.named("smollm2"))
    tasks = {name: make(common) for name, make in WORD_TASKS.items()}
    exams = {
        name: Exam(task, task.split(given.seed, held_out=given.held_out))
        for name, task in tasks.items()
    }
    network = Llama.smollm2_135m()
    for way in given.way:
        tuned, seconds = tune(network, way, given.steps, given.rate, given.seed)
        settings = {"way": way, "steps": given.steps, "rate": given.rate, "seed": given.seed}
        for name, exam in exams.items():
            row = settings | {"seconds": round(seconds), "task": name} | judge(tuned, exam)
            print(row, flush=True)
            with given.out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
