"""The search along coordinates: its gradients, its swaps, what it finds, and that it resumes."""

import itertools
import json
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import small_tokenizer
from support.judges import same

from promptax import Checkpoint, FitSettings, pretrain
from promptax.files import StoreError
from promptax.fit import MetricsFile
from promptax.language import Texts, Tokenizer
from promptax.predictors import LSTM, Llama, Transformer
from promptax.protocol.predictor import Embedded
from promptax.specs import to_json
from promptax.steering import GradientSearch, HardPrompt, search_problem
from promptax.steering.search_problem import Sizes
from promptax.steering.searches import gradient_search
from promptax.tasks import Categorical, DirichletCategorical
from promptax.tasks.batches import sample_batch

KEY = jax.random.key(3)
DIE, DICE = Categorical((0.2, 0.3, 0.5)), DirichletCategorical((1.0, 1.0, 1.0))
NETWORKS = {
    "LSTM": LSTM(width=8),
    "Transformer": Transformer(width=8, heads=2),
    "Llama": Llama(width=8, heads=2, key_heads=1, head_width=4, hidden=12),
}
SHORT = FitSettings(steps=4, batch=4, length=5, repetitions=2)


def search(tuner, settings=SHORT, predictor=None, target=DIE, **more):
    return tuner.tune(KEY, predictor or DICE.bayes(), target, settings, **{"callbacks": ()} | more)


def test_prompts_that_people_can_type_are_preferred(tmp_path):
    """Random prompts seldom survive; here most tokens are bytes and parts of words."""
    word = str(small_tokenizer.write(tmp_path) / "small.gguf")
    texts, tokenizer = Texts(sequences=["the cat sat"] * 2, tokenizer=word), Tokenizer.named(word)
    counts = DirichletCategorical((1.0,) * texts.symbols).bayes()
    random = np.random.default_rng(0).integers(texts.symbols, size=(50, 4))
    assert np.mean([tokenizer.survives(prompt) for prompt in random]) < 0.5
    tuner = GradientSearch(length=4, candidates=16, prefer_text=True)
    found = search(tuner, predictor=counts, target=texts).predictor.prompt
    assert all(tokenizer.survives(prompt) for prompt in np.asarray(found))


def test_only_texts_know_what_people_can_type():
    with pytest.raises(ValueError, match=r"^Expected a target of texts with prefer_text, .* Cate"):
        search(GradientSearch(length=2, prefer_text=True))
    assert "prefer_text" not in to_json(GradientSearch())  # what was kept is still the same thing


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_slopes_are_the_gradient_for_embedding_rows_times_the_table(name):
    network, prompt = NETWORKS[name].build(KEY, 3), jnp.array([2, 0])
    episodes = sample_batch(DIE, jax.random.split(KEY, 4), 5)

    def loss(rows):
        state, _ = network.advance(network.start(), Embedded(rows))
        _, prediction = network.advance_batch(state, episodes.tokens)
        return jnp.mean(jnp.sum(DIE.outcome.log_loss(prediction, episodes), axis=-1))

    expected = jax.jit(jax.grad(loss))(network.embed(prompt)) @ network.embedding.weight.T
    slopes = eqx.filter_jit(search_problem.loss_and_slopes)
    mean, found = slopes(network, prompt, episodes, Sizes(DIE.outcome, 2, 2, 1))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(mean, jax.jit(loss)(network.embed(prompt)), rtol=1e-5)


def test_swaps_are_different_and_go_to_the_most_promising_symbols():
    prompt, slopes = jnp.array([4, 0, 2]), jax.random.normal(KEY, (3, 5))
    swaps = eqx.filter_jit(gradient_search.swaps)
    some = np.asarray(swaps(KEY, prompt, slopes, candidates=4, top=2))
    every = np.asarray(swaps(KEY, prompt, slopes, candidates=99, top=2))
    assert some.shape == (5, 3) and every.shape == (7, 3)
    assert (some[0] == prompt).all() and len(np.unique(every, axis=0)) == 7
    promising = [
        sorted(set(range(5)) - {int(own)}, key=lambda v, row=row: row[v])[:2]
        for own, row in zip(prompt, np.asarray(slopes), strict=True)
    ]
    for one in every[1:]:
        (where,) = np.flatnonzero(one != np.asarray(prompt))
        assert one[where] in promising[where]
    whole = swaps(KEY, prompt, jnp.full((3, 5), jnp.nan), candidates=99, top=256)
    assert len(np.unique(np.asarray(whole), axis=0)) == 1 + 3 * 4  # all there are


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exact", "LSTM"])
def test_it_finds_as_good_a_prompt_as_trying_them_all(name):
    """81 prompts of length 4, whose losses differ by more than 2 nats."""
    predictor = DICE.bayes()
    if name != "exact":
        settings = FitSettings(steps=60, batch=16, length=20, learning_rate=2e-2)
        predictor = pretrain(KEY, NETWORKS[name], DICE, settings, callbacks=()).predictor
    settings = FitSettings(steps=6, batch=128, length=16, repetitions=2)
    found = search(GradientSearch(length=4, candidates=6), settings, predictor)
    every = HardPrompt(length=4, sequences=128).tune(KEY, predictor, DIE, settings, callbacks=())
    prompts = list(itertools.product(range(3), repeat=4))
    for prompt, scores in zip(np.asarray(found.prompt).tolist(), every.scores, strict=True):
        behind = scores[prompts.index(tuple(prompt))] - scores.min()
        assert behind < 0.1 and np.ptp(scores) > 2, f"{behind:.3f} of {np.ptp(scores):.3f} nats"


