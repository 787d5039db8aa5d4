"""Laws that every tuner obeys on every architecture that it suits; and what each prompt must be."""

import contextlib
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

from promptax import FitSettings, Repeated, condition, load, mix, predict, save
from promptax.fit.fitted import Fitted
from promptax.predictors import LSTM, Architecture
from promptax.protocol.exchangeable import Uniform
from promptax.protocol.mixture import PromptedMixture
from promptax.protocol.prompted import Prompted, Wrapper
from promptax.steering import (
    EmbeddingWeights,
    FullWeights,
    GradientSearch,
    GradientTuner,
    HardPrompt,
    HardPromptMixture,
    KeyValuePrompt,
    LowRank,
    PromptMixture,
    RandomPrompt,
    RealPrompt,
    Search,
    SimplexPrompt,
    SoftPrompt,
    Tuner,
    WeightTuner,
)
from promptax.steering.prompts.key_value_prompt import KeyValueRows
from promptax.tasks import Categorical, DirichletCategorical

KEY = jax.random.key(7)
TARGETS = {2: Categorical(), 3: Categorical((0.5, 0.3, 0.2))}
KINDS = laws.members(Architecture).items()
ARCHITECTURES = {name: cls.examples()[0] for name, cls in KINDS if cls.examples()}  # small ones


def is_judged_here(cls):
    """The laws of searches (test_searches) judge what one search may do and another not; the rest
    is the work of their loop, for which three stand."""
    return not issubclass(cls, Search) or cls in (HardPrompt, HardPromptMixture, GradientSearch)


MEMBERS = {name: cls for name, cls in laws.members(Tuner).items() if is_judged_here(cls)}
EXAMPLES = [case for case in laws.examples(Tuner) if is_judged_here(type(case.values[0]))]
TUNERS = {case.id: case.values[0] for case in EXAMPLES}
SHORT = FitSettings(steps=3, batch=4, length=5, repetitions=3)


EXACT = "exact"  # for tuners that search tokens: it compiles in no time


def make(architecture, symbols):
    """An untrained network, or an exact predictor."""
    if architecture == EXACT:
        return DirichletCategorical((1.0,) * symbols).bayes()
    return laws.build(ARCHITECTURES[architecture], 1, symbols)


base = functools.cache(make)  # that it stays as it was is checked below


@functools.cache
def tuned(tuner, architecture, symbols, **changes):
    """The tuner's result; several laws look at the same one."""
    settings = dataclasses.replace(SHORT, **changes)
    return tuner.tune(KEY, base(architecture, symbols), TARGETS[symbols], settings, callbacks=())


@functools.cache
def suited(architecture, tuners):
    """Those of the tuners that it suits, which shapes tell: nothing is computed."""
    suit = []

    def look(key):
        network = ARCHITECTURES[architecture].build(key, 2)
        for tuner in tuners:
            with contextlib.suppress(TypeError):
                tuner.suits(network)
                suit.append(tuner)

    jax.eval_shape(look, KEY)
    return suit


def suits(tuner, architecture):
    if architecture == EXACT:
        return not is_gradient(tuner) and is_steered(tuner, base(EXACT, 2))
    tuners = tuple(TUNERS.values())  # all in one look
    return tuner in suited(architecture, tuners if tuner in tuners else (tuner,))


def is_gradient(tuner):
    return isinstance(tuner, GradientTuner)


def is_steered(tuner, predictor):
    """Whether the predictor suits the tuner."""
    try:
        tuner.suits(predictor)
    except TypeError:
        return False
    return True


def quickest(tuner):
    """What suits the tuner and compiles in the least time."""
    names = (EXACT, "LSTM", "Transformer", *ARCHITECTURES)
    return next(name for name in names if suits(tuner, name))


@functools.cache
def is_tied(architecture):
    """Whether its unembedding is its embedding's transpose."""
    return jax.eval_shape(lambda: ARCHITECTURES[architecture].build(KEY, 2)).unembedding is None


