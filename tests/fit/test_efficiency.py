"""One prompt, one reading: what the compiled programs do not do.

The numbers come from the programs themselves: their cost analysis and the shapes in them. XLA
counts the body of a scan once, so work is counted on the Transformer, the whole batch at a time.
"""

import functools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import jaxprs_in_params
from support import judges as laws
from support.processes import python

from promptax import FitSettings
from promptax.fit import updates as loop
from promptax.predictors import LSTM, Transformer
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Embedded
from promptax.steering import (
    EmbeddingWeights,
    FullWeights,
    GradientSearch,
    LowRank,
    PromptMixture,
    SoftPrompt,
)
from promptax.steering.search_problem import SearchProblem, Sizes
from promptax.steering.searches import gradient_search
from promptax.tasks import Categorical

pytestmark = pytest.mark.slow  # the file

KEY = jax.random.key(0)


WIDTH, TIME = 32, 7
ARCHITECTURES = {"Transformer": Transformer(width=WIDTH, heads=2), "LSTM": LSTM(width=WIDTH)}


@functools.cache
def built(name="Transformer"):
    return ARCHITECTURES[name].build(KEY, 2)


@pytest.fixture
def compiled_as_users_do():
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


optimised = pytest.mark.usefixtures("compiled_as_users_do")  # where a program is looked at


def episodes(batch):
    return Episode(jnp.zeros((batch, TIME), jnp.int32))


def program(tuner, name="Transformer"):
    """The tuned half, and the loop's gradient as a function of tuned half and episodes."""
    return program_of(tuner, built(name))


def program_of(tuner, network):
    steered = tuner.steer(KEY, network)
    tuned, frozen = eqx.partition(steered, tuner.where(steered))
    rest = loop.Program(*eqx.partition(frozen, False), jnp.float32(1.0))

    def gradient(tuned, some):
        return loop.loss_and_gradient(
            tuned, rest, some, Categorical().outcome, some.tokens.shape[0]
        )

    return tuned, gradient


def naive(length):
    """The same gradient, with the prompt in front of every sequence."""
    tuned, _ = program(SoftPrompt(length=length))
    rows = tuned.context.values
    network = built()  # now: what is made while a program is traced, and kept, is no network

    def loss(rows, some):
        def one(tokens):
            whole = jnp.concatenate([rows, network.embed(tokens)])
            _, prediction = network.advance(network.start(), Embedded(whole))
            hit = jax.nn.one_hot(tokens, 2)
            return -jnp.sum(prediction.log_probs[len(rows) :] * hit)

        return jnp.mean(jax.vmap(one)(some.tokens))

    return rows, jax.value_and_grad(loss)


def lowered(made, batch):
    argument, function = made
    return jax.jit(function).lower(argument, episodes(batch))


def flops(made, batch):
    """Floating point operations of the program before it is compiled: no more in the end."""
    return lowered(made, batch).cost_analysis()["flops"]


def shapes(made, batch):
    """The shape of every intermediate value, and the primitive that makes it."""
    argument, function = made
    found = []

    def look(jaxpr):
        for equation in jaxpr.eqns:
            found.extend((equation.primitive.name, v.aval.shape) for v in equation.outvars)
            for inner in jaxprs_in_params(equation.params):
                look(inner)

    look(jax.make_jaxpr(function)(argument, episodes(batch)).jaxpr)
    return found


# --- the prompt is read once ----------------------------------------------------------------


@optimised
def test_the_two_ways_of_reading_agree():
    (tuned, gradient), (rows, other) = program(SoftPrompt(length=5)), naive(5)
    (loss, (ours, _)), (expected, theirs) = (
        jax.jit(function)(argument, episodes(3))
        for argument, function in ((tuned, gradient), (rows, other))
    )
    assert jnp.allclose(loss, expected, rtol=1e-5)
    assert jnp.allclose(ours.context.values, theirs, rtol=1e-3, atol=1e-5)


