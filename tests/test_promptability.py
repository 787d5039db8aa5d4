"""Prompts and mixtures of prompts against brute force, known values, and the verdicts."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest

from promptax import enumeration
from promptax.analysis import diagnose, prompt_mixtures, promptability
from promptax.analysis.exhaustive import all_words, expected_regret
from promptax.analysis.final_counts import finals, log_chances, mixed_regret
from promptax.analysis.limits import _least_of_long_prompts
from promptax.analysis.prompt_mixtures import improved_mixture
from promptax.exchangeable import Exchangeable
from promptax.mixture import mix
from promptax.protocol import Prediction, Predictor, condition, predict
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical, Recorded
from promptax.tasks.base import Task

COINS, COIN, TWO = DirichletCategorical(), Categorical(), CategoricalMixture()
DICE = DirichletCategorical((1.0, 1.0, 1.0))
THIRDS = CategoricalMixture(((1 / 3, 2 / 3), (2 / 3, 1 / 3)))


def gap(nodes):
    """Uniform on [0, 1/3] and [2/3, 1], nothing between: Gauss-Legendre nodes, exact for sequences
    of fewer than twice as many symbols."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    low = (points + 1) / 6
    biases, weights = np.concatenate([low, 1 - low]), np.tile(weights / weights.sum() / 2, 2)
    return CategoricalMixture([(bias, 1 - bias) for bias in biases], weights)


# --- an exact predictor for which order matters ---------------------------------------------


class Sticky(Task):
    """Repeats the last symbol with probability `stay`, which is drawn from two values; the first
    symbol is a fair coin's after a silent 0."""

    stays: tuple[float, float] = (0.9, 0.3)

    @property
    def symbols(self):
        return 2

    def sample(self, key, length):
        raise NotImplementedError

    def oracle(self, latent, tokens):
        raise NotImplementedError

    def bayes(self):
        return StickyPosterior(self.stays)

    def oracle_entropy(self):
        each = [-p * math.log(p) - (1 - p) * math.log(1 - p) for p in self.stays]
        return jnp.asarray(sum(each) / 2)

    @classmethod
    def examples(cls):
        return ()


class StickyPosterior(Predictor):
    stays: tuple[float, float]
    symbols = 2

    def start(self, capacity=None):
        return jnp.zeros(2), jnp.zeros((), int)  # log likelihoods, last symbol

    def advance(self, state, inputs):
        stays = jnp.asarray(self.stays)

        def one(state, token):
            log_likelihood, last = state
            same = jnp.sum(jax.nn.softmax(log_likelihood) * stays)
            row = jnp.log(jnp.where(jnp.arange(2) == last, same, 1 - same))
            step = jnp.log(jnp.where(token == last, stays, 1 - stays))
            return (log_likelihood + step, token), row

        state, rows = jax.lax.scan(one, state, inputs.astype(int))
        return state, Prediction(rows)


def plain_regret(prior, target, word, steps):
    """Regret after one word, by reading every sequence of the target with NumPy's float64."""
    total = 0.0
    with enumeration.double_precision():
        judged = condition(prior.bayes(), word) if len(word) else prior.bayes()
        for sequence in itertools.product(range(target.symbols), repeat=steps):
            rows = np.asarray(predict(judged, sequence))
            own = np.asarray(predict(target.bayes(), sequence))
            picked = np.arange(steps), list(sequence)
            total -= math.exp(own[picked].sum()) * rows[picked].sum()
        return total - steps * float(target.oracle_entropy())


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
    np.testing.assert_allclose(
        expected_regret(Hidden(), TWO, 6), expected_regret(COINS.bayes(), TWO, 6), atol=1e-9
    )


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
        oracle = steps * float(target.oracle_entropy())
        for length in range(longest + 1):
            words = jnp.asarray(all_words(target.symbols, length))
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
        chances = log_chances(COINS.bayes(), prompts, final.steps)
        np.testing.assert_allclose(mixed_regret(chances, final), values[which], atol=1e-4)


