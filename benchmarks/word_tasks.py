"""Word tasks on SmolLM2-135M: demonstrations in front, a tuned soft prompt, a low-rank change.

    promptax lm fetch
    python benchmarks/word_tasks.py                   # all four, about 20 minutes on two idle cores
    python benchmarks/word_tasks.py "past tenses" --steps 200 --out runs/word_tasks

Writes to the folder, for each task: labelled results (.nc), a table (.csv and .md) and a figure of
held-out curves (.png). Losses are nats per answer over the whole alphabet.
"""

import argparse
import csv
import functools
import math
import time
from pathlib import Path

import jax

import promptax as px
from promptax import store
from promptax.language.tokenizer import Tokenizer
from promptax.language.word_tasks import few_shot, pairs
from promptax.language.word_tasks.exam import Exam
from promptax.predictors import Llama
from promptax.report.figures.word_tasks import tuning_curves
from promptax.steering import KeyValuePrompt, LowRank, SoftPrompt

INSTRUCTIONS = {
    "capitals": "Name the capital of each country:\n",
    "past tenses": "Write the past tense of each verb:\n",
    "sentiments": "Is each word positive or negative?\n",
    "number words": "Write each number in words:\n",
}
COLUMNS = (
    "task",
    "way",
    "log_loss",
    "standard_error",
    "between",
    "accuracy",
    "calibrated_accuracy",
    "less_than_5_shots",
    "its_standard_error",
    "processor_seconds",
)


def tuners(tokens: tuple[int, ...], length: int) -> dict:
    """A tuner, its learning rate, and which pairs of a split it is tuned to, by name."""
    start = {"length": length, "initial": "tokens"}
    said = {**start, "initial_tokens": tokens}
    return {
        "soft prompt": (SoftPrompt(**said), 5e-3, "training"),
        "low rank": (LowRank(rank=4), 1e-3, "training"),
        "soft prompt, random tokens": (SoftPrompt(**start), 5e-3, "training"),
        "soft prompt, demonstrations": (SoftPrompt(**said), 5e-3, "demonstrations"),
        "keys and values": (KeyValuePrompt(**said), 5e-3, "training"),
    }


def row(task: str, way: str, marks, reference) -> dict:
    """A line of the table; `marks` and `reference` without other axes than draws and inputs."""
    again = "draw" if "draw" in marks.dims else "repetition"
    short = few_shot.summarise(marks)
    less = reference["log_loss"].mean("draw") - marks["log_loss"].mean(again)
    found = {"task": task, "way": way, "less_than_5_shots": float(less.mean())}
    found["its_standard_error"] = float(less.std(ddof=1)) / math.sqrt(less.sizes["sequence"])
    names = ("log_loss", "standard_error", "between", "accuracy")
    found |= {name: float(short[name]) for name in names}
    if "label_accuracy" in short:
        found["calibrated_accuracy"] = float(
            short["label_accuracy"].sel(calibration="training inputs")
        )
    if "processor_seconds" in marks.coords:
        found["processor_seconds"] = float(marks["processor_seconds"])
    return found


def table(rows: list[dict]) -> str:
    """The rows in Markdown, without columns that are empty."""
    kept = [name for name in COLUMNS if any(name in each for each in rows)]
    lines = ["| " + " | ".join(name.replace("_", " ") for name in kept) + " |"]
    lines.append("|---" * len(kept) + "|")
    for each in rows:
        cells = (each.get(name, "") for name in kept)
        texts = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells)
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the tasks that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tasks", nargs="*", default=list(pairs.WORD_TASKS))
    parser.add_argument("--out", type=Path, default=Path("runs/word_tasks"))
    parser.add_argument("--ways", default="soft prompt;low rank", help="tuners, ; between, or none")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--every", type=int, default=20, help="steps between two looks")
    parser.add_argument("--length", type=int, default=10, help="rows of a prompt")
    parser.add_argument("--draws", type=int, default=3, help="draws of demonstrations")
    given = parser.parse_args()
    tokenizer = Tokenizer.named("smollm2")
    common, network = pairs.common_words(tokenizer), Llama.smollm2_135m()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.tasks:
        began = time.monotonic()
        task = pairs.WORD_TASKS[name](common)
        said = tokenizer.encode(INSTRUCTIONS[name])
        rows = measure(network, Exam(task, task.split()), said, given)
        stem = given.out / name.replace(" ", "_")
        with open(f"{stem}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        Path(f"{stem}.md").write_text(table(rows), encoding="utf-8")
        print(f"{name}: {time.monotonic() - began:.0f} s\n\n{table(rows)}", flush=True)


def measure(network, exam: Exam, said, given) -> list[dict]:
    """The lines of a task's table; its results and its figure go to the folder. `said`: the tokens
    of an instruction."""
    name, stem = exam.task.name, exam.task.name.replace(" ", "_")
    ask = functools.partial(few_shot.few_shot, exam=exam, draws=given.draws, callbacks=())
    shown = ask(network, answers=("right",))
    shuffled = ask(network, shots=(5, 10), answers=("shuffled",))
    told = ask(px.condition(network, said), shots=(0, 5), answers=("right",))
    ways = {"{} shots": shown, "{} shots, shuffled answers": shuffled}
    ways["instruction, {} shots"] = told
    reference = shown.sel(answers="right", shots=5)
    rows = [
        row(name, way.format(k), marks.sel(shots=k).squeeze("answers"), reference)
        for way, marks in ways.items()
        for k in marks["shots"].values
    ]
    curves = {}
    for way in filter(None, given.ways.split(";")):
        tuner, rate, side = tuners(tuple(said.tolist()), given.length)[way]
        settings = px.FitSettings(
            steps=given.steps, batch=given.batch, learning_rate=rate, schedule="cosine"
        )
        _, curves[way] = few_shot.tune(
            jax.random.key(0), tuner, network, exam, settings,
            pairs=getattr(exam.split, side), every=given.every, callbacks=(),
        )  # fmt: skip
        last = curves[way].isel(step=-1).set_coords("processor_seconds")
        rows.append(row(name, way, last, reference))
    for kind, marks in {"shown": shown, "shuffled": shuffled, "told": told, **curves}.items():
        px.save(given.out / f"{stem}_{kind.replace(' ', '_').replace(',', '')}.nc", marks)
    if curves:
        store.write_figure(given.out / f"{stem}.png", tuning_curves(shown, curves))
    return rows


if __name__ == "__main__":
    main()
