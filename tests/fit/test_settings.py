"""Settings of a fit: learning rates of every step, choices left open, and what is refused."""

import re

import numpy as np
import pytest

from promptax import FitSettings


def test_learning_rates_of_every_step():
    rates = lambda **more: FitSettings(steps=8, learning_rate=0.4, **more).rates()[0]  # noqa: E731
    t = np.arange(8) / 8
    np.testing.assert_allclose(rates(), 0.4)
    np.testing.assert_allclose(rates(schedule="linear"), 0.4 * (1 - t), rtol=1e-6)
    cosine = 0.2 * (1 + np.cos(np.pi * t))
    np.testing.assert_allclose(rates(schedule="cosine"), cosine, rtol=1e-5)
    rise = [0.0, 0.1, 0.2, 0.3]
    np.testing.assert_allclose(rates(warmup=4), [*rise, *[0.4] * 4], rtol=1e-6)
    falling = [0.4, 0.3, 0.2, 0.1]
    np.testing.assert_allclose(rates(warmup=4, schedule="linear"), rise + falling, rtol=1e-6)
    assert FitSettings(steps=0, learning_rate=1.0, repetitions=2).rates().shape == (2, 0)


def test_open_choices_are_made_by_what_is_fitted():
    filled = FitSettings().filled(length=50, learning_rate=0.1)
    assert (filled.length, filled.learning_rate) == (50, 0.1)
    given = FitSettings(length=7, learning_rate=0.2).filled(length=50, learning_rate=0.1)
    assert (given.length, given.learning_rate) == (7, 0.2)


def test_as_published():
    settings = FitSettings.as_published(repetitions=10)
    assert (settings.steps, settings.clip_over, settings.repetitions) == (1001, "all", 10)
    assert (settings.batch, settings.clip, settings.schedule) == (256, 1.0, "constant")
    assert FitSettings.as_published(steps=3).steps == 3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"steps": -1}, "Expected steps of at least 0; got -1."),
        ({"batch": 0}, "Expected batch of at least 1; got 0."),
        ({"repetitions": 0}, "Expected repetitions of at least 1; got 0."),
        ({"warmup": -2}, "Expected warmup of at least 0; got -2."),
        ({"length": 0}, "Expected length above zero or None; got 0."),
        ({"micro_batch": 0}, "Expected micro_batch above zero or None; got 0."),
        ({"learning_rate": 0.0}, "Expected learning_rate above zero or None; got 0.0."),
        (
            {"learning_rate": float("nan")},
            "Expected a number or a tuple of numbers or None as FitSettings.learning_rate; got nan."
            " The default is None.",
        ),
        (
            {"learning_rate": (0.1, -0.1), "repetitions": 2},
            "Expected learning_rate above zero or None; got (0.1, -0.1).",
        ),
        (
            {"learning_rate": (0.1, 0.2), "repetitions": 3},
            "Expected one learning rate, or one for each of 3 repetitions; got (0.1, 0.2).",
        ),
        ({"clip": -1.0}, "Expected clip above zero or None; got -1.0."),
        (
            {"schedule": "step"},
            "Expected one of 'constant', 'linear', 'cosine' as FitSettings.schedule; got 'step'. "
            "The default is 'constant'.",
        ),
        (
            {"clip_over": "some"},
            "Expected one of 'tuned', 'all' as FitSettings.clip_over; got 'some'. The default is "
            "'tuned'.",
        ),
        (
            {"precision": "half"},
            "Expected one of 'float32', 'tensorfloat32', 'bfloat16' as FitSettings.precision; got "
            "'half'. The default is 'float32'.",
        ),
        (
            {"batch": 6, "micro_batch": 4},
            "Expected a micro_batch that divides the batch 6; got 4.",
        ),
    ],
)
def test_texts_of_errors_in_settings(changes, text, as_users_see_it):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        FitSettings(**changes)
