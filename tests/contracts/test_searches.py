"""Laws that every search over prompts obeys, on exact predictors: they compile in no time."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from support import judges as laws
from support.judges import same
from support.tally import tallied

from promptax import Checkpoint, FitSettings, condition
from promptax.steering import Search
from promptax.steering.searches.hard_prompt import all_prompts
from promptax.tasks import Categorical, DirichletCategorical

KEY = jax.random.key(11)
PREDICTOR = DirichletCategorical((2.0, 0.5, 0.7)).bayes()
ONES, DIE = Categorical((0.0, 1.0, 0.0)), Categorical((0.2, 0.3, 0.5))
SETTINGS = FitSettings(steps=7, batch=4, length=5, repetitions=2)
SEARCHES = laws.examples(Search)
every_search = pytest.mark.parametrize("search", SEARCHES)
first_searches = pytest.mark.parametrize(
    "search",
    [cls.examples()[0] for cls in laws.members(Search).values()],
    ids=laws.members(Search),
)


@functools.cache
def searched(search, target=DIE, **changes):
    settings = FitSettings(**{"steps": 7, "batch": 4, "length": 5, "repetitions": 2} | changes)
    return search.tune(KEY, PREDICTOR, target, settings, callbacks=())


@functools.cache
def searched_longer(search):
    """The same on sequences of 8 steps, what its predictor counted then, and how often JAX traced
    a step of the search: for that, and then in all, with another target, key and number of steps.
    """
    traces, step = [], type(search).step

    def counted(self, key, state, problem):
        traces.append(problem)
        return step(self, key, state, problem)

    with pytest.MonkeyPatch.context() as patch, tallied(type(PREDICTOR)) as tally:
        patch.setattr(type(search), "step", counted)
        fitted = searched(search, length=8)
        read = tally.charged()
        first = len(traces)
        fewer = FitSettings(steps=3, batch=4, length=8, repetitions=2)
        search.tune(jax.random.key(1), PREDICTOR, ONES, fewer, callbacks=())
    return fitted, read, first, len(traces)


@functools.cache
def losses_of_all_prompts(length):
    """The loss of five ones behind every prompt of that length, in their order."""
    ones = np.ones((1, 5), np.int32)
    return [
        float(-laws.of_tokens(laws.read(condition(PREDICTOR, prompt), ones), ones).sum())
        for prompt in all_prompts(3, length, 1000)
    ]


@every_search
def test_no_search_reports_less_than_the_exhaustive_optimum(search):
    """Where all sequences are the same, a prompt has one loss, whatever the batch; a prompt that
    grows is shorter on the way."""
    fitted = searched(search, ONES)
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
    fitted = searched(search)
    if not search.recommends:
        assert fitted.recommended is None
        return
    assert fitted.recommended.shape == (*fitted.loss.shape, search.length)
    np.testing.assert_array_equal(fitted.recommended[:, -1], fitted.prompt)
    assert ((fitted.recommended >= 0) & (fitted.recommended < 3)).all()


@every_search
def test_a_search_that_was_stopped_resumes_bit_for_bit(search, tmp_path):
    whole, place = searched(search), tmp_path / "search.checkpoint"
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
def test_cost_is_what_was_read(search):
    """Every sequence is read to its end: a longer one costs its additional steps and no more. Where
    losses decide what is read, longer sequences may be read behind other prompts."""
    short, (long, *_) = searched(search), searched_longer(search)
    steps = search.updates(SETTINGS, 3)
    assert short.loss.shape == short.cost.updates.shape == (2, steps)
    np.testing.assert_array_equal(short.cost.updates, [np.arange(1, steps + 1)] * 2)
    rows = short.cost.tokens_forward - 5 * short.cost.sequences
    if not search.reads_by_losses:
        np.testing.assert_array_equal(short.cost.sequences, long.cost.sequences)
        np.testing.assert_array_equal(rows, long.cost.tokens_forward - 8 * short.cost.sequences)
    assert (np.diff(short.cost.sequences, axis=1) > 0).all() and (short.cost.sequences > 0).all()
    assert (short.cost.tokens_backward <= short.cost.tokens_forward).all()
    together = 1 if search.reads_parts else search.batch(SETTINGS)
    readings = short.cost.sequences / together
    assert (rows >= 0).all(), "fewer rows than were read"
    assert (rows <= readings * search.most_rows).all(), "more rows than its prompts have"
    assert short.costs.tokens_forward.dims == ("repetition", "step")


@every_search
def test_tokens_charged_are_tokens_that_the_predictor_reads(search):
    fitted, read, *_ = searched_longer(search)
    assert read == np.sum(fitted.cost.tokens_forward[:, -1]) > 0


@every_search
def test_another_target_key_and_number_of_steps_compile_nothing(search):
    *_, first, all_of_them = searched_longer(search)
    assert 1 <= first == all_of_them


@first_searches
def test_a_prompt_length_below_0_is_refused(search):
    """A search around another one has that one's length."""
    if "length" not in {field.name for field in dataclasses.fields(search)}:
        return
    with pytest.raises(ValueError, match=r"^Expected a prompt length of at least 0; got -1\."):
        type(search)(length=-1)