@pytest.mark.slow
def test_where_all_batches_are_the_same_no_step_is_backwards():
    ones = Categorical((0.0, 1.0))
    settings = FitSettings(steps=8, batch=2, length=6, repetitions=3)
    exact = DirichletCategorical().bayes()
    found = search(GradientSearch(length=5, candidates=2), settings, exact, ones)
    assert (np.diff(found.loss, axis=1) <= 1e-6).all() and (found.prompt == 1).all()
    assert found.loss.shape == (3, 8) and (found.diverged == -1).all() and found.scores is None


def test_it_starts_from_given_tokens():
    tuner = GradientSearch(length=5, initial_tokens=(2, 0))
    found = search(tuner, FitSettings(steps=0, repetitions=2)).prompt
    np.testing.assert_array_equal(found, [[2, 0, 2, 0, 2]] * 2)
    with pytest.raises(ValueError, match=r"Expected initial_tokens from 0 to 2; got \(3,\)"):
        search(GradientSearch(initial_tokens=(3,)))


@pytest.mark.slow
def test_a_stopped_search_resumes_bit_for_bit(tmp_path, monkeypatch):
    tuner, settings = (
        GradientSearch(length=3, candidates=2),
        FitSettings(steps=7, batch=4, length=5),
    )
    whole, place = search(tuner, settings), tmp_path / "search.checkpoint"
    seen = []

    def stop(done, total, note):
        seen.append((done, total))
        assert re.fullmatch(r"loss \d+\.\d{3}", note)
        return done >= 3

    log = MetricsFile(tmp_path / "metrics.jsonl")
    part = search(tuner, settings, checkpoint=Checkpoint(place), callbacks=[stop, log])
    done, total = seen[-1]
    assert seen[0] == (1, 7) and total == 7 and 3 <= done < 7
    np.testing.assert_array_equal(part.loss, whole.loss[:, :done])
    same(search(tuner, settings, checkpoint=Checkpoint(place), callbacks=[log]), whole)
    same(search(tuner, settings, checkpoint=Checkpoint(place)), whole)  # a finished one is read
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    for name, values in {"loss": whole.loss, "tokens_forward": whole.cost.tokens_forward}.items():
        read = np.array([line[name] for line in lines], values.dtype)
        np.testing.assert_array_equal(read, values.T.ravel())
    with pytest.raises(StoreError, match="got one of another run"):
        search(GradientSearch(length=3, candidates=3), settings, checkpoint=Checkpoint(place))
    place.unlink()
    begun = []

    def note(done, total, text):
        begun.append(done)

    monkeypatch.setattr(log, "hear", lambda metrics: metrics.end and json.loads("no line"))
    with pytest.raises(json.JSONDecodeError):  # a log that fails costs no step
        search(tuner, settings, checkpoint=Checkpoint(place), callbacks=[log])
    same(search(tuner, settings, checkpoint=Checkpoint(place), callbacks=[note]), whole)
    assert begun[0] > 1


def test_all_steps_and_targets_are_one_program(monkeypatch):
    count, slopes = [], search_problem.loss_and_slopes
    monkeypatch.setattr(search_problem, "loss_and_slopes", lambda *a: count.append(1) or slopes(*a))
    tuner = GradientSearch(length=2, candidates=4, top=2)
    for target in (DIE, Categorical((0.1, 0.1, 0.8))):
        search(tuner, FitSettings(steps=3, batch=3, length=4), target=target)
    assert len(count) == 1


def test_what_it_will_try():
    idle = "8 swaps of a symbol in each step, of all symbols: gradients choose none"
    assert GradientSearch(length=4).plan(3) == idle
    assert GradientSearch(length=4, top=1).plan(3) == "4 swaps of a symbol in each step"
    assert GradientSearch(length=20).plan(49_152) == "128 swaps of a symbol in each step"
    with pytest.raises(ValueError, match=r"Expected candidates of at least 1; got 0\."):
        GradientSearch(candidates=0)
