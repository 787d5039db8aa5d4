"""The study's page: which kind won where, in sentences, and regret observation by observation."""

import numpy as np
from matplotlib.figure import Figure

from promptax.experiments.training import NETWORK
from promptax.report.figures import learning
from promptax.report.pages.study import Part
from promptax.report.wording import nats
from promptax.studies.learning_to_learn.claims import (
    BAYES,
    BOTH,
    COUNTS,
    COUNTS_LONGER,
    GRADIENT,
    LONGER,
    MEMORY,
    ONE,
    POINTS,
    SINE_ORDER,
    SINE_ORDER_LONGER,
    SINES,
    SOURCES,
    SYMBOLS,
    kinds_on,
    means,
)
from promptax.studies.trainings import Reader, Results

LABELS = {
    MEMORY: "memory: LSTM",
    BOTH: "both: LSTM with MAML",
    GRADIENT: "two logits, five steps",
    LONGER: "two logits, five steps, trained longer",
    ONE: "two logits, one step",
    COUNTS: "two logits, a rate for each count",
    COUNTS_LONGER: "two logits, a rate for each count, trained longer",
}
MOST_SHOWN = 3.0  # nats an answer
_ABOUT = (
    "Memory is a network that reads: an LSTM of symbols, a Transformer of points, trained on log "
    "loss. Gradient steps are taken by a model that remembers nothing, two logits for coins and a "
    "perceptron for points, anew after every observation, on all that was observed; training "
    "differentiates through them. Both is the network that reads, with such steps beside. All were "
    "trained on the same number of tokens, where an inner step counts as one more reading; what "
    "was trained longer saw as many sequences as memory. Learners of points are trained to answer "
    "behind half of them, and so is both on coins; there they are compared."
)


def parts(reader: Reader) -> list[Part]:
    """Who won, a figure for each source, and the four starts on sines."""
    sources = [source for source in SOURCES if kinds_on(reader, source)]
    if not sources:
        return []
    said = " ".join(_winner(reader, source) for source in sources)
    table = [row for source in sources for row in _rows(reader, source)]
    sections = [Part("Which kind wins", f"{said} {_ABOUT}", [], table)]
    drawn = [_regret(reader, source) for source in sources]
    sections.append(Part("Regret over observations", "", drawn))
    measured = kinds_on(reader, SINES)
    starts = [
        _starts(reader, kinds, how)
        for how, kinds in (("tokens", SINE_ORDER), ("sequences", SINE_ORDER_LONGER))
        if all(kind in measured for kind in kinds)
    ]
    if starts:
        sections.append(Part("Four starts on sines", "", starts))
    return sections


def _winner(reader: Reader, source: str) -> str:
    """Who is nearest to exact Bayes, in a sentence."""
    medians = {kind: told.median for kind, told in means(reader, source).items()}
    order = sorted(medians, key=lambda kind: np.nan_to_num(medians[kind], nan=np.inf))
    others = ", ".join(f"{kind} {_in_words(medians[kind])}" for kind in order[1:])
    where = ", behind half of the points," if source in POINTS else ","
    best = f"On {source}{where} nearest to exact Bayes: {order[0]}, {_in_words(medians[order[0]])}"
    return f"{best} nats above it (then {others})." if others else f"{best} nats above it."


def _in_words(value: float) -> str:
    """Nats; steps that are too long lose any number, which says nothing."""
    return nats(value) if np.isfinite(value) else "diverged"


def _rows(reader: Reader, source: str) -> list[dict[str, str]]:
    return [
        {
            "source": source,
            "learner": kind,
            "nats above exact Bayes": "" if source in POINTS else _in_words(told.median),
            "over the second half": _in_words(told.late),
            "the same without inner steps": (
                "" if told.unadapted is None else _in_words(told.unadapted)
            ),
            "half the spread between seeds": f"{told.spread:.3f}"
            if np.isfinite(told.spread)
            else "",
        }
        for kind, told in means(reader, source).items()
    ]


def observed(results: Results, source: str, row: str, variable: str) -> tuple:
    """Numbers of observations, and a curve over them: of points, at their answers."""
    final = results.final(source)
    curve, time = final[variable].sel(predictor=row).values, final.time.values
    return (time[1::2] // 2, curve[1::2]) if source in POINTS else (time, curve)


def _mean_curve(trainings: list[Results], source: str, row: str, variable: str) -> tuple:
    across = observed(trainings[0], source, row, variable)[0]
    curves = [observed(results, source, row, variable)[1] for results in trainings]
    return across, np.mean(curves, axis=0)


def _up_to(curve: tuple, most: float) -> tuple:
    """A curve without what is above a bound, or no number."""
    across, values = curve
    return across, np.where(values <= most, values, np.nan)


def _regret(reader: Reader, source: str) -> tuple[str, Figure]:
    kinds, labels = kinds_on(reader, source), LABELS if source in SYMBOLS else {}
    curves = {
        labels.get(kind, kind): _mean_curve(trainings, source, NETWORK, "regret")
        for kind, trainings in kinds.items()
    }
    exact = _mean_curve(next(iter(kinds.values())), source, BAYES, "regret")
    curves["exact Bayes"] = exact
    said = ", ".join(f"{kind} {_in_words(float(curve[1][-1]))}" for kind, curve in curves.items())
    remembers = curves.get(labels.get(MEMORY, MEMORY), exact)
    most = 4 * max(float(exact[1][-1]), float(remembers[1][-1]))
    figure = learning.lines(
        f"Regret on {source}",
        {"": {kind: _up_to(curve, most) for kind, curve in curves.items()}},
        "points" if source in POINTS else "observations",
        "regret [nats]",
        "Cumulative regret to the oracle, which knows what is hidden. Mean over seeds. Curves end "
        "where they are four times as high as memory and exact Bayes.",
        dashed=["exact Bayes"],
    )
    return f"Regret on {source} at the end: {said}.", figure


def _starts(reader: Reader, order: tuple[str, ...], how: str) -> tuple[str, Figure]:
    """Four kinds of training on sines, with as many tokens or sequences each."""
    kinds = kinds_on(reader, SINES)
    curves = {}
    for kind in order:
        across, network = _mean_curve(kinds[kind], SINES, NETWORK, "per_step")
        exact = _mean_curve(kinds[kind], SINES, BAYES, "per_step")[1]
        curves[kind] = across, network - exact
    ends = ", ".join(
        f"{kind} {_in_words(float(np.mean(curve[1][len(curve[1]) // 2 :])))}"
        for kind, curve in curves.items()
    )
    return (
        f"Nats above exact Bayes for an answer, mean over the second half of the points: {ends}.",
        learning.lines(
            f"Inner steps from four starts, trained on as many {how}",
            {"": {kind: _up_to(curve, MOST_SHOWN) for kind, curve in curves.items()}},
            "points",
            "above exact Bayes [nats per answer]",
            "All take as many inner steps when they are judged, each at the rate that was best on "
            "other sequences. Mean over seeds. What is above "
            f"{MOST_SHOWN:g} is left out: steps that are too long lose any number.",
        ),
    )
