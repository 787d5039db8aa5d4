"""Prompts and mixtures of prompts against brute force and known values."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws
from support.exact_tasks import COIN, COINS, DICE, TWO, Sticky, plain_regret

from promptax.analysis import prompt_mixtures, promptability
from promptax.analysis.prompt_or_tune.prompt_mixtures import improved_mixture
from promptax.evaluation import Expectations
from promptax.evaluation.exact import enumeration
from promptax.evaluation.exact.final_counts import finals, log_chances, mixed_regret
from promptax.protocol.entries import condition
from promptax.protocol.exchangeable import Exchangeable
from promptax.protocol.mixture import mix
from promptax.protocol.predictor import Predictor
from promptax.tasks import Categorical, CategoricalMixture, Recorded


@pytest.mark.parametrize(("prior", "target"), [(Sticky(), Sticky((0.9, 0.9))), (Sticky(), COIN)])
def test_where_order_matters_every_word_is_read(prior, target):
    found = promptability(prior, target, length=3, steps=3)
    for length in range(4):
        words = list(itertools.product(range(2), repeat=length))
        regrets = [plain_regret(prior, target, word, 3) for word in words]
        row = found.table.sel(prompt_length=length)
        np.testing.assert_allclose(row["regret"], min(regrets), atol=1e-9)
        best = tuple(row["tokens"].values[:length].tolist())
        np.testing.assert_allclose(regrets[words.index(best)], min(regrets), atol=1e-9)
        assert (row["tokens"].values[length:] == -1).all()
        assert row["counts"].values.tolist() == [best.count(0), best.count(1)]
    assert len(found.best_prompt) == 3


def test_the_exchangeable_way_and_reading_every_word_agree():
    class Hidden(Predictor):  # Laplace's rule that does not say that order is free
        symbols = 2

        def start(self, capacity=None):
            return COINS.bayes().start()

        def advance(self, state, inputs):
            return COINS.bayes().advance(state, inputs)

    class Coins(Sticky):
        def bayes(self):
            return Hidden()

    words, counts = promptability(Coins(), TWO, 4, 6), promptability(COINS, TWO, 4, 6)
    np.testing.assert_allclose(words.table["regret"], counts.table["regret"], atol=1e-9)
    expectations = Expectations(TWO, 6)
    np.testing.assert_allclose(
        expectations.regret(Hidden()), expectations.regret(COINS.bayes()), atol=1e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prior", "target"),
    [
        (COINS, TWO),
        (DICE, Categorical((0.2, 0.3, 0.5))),
        (CategoricalMixture(((0.6, 0.3, 0.1), (0.1, 0.2, 0.7))), Categorical((0.2, 0.2, 0.6))),
    ],
)
def test_the_best_of_all_prompts_of_up_to_ten_symbols(prior, target):
    """Every word in every order, read by the predictor itself, on every sequence of two steps."""
    longest, steps = 10, 2
    sequences = laws.all_sequences(target.symbols, steps)
    _, evidence = laws.judge(target, sequences)
    chances = jnp.asarray(np.exp(evidence[:, -1]))
    found = promptability(prior, target, longest, steps).table["regret"].values

    @eqx.filter_jit
    def regrets(words):
        def after(word):
            state, _ = prior.bayes().advance(prior.bayes().start(), word)
            rows = prior.bayes().advance_batch(state, sequences)[1].log_probs
            picked = jnp.take_along_axis(rows, sequences[..., None], -1)[..., 0]
            return -chances @ picked.sum(axis=1)

        return jax.vmap(after)(words)

    with enumeration.double_precision():
        oracle = float(target.oracle_entropy(steps).sum())
        for length in range(longest + 1):
            words = jnp.asarray(laws.all_sequences(target.symbols, length))
            best = float(regrets(words).min()) - oracle
            np.testing.assert_allclose(found[length], best, atol=1e-6, err_msg=f"length {length}")


# --- mixtures of prompts --------------------------------------------------------------------


MIRRORED = {  # Bayes mixture of the mirrored best hard prompts on two coins: 50 and 200 steps
    (1, 6): (1.2493, 1.8557),
    (5, 25): (0.9027, 1.3309),
    (19, 100): (0.7299, 0.9115),
    (39, 200): (0.7049, 0.7904),
}


@pytest.mark.parametrize("which", [0, 1])
def test_known_mixtures_of_two_prompts(which):
    final = finals(TWO, (50, 200)[which])
    for (zeros, length), values in MIRRORED.items():
        prompts = np.array([(zeros, length - zeros), (length - zeros, zeros)])
        chances = log_chances(COINS.bayes(), prompts, final.length)
        np.testing.assert_allclose(mixed_regret(chances, final), values[which], atol=1e-4)


def test_the_best_pair_of_each_length():
    found = prompt_mixtures(COINS, TWO, [6, 0, 25], length=50)
    np.testing.assert_allclose(found["regret"], [1.4772, 1.2493, 0.9027], atol=1e-4)
    assert found["counts"].values.tolist() == [
        [[0, 0], [0, 0]], [[1, 5], [5, 1]], [[5, 20], [20, 5]]
    ]  # fmt: skip
    assert found["exhaustive"].all() and found["prompt_length"].values.tolist() == [0, 6, 25]


@pytest.mark.parametrize("components", [1, 2, 3])
def test_mixtures_against_reading_every_sequence(components):
    target, steps, length = Categorical((0.2, 0.3, 0.5)), 4, 3
    sequences = laws.all_sequences(3, steps)
    chances = np.exp(laws.judge(target, sequences)[1][:, -1])
    prompts = enumeration.compositions(length, 3)
    likelihoods = []
    with enumeration.double_precision():
        for counts in prompts:
            judged = condition(DICE.bayes(), np.repeat(np.arange(3), counts))
            read = laws.read(judged, sequences)
            likelihoods.append(np.exp(laws.of_tokens(read, sequences).sum(axis=1)))
        oracle = float(target.oracle_entropy(steps).sum())
    best = min(
        -chances @ np.log(np.mean([likelihoods[i] for i in chosen], axis=0)) - oracle
        for chosen in itertools.combinations_with_replacement(range(len(prompts)), components)
    )
    found = prompt_mixtures(DICE, target, [length], steps, components)
    np.testing.assert_allclose(found["regret"], best, atol=1e-6)


def test_the_predictor_that_mixes_has_that_regret():
    found = prompt_mixtures(COINS, TWO, [6], length=8)
    prompts = [np.repeat([0, 1], counts) for counts in found["counts"].values[0]]
    regret = Expectations(TWO, 8).regret(mix(COINS.bayes(), prompts)).sum()  # by every sequence
    np.testing.assert_allclose(regret, found["regret"][0], atol=1e-6)


def test_one_prompt_is_a_mixture_of_one():
    single = prompt_mixtures(COINS, COIN, [0, 4, 7], 20, components=1)
    table = promptability(COINS, COIN, 7, 20).table.sel(prompt_length=[0, 4, 7])
    np.testing.assert_allclose(single["regret"], table["regret"], atol=1e-9)
    np.testing.assert_array_equal(single["counts"].isel(component=0), table["counts"])


def test_a_prompt_that_is_improved_step_by_step_is_the_best_here():
    final = finals(COIN, 20)
    found = improved_mixture(COINS.bayes(), final, np.array([[60, 40]]))
    best = promptability(COINS, COIN, 100, 20)
    np.testing.assert_allclose(found.regret, best.best_regret, atol=1e-9)
    assert not found.exhaustive


def test_what_cannot_be_mixed_says_so():
    class Ordered(Exchangeable):  # predicts by counts, but sequences differ by their order
        symbols = 2

        def after(self, counts):
            return jax.nn.log_softmax(jnp.array([1.0, 0.0]) * counts[0] * (1 + counts[1]))

    with pytest.raises(ValueError, match="the same probability in every order"):
        log_chances(Ordered(), np.array([[0, 0]]), 3)
    with pytest.raises(ValueError, match="depends on counts"):
        prompt_mixtures(Sticky(), COIN, [1], 3)
    with pytest.raises(ValueError, match="Expected prompt lengths from 0 up"):
        prompt_mixtures(COINS, COIN, [], 3)
    with pytest.raises(ValueError, match="Expected a target"):
        prompt_mixtures(COINS, Recorded(sequences=((0, 1),)), [1], 3)