def test_the_best_pair_of_each_length():
    found = prompt_mixtures(COINS, TWO, [6, 0, 25], steps=50)
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
        oracle = steps * float(target.oracle_entropy())
    best = min(
        -chances @ np.log(np.mean([likelihoods[i] for i in chosen], axis=0)) - oracle
        for chosen in itertools.combinations_with_replacement(range(len(prompts)), components)
    )
    found = prompt_mixtures(DICE, target, [length], steps, components)
    np.testing.assert_allclose(found["regret"], best, atol=1e-6)


def test_the_predictor_that_mixes_has_that_regret():
    found = prompt_mixtures(COINS, TWO, [6], steps=8)
    prompts = [np.repeat([0, 1], counts) for counts in found["counts"].values[0]]
    regret = expected_regret(mix(COINS.bayes(), prompts), TWO, 8).sum()  # by every sequence
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
    with pytest.raises(ValueError, match="at least 1 prompt"):
        prompt_mixtures(COINS, COIN, [], 3)
    with pytest.raises(ValueError, match="Expected a target"):
        prompt_mixtures(COINS, Recorded(sequences=((0, 1),)), [1], 3)


# --- the verdicts ---------------------------------------------------------------------------


def at(found, length, name="regret"):
    return float(found.table[name].sel(prompt_length=length))


def test_a_prompt_suffices_for_one_coin():
    found = diagnose(COINS, COIN)
    assert found.status == "a prompt suffices" and found.remedy == ""
    np.testing.assert_allclose(at(found, 6), 0.5711, atol=1e-4)
    np.testing.assert_allclose(at(found, 1000), 0.0006, atol=1e-4)
    assert "0.0006" in found.verdict and "0.5711" in found.verdict
    assert at(found, 4) > at(found, 3) == at(found, 4, "best_up_to")  # not monotone
    assert found.table.attrs["limit"] == "reaches the floor of 0.0000"


def test_two_coins_need_two_prompts():
    found = diagnose(COINS, TWO)
    assert found.status == "a prompt cannot suffice"
    assert found.remedy == "a mixture of 2 prompts would suffice"
    np.testing.assert_allclose(found.best_regret, 1.4772, atol=1e-4)
    np.testing.assert_allclose(found.floor, math.log(2), atol=1e-4)
    np.testing.assert_allclose(at(found, 6, "mixture"), 1.2493, atol=1e-4)
    assert "1.4772" in found.verdict and "stays 0.7841 above" in found.table.attrs["limit"]


def test_a_prior_of_two_coins_is_its_own_optimum_and_balanced_prompts_keep_it():
    found = diagnose(THIRDS, THIRDS, longest=10)
    assert found.status == "already optimal"
    even = found.table["regret"].sel(prompt_length=[2, 4, 6, 8, 10])
    np.testing.assert_allclose(even, found.floor, atol=1e-9)
    assert at(found, 3) > found.floor + 0.01
    assert "5×0 5×1 keeps it so" in found.verdict


def test_a_prior_with_a_gap_keeps_two_modes_and_can_be_prompted_to_two_coins():
    prior = gap(30)
    with enumeration.double_precision():
        joint = np.asarray(prior.bayes().log_joint(jnp.array([20.0, 20.0])))
        posterior = joint - np.log(prior.weights)  # density: nodes stand for more or less of it
    biases = np.asarray(prior.probabilities)[:, 0]
    order = np.argsort(biases)
    rising = np.diff(posterior[order]) > 0
    assert rising[:29].all() and not rising[30:].any()  # up to 1/3; down from 2/3
    sizes = {"steps": 30, "longest": 80, "tolerance": 0.02}
    found = diagnose(gap(55), THIRDS, **sizes)
    assert found.status == "a prompt suffices"
    assert found.table["counts"].sel(prompt_length=80).values.tolist() == [40, 40]
    assert diagnose(COINS, THIRDS, **sizes).status == "a prompt helps but cannot suffice"
    assert diagnose(prior, prior, longest=6, steps=10).status == "already optimal"