def test_a_longer_prompt_costs_a_sequence_nothing():
    """Attention to it is computed for symbols and positions, once for a batch. For each sequence it
    would be two products, forwards and twice backwards; reading the row there would cost 12 width²
    multiplications, three times."""
    short, long, few, many = 8, 40, 4, 16

    def each_row_each_sequence(way):
        extra = [flops(way(long), batch) - flops(way(short), batch) for batch in (few, many)]
        return (extra[1] - extra[0]) / (many - few) / (long - short)

    ours = each_row_each_sequence(lambda length: program(SoftPrompt(length=length)))
    theirs = each_row_each_sequence(naive)
    keys = 3 * 2 * 2 * TIME * WIDTH
    reading = 3 * 2 * 12 * WIDTH**2
    assert abs(ours) <= 0.01 * keys, f"{ours:.0f} operations; attention to a key takes {keys}"
    assert theirs >= reading, f"{theirs:.0f} operations; reading a row takes {reading}"
    print(f"each row of the prompt, each sequence: {ours:.0f} here, {theirs:.0f} if read anew")


@optimised
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_nothing_of_the_prompt_exists_once_for_each_sequence(name):
    """In the compiled program of networks of one block, no array has axes for both."""
    batch, length = 11, 13
    made = program(SoftPrompt(length=length), name)
    text = lowered(made, batch).compile().as_text()
    found = {tuple(map(int, s.split(","))) for s in re.findall(r"\w\d+\[(\d+(?:,\d+)+)\]", text)}
    read = {length, length + 1, length + TIME, length + 1 + TIME}  # with the begin row, with data
    assert not {shape for shape in found if batch in shape and read & set(shape)}


# --- nothing for frozen weights -------------------------------------------------------------


def test_frozen_weights_take_no_work():
    soft, full = flops(program(SoftPrompt(length=6)), 16), flops(program(FullWeights()), 16)
    low = flops(program(LowRank(rank=1)), 16)
    assert soft < 0.8 * full and low < full, (soft, low, full)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("tuner", [SoftPrompt(length=6), EmbeddingWeights(embedding=False)])
def test_no_product_has_the_shape_of_a_frozen_matrix(tuner, name):
    def matrices(tuner):
        made = shapes(program(tuner, name), 3)
        dots = {shape for primitive, shape in made if primitive == "dot_general"}
        return dots & {(WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH), (WIDTH, WIDTH)}

    assert not matrices(tuner)
    assert matrices(FullWeights())


class Spy:
    """A checkpoint that looks at the state of the loop."""

    def restore(self, identity, like):
        self.state = like

    def save(self, identity, state):
        self.state = state

    def due(self):
        return False


@pytest.mark.parametrize("tuner", [SoftPrompt(length=6), LowRank(rank=1), FullWeights()])
def test_gradients_and_moments_are_those_of_the_tuned_half(tuner):
    sizes = lambda tree: [leaf.size for leaf in jax.tree.leaves(tree)]  # noqa: E731
    tuned, gradient = program(tuner)
    loss, (own, watched) = jax.eval_shape(gradient, tuned, episodes(3))
    assert sizes(own) == sizes(tuned) and sizes(watched) == [] and loss.shape == ()
    spy = Spy()
    settings = FitSettings(steps=0, batch=3, length=TIME, repetitions=2)
    tuner.tune(KEY, built(), Categorical(), settings, checkpoint=spy, callbacks=())
    assert sizes(spy.state.tuned) == [2 * size for size in sizes(tuned)]
    assert sum(sizes(spy.state.moments)) == 2 * (2 * sum(sizes(tuned)) + 1)


def test_repetitions_are_mapped_not_compiled_each(monkeypatch):
    traces, original = [], loop.loss_and_gradient
    monkeypatch.setattr(loop, "loss_and_gradient", lambda *a: traces.append(1) or original(*a))
    counts = []
    for repetitions in (1, 5):
        before = len(traces)
        settings = FitSettings(steps=2, batch=5, length=3, repetitions=repetitions)
        network = built("LSTM")
        SoftPrompt(length=3).tune(KEY, network, Categorical(), settings, callbacks=())
        counts.append(len(traces) - before)
    assert counts == [1, 1]


