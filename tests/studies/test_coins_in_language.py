"""The study of coins in language, fed with what exact Bayes predictors would do."""

import functools

import numpy as np
import pytest
import xarray as xr

from promptax import specs
from promptax.experiments.conditions import Measurements
from promptax.experiments.sweeps import sweep
from promptax.language import LanguageModel
from promptax.studies import CoinsInLanguage
from promptax.studies.coins_in_language import conditions, reading
from promptax.studies.coins_in_language.conditions import (
    HARD,
    KEY_VALUE,
    LOW_RANK,
    RANDOM_COINS,
    SINGLE,
    SOFT,
    TWO,
)

STUDY = CoinsInLanguage()


@functools.cache
def ideal():
    """(after 50 flips, pseudo-counts, distance from them): exact Bayes, prompted or retrained"""
    known = reading.exact()
    beta = known.laplace[SINGLE]
    return {
        RANDOM_COINS: {"untuned": (known.laplace[RANDOM_COINS], (1.0, 1.0), 0.0)},
        SINGLE: {
            HARD: (known.prompted[SINGLE], (1.0, 7.0), 0.0),
            SOFT: (0.05, (20.0, 80.0), 0.0),
            KEY_VALUE: (0.05, (20.0, 80.0), 0.0),
            LOW_RANK: (0.02, (200.0, 800.0), 0.0),
            "untuned": (beta, (1.0, 1.0), 0.0),
        },
        TWO: {
            HARD: (known.prompted[TWO], (4.0, 4.0), 0.0),
            SOFT: (1.2, (1.2, 1.2), 0.1),
            KEY_VALUE: (1.1, (1.2, 1.2), 0.1),
            LOW_RANK: (0.75, (1.2, 1.2), 0.7),
            "untuned": (beta, (1.0, 1.0), 0.0),
        },
    }


def results(seed=0):
    """What the small scale would measure, were the model an exact Bayes predictor."""
    found = {}
    for spelling in conditions.SPELLINGS:
        found[conditions.name_of(spelling, RANDOM_COINS, seed)] = tree(RANDOM_COINS)
    for target in (SINGLE, TWO):
        found[conditions.name_of(conditions.MAIN, target, seed)] = tree(target)
    return found


def tree(target):
    rows = {**ideal()[target], "bayes": (reading.exact().bayes[target], (np.nan, np.nan), np.nan)}
    names, (ends, counts, errors) = list(rows), zip(*rows.values(), strict=True)
    time = np.arange(1, conditions.STEPS + 1)
    growth = np.log2(1 + time) / np.log2(1 + conditions.TUNED_STEPS)
    regret = np.array(ends)[:, None, None] * growth
    groups = ["baselines" if name in ("untuned", "bayes") else "prompts" for name in names]
    dataset = xr.Dataset(
        {
            "regret": (("predictor", "repetition", "time"), regret),
            "standard_error": (("predictor", "repetition", "time"), 0.1 + 0 * regret),
            "pseudo_counts": (("predictor", "repetition", "symbol"), np.array(counts)[:, None]),
            "fit_error": (("predictor", "repetition"), np.array(errors)[:, None]),
            "scores": (("repetition", "candidate"), np.linspace(26, 25, 64)[None]),
        },
        {
            "predictor": names,
            "repetition": [0],
            "time": time,
            "group": ("predictor", groups),
            "found": ("predictor", ["0 1 1 1 1 1" if name == HARD else "" for name in names]),
        },
        {"target": target, "tuning_length": conditions.TUNED_STEPS},
    )
    return xr.DataTree.from_dict({target.replace(" ", "-"): dataset})


def test_exact_bayes_fulfils_every_claim():
    for claim in STUDY.claims(results()):
        told = [(check.what, check.number, check.expected) for check in claim.checks]
        assert claim.verdict == "holds", (claim.name, told)


def test_the_page_has_all_its_figures():
    in_context, single, two = STUDY.parts(results())
    assert [len(part.figures) for part in (in_context, single, two)] == [2, 5, 5]
    said = " ".join(text for text, _ in single.figures)
    assert "the model's best is T T T T T T, exact Bayes' has 1 heads" in said
    assert "Laplace's rule 1." in in_context.figures[0][0]
    assert all("nan" not in text for part in (in_context, single, two) for text, _ in part.figures)


def test_scales_say_what_they_measure():
    small = STUDY.conditions("small")
    networks = {condition.experiment.network for condition in small.values()}
    assert networks == {LanguageModel(words=words) for words in conditions.SPELLINGS.values()}
    assert len(small) == 27 and len(STUDY.conditions("paper")) == 35
    assert len(CoinsInLanguage(tuning_seeds=3).conditions("small")) == 31
    for each in small.values():
        assert each.experiment.pretraining.steps == 0  # nothing of the model is written
    with pytest.raises(ValueError, match="Expected tuning_seeds of at least 1; got 0"):
        CoinsInLanguage(tuning_seeds=0)
    for name in ("coins_in_language", "coinsinlanguage"):
        assert specs.member(type(STUDY).__mro__[1], name) is CoinsInLanguage


@pytest.mark.slow
def test_the_smoke_scale_needs_no_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMPTAX_SMOLLM2", str(tmp_path / "nowhere.gguf"))
    name = conditions.name_of("heads, tails,", RANDOM_COINS, 0)
    condition = STUDY.conditions("smoke")[name]
    assert condition.work() > 0
    assert not sweep({name: condition}, tmp_path, callbacks=())
    found = Measurements({name: condition}, tmp_path)
    (claim,) = (claim for claim in STUDY.claims(found) if claim.name == "L2")
    assert [check.verdict for check in claim.checks].count("not run") == 4
