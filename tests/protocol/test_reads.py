"""What predictors read is said beforehand; fields that were renamed still load."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.judges import build

from promptax import Embedded, FitSettings, condition, specs
from promptax.predictors import LSTM, Transformer
from promptax.protocol import checked
from promptax.protocol.predictor import Inputs, KeyValues, kind_of
from promptax.steering import SimplexPrompt
from promptax.tasks import Categorical, ContextTree, DirichletCategorical, LinearRegression

KEY = jax.random.key(0)
COINS, TREE, LINE = DirichletCategorical().bayes(), ContextTree(2).bayes(), LinearRegression(2)
READERS = {
    "counts": (lambda: COINS, {"tokens", "weights"}),
    "tree": (lambda: TREE, {"tokens"}),
    "ridge": (LINE.bayes, {"observations"}),
    "lstm": (lambda: build(LSTM(width=4), 0, 2), {"tokens", "weights", "rows"}),
    "transformer": (
        lambda: build(Transformer(width=4, heads=1), 0, 2),
        {"tokens", "weights", "rows", "keys and values"},
    ),
    "points": (lambda: build(LSTM(width=4), 0, LINE.outcome), {"observations", "rows"}),
    "behind a prompt": (lambda: condition(TREE, [0, 1]), {"tokens"}),
}


def inputs_for(predictor) -> dict[str, Inputs]:
    """Two rows of every kind, of the width that the predictor would want."""
    width = predictor.outcome.input_width()
    embedding = getattr(predictor, "embedding_width", 4)
    return {
        "tokens": jnp.array([0, 1]),
        "weights": jnp.full((2, width), 1 / width),
        "observations": jnp.zeros((2, width)),
        "rows": Embedded(jnp.zeros((2, embedding))),
        "keys and values": KeyValues(jnp.zeros((1, 1, 2, 4)), jnp.zeros((1, 1, 2, 4))),
    }


@pytest.mark.parametrize("name", READERS)
def test_what_is_not_read_is_refused_by_name(name):
    make, expected = READERS[name]
    predictor = make()
    assert predictor.reads == expected
    known = predictor.outcome.alphabet is not None
    for kind, inputs in inputs_for(predictor).items():
        if kind == ("observations" if known else "weights"):
            continue  # the same arrays have another name there
        if kind in predictor.reads:
            assert kind_of(inputs, predictor.outcome) == kind
            checked(predictor, inputs)
        else:
            with pytest.raises((TypeError, ValueError), match="Expected"):
                checked(predictor, inputs)


def test_a_simplex_prompt_steers_an_exact_predictor_that_counts():
    settings = FitSettings(steps=60, batch=32, length=20, learning_rate=0.2)
    fitted = SimplexPrompt(length=3).tune(
        KEY, COINS, Categorical((0.2, 0.8)), settings, callbacks=()
    )
    assert fitted.loss[0, -10:].mean() < fitted.loss[0, :10].mean()
    assert np.all(np.asarray(fitted.prompt)[:, 1] > 0.5)  # towards the likelier symbol


def test_a_simplex_prompt_asks_for_weights():
    with pytest.raises(TypeError, match="Expected tokens, which TreePosterior reads; got weights"):
        SimplexPrompt().tune(KEY, TREE, Categorical((0.2, 0.8)))


def test_what_was_stored_under_an_old_name_loads():
    prompted = condition(COINS, [0, 1, 1])
    arrays: dict[str, np.ndarray] = {}
    described = specs.to_json(prompted, arrays)
    old = {"reads" if name == "context" else name: part for name, part in described.items()}
    assert old.keys() != described.keys()
    again = specs.from_json(old, arrays)
    np.testing.assert_array_equal(again.prompt, prompted.prompt)
    with pytest.raises(ValueError, match="got 'readz'"):
        specs.from_json({**described, "readz": 1}, arrays)