def cases():
    """Every example of a tuner on one predictor: its first over 2 symbols, the others over 3, the
    only one over both. First examples that look into a network also on all others; the rest only
    read, which is a law of predictors: of those that search tokens, one on a network too. A tuner's
    first case is judged by `make test`, the others by the slow tests."""
    for name, tuner in TUNERS.items():
        first, one = tuner == type(tuner).examples()[0], quickest(tuner)
        only = len(type(tuner).examples()) == 1
        pairs = [(one, 2), (one, 3)] if only else [(one, 2 if first else 3)]
        if first and isinstance(tuner, WeightTuner | SoftPrompt | KeyValuePrompt):
            # that every weight of a network has a slope is a law of predictors
            deep = isinstance(tuner, LowRank | KeyValuePrompt)
            others = [a for a in ARCHITECTURES if a != one and (deep or is_tied(a))]
            pairs += [(a, 2) for a in others if suits(tuner, a)]
        if first and isinstance(tuner, HardPrompt):
            pairs += [("LSTM", 2)]
        for architecture, symbols in pairs:
            quick = first and (architecture, symbols) == pairs[0]
            yield pytest.param(
                *(tuner, architecture, symbols),
                id=f"{name}-{architecture}-{symbols}",
                marks=() if quick else laws.SLOW,
            )


CASES = list(cases())
every_case = pytest.mark.parametrize(("tuner", "architecture", "symbols"), CASES)
FIRST = [cls.examples()[0] for cls in MEMBERS.values()]
first_tuners = pytest.mark.parametrize("tuner", FIRST, ids=MEMBERS)
# Tuners that the loop of gradients moves alike: SoftPrompt and LowRank stand for them.
ALIKE = RealPrompt | SimplexPrompt | EmbeddingWeights | FullWeights
OTHERS = [tuner for tuner in FIRST if not isinstance(tuner, ALIKE)]
tuners_that_differ = pytest.mark.parametrize(
    "tuner", OTHERS, ids=[type(tuner).__name__ for tuner in OTHERS]
)


