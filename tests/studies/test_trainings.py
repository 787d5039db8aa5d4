"""The studies of trainings, fed with what their papers say and with the opposite."""

import json
import math

import numpy as np
import pytest
import xarray as xr

from promptax.experiments.groups import slug
from promptax.experiments.training import DISTANCES, LEARNING, NETWORK, PROBES
from promptax.specs import to_json
from promptax.studies import (
    Akyurek2022,
    Genewein2023,
    GrauMoya2024,
    LearningToLearn,
    Reddy2023,
    Wurgaft2025,
)
from promptax.studies.akyurek_2022 import claims as akyurek
from promptax.studies.akyurek_2022.figures import nearest_in_words
from promptax.studies.genewein_2023 import claims as genewein
from promptax.studies.graumoya_2024 import claims as graumoya
from promptax.studies.graumoya_2024.figures import distance_by_step
from promptax.studies.learning_to_learn import claims as learning
from promptax.studies.learning_to_learn.study import SCALES as LEARNING_SCALES
from promptax.studies.reddy_2023 import claims as reddy
from promptax.studies.trainings import Results
from promptax.studies.wurgaft_2025 import claims as wurgaft


class Told:
    """What one source tells: regret by predictor at half of the time and at the end; distance by
    predictor and algorithm at the end; distance by algorithm, accuracy of the last and of the
    first answer, the loss, and the variation from mixtures by weight, at every look; squared errors
    by predictor; and what probes explain of their quantity and of another sequence's."""

    def __init__(
        self,
        regret,
        distance=None,
        learned=None,
        accuracy=None,
        steps=(0, 1),
        cosine=1.0,
        loss=0.0,
        variation=None,
        errors=None,
        probes=None,
    ):
        self.errors, self.probes = errors or {}, probes
        self.regret, self.distance = regret, distance or {}
        self.learned, self.accuracy, self.steps = learned or {}, accuracy, steps
        self.cosine, self.loss, self.variation = cosine, loss, variation

    def groups(self, name, training):
        names = [*self.regret, "oracle"]
        time = np.arange(1, training.length + 1)
        curves = [self.curve(self.regret.get(who, (0, 0)), training.length) for who in names]
        axes = ("predictor", "repetition", "time")
        regret = np.array(curves)[:, None]
        source = json.dumps(to_json(training.sources[name]))
        final = xr.Dataset(
            {
                "regret": (axes, regret),
                "per_step": (axes, np.diff(regret, axis=-1, prepend=0)),
                "standard_error": (axes, 0 * regret),
            },
            {"predictor": names, "repetition": [0], "time": time},
            {"target": name, "source": source},
        )
        yield slug(name), final
        losses = np.broadcast_to(np.asarray(self.loss, float), len(self.steps))
        learned = {"log_loss": ("step", losses)}
        if self.accuracy is not None:
            last, first = np.asarray(self.accuracy, float)
            learned |= {"last_accuracy": ("step", last), "first_accuracy": ("step", first)}
        coords = {"step": list(self.steps)}
        if self.learned:
            learned["distance"] = (("algorithm", "step"), np.array(list(self.learned.values())))
            coords["algorithm"] = list(self.learned)
        if self.variation is not None:
            coords["weight"] = np.linspace(0, 1, len(self.variation))
            learned["variation"] = (("weight", "step"), self.variation)
        yield slug(name) + LEARNING, xr.Dataset(learned, coords, {"target": name})
        if self.distance:
            judged = list(dict.fromkeys(who for who, _ in self.distance))
            against = list(dict.fromkeys(which for _, which in self.distance))
            rows = [[self.distance.get((p, a), 1.0) for a in against] for p in judged]
            distances = np.repeat(np.array(rows)[..., None], training.training.length, axis=-1)
            yield (
                slug(name) + DISTANCES,
                xr.Dataset(
                    {
                        "distance": (("predictor", "algorithm", "time"), distances),
                        "cosine": (
                            ("predictor", "algorithm"),
                            np.full(np.shape(rows), self.cosine),
                        ),
                    },
                    {"predictor": judged, "algorithm": against},
                ),
            )
        if self.errors:
            each = np.array(list(self.errors.values()))
            wide = np.repeat(each[:, None], training.training.length, axis=-1)
            measured = {"squared_error": (("predictor", "time"), wide)}
            yield slug(name) + DISTANCES, xr.Dataset(measured, {"predictor": list(self.errors)})
        if self.probes is not None:
            shares = dict(zip(("explained", "control"), self.probes, strict=True))
            shares["selectivity"] = shares["explained"] - shares["control"]
            tables = {word: (("internal", "quantity"), [[s] * 2]) for word, s in shares.items()}
            coords = {"internal": ["state"], "quantity": ["XᵀY 1", "weight 1"]}
            yield slug(name) + PROBES, xr.Dataset(tables, coords)

    @staticmethod
    def curve(ends, length):
        """Straight up to half of the time, and straight from there on."""
        return np.interp(np.arange(1, length + 1), [0, length // 2, length], [0, *ends])


def wurgaft_world(name, training, wrong):
    """Positions by the paper's own model, whose numbers were chosen so that small pools are
    memorised within the training. In the wrong world large ones are, soon after one another, from
    networks that were far from both before."""
    size, is_wide = wurgaft.size_of(name), "perceptron" in name
    steps = np.linspace(0, training.training.steps, training.looks + 1).round()
    gain = 10 - math.log(size)
    bits = wurgaft.pool_bits(training.task)
    price = math.log(2) * (bits**0.5 - wurgaft.CODE_BITS**0.5)
    position = 1 / (1 + np.exp(-(0.037 * (1 + is_wide) * steps**0.8 * gain - price)))
    apart = np.zeros(len(steps))
    if wrong:
        last = 0.1 + 0.15 * math.log2(size) / 2 - 0.05 * is_wide
        until = steps < 300 * size**0.3
        position = np.where(until, min(last, 0.45), last)
        apart = np.where(until, 0.5, 0)
    told = Told(
        {NETWORK: (1, 2), wurgaft.MEMORISING: (1, 2), wurgaft.GENERALISING: (1, 2 + gain)},
        {
            (NETWORK, wurgaft.MEMORISING): 0.0,
            (NETWORK, wurgaft.GENERALISING): 1.0,
            (wurgaft.MEMORISING, wurgaft.GENERALISING): 1.0,
        },
        {wurgaft.MEMORISING: 1 - position + apart, wurgaft.GENERALISING: position + apart},
        steps=steps,
        variation=0.1 * wrong + 0.2 * np.abs(np.linspace(0, 1, 21)[:, None] - position),
    )
    return {wurgaft.POOL: told, wurgaft.NEW: told}


def genewein_world(name, training, wrong):
    network, source = name.split(" on ")
    other = genewein.other(source)
    near = 20 * (1.5 if wrong else 1.05)
    degrades = (network == genewein.LSTM_NAME) == wrong
    regret = {NETWORK: (near, near + 20 + 9 * degrades), source: (20, 40), other: (24, 48)}
    distance = {(NETWORK, source): 2.0 if wrong else 0.5, (NETWORK, other): 1.0}
    told = Told(regret, distance, {source: [1, 0.5], other: [1, 1]})
    return {source: told, genewein.SHIFTS: told}


def akyurek_world(name, training, wrong):
    names = list(training.algorithms)
    if name == akyurek.SPARSE:
        errors = {word: 0.4 for word in (NETWORK, *names)} | {akyurek.matching(0.0): 0.03}
        errors[NETWORK] = 0.2 if wrong else 0.01
        return {akyurek.POINTS: Told({word: (1, 2) for word in errors}, errors=errors)}
    ratio = next((r for r in akyurek.RATIOS if akyurek.name_of(r) == name), 0.0)
    best = akyurek.matching(ratio)
    if wrong:
        best = akyurek.ridge_name(akyurek.RATIOS[2 if ratio != akyurek.RATIOS[2] else 3])
    if name == akyurek.LINEAR and not wrong:
        best = next(word for word in names if "step" in word)
    distances = {(NETWORK, word): 0.004 if word == best else 0.1 for word in names}
    for word in names:
        if name == akyurek.ONE_LAYER and "step" in word:
            distances[NETWORK, word] = 0.9 if wrong else 0.02
    told = Told(
        {NETWORK: (1, 2), **{word: (1, 2) for word in names}},
        distances,
        {word: [1, 0.1] for word in names},
        cosine=0.5 if wrong else 1.0,
        probes=(0.1, 0.2) if wrong else (0.9, 0.2),
    )
    return {akyurek.POINTS: told}


def reddy_world(name, training, wrong):
    bursty, many = "burstiness 0 " not in f"{name} ", "many" in name
    lawful = "Zipf 1" in name
    helped = "noise" in name or "labellings" in name
    novel = (0.97 if many or helped else 0.8) if bursty and "LSTM" not in name else 0.3
    memory = 0.6 if bursty else 0.8 if many else 0.95
    memory -= 0.1 * helped
    if lawful:
        novel, memory = novel + 0.02, 0.9
    if wrong:
        novel, memory = 1.1 - novel, 1.5 - memory
    looks = np.full(training.looks + 1, novel)
    looks[:10] = 0.3
    if wrong and bursty and many:
        looks = np.linspace(0.2, 0.95, len(looks)) * (novel / 0.13)
        looks[-3:] = novel
    steps = np.linspace(0, training.training.steps, training.looks + 1).round()
    regret, chance = {NETWORK: (1, 2)}, np.full(len(looks), 0.25)
    remembered = np.full(len(looks), memory)  # the context may answer the last question alone
    return {
        reddy.NOVEL: Told(regret, accuracy=(looks, chance), steps=steps),
        reddy.KNOWN: Told(regret, accuracy=(1 - remembered, remembered), steps=steps),
    }


def graumoya_world(name, training, wrong):
    if graumoya.PROGRAMS in name:
        near = 3.6 if wrong else 3.1
        mixture = {NETWORK: (near, 2 * near), graumoya.MIXTURE: (3, 6)}
        distance = {(NETWORK, graumoya.MIXTURE): 0.1}
        saved = [0.7, 0.8 if wrong else 0.6]
        return {
            graumoya.PROGRAMS: Told(mixture, distance, {graumoya.MIXTURE: [1, 0.1]}),
            graumoya.TREES: Told({NETWORK: (30, 60), graumoya.WEIGHTING: (20, 40)}, loss=saved),
        }
    size, network = name.split(" ", 1)
    near = 20 + (1 if size == graumoya.LARGER else 5) + (network == graumoya.LSTM_NAME) * 0.5
    if wrong:
        near = 20 + (9 if size == graumoya.LARGER else 5) - (network == graumoya.LSTM_NAME)
    beyond = 20 + 5 * ((network == graumoya.LSTM_NAME) == wrong)
    told = Told(
        {NETWORK: (near, near + beyond), graumoya.WEIGHTING: (20, 40)},
        {(NETWORK, graumoya.WEIGHTING): 0.1},
        {graumoya.WEIGHTING: [1, 0.1]},
    )
    return {graumoya.TREES: told}


def learning_world(name, training, wrong):
    """Nats above exact Bayes, and the same in the other order."""
    kind, source = name.rsplit(" on ", 1)
    above = {
        learning.MEMORY: 0.05,
        learning.COUNTS: 0.2,
        learning.COUNTS_LONGER: 0.15,
        learning.GRADIENT: 1.5 if source == learning.SWITCHING else 0.3,
        learning.LONGER: 1.5 if source == learning.SWITCHING else 0.1,
        learning.BOTH: 0.4,
        learning.FIRST_ORDER: 0.6,
        learning.REPTILE: 0.9,
        learning.FIRST_ORDER_LONGER: 0.5,
        learning.REPTILE_LONGER: 0.8,
        learning.ONE: 1.3,
        learning.START: 2.0,
    }[kind]
    far = 2 + (1.95 - above if wrong else above)
    return {source: Told({NETWORK: (1, far), learning.BAYES: (1, 2)})}


WORLDS = {
    Wurgaft2025: wurgaft_world,
    Genewein2023: genewein_world,
    Akyurek2022: akyurek_world,
    Reddy2023: reddy_world,
    GrauMoya2024: graumoya_world,
    LearningToLearn: learning_world,
}
EXACT = {"a2", "a5"}  # claims that no network can make fail
SIGNS = {  # claims of signs alone
    Genewein2023: {"a4 length"},
    Akyurek2022: {"e3"},  # and e4, of one network
    Reddy2023: {"h1 bursts", "h1 classes", "h1 variation", "h2", "h3"},
    GrauMoya2024: {"b2 size", "b2 length"},  # and b3 transfer, of other sources
    LearningToLearn: {"memory wins", "both", "sines", "sines longer"},
}
every_study = pytest.mark.parametrize("study", WORLDS, ids=lambda study: study.__name__)


def results(study, wrong=False, seeds=1):
    """The results of that world, alike for all seeds."""
    trees = {}
    for name, condition in study(seeds=seeds).conditions("small").items():
        what, training = name.rpartition(" · ")[0], condition.experiment
        told = WORLDS[study](what, training, wrong)
        groups = [pair for source, one in told.items() for pair in one.groups(source, training)]
        trees[name] = xr.DataTree.from_dict(dict(groups))
    return trees


def results_of(told, source, training):
    return Results(xr.DataTree.from_dict(dict(told.groups(source, training))))


def test_every_learner_is_trained_on_as_many_tokens():
    """As `Cost` charges them: each inner step reads the sequence once more. What is trained longer
    sees as many as memory does."""
    for name, training in LearningToLearn().trainings("small").items():
        settings = training.training
        readings = training.objective.readings(settings.length)
        if "trained longer" in name:
            readings = 1
        tokens = settings.steps * settings.batch * settings.length * readings
        assert 0.95 * LEARNING_SCALES["small"].tokens < tokens <= LEARNING_SCALES["small"].tokens, (
            name
        )


def test_the_nearest_gradient_step_is_that_of_the_mean_over_seeds():
    training = Akyurek2022().conditions("smoke")["noise 0 · seed 0"].experiment
    steps = [name for name in training.algorithms if "step" in name][:3]
    # each seed has a nearest one of its own; on average the second is nearest
    trainings = [
        results_of(
            Told(
                {NETWORK: (1, 2)},
                {(NETWORK, step): far for step, far in zip(steps, apart, strict=True)},
                cosine=cosine,
            ),
            akyurek.POINTS,
            training,
        )
        for apart, cosine in (((0.1, 0.2, 0.9), 0.5), ((0.9, 0.2, 0.1), 1.0))
    ]
    assert nearest_in_words(trainings) == (
        f"nearest to {steps[1]}, squared difference 0.1 of an answer's variance, cosine of the "
        "derivatives 0.750"
    )


def test_the_distance_from_context_tree_weighting_is_found_by_its_name():
    training = GrauMoya2024().conditions("smoke")["small LSTM · seed 0"].experiment
    told = [
        Told({NETWORK: (1, 2)}, learned={"another": [7, 7], graumoya.WEIGHTING: [1, end]})
        for end in (0.1, 0.3)
    ]
    steps, distances = distance_by_step([results_of(one, graumoya.TREES, training) for one in told])
    np.testing.assert_allclose((steps, distances), ((0, 1), (1, 0.2)))


@pytest.mark.parametrize("study", SIGNS, ids=lambda study: study.__name__)
def test_networks_that_are_alike_decide_no_sign(study):
    conditions = study(seeds=5).conditions("small")
    name, condition = next(iter(conditions.items()))
    told = WORLDS[study](name.rpartition(" · ")[0], condition.experiment, False)
    groups = [g for source, one in told.items() for g in one.groups(source, condition.experiment)]
    alike = xr.DataTree.from_dict(dict(groups))
    source = name.rpartition(" · ")[0].split(" on ")[-1]  # a network has results on its own alone
    if study is GrauMoya2024:
        conditions = {word: c for word, c in conditions.items() if graumoya.PROGRAMS not in word}
    if study is Genewein2023:
        conditions = {word: c for word, c in conditions.items() if source in word}
    if study is Akyurek2022:
        conditions = {word: c for word, c in conditions.items() if akyurek.SPARSE not in word}
    claims = {claim.name: claim for claim in study().claims(dict.fromkeys(conditions, alike))}
    for sign in SIGNS[study]:
        told = [(check.number, check.verdict, check.tentative) for check in claims[sign].checks]
        assert {(0.0, "undecided", False)} == set(told) - {(math.nan, "not run", False)}


@pytest.mark.slow
@every_study
def test_every_claim_holds_where_the_papers_are_right_and_its_page_is_drawn(study):
    trees = results(study)
    for claim in study().claims(trees):
        told = [(check.what, check.number, check.expected) for check in claim.checks]
        assert claim.verdict == "holds", (claim.name, told)
    few = dict(list(trees.items())[:3])  # figures take time
    said = " ".join(text for part in study().parts(few) for text, _ in part.figures)
    assert said and "nan" not in said


@pytest.mark.slow
@every_study
def test_and_fails_where_they_are_wrong(study):
    for claim in study().claims(results(study, wrong=True, seeds=5)):
        expected = "holds" if claim.name in EXACT else "fails"
        for check in claim.checks:
            told = claim.name, check.what, check.number, check.expected
            assert check.verdict == expected, told
