"""What the choice of demonstrations, and their order, do to how well held-out inputs are answered.

Chen et al. 2022 (arXiv 2110.07814, section 4.2) and Min et al. 2022 (arXiv 2110.15943) report both:
a model that was tuned to learn in context should care less which examples it is shown, and in which
order.
"""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr

from promptax.axes import NATS, labelled
from promptax.doors import door
from promptax.language.word_tasks.exam import Exam
from promptax.language.word_tasks.few_shot import draw_demonstrations
from promptax.progress import Callback, reporting
from promptax.protocol.predictor import Predictor
from promptax.specs import check, check_kind, check_whole_numbers

MOST_READINGS = 10_000  # of an exam: a reading of SmolLM2's takes seconds


@door
def order_and_choice(
    predictor: Predictor,
    exam: Exam,
    shots: int,
    *,
    choices: int = 4,
    orders: int = 2,
    callbacks: Sequence[Callback] | None = None,
) -> xr.Dataset:
    """Measure answers behind several sets of demonstrations, each in several orders.

    Variables: `log_loss` [draw, order, sequence], nats per answer over the whole alphabet, and
    `correct`, the same shape. The sets are those of `few_shot` draws 0, 1, …; order 0 is theirs.
    """
    check_kind(exam, Exam, "Exam(task, task.split())")
    check_whole_numbers(shots=shots, choices=choices, orders=orders)
    check(
        choices >= 2 and orders >= 2 and choices * orders <= MOST_READINGS,
        f"Expected at least 2 choices and 2 orders, and at most {MOST_READINGS:,} readings; got "
        f"{choices} and {orders}.",
    )
    settings = [(choice, order) for choice in range(choices) for order in range(orders)]
    room, scores = exam.room(shots), []
    with reporting("order and choice", callbacks) as progress:
        for count, (choice, order) in enumerate(settings, start=1):
            pairs = draw_demonstrations(exam.split, shots, choice)
            if order > 0:
                mixed = np.random.default_rng((choice, order)).permutation(shots)
                pairs = tuple(pairs[place] for place in mixed)
            scores.append(exam.judge(predictor, pairs, room=room))
            progress(count, len(settings))
    axes, shape = ("draw", "order", "sequence"), (choices, orders, -1)
    loss = np.stack([score.log_loss for score in scores]).reshape(shape)
    correct = np.stack([score.correct for score in scores]).reshape(shape)
    variables = {"log_loss": (axes, loss, {"unit": NATS}), "correct": (axes, correct)}
    coordinates = {
        "draw": np.arange(choices),
        "order": np.arange(orders),
        "sequence": [pair.given for pair in exam.split.held_out],
    }
    return labelled(variables, coordinates, {"task": exam.task.name, "shots": shots})


@door
def summarise_spread(scores: xr.Dataset) -> dict[str, float]:
    """Mean loss and its spread, nats per answer, and accuracy.

    `by_order`: standard deviation between orders of one choice. `by_choice`: between choices, what
    their orders explain taken off (analysis of variance; 0 where orders explain all).
    `standard_error`: of the mean over inputs.
    """
    _check_scores(scores)
    loss = scores["log_loss"].mean("sequence")
    within = float(loss.var("order", ddof=1).mean())
    between = float(loss.mean("order").var(ddof=1)) - within / scores.sizes["order"]
    by_input = scores["log_loss"].mean(("draw", "order"))
    return {
        "log_loss": float(loss.mean()),
        "standard_error": float(by_input.std(ddof=1)) / math.sqrt(scores.sizes["sequence"]),
        "by_order": math.sqrt(within),
        "by_choice": math.sqrt(max(0.0, between)),
        "accuracy": float(scores["correct"].mean()),
    }


def _check_scores(scores: xr.Dataset) -> None:
    """Complain about what is no table of `order_and_choice`, or has nothing to compare."""
    check_kind(scores, xr.Dataset, "order_and_choice(predictor, exam, 5)")
    axes = {"draw", "order", "sequence"}
    check(
        all(
            name in scores and set(scores[name].dims) == axes and scores[name].dtype.kind in "bf"
            for name in ("log_loss", "correct")
        ),
        f"Expected scores of order_and_choice; got a Dataset of {', '.join(map(str, scores))}.",
    )
    sizes = {str(axis): scores.sizes[axis] for axis in sorted(axes)}
    check(
        sizes["draw"] >= 2 and sizes["order"] >= 2 and sizes["sequence"] >= 1,
        f"Expected scores of at least 2 draws, 2 orders and a sequence; got {sizes}.",
    )