def test_what_the_prior_excludes_is_out_of_reach():
    prior = CategoricalMixture(((0.3, 0.7), (0.7, 0.3)))
    found = diagnose(prior, Categorical((0.1, 0.9)))
    assert found.status == "a prompt helps but cannot suffice" and found.remedy == "only weights"
    nearest = 50 * (0.1 * math.log(0.1 / 0.3) + 0.9 * math.log(0.9 / 0.7))
    np.testing.assert_allclose(found.best_regret, nearest, atol=1e-4)
    assert f"{nearest:.4f}" in found.verdict
    impossible = diagnose(Categorical((1.0, 0.0)), COIN, longest=6)
    assert impossible.remedy == "only weights" and "∞" in impossible.verdict


LONGER, CANNOT = "a longer prompt suffices", "a prompt cannot suffice"
HELPS, OPEN = "a prompt helps but cannot suffice", "no prompt that was tried suffices"
NONE = {"length": 0, "longest": 0}
FAR = CategoricalMixture(((0.3, 0.7), (0.7, 0.3))), Categorical((0.1, 0.9))
THREE = CategoricalMixture(((0.1, 0.9), (0.5, 0.5), (0.9, 0.1)), (1 / 3, 1 / 3, 1 / 3))


@pytest.mark.parametrize(
    ("prior", "target", "sizes", "status", "remedy"),
    [
        (COINS, COIN, {"length": 4, "longest": 0}, LONGER, ""),
        (COINS, COIN, {"longest": 100}, LONGER, ""),
        (COINS, COIN, NONE, LONGER, ""),
        (DirichletCategorical((1e4, 1e4)), COIN, {"longest": 100}, LONGER, ""),
        (FAR[0], Categorical((0.3, 0.7)), NONE, LONGER, ""),
        (COINS, TWO, NONE, CANNOT, "a mixture of 2 longer prompts would suffice"),
        (COINS, TWO, {"longest": 100}, CANNOT, "a mixture of 2 longer prompts would suffice"),
        (COINS, THREE, {"longest": 50}, CANNOT, "only weights suffice for sure"),
        (*FAR, NONE, HELPS, "only weights"),
        (
            DirichletCategorical((1.0, 0.0)),
            COIN,
            {"longest": 9},
            HELPS,
            "only weights suffice for sure",
        ),
    ],
)
def test_the_verdict_is_true_whatever_was_tried(prior, target, sizes, status, remedy):
    """Known from theory: any coin can be prompted for within a Dirichlet prior; two coins cannot;
    a prior over two coins leads to one of the two, to the nearer one at best."""
    found = diagnose(prior, target, **sizes)
    assert (found.status, found.remedy) == (status, remedy)
    assert found.verdict.startswith(status.capitalize()) and remedy in found.verdict.lower()
    assert "one likes" in found.verdict or "of any length" in found.verdict
    assert float(found.table["least"]) <= float(found.table["approached"]) + 1e-6
    assert float(found.table["approached"]) <= found.best_regret


def test_what_is_not_known_is_not_said():
    """Balanced prompts keep a half for each of two coins; others change their odds by powers of
    two. Odds of 0.41 to 0.59 lie between, out of reach, which is not seen from prompts alone."""
    unequal = CategoricalMixture(THIRDS.probabilities, (0.41, 0.59))
    found = diagnose(THIRDS, unequal, longest=50)
    assert found.status == OPEN and found.remedy == "a mixture of 2 prompts would suffice"
    assert "of up to 50 symbols" in found.verdict and "is not known" in found.verdict
    assert found.table.attrs["limit"].endswith("at 50 symbols, its limit not known")


def test_where_order_matters_there_is_a_verdict_without_mixtures():
    found = diagnose(Sticky(), Sticky(), length=3, steps=4)
    assert found.status == "already optimal" and math.isnan(found.mixture_regret)
    found = diagnose(Sticky(), Sticky((0.01, 0.01)), length=4, steps=4, longest=10)
    assert found.status == OPEN and found.remedy == "only weights suffice for sure"
    assert found.verdict.endswith(
        "Mixtures of prompts were not tried: only weights suffice for sure."
    )