# --- the optimised programs are right -------------------------------------------------------


AS_USERS_COMPILE = """
import jax, jax.numpy as jnp, numpy as np
import promptax as px
from promptax.predictors import LSTM, Transformer

rows = np.random.default_rng(1).normal(size=(6, 32)).astype(np.float32)
tokens = np.random.default_rng(2).integers(0, 2, (64, 50))


def plainly(yes):
    jax.config.update("jax_disable_most_optimizations", yes)


for network in (Transformer(width=32), LSTM(width=32)):
    plainly(True)
    built = jax.jit(lambda key: network.build(key, 2))(jax.random.key(0))
    plainly(False)
    prompted = px.condition(built, px.Embedded(rows))

    def of_two(log_probs):  # so that two sequences alone have the same gradient
        return log_probs[:2, :, 0].mean(), log_probs

    def together(prompted, tokens):
        return of_two(prompted.advance_batch(prompted.start(), tokens)[1].log_probs)

    def one_by_one(prompted, tokens):
        rows = [prompted.advance(prompted.start(), each)[1].log_probs for each in tokens]
        return of_two(jnp.stack(rows))

    slope = lambda loss: jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, ours), gradient = slope(together)(prompted, tokens)
    assert np.allclose(ours, jax.jit(together)(prompted, tokens)[1], atol=1e-5)
    plainly(True)
    (_, exact), plain = slope(one_by_one)(prompted, tokens[:2])
    plainly(False)
    assert np.allclose(ours[:2], exact, atol=1e-5), np.abs(ours[:2] - exact).max()
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(plain), strict=True):
        assert np.allclose(a, b, rtol=1e-3, atol=1e-5)
"""


def test_programs_as_users_compile_them_agree_with_plain_ones(tmp_path):
    """With all of XLA's optimisations, at sizes where they set in, against next to none: a product
    whose operand was a broadcast of the prompt's keys once came out wrong for 64 sequences, and
    right for 16."""
    (tmp_path / "check.py").write_text(AS_USERS_COMPILE)
    python(tmp_path, "check.py", XLA_FLAGS="", JAX_DISABLE_MOST_OPTIMIZATIONS="0")


def searched(network):
    """One step of the search by gradients as a function of its prompt and episodes."""
    sizes = Sizes(Categorical().outcome, 4, None, 1)

    def step(prompt, some):
        problem = SearchProblem(network, sizes, some)
        tried = gradient_search.swaps(KEY, prompt, problem.gradient(prompt)[1], 3, 8)
        return problem.losses(tried)

    return jnp.zeros(4, jnp.int32), step


@optimised
@pytest.mark.parametrize(
    ("name", "tuner"),
    [
        ("Transformer", FullWeights()),
        ("LSTM", FullWeights()),
        ("Transformer", PromptMixture(SoftPrompt(length=2))),
        ("Transformer", GradientSearch()),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_many_symbols_are_never_held_for_every_step_of_every_sequence(name, tuner):
    symbols, batch, time = 4096, 64, 50
    network = {"Transformer": Transformer(width=8, heads=2), "LSTM": LSTM(width=8)}[name]
    network = laws.build(network, 0, symbols)
    search = isinstance(tuner, GradientSearch)
    tuned, step = searched(network) if search else program_of(tuner, network)
    some = Episode(jnp.zeros((batch, time), jnp.int32))
    compiled = jax.jit(step).lower(tuned, some).compile()
    whole = 4 * batch * time * symbols
    assert compiled.memory_analysis().temp_size_in_bytes < 2 * whole
    assert not re.search(rf"f32\[({batch},{time}|{batch * time}),{symbols}\]", compiled.as_text())
