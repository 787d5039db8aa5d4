"""Inner learning rates that are learned: in the tree, in files, in `Adapting`, on exact coins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.judges import build, same
from support.logits import Coin, OneLogit

import promptax as px
from promptax.evaluation import expected_losses
from promptax.fit import MAML, Adapting, CountRates, LayerRates, MetaSGD
from promptax.fit.objectives import Paced
from promptax.predictors import LSTM
from promptax.protocol import Prediction
from promptax.protocol.outcomes import Episode
from promptax.tasks import DirichletCategorical

KEY = jax.random.key(3)
COINS = DirichletCategorical((1.0, 1.0))
TOKENS = jnp.array([0, 1, 1, 1, 0, 1])
SETTINGS = px.FitSettings(steps=2, batch=4, length=6, learning_rate=1e-2)
FAIR = Coin(jnp.zeros(()))
LAPLACE = 1.5679  # nats lost to the oracle by exact Bayes in 50 symbols


def regret(predictor, length=50):
    """Expected cumulative regret to the oracle on Beta(1, 1) coins, exact, nats."""
    return expected_losses(predictor, COINS, length).sum() - sum(COINS.oracle_entropy(length))


def trained(objective, settings=SETTINGS):
    """A coin that was meta-trained by the objective, with its rates."""
    fitted = px.pretrain(KEY, OneLogit(), COINS, settings, objective=objective, callbacks=())
    assert isinstance(fitted.predictor, Paced)
    return fitted.predictor


@pytest.mark.parametrize(
    ("steps", "rate", "inner_loss", "expected"),
    [(1, 0.1574, "sum", 2.8779), (5, 0.1615, "sum", 1.6580), (1, 4.1697, "mean", 2.0383)],
)
def test_one_logit_adapts_to_counts_exactly(steps, rate, inner_loss, expected):
    member = MAML(inner_steps=steps, inner_rate=rate, inner_loss=inner_loss)
    np.testing.assert_allclose(regret(Adapting(FAIR, member)), expected, atol=2e-4)


def test_counts_say_what_tokens_say():
    member = MAML(inner_steps=2, inner_rate=0.5)
    by_counts = px.predict(Adapting(FAIR, member), TOKENS)
    for time in (0, 3, 5):
        adapted = member.adapt(FAIR, TOKENS[:time]) if time else FAIR
        np.testing.assert_allclose(by_counts[time], px.predict(adapted, [0])[0], atol=1e-6)


@pytest.mark.slow
def test_a_rate_for_each_count_is_learned_on_coins():
    """1.6991 with the best rates, of which the first is 2 log 2."""
    objective = CountRates(inner_rate=5.0)
    settings = px.FitSettings(steps=80, batch=64, length=50, learning_rate=3e-2, schedule="cosine")
    coin = trained(objective, settings)
    assert LAPLACE < regret(Adapting(coin, objective)) < 1.6991 + 0.02
    rates = objective.learned_rates(coin)["all leaves"]
    np.testing.assert_allclose(rates[0], 2 * np.log(2), atol=0.1)


def test_rates_are_factors_of_each_leaf_step_and_count():
    """One summed step of one logit b: b - rate · c · Σ (σ(b) - x), by hand."""
    slope = 3 * 0.5 - 2  # of tokens 0, 1, 1 from a fair coin
    for member, factor in (
        (MetaSGD(inner_loss="sum"), jnp.float32(2.0)),
        (LayerRates(inner_steps=1, inner_loss="sum"), jnp.array([2.0, 9.0])),
        (CountRates(inner_loss="sum"), jnp.array([7.0, 8.0, 2.0])),
    ):
        paced = member.equip(FAIR, SETTINGS)
        same(
            member.adapt(paced, TOKENS[:3]).predictor,
            MAML(inner_loss="sum").adapt(FAIR, TOKENS[:3]),
        )
        paced = type(paced)(FAIR, dict.fromkeys(paced.factors, factor), paced.learned_by)
        adapted = member.adapt(paced, TOKENS[:3])
        np.testing.assert_allclose(adapted.predictor.logit, -0.1 * 2 * slope, rtol=1e-6)


def test_first_order_keeps_gradients_without_activations():
    second, first = (MetaSGD(inner_steps=5, first_order=order) for order in (False, True))
    network = build(LSTM(width=2), 3, 2)
    leaves = sum(leaf.nbytes for leaf in jax.tree.leaves(network))
    read = network.reading_bytes(7)
    assert second.inner_bytes(network, 7) == 5 * (read + leaves)
    assert first.inner_bytes(network, 7) == read + 5 * leaves


def test_learned_rates_are_trained_stored_and_used(tmp_path):
    objective = MetaSGD(support=3)
    coin = trained(objective)
    (rate,) = objective.learned_rates(coin).values()
    assert abs(rate - 0.1) > 1e-5
    assert coin.inner_rate == 0.1
    path = px.save(tmp_path / "learned.safetensors", Adapting(coin, objective))
    assert px.load(path).predictor.inner_rate == 0.1
    rows = px.predict(px.load(path), TOKENS[:3])
    same(rows, px.predict(Adapting(coin, objective), TOKENS[:3]))
    same(px.predict(coin, TOKENS), px.predict(coin.predictor, TOKENS))  # a predictor like any other


def test_rates_that_are_not_there_are_refused(as_users_see_it):
    with pytest.raises(TypeError, match="rates that MetaSGD learned; got Coin, which has none"):
        MetaSGD().adapt(FAIR, TOKENS)
    faster = MetaSGD(inner_rate=5.0).equip(FAIR, SETTINGS)
    for adapt in (lambda: MetaSGD().adapt(faster, TOKENS), lambda: Adapting(faster, MetaSGD())):
        with pytest.raises(ValueError, match=r"factors MetaSGD learned, 5; got 0\.1"):
            adapt()
    Adapting(faster, MetaSGD(inner_rate=5.0))
    layers = LayerRates(inner_steps=2).equip(FAIR, SETTINGS)
    with pytest.raises(ValueError, match="rates that MetaSGD learned; got those of LayerRates"):
        MetaSGD().adapt(layers, TOKENS)
    with pytest.raises(ValueError, match="at most the 2 inner steps for which rates were learned"):
        LayerRates(inner_steps=3).adapt(layers, TOKENS)
    counts = CountRates().equip(FAIR, SETTINGS)
    with pytest.raises(ValueError, match=r"at most 5 symbols to adapt to.*got 6"):
        CountRates().adapt(counts, TOKENS)
    with pytest.raises(ValueError, match=r"sequences of at most 6 steps.*CountRates; got 7"):
        CountRates().verify(counts, px.FitSettings(length=7))
    CountRates().verify(counts, px.FitSettings(length=6))
    with pytest.raises(ValueError, match="Expected a support of None"):
        CountRates(support=3)
    longer = Adapting(counts, CountRates())
    state, _ = longer.advance(longer.start(), TOKENS)
    said = longer.advance(state, TOKENS[:1])[1]
    assert isinstance(said, Prediction) and np.isnan(said.log_probs).all()
    network = build(LSTM(width=2), 3, 2)
    head = MetaSGD(adapts=("unembedding",)).equip(network, SETTINGS)
    with pytest.raises(ValueError, match=r"rates for every leaf.*'embedding.bias'"):
        MetaSGD().adapt(head, TOKENS)


@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_an_inner_optimiser_begins_anew(rule):
    """Two steps by hand of one logit; a gradient of 0 has finite second derivatives."""
    member = MAML(inner_steps=2, inner_rate=0.1, inner_optimiser=rule, support=2)
    first = -1 / 6  # of the mean loss of 0, 1, 1 at a fair coin
    if rule == "momentum":
        second = jax.nn.sigmoid(0.1 / 6) - 2 / 3
        expected = -0.1 * (first + 0.9 * first + second)
    else:
        b = 0.1 * -first / np.sqrt(first**2 + 1e-8)
        second = float(jax.nn.sigmoid(b)) - 2 / 3
        m, v = 0.09 * first + 0.1 * second, 0.999e-3 * first**2 + 1e-3 * second**2
        expected = b - 0.1 * (m / 0.19) / np.sqrt(v / (1 - 0.999**2) + 1e-8)
    for _ in range(2):
        np.testing.assert_allclose(member.adapt(FAIR, TOKENS[:3]).logit, expected, rtol=1e-5)

    def query(logit):  # tokens 0, 1 pull a fair coin nowhere
        adapted = member.adapted(Coin(logit), Episode(TOKENS[:2]), COINS.outcome.log_loss)
        return adapted[1].logit ** 2 + adapted[1].logit

    assert np.isfinite(jax.grad(query)(jnp.zeros(())))
