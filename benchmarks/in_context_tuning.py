"""Does tuning a language model to learn in context help on word tasks that it was not tuned to?

SmolLM2-135M-Instruct gets low-rank changes from other word tasks (`FURTHER_TASKS`), shown as
demonstrations and a query (MetaICL, in-context tuning) or without demonstrations (multi-task). It
is judged on the four of `WORD_TASKS`: loss and accuracy behind five demonstrations and behind none,
with what choice and order of the demonstrations do. All ways read equally many tokens.

    python benchmarks/in_context_tuning.py --way raw --way "query alone" --out RESULTS.jsonl

"varied" tunes to eleven tasks; four further ones say after how many updates to stop, so that
nothing is chosen by the tasks that judge. Every line also says, input by input, what is lost more
than by the untuned model, if the file has that.

Needs the weights (`promptax lm fetch`) and the words (`pip install '.[lm,words]'`).
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np

import promptax as px
from promptax.fit.probes import Probe
from promptax.language.demonstrated import Demonstrated
from promptax.language.tokenizer import Tokenizer
from promptax.language.word_tasks.exam import Exam
from promptax.language.word_tasks.few_shot import draw_demonstrations
from promptax.language.word_tasks.further_pairs import FURTHER_TASKS
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
NINE = (
    "plurals",
    "gerunds",
    "comparatives",
    "capital letters",
    "first letters",
    "doubled words",
    "endings",
    "parities",
    "successors",
)
WATCHED = "comparatives", "word classes", "media types", "successors"  # say when to stop
VARIED = tuple(name for name in FURTHER_TASKS if name not in WATCHED)
WAYS = {
    "raw": None,
    "multi-task": {"tasks": NINE, "shots": 0},
    "query alone": {"tasks": NINE, "shots": SHOTS},
    "all answers": {"tasks": NINE, "shots": SHOTS, "scored": "all"},
    "varied": {"tasks": VARIED, "shots": SHOTS, "scored": "all"},
}
LOOKS = 3  # along a fit to varied tasks, besides the one at its start
DRAWS = {"choices": 3, "orders": 2}  # of demonstrations


def tune(network, way, steps, rate, seed, common):
    """The network tuned in that way, and the seconds of processor time that it took."""
    if WAYS[way] is None:
        return network, 0.0
    task = Demonstrated(**WAYS[way])
    length = LENGTHS[task.shots]
    settings = px.FitSettings(
        steps=steps, batch=TOKENS // length, length=length, schedule="cosine", warmup=steps // 20
    )
    watched = Watched(common, seed)
    probes = (Probe(steps // LOOKS, watched.look),) if way == "varied" else ()
    started = time.process_time()
    fitted = LowRank(rank=4, learning_rate=rate).tune(
        jax.random.key(seed), network, task, settings, probes=probes, callbacks=()
    )
    best = watched.best if probes else fitted.predictor
    return best, time.process_time() - started


class Watched:
    """Keeps the network that loses least on tasks that it neither learns from nor is judged by."""

    def __init__(self, common, seed):
        tasks = [FURTHER_TASKS[name](common) for name in WATCHED]
        self.exams = [Exam(task, task.split(seed, held_out=16)) for task in tasks]
        self.least, self.best = float("inf"), None

    def look(self, predictor):
        """The mean loss behind demonstrations."""
        losses = [
            exam.judge(
                predictor, draw_demonstrations(exam.split, SHOTS, 0), room=exam.room(SHOTS)
            ).log_loss.mean()
            for exam in self.exams
        ]
        print("watched", np.round(losses, 3).tolist(), flush=True)
        loss = float(np.mean(losses))
        if loss < self.least:
            self.least, self.best = loss, predictor
        return {"watched": loss}


def judge(predictor, exam):
    """Numbers of one held-out task: behind demonstrations, and behind none."""
    scores = order_and_choice(predictor, exam, SHOTS, callbacks=(), **DRAWS)
    without = exam.judge(predictor, room=exam.room(SHOTS)).log_loss
    by_input = {
        "shown_by_input": scores.log_loss.mean(("draw", "order")).values.tolist(),
        "without_by_input": without.tolist(),
    }
    return summarise_spread(scores) | {"without": float(without.mean())} | by_input


def above_raw(row, path):
    """What each input loses more than by the untuned model: mean and standard error. The last
    inputs of a longer exam are those of a shorter one."""
    lines = path.read_text().splitlines() if path.exists() else []
    told = {}
    for raw in map(json.loads, lines):
        if raw["way"] == "raw" and raw["task"] == row["task"] and raw["seed"] == row["seed"]:
            for name in ("shown", "without"):
                tuned = np.array(row[f"{name}_by_input"])
                before = np.array(raw[f"{name}_by_input"])[-len(tuned) :]
                if len(before) == len(tuned):
                    more = tuned - before
                    error = more.std(ddof=1) / len(more) ** 0.5
                    told |= {f"{name}_above_raw": more.mean(), f"{name}_above_raw_error": error}
    return told


def main():
    """Tune and judge each way, and append a line for each held-out task."""
    parser = argparse.ArgumentParser(description="Tuning to learn in context")
    parser.add_argument("--way", action="append", choices=list(WAYS), required=True)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rate", type=float, default=2e-4)
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
        tuned, seconds = tune(network, way, given.steps, given.rate, given.seed, common)
        settings = {"way": way, "steps": given.steps, "rate": given.rate, "seed": given.seed}
        for name, exam in exams.items():
            row = settings | {"seconds": round(seconds), "task": name} | judge(tuned, exam)
            row |= above_raw(row, given.out)
            print({name: row[name] for name in row if "by_input" not in name}, flush=True)
            with given.out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