def identical(one, other):
    """The same tree, bit for bit."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    leaves = (map(np.asarray, jax.tree.leaves(tree)) for tree in (one, other))
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(*leaves, strict=True))


def lengths(tuner):
    """The axes of a prompt before the last: of a mixture also its components."""
    return (tuner.components, tuner.length) if hasattr(tuner, "components") else (tuner.length,)


def read_again(predictor, steered):
    """A predictor that reads the tokens, or weights over symbols, that another one shows."""
    if isinstance(steered, PromptedMixture):
        return mix(predictor, list(steered.prompt), steered.weights.tolist())
    if isinstance(steered.context, KeyValueRows):
        return Prompted(predictor, KeyValueRows(*steered.prompt))
    return condition(predictor, steered.prompt)


def rows_of(predictor):
    tokens = jax.random.randint(jax.random.key(3), (6,), 0, predictor.symbols)
    return np.asarray(predict(predictor, tokens))


# --- two halves -----------------------------------------------------------------------------


@every_case
def test_frozen_leaves_stay_and_tuned_leaves_move(tuner, architecture, symbols):
    after = tuned(tuner, architecture, symbols)
    before = tuned(tuner, architecture, symbols, steps=0)
    assert identical(before.predictor.frozen, after.predictor.frozen)
    leaves = jax.tree.leaves(after.predictor.tuned)
    assert leaves, "nothing is tuned"
    if not is_gradient(tuner):
        return
    assert before.loss.shape == (3, 0) and after.loss.shape == (3, 3)
    assert np.isfinite(after.loss).all() and (after.diverged == -1).all()
    for old, new in zip(jax.tree.leaves(before.predictor.tuned), leaves, strict=True):
        for repetition in range(3):
            was, became = np.asarray(old)[repetition], np.asarray(new)[repetition]
            assert not np.array_equal(was, became), "a tuned leaf stayed"


@every_case
def test_the_base_predictor_is_left_as_it_was(tuner, architecture, symbols):
    tuned(tuner, architecture, symbols)
    assert identical(make(architecture, symbols), base(architecture, symbols))


@every_case
def test_repetitions_copy_only_the_tuned_half(tuner, architecture, symbols):
    repeated = tuned(tuner, architecture, symbols).predictor
    assert isinstance(repeated, Repeated) and len(repeated) == 3
    assert all(leaf.shape[0] == 3 for leaf in jax.tree.leaves(repeated.tuned))
    single = tuned(tuner, architecture, symbols, steps=0, repetitions=1).predictor
    assert not isinstance(single, Repeated)
    count = lambda tree: sum(np.size(leaf) for leaf in jax.tree.leaves(tree))  # noqa: E731
    assert count(repeated.frozen) + count(repeated.tuned) / 3 == count(single)
    one = [np.shape(leaf) for leaf in jax.tree.leaves(repeated[0])]
    assert one == [np.shape(leaf) for leaf in jax.tree.leaves(single)]


@pytest.mark.slow
@tuners_that_differ
def test_a_repetition_is_the_same_whatever_their_number(tuner):
    alone = tuned(tuner, quickest(tuner), 2, repetitions=1)
    among = tuned(tuner, quickest(tuner), 2)
    for one, other in zip(
        jax.tree.leaves(alone.predictor), jax.tree.leaves(among.predictor[0]), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(alone.loss[0], among.loss[0], rtol=1e-5)


@every_case
def test_predictions_at_the_start(tuner, architecture, symbols):
    if not tuner.starts_unchanged and getattr(tuner, "length", None) != 0:
        return
    before = rows_of(base(architecture, symbols))
    for each in tuned(tuner, architecture, symbols, steps=0).predictor:
        np.testing.assert_allclose(rows_of(each), before, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "cls",
    [
        *(SoftPrompt, RealPrompt, SimplexPrompt, KeyValuePrompt),
        *(HardPrompt, GradientSearch, RandomPrompt),
    ],
)
def test_a_prompt_of_length_0_is_no_prompt(cls):
    architecture = quickest(cls())
    network = base(architecture, 2)
    steps = 2 if cls in (SoftPrompt, GradientSearch) else 0
    fitted = tuned(cls(length=0), architecture, 2, repetitions=1, steps=steps)
    np.testing.assert_allclose(rows_of(fitted.predictor), rows_of(network), atol=1e-6)
    assert fitted.prompt.size == 0 and identical(fitted.predictor.predictor, network)
    assert cls is not SoftPrompt or np.isfinite(fitted.loss).all()


# --- what was found -------------------------------------------------------------------------


@every_case
def test_the_prompt_is_what_is_read(tuner, architecture, symbols):
    fitted = tuned(tuner, architecture, symbols)
    if not tuner.group or isinstance(tuner, WeightTuner):
        assert not isinstance(fitted.predictor[0], Wrapper)
        return
    prompt = fitted.prompt
    if isinstance(tuner, KeyValuePrompt):  # the same axes, after those of a layer and a head
        numbers = tuner.row_width(base(architecture, symbols))
        assert prompt.shape[:2] == (3, 2) and prompt.shape[4] == tuner.length
        assert prompt[0, ..., 0, :].size == numbers
        prompt = jnp.moveaxis(prompt, 4, 1)
    leading = (3, *lengths(tuner))
    assert prompt.shape[: len(leading)] == leading
    row = prompt.shape[len(leading) :]
    kind = tuner.prompt if isinstance(tuner, PromptMixture) else tuner
    if not is_gradient(tuner):
        assert row == () and jnp.issubdtype(prompt.dtype, jnp.integer)
        assert ((prompt >= 0) & (prompt < symbols)).all()
    if isinstance(kind, SoftPrompt):
        assert row == (base(architecture, symbols).embedding_width,)
    if isinstance(kind, RealPrompt | SimplexPrompt):
        assert row == (symbols,)
    if isinstance(kind, SimplexPrompt):
        assert (prompt >= 0).all()
        np.testing.assert_allclose(prompt.sum(-1), 1.0, atol=1e-6)
    if not isinstance(kind, SoftPrompt):  # what is shown does what the predictor does
        again = read_again(base(architecture, symbols), fitted.predictor[0])
        np.testing.assert_allclose(rows_of(again), rows_of(fitted.predictor[0]), atol=1e-5)


@every_case
def test_a_result_survives_the_disk(tuner, architecture, symbols, tmp_path):
    fitted = tuned(tuner, architecture, symbols)
    again = load(save(tmp_path / "fitted.safetensors", fitted))
    assert isinstance(again, Fitted)
    pairs = zip(jax.tree.leaves(fitted), jax.tree.leaves(again), strict=True)
    assert all(np.array_equal(one, other, equal_nan=True) for one, other in pairs)
    assert again.losses.equals(fitted.losses)
    np.testing.assert_array_equal(rows_of(again.predictor[1]), rows_of(fitted.predictor[1]))


@pytest.mark.slow
@pytest.mark.parametrize("tied", [False, True])
def test_a_soft_prompt_can_start_from_tokens(tied):
    """On every network a token is its embedding row, which is a law of predictors."""
    architecture = next(name for name in ARCHITECTURES if is_tied(name) == tied)
    network = base(architecture, 2)
    tuner = SoftPrompt(length=5, initial="tokens")
    predictor = tuned(tuner, architecture, 2, steps=0, repetitions=1).predictor
    rows = network.embed(jnp.arange(2))
    distance = jnp.abs(predictor.prompt[:, None] - rows).max(-1)
    assert (distance.min(-1) == 0).all()
    tokens = jnp.argmin(distance, axis=-1)
    np.testing.assert_allclose(rows_of(predictor), rows_of(condition(network, tokens)), atol=1e-6)


# --- what does not fit ----------------------------------------------------------------------


EXACT_CASES = [
    pytest.param(tuner, predictor, id=f"{type(tuner).__name__}-{type(predictor).__name__}")
    for predictor in (Uniform(2), base(EXACT, 2))
    for tuner in FIRST
    if isinstance(predictor, Uniform) or quickest(tuner) != EXACT  # which laws above judge
]


@pytest.mark.slow
@pytest.mark.parametrize(("tuner", "predictor"), EXACT_CASES)
def test_exact_predictors_are_steered_by_what_they_read(tuner, predictor):
    target, name = Categorical(), type(predictor).__name__
    try:
        tuner.suits(predictor)
    except TypeError as error:
        assert is_gradient(tuner) and str(error).startswith("Expected") and name in str(error)
        with pytest.raises(TypeError, match=name):
            tuner.tune(KEY, predictor, target, SHORT)
        return
    fitted = tuner.tune(KEY, predictor, target, SHORT, callbacks=())
    shape = (3, *lengths(tuner))
    assert len(fitted.predictor) == 3 and fitted.prompt.shape[: len(shape)] == shape
    again = read_again(predictor, fitted.predictor[2])
    np.testing.assert_allclose(rows_of(fitted.predictor[2]), rows_of(again), atol=1e-6)


@first_tuners
def test_wrong_things_to_steer(tuner, as_users_see_it):
    network, coin = base(quickest(tuner), 2), Categorical()
    text = "Expected a task over the predictor's 2 symbols; got Categorical over 3."
    with pytest.raises(ValueError, match=text):
        tuner.tune(KEY, network, TARGETS[3], SHORT)
    repeated = tuned(RandomPrompt(length=3), "LSTM", 2).predictor
    with pytest.raises(
        TypeError, match=r"Expected one predictor to steer; got 3 repetitions. Pick"
    ):
        tuner.tune(KEY, repeated, coin, SHORT)
    with pytest.raises(TypeError, match=r"Expected a predictor to steer; got LSTM. Pretrain one"):
        tuner.tune(KEY, LSTM(width=4), coin, SHORT)


@pytest.mark.slow
@tuners_that_differ
def test_a_prompted_predictor_can_be_steered(tuner):
    tokens = jnp.array([1, 1, 0])
    prompted = condition(base(quickest(tuner), 2), tokens)
    fitted = tuner.tune(KEY, prompted, Categorical(), SHORT, callbacks=())
    each = fitted.predictor[1]
    if isinstance(tuner, WeightTuner):  # the prompt stays; the network below it changes
        np.testing.assert_array_equal(each.prompt, tokens)
        assert np.abs(rows_of(each) - rows_of(prompted)).max() > 1e-4
    else:  # first the old prompt, then the new one
        assert identical(each.predictor, prompted)
        np.testing.assert_array_equal(each.predictor.prompt, tokens)
    if isinstance(tuner, HardPrompt | RandomPrompt | GradientSearch):
        both = condition(base(quickest(tuner), 2), jnp.concatenate([tokens, each.prompt]))
        np.testing.assert_allclose(rows_of(each), rows_of(both), atol=1e-6)


def test_every_prompt_tuner_and_weight_tuner_is_in_the_laws():
    assert {type(case.values[0]) for case in CASES} == set(MEMBERS.values())
    assert {type(t) for t in TUNERS.values()} >= {SoftPrompt, LowRank, HardPrompt, RandomPrompt}
    assert "Transformer" in ARCHITECTURES
