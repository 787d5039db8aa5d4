"""The study's figures, task by task: tuned beside shown, and by the number of demonstrations."""

from collections.abc import Iterator, Mapping

import xarray as xr
from matplotlib.figure import Figure

from promptax.language.word_tasks import few_shot
from promptax.report import wording
from promptax.report.figures import word_tasks as drawings
from promptax.report.pages.study import Part
from promptax.studies.word_tasks.conditions import (
    INSTRUCTED,
    INSTRUCTIONS,
    SHOWN,
    SHUFFLED,
    TASKS,
    TUNED,
)
from promptax.studies.word_tasks.reading import Reader


def parts(results: Mapping[str, xr.DataTree]) -> list[Part]:
    """A part for each task, as far as there are results."""
    reader = Reader(results)
    drawn = {task: list(_figures(reader, task)) for task in TASKS}
    return [
        Part(f"{task.capitalize()}: shown, and tuned", _about(task), figures)
        for task, figures in drawn.items()
        if figures
    ]


def _about(task: str) -> str:
    return (
        f"The instruction is “{INSTRUCTIONS[task].strip()}”. The loss is that of the answer alone, "
        "over the whole alphabet."
    )


def _figures(reader: Reader, task: str) -> Iterator[tuple[str, Figure]]:
    ways = {way: reader.scores(task, way) for way in (SHOWN, SHUFFLED, INSTRUCTED)}
    by_shots = {way: _over_seeds(scores) for way, scores in ways.items() if scores}
    if by_shots:
        yield _said(by_shots), drawings.shot_curves(by_shots)
    curves = {
        way: _over_seeds(reader.scores(task, way)) for way in TUNED if reader.scores(task, way)
    }
    if curves and SHOWN in by_shots:
        yield _said(curves), drawings.tuning_curves(by_shots[SHOWN], curves)


def _over_seeds(scores: Mapping[int, xr.Dataset]) -> xr.Dataset:
    """One seed's scores, or those of several, whose inputs stand side by side: a split of its own
    for each seed."""
    losses = [dataset[["log_loss", "correct"]] for dataset in scores.values()]
    return xr.concat(losses, "sequence", combine_attrs="override")


def _said(scores: Mapping[str, xr.Dataset]) -> str:
    """The last number of each way, in words."""
    parts = []
    for way, dataset in scores.items():
        axis = "shots" if "shots" in dataset.dims else "step"
        last = few_shot.summarise(dataset).isel({axis: -1}).squeeze()
        end = int(last[axis])
        unit = wording.count(end, "demonstration" if axis == "shots" else "update")
        parts.append(
            f"{way}, {unit}: {float(last['log_loss']):.2f} ± {float(last['standard_error']):.2f} "
            f"nats per answer, {float(last['accuracy']):.0%} right"
        )
    return f"{'; '.join(parts)}."
