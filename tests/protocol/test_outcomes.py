"""Laws that every outcome obeys, densities that are densities, and what has no alphabet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws
from support.classification import LinearClassification
from support.positive import Positive

import promptax as px
from promptax import specs
from promptax.predictors import LSTM, Transformer
from promptax.protocol import (
    Embedded,
    Episode,
    Gaussian,
    KeyValues,
    Mixed,
    Normal,
    Outcome,
    Points,
    Symbols,
)
from promptax.steering import (
    EmbeddingWeights,
    FullWeights,
    GradientSearch,
    HardPrompt,
    HardPromptMixture,
    KeyValuePrompt,
    LowRank,
    PromptMixture,
    RandomPrompt,
    RealPrompt,
    SimplexPrompt,
    SoftPrompt,
)
from promptax.tasks import Categorical, DirichletCategorical

KEY = jax.random.key(0)
TASK = LinearClassification()
SHORT = px.FitSettings(steps=2, batch=4, length=6)
# A member on a half line stands beside those of promptax, so that no law asks for negative numbers.
EXAMPLES = [*laws.examples(Outcome, quick=99), pytest.param(Positive(), id="Positive")]
every_outcome = pytest.mark.parametrize("outcome", EXAMPLES)


@pytest.fixture(scope="module")
def network():
    return laws.build(Transformer(width=4, heads=2), 0, TASK.outcome)


# --- laws -----------------------------------------------------------------------------------


@every_outcome
def test_outcomes_are_equal_by_their_fields(outcome):
    again = specs.from_json(specs.to_json(outcome))
    assert again == outcome and hash(again) == hash(outcome)
    others = [case.values[0] for case in EXAMPLES]
    assert sum(other == outcome for other in others) == 1
    answers = [other for other in others if not isinstance(other, Points)]
    if outcome in answers:  # nested ones too
        assert sum(Points(7, other) == Points(7, outcome) for other in answers) == 1


@every_outcome
def test_what_is_decoded_is_what_was_encoded(outcome):
    drawn = outcome.draw(KEY, 5)
    observations = outcome.decode(drawn)
    rows = outcome.encode(observations)
    assert rows.shape == (5, outcome.input_width())
    np.testing.assert_array_equal(outcome.decode(rows), observations)
    assert (outcome.alphabet is None) == (drawn.ndim == 2)


@every_outcome
def test_losses_and_gradients_stay_finite_whatever_a_network_gives(outcome):
    """Also at rows that do not count, where nothing holds the network's outputs back: the questions
    of points, whose answer is 0 whatever answers can be."""
    points = outcome if isinstance(outcome, Points) else Points(1, outcome)
    answered = points.draw(KEY, 6).at[::3, -1].set(0.0)  # some count nothing
    questions = answered.at[1::3, points.features :].set(0.0)

    def loss(outputs):
        return sum(
            jnp.sum(kind.log_loss(kind.of_outputs(outputs, lambda rows: rows), Episode(rows)))
            for kind, rows in ((outcome, outcome.draw(KEY, 6)), (points, questions))
        )

    outputs = 1e4 * jax.random.normal(KEY, (6, outcome.parameter_width()))
    value_and_slope = jax.jit(jax.value_and_grad(loss))
    for given in (outputs, -outputs, 1e-3 * outputs):
        value, slope = value_and_slope(given)
        assert np.isfinite(value) and np.isfinite(slope).all()


@every_outcome
def test_a_prediction_shows_its_parameters(outcome):
    parameters = jax.nn.log_softmax(jax.random.normal(KEY, (3, outcome.parameter_width())))
    np.testing.assert_array_equal(outcome.prediction(parameters).shown(), parameters)


def test_densities_integrate_to_one():
    values = jnp.linspace(-30, 30, 20_001)[:, None]
    first = Normal(jnp.array([0.5]), jnp.log(jnp.array([0.3])))
    second = Normal(jnp.array([-4.0]), jnp.log(jnp.array([2.0])))
    mixed = Mixed(jnp.log(jnp.array([[0.25, 0.75]])), (first, second))
    one, other, both = (np.exp(each.of(values))[:, 0] for each in (first, second, mixed))
    for density in (one, other, both):
        np.testing.assert_allclose(np.trapezoid(density, values[:, 0]), 1.0, atol=1e-5)
    np.testing.assert_allclose(both, 0.25 * one + 0.75 * other, atol=1e-6)


def test_points_are_read_as_questions_and_answers():
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    numbers = Points(2, Gaussian()).rows(x, jnp.array([0.5, -0.5]), 3)
    np.testing.assert_array_equal(numbers, [[1, 2, 0, 0], [1, 2, 0.5, 1], [3, 4, 0, 0]])
    classes = Points(2, Symbols(2)).rows(x, jnp.array([1, 0]))
    np.testing.assert_array_equal(classes[:2], [[1, 2, 0, 0, 0], [1, 2, 0, 1, 1]])
    np.testing.assert_array_equal(classes[2:], [[3, 4, 0, 0, 0], [3, 4, 1, 0, 1]])


def test_questions_cost_nothing_and_half_an_answer_half():
    points = Points(1, Symbols(2))
    rows = points.rows(jnp.zeros((2, 1)), jnp.array([1, 1]))
    rows = rows.at[3, -1].set(0.5)
    prediction = points.prediction(jnp.log(jnp.full((4, 2), 0.5)))
    losses = points.log_loss(prediction, Episode(rows))
    np.testing.assert_allclose(losses, np.log(2) * np.array([0, 1, 0, 0.5]), rtol=1e-6)


# --- networks over points -------------------------------------------------------------------


@pytest.mark.slow
def test_in_context_classification_is_learned_by_the_same_door():
    settings = px.FitSettings(steps=60, batch=32, length=16, learning_rate=2e-2)
    fitted = px.pretrain(KEY, LSTM(width=8), TASK, settings, callbacks=())
    first, last = fitted.loss[0, :5].mean(), fitted.loss[0, -5:].mean()
    assert abs(first - 8 * np.log(2)) < 1.5  # eight answers, guessed
    assert last < first - 0.5
    network = LSTM(width=8).build(jax.random.key(1), TASK.outcome)
    given = {"untuned": network, "trained": fitted.predictor}
    losses = px.evaluate(KEY, given, TASK, sequences=256, length=16)["log_loss"][:, 0]
    assert losses.sel(predictor="trained").mean() < losses.sel(predictor="untuned").mean()
    assert (losses.isel(time=slice(0, None, 2)) == 0).all()  # questions


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [LSTM(width=4), Transformer(width=4, heads=2)])
def test_a_network_over_points_reads_in_pieces_and_in_batches(architecture):
    network = architecture.build(KEY, TASK.outcome)
    batch = jnp.stack([TASK.sample(jax.random.key(i), 7).inputs for i in range(2)])
    whole = px.predict(network, batch[0])
    np.testing.assert_allclose(
        px.predict(px.condition(network, batch[0, :3]), batch[0, 3:]), whole[3:], atol=1e-5
    )
    together = laws.predictions(network, batch)
    np.testing.assert_allclose(together.shown()[0], whole, atol=1e-5)
    changed = batch[0].at[4:].set(batch[1, 4:])
    np.testing.assert_allclose(px.predict(network, changed)[:5], whole[:5], atol=1e-6)
    assert np.abs(px.predict(network, changed)[5:] - whole[5:]).min() > 0
    mixture = px.mix(network, [batch[1, :2], batch[0, :2]], (0.3, 0.7))
    parts = [px.condition(network, prompt) for prompt in (batch[1, :2], batch[0, :2])]
    each = [laws.predictions(part, batch).of(batch).sum(axis=1) for part in parts]
    expected = np.logaddexp(np.log(0.3) + each[0], np.log(0.7) + each[1])
    found = laws.predictions(mixture, batch).of(batch).sum(axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_networks_over_points_are_saved_and_loaded(network, tmp_path):
    back = px.load(px.save(tmp_path / "network", network))
    assert back.outcome == TASK.outcome == Points(2, Symbols(2))
    rows = TASK.sample(KEY, 6).inputs
    np.testing.assert_array_equal(px.predict(back, rows), px.predict(network, rows))


TUNERS = [
    SoftPrompt(length=2, initial="tokens"),
    RealPrompt(length=2),
    KeyValuePrompt(length=2),
    FullWeights(),
    LowRank(rank=1),
    EmbeddingWeights(),
    PromptMixture(prompt=SoftPrompt(length=1)),
]


@pytest.mark.slow
@pytest.mark.parametrize("tuner", TUNERS, ids=lambda tuner: type(tuner).__name__)
def test_tuners_of_numbers_steer_networks_over_points(tuner, network):
    fitted = tuner.tune(KEY, network, TASK, SHORT, callbacks=())
    assert np.isfinite(fitted.loss).all() and fitted.diverged == -1
    rows = TASK.sample(KEY, 6).inputs
    scored = laws.predictions(fitted.predictor, rows[None]).of(rows[None])
    assert np.isfinite(scored).all() and np.all(scored[:, ::2] == 0)


# --- what does not fit is named -------------------------------------------------------------

SYMBOL_TUNERS = [
    HardPrompt(length=1, sequences=4),
    HardPromptMixture(length=1, sequences=4),
    GradientSearch(length=1),
    RandomPrompt(length=1),
    SimplexPrompt(length=1),
]


@pytest.mark.parametrize("tuner", SYMBOL_TUNERS, ids=lambda tuner: type(tuner).__name__)
def test_what_makes_prompts_of_symbols_refuses_points(tuner, network):
    text = f"{type(tuner).__name__} makes prompts; got Network over points of 2 features"
    with pytest.raises(TypeError, match=text):
        tuner.tune(KEY, network, TASK, SHORT, callbacks=())


def test_what_speaks_of_symbols_refuses_points(network):
    for speak in (
        lambda: px.generate(KEY, network, 3),
        lambda: px.compress(network, [0, 1]),
        lambda: px.code_length(network, [0, 1]),
        lambda: network.symbols,
        lambda: TASK.symbols,
    ):
        with pytest.raises(TypeError, match="over points of 2 features, answered by 2 symbols"):
            speak()
    with pytest.raises(TypeError, match="no initial_tokens"):
        SoftPrompt(initial="tokens", initial_tokens=(1,)).tune(KEY, network, TASK, SHORT)


def test_outcomes_that_differ_are_both_named(network):
    coin = Categorical()
    text = "predictor's points of 2 features, answered by 2 symbols; got Categorical over 2 symbols"
    with pytest.raises(ValueError, match=text):
        SoftPrompt(length=1).tune(KEY, network, coin, SHORT)
    with pytest.raises(ValueError, match=r"over 2 symbols, as the target Categorical.*got points"):
        px.evaluate(KEY, {"it": network}, coin, 4, 4)
    with pytest.raises(ValueError, match=r"Expected a prior over points.*got DirichletCat"):
        px.evaluate(KEY, {}, TASK, 4, 4, prior=DirichletCategorical())


def test_inputs_of_another_kind_are_named(network):
    text = r"Expected rows \[time, 5\] of points of 2 features, answered by 2 symbols"
    with pytest.raises(TypeError, match=text + r".*got tokens"):
        px.predict(network, [0, 1])
    for inputs in ([0.5], [[1.0, 2.0]], np.zeros((2, 3, 5))):
        with pytest.raises(ValueError, match="Expected rows"):
            px.predict(network, inputs)
    mixture = px.mix(network, [np.zeros((1, 5))])
    for inputs in (Embedded(jnp.zeros((1, 4))), KeyValues(*jnp.zeros((2, 1, 2, 1, 2)))):
        with pytest.raises(TypeError, match="Read them before the mixture"):
            mixture.advance(mixture.start(), inputs)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Symbols(1), "at least 2 symbols; got 1"),
        (lambda: Points(0, Gaussian()), "at least 1 feature; got 0"),
    ],
)
def test_wrong_outcomes(make, text):
    with pytest.raises(ValueError, match=text):
        make()
