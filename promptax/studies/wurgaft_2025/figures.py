"""The study's figures: where networks stand between memorising and generalising, and the model."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from promptax.report.figures import learning
from promptax.report.pages.study import Part
from promptax.studies.trainings import Reader, parts_of_all
from promptax.studies.wurgaft_2025.claims import (
    NEW,
    POOL,
    complete,
    end,
    fit,
    mean_variation,
    path,
    pools,
    size_of,
)

Drawn = tuple[str, Figure]
POSITIONS = -0.03, 1.03  # what panels of positions show
_ABOUT = (
    "1 is what memorises, the posterior over the dice of the pool; 0 is what generalises, "
    "Laplace's rule. The position is taken from the distances of the network's predictions to both."
)


def parts(reader: Reader) -> list[Part]:
    """Part by part, as far as there are results."""
    sections = []
    if drawn := list(_positions(reader)):
        sections.append(Part("Memorise or generalise", _ABOUT, drawn))
    return sections + parts_of_all(reader)


def _positions(reader: Reader) -> Iterator[Drawn]:
    names = pools(reader)
    if not names:
        return
    panels = {}
    for source in (POOL, NEW):
        rows = {}
        for name in names:
            paths = [path(results, source) for results in reader.of(name).values()]
            rows[name] = paths[0].steps, np.mean([taken.position for taken in paths], axis=0)
        panels[f"On {source}"] = rows
    ends = [np.mean([end(results) for results in reader.of(name).values()]) for name in names]
    listed = ", ".join(
        f"{size_of(name)}: {value:.2f}" for name, value in zip(names, ends, strict=True)
    )
    yield (
        f"Position on the pool's dice after the last update, by the size of the pool: {listed}.",
        learning.lines(
            "Where networks stand",
            panels,
            "updates",
            "position",
            "1: it memorises; 0: it generalises. Mean over seeds. A network that has learned "
            "little is far from both, and its position says little.",
            log_across=True,
            limits=POSITIONS,
        ),
    )
    for trainings in complete(reader)[:1]:
        model = fit(trainings)
        numbers = model.attrs
        said = (
            f"Correlation {numbers['correlation']:.3f}; of pools that it was not fitted to "
            f"{numbers['held_out_correlation']:.3f}. Discount of later updates "
            f"{numbers['discount']:.2f}, exponent of complexity {numbers['simplicity']:.2f}. Its "
            "mixture of both is at a mean total variation of "
            f"{mean_variation(trainings):.3f} from the networks."
        )
        panels = {
            f"Pool of {size:g}": {
                "network": (model.step.values, model["position"].sel(pool_size=size).values),
                "model": (model.step.values, model["weight"].sel(pool_size=size).values),
            }
            for size in model.pool_size.values
        }
        note = (
            "The network's position, and the weight that the model gives to memorising. The model "
            "has three numbers, fitted to all pools of one seed together."
        )
        yield (
            said,
            learning.lines(
                "The hierarchical model",
                panels,
                "updates",
                "position, weight",
                note,
                log_across=True,
                limits=POSITIONS,
                dashed=["model"],
            ),
        )
