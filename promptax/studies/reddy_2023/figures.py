"""The study's figures: what all networks learn in context and in weights, and every curve."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from promptax.report.figures import learning
from promptax.report.pages.study import Part
from promptax.studies.reddy_2023.claims import KNOWN, NOVEL, accuracy
from promptax.studies.trainings import Reader, parts_of_all

PANELS = {
    "In context: the last answer to novel classes": (NOVEL, "last_accuracy"),
    "In weights: the first answer to known classes": (KNOWN, "first_accuracy"),
}
_ABOUT = (
    "A class that is novel in every sequence can only be looked up in the context. The first "
    "question of a sequence has no context, so that its answer can only come from the weights."
)


def parts(reader: Reader) -> list[Part]:
    """All networks beside each other, then the curves of each training."""
    drawn = list(_abilities(reader))
    sections = [Part("In context or in weights", _ABOUT, drawn)] if drawn else []
    return sections + parts_of_all(reader)


def short(name: str) -> str:
    """The name of a training in words that fit beside a curve, such as "many, bursts 0.9"."""
    return name.replace(" classes · burstiness", ", bursts").replace(" · ", ", ")


def _abilities(reader: Reader) -> Iterator[tuple[str, Figure]]:
    if not reader.names():
        return
    panels: dict[str, dict[str, learning.Curve]] = {}
    for title, (source, word) in PANELS.items():
        panels[title] = {}
        for name in reader.names():
            looks = [results.learning(source) for results in reader.of(name).values()]
            mean = np.mean([look[word].values for look in looks], axis=0)
            panels[title][short(name)] = looks[0].step.values, mean
    said = []
    for name in reader.names():
        context, weights = (
            float(np.mean(reader.numbers(name, accuracy(source)))) for source in (NOVEL, KNOWN)
        )
        said.append(f"{short(name)}: {context:.0%} and {weights:.0%}")
    yield (
        f"Right in context and in weights, mean of the last three looks: {'; '.join(said)}.",
        learning.lines(
            "In context or in weights",
            panels,
            "updates",
            "accuracy",
            "Many or few classes; the share of sequences in which classes come in bursts; with "
            "Zipf's law or all as often, more noise, or labels that change. Mean over seeds.",
            limits=(-0.02, 1.02),
        ),
    )
