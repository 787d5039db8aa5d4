"""Laws that every search over prompts obeys, on exact predictors: they compile in no time."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import numpy as np
import pytest
from support import judges as laws
from support.judges import same
from support.tally import tallied

from promptax import Checkpoint, FitSettings, condition, mix, predict
from promptax.fit.fitted import Fitted
from promptax.protocol.mixture import PromptedMixture
from promptax.steering import Search
from promptax.steering.searches.hard_prompt import all_prompts
from promptax.tasks import Categorical, DirichletCategorical

KEY = jax.random.key(11)
PREDICTOR = DirichletCategorical((2.0, 0.5, 0.7)).bayes()
ONES, DIE = Categorical((0.0, 1.0, 0.0)), Categorical((0.2, 0.3, 0.5))
TOKENS = np.array([0, 2, 1, 1])
SETTINGS = FitSettings(steps=7, batch=4, length=5, repetitions=2)
SEARCHES = laws.examples(Search)
every_search = pytest.mark.parametrize("search", SEARCHES)
first_searches = pytest.mark.parametrize(
    "search",
    [cls.examples()[0] for cls in laws.members(Search).values()],
    ids=laws.members(Search),
)


class Runs(NamedTuple):
    """A search for one target, and for another with another key and number of steps; what its
    predictor counted for the first; how often JAX had traced a step of the search after the first
    call of the compiled steps, when the first was done, and then in all."""

    die: Fitted
    ones: Fitted
    read: int
    first_traces: int
    traces: int
    all_traces: int


@functools.cache
def runs(search):
    traces, after_calls, step = [], [], type(search).step

    def counted(self, key, state, problem):
        traces.append(problem)
        return step(self, key, state, problem)

    def look(*_):
        after_calls.append(len(traces))

    with pytest.MonkeyPatch.context() as patch, tallied(type(PREDICTOR)) as tally:
        patch.setattr(type(search), "step", counted)
        die = search.tune(KEY, PREDICTOR, DIE, SETTINGS, callbacks=(look,))
        read, first = tally.charged(), len(traces)
        shorter = dataclasses.replace(SETTINGS, steps=6)
        ones = search.tune(jax.random.key(1), PREDICTOR, ONES, shorter, callbacks=())
        return Runs(die, ones, read, after_calls[0], first, len(traces))


@functools.cache
def losses_of_all_prompts(length):
    """The loss of five ones behind every prompt of that length, in their order."""
    ones = np.ones((1, 5), np.int32)
    return [
        float(-laws.of_tokens(laws.read(condition(PREDICTOR, prompt), ones), ones).sum())
        for prompt in all_prompts(3, length, 1000)
    ]


@pytest.mark.slow
@every_search
def test_no_search_reports_less_than_the_exhaustive_optimum(search):
    """Where all sequences are the same, a prompt has one loss, whatever the batch; a prompt that
    grows is shorter on the way."""
    fitted = runs(search).ones
    losses = [losses_of_all_prompts(length) for length in range(search.most_rows + 1)]
    every = losses[search.length]
    assert np.isfinite(fitted.loss).all()
    apart = np.abs(fitted.loss[..., None] - np.concatenate(losses)).min(axis=-1)
    assert apart.max() < 1e-4, f"a loss that no prompt has: {apart.max():.2g} nats off"
    if search.tries_all:
        np.testing.assert_allclose(fitted.loss[:, -1], min(every), atol=1e-5)
        prompts = all_prompts(3, search.length, 1000)
        assert (np.asarray(fitted.prompt) == prompts[int(np.argmin(every))]).all()


@every_search
def test_what_it_recommends_last_is_what_it_returns(search):
    fitted = runs(search).die
    if not search.recommends:
        assert fitted.recommended is None
        return
    assert fitted.recommended.shape == (*fitted.loss.shape, search.length)
    np.testing.assert_array_equal(fitted.recommended[:, -1], fitted.prompt)
    assert ((fitted.recommended >= 0) & (fitted.recommended < 3)).all()


@every_search
def test_a_search_that_was_stopped_resumes_bit_for_bit(search, tmp_path):
    whole, place = runs(search).die, tmp_path / "search.checkpoint"
    part = search.tune(
        KEY, PREDICTOR, DIE, SETTINGS, checkpoint=Checkpoint(place), callbacks=[lambda *_: True]
    )
    assert part.loss.shape == (2, 1)
    np.testing.assert_array_equal(part.loss, whole.loss[:, :1])
    same(
        search.tune(KEY, PREDICTOR, DIE, SETTINGS, checkpoint=Checkpoint(place), callbacks=()),
        whole,
    )


@every_search
def test_tokens_charged_are_tokens_that_the_predictor_reads(search):
    assert runs(search).read == np.sum(runs(search).die.cost.tokens_forward[:, -1]) > 0


@every_search
def test_cost_is_sequences_behind_prompts(search):
    """Every sequence is read to its end, behind a prompt that they may share."""
    cost, steps = runs(search).die.cost, search.updates(SETTINGS, 3)
    assert runs(search).die.loss.shape == cost.updates.shape == (2, steps)
    np.testing.assert_array_equal(cost.updates, [np.arange(1, steps + 1)] * 2)
    assert (np.diff(cost.sequences, axis=1) > 0).all() and (cost.sequences > 0).all()
    assert (cost.tokens_backward <= cost.tokens_forward).all()
    rows = cost.tokens_forward - SETTINGS.length * cost.sequences
    together = 1 if search.reads_parts else search.batch(SETTINGS)
    assert (rows >= 0).all(), "fewer rows than were read"
    most = cost.sequences / together * search.most_rows
    assert (rows <= most).all(), "more rows than its prompts have"
    assert runs(search).die.costs.tokens_forward.dims == ("repetition", "step")


@every_search
def test_another_call_target_key_and_number_of_steps_compile_nothing(search):
    assert 1 <= runs(search).first_traces == runs(search).traces == runs(search).all_traces


@every_search
def test_what_it_returns_is_read_before_the_sequences(search):
    fitted = runs(search).die
    np.testing.assert_allclose(
        predict(fitted.predictor[1], TOKENS), predict(read_again(fitted), TOKENS), atol=1e-6
    )


def read_again(fitted):
    """The predictor behind what the second repetition shows."""
    steered = fitted.predictor[1]
    if isinstance(steered, PromptedMixture):
        return mix(PREDICTOR, list(steered.prompt), steered.weights.tolist())
    return condition(PREDICTOR, fitted.prompt[1])


@first_searches
def test_a_prompt_length_below_0_is_refused(search):
    """By `Search` itself, or by words of its own. A search around another one has that one's."""
    if "length" not in {field.name for field in dataclasses.fields(search)}:
        return
    with pytest.raises(ValueError, match="-1"):
        type(search)(length=-1)
