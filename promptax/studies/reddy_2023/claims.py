"""What Reddy 2023 and Chan et al. 2022 claim of networks that classify in context.

*In context* is the share of right answers to the last point, on bursty sequences of novel classes:
chance knows as little as memory. *In weights* is the share of right answers to the first point, on
known classes: nothing stands in front of it, so that memory alone can answer. (The last point would
not do: of 16 classes, its class is among 7 earlier points in 1 - (15/16)^7 = 36 % of sequences.)

Bounds are those of our list of claims: from 60 to 90 % within a tenth of training; signs for what
is said in words. The bound of 60 % without bursts, in h5, is ours, written before anything was
measured.

Here an answer repeats its question (`Points`), so that one layer of attention suffices to look a
class up. In the papers the label is a token of its own, behind the point, and looking it up takes
two layers: what they say of abruptness need not hold here.
"""

import numpy as np

from promptax.studies.judging import Checks, ClaimList, positive
from promptax.studies.trainings import Number, Reader, Results

NOVEL, KNOWN = "novel classes", "known classes"  # sources: in context, in weights
BEFORE, AFTER = 0.6, 0.9  # accuracies between which a jump is measured
CLAIMS = ClaimList[Reader]()


def name_of(burstiness: float, many: bool, zipf: float) -> str:
    """The name of a training."""
    return f"{'many' if many else 'few'} classes · burstiness {burstiness:g} · Zipf {zipf:g}"


def accuracy(source: str) -> Number:
    """The share of right answers at the end of training, mean of the last three looks: of last
    answers to novel classes, of first ones to known classes."""
    word = "first_accuracy" if source == KNOWN else "last_accuracy"

    def number(results: Results) -> float:
        return float(results.learning(source)[word][-3:].mean())

    return number


def jump(results: Results) -> float:
    """The share of training from 60 to 90 % accuracy in context; 1 if 90 % never come."""
    curve = results.learning(NOVEL)["last_accuracy"]
    above = np.flatnonzero(curve.values >= AFTER)
    if not above.size:
        return 1.0
    below = np.flatnonzero(curve.values[: above[0]] <= BEFORE)
    first = below[-1] if below.size else 0
    steps = curve["step"].values
    return float((steps[above[0]] - steps[first]) / steps[-1])


def _differences(reader: Reader, first: str, second: str, source: str) -> tuple[float, ...]:
    """Accuracy of the first training above that of the second, by seed."""
    number = accuracy(source)
    return tuple(number(row[first]) - number(row[second]) for row in reader.of_all([first, second]))


@CLAIMS.enter(
    "h1 bursts",
    "Bursts make networks learn in context, and keep them from learning into weights.",
    "Chan et al. 2022, Figure 3; Reddy 2023, Figure 2; signs alone",
)
def _bursts(reader: Reader) -> Checks:
    for many, word in ((False, "few classes"), (True, "many classes")):
        bursty, plain = (name_of(b, many, 0.0) for b in (1.0, 0.0))
        gains = _differences(reader, bursty, plain, NOVEL)
        yield positive(f"{word}: in context, bursty above not", gains)
        losses = _differences(reader, plain, bursty, KNOWN)
        yield positive(f"{word}: in weights, not bursty above bursty", losses)


@CLAIMS.enter(
    "h1 classes",
    "Many classes make networks learn in context, few make them learn into weights.",
    "Chan et al. 2022, Figure 4; Reddy 2023, Figure 2; signs alone",
)
def _classes(reader: Reader) -> Checks:
    many, few = (name_of(1.0, which, 0.0) for which in (True, False))
    gains = _differences(reader, many, few, NOVEL)
    yield positive("bursty: in context, many above few classes", gains)
    many, few = (name_of(0.0, which, 0.0) for which in (True, False))
    losses = _differences(reader, few, many, KNOWN)
    yield positive("not bursty: in weights, few above many classes", losses)


@CLAIMS.enter(
    "h2",
    "Classes by Zipf's law let both coexist.",
    "Chan et al. 2022, Figure 7: exponent 1; sign alone",
)
def _zipf(reader: Reader) -> Checks:
    names = [name_of(0.5, False, zipf) for zipf in (1.0, 0.0)]
    values = []
    for row in reader.of_all(names):
        with_law, without = (
            min(accuracy(NOVEL)(results), accuracy(KNOWN)(results)) for results in row.values()
        )
        values.append(with_law - without)
    yield positive("the worse of both abilities, with Zipf's law above without", tuple(values))


@CLAIMS.enter(
    "h5",
    "In-context learning comes abruptly, and without bursts it does not come.",
    "Reddy 2023, Figures 1 and 3",
)
def _abruptly(reader: Reader) -> Checks:
    """Within a tenth of training is the list's; that 60 % are not reached without bursts is ours,
    written before anything was measured: the papers print curves."""
    bursty, plain = (name_of(b, True, 0.0) for b in (1.0, 0.0))
    yield reader.check(
        "bursty: share of training from 60 to 90 % in context", bursty, jump, most=0.1
    )
    yield reader.check("not bursty: accuracy in context", plain, accuracy(NOVEL), most=BEFORE)