def test_where_order_matters_short_words_are_repeated():
    """Alternating symbols leave no doubt of the source that alternates; four of them leave some."""
    prior, target = Sticky((0.5, 0.2)), Sticky((0.2, 0.2))
    sizes = {"length": 2, "steps": 5, "tolerance": 1e-3}
    assert diagnose(prior, target, longest=2, **sizes).status == OPEN
    found = diagnose(prior, target, longest=40, **sizes)
    assert found.status == "a prompt suffices" and found.table.attrs["shown"] == [0, 1, 2, 10, 40]
    tokens = found.table["tokens"].sel(prompt_length=10).values
    assert tokens[:10].tolist() in ([0, 1] * 5, [1, 0] * 5) and (tokens[10:] == -1).all()
    assert found.table["exhaustive"].values.tolist() == [True, True, True, False, False]
    np.testing.assert_allclose(
        at(found, 10), plain_regret(prior, target, tokens[:10], 5), atol=1e-9
    )


@pytest.mark.parametrize("prior", [COINS, DirichletCategorical((0.5, 3.0))])
@pytest.mark.parametrize("target", [COIN, TWO, THREE, DirichletCategorical((5.0, 5.0))])
def test_no_long_prompt_is_below_its_bound(prior, target):
    regrets = promptability(prior, target, 60, 12).table["regret"].values
    for length in (0, 1, 5, 20, 60):
        bound = _least_of_long_prompts(prior.bayes(), target, 12, length)
        assert bound <= regrets[length:].min() + 1e-9
    far = _least_of_long_prompts(prior.bayes(), target, 12, 10**9)
    mean = Categorical(np.exp(predict(target.bayes(), [0])[0]))
    np.testing.assert_allclose(far, expected_regret(mean.bayes(), target, 12).sum(), atol=1e-5)


@pytest.mark.parametrize("target", [COIN, TWO, Categorical((0.5, 0.5)), FAR[1]])
def test_the_least_of_all_beliefs_in_two_sources(target):
    prior, steps = FAR[0], 12
    shares = np.concatenate([[1e-9], np.linspace(0.001, 0.999, 999), [1 - 1e-9]])
    beliefs = [CategoricalMixture(prior.probabilities, (p, 1 - p)) for p in shares]
    regrets = [expected_regret(each.bayes(), target, steps).sum() for each in beliefs[::50]]
    final = finals(target, steps)
    chances = final.counts @ np.log(prior.probabilities).T
    every = np.logaddexp(chances[:, :1] + np.log(shares), chances[:, 1:] + np.log1p(-shares))
    best = min(-final.chance @ every) - final.oracle_loss
    least = float(diagnose(prior, target, steps=steps, **NONE).table["least"])
    np.testing.assert_allclose(least, best, atol=1e-5)
    assert least <= min(regrets) + 1e-9


def test_long_prompts_over_more_symbols_are_improved_upon():
    found = diagnose(DICE, Categorical((0.2, 0.3, 0.5)), steps=12, longest=250)
    assert found.status == "a prompt suffices"
    rows = found.table.sel(prompt_length=[6, 250])
    assert rows["exhaustive"].values.tolist() == [True, False]
    assert rows["counts"].sum("symbol").values.tolist() == [6, 250]
    assert (np.diff(found.table["best_up_to"]) <= 0).all()
    assert set(found.table.attrs["shown"]) <= set(found.table["prompt_length"].values.tolist())


def test_what_cannot_be_diagnosed_says_so():
    with pytest.raises(ValueError, match="positive tolerance"):
        diagnose(COINS, COIN, tolerance=0.0)
    with pytest.raises(ValueError, match=r"Expected at most .* 2\^50 sequences"):
        diagnose(Sticky(), COIN)
    with pytest.raises(ValueError, match="over one alphabet"):
        diagnose(COINS, Categorical((0.2, 0.3, 0.5)))
