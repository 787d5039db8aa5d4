"""Word tasks, shown and tuned, on a tiny llama: what is read, what is scored, what is compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from support import small_tokenizer

import promptax as px
from promptax.formats import fetch
from promptax.language.word_tasks import few_shot, pairs
from promptax.language.word_tasks.exam import Exam, Format
from promptax.language.word_tasks.pairs import Pair, WordTask
from promptax.predictors import Llama
from promptax.report.figures.word_tasks import shot_curves, tuning_curves
from promptax.steering import LowRank, SoftPrompt

KEY = jax.random.key(0)
OPEN = WordTask("numbers", tuple(Pair(str(n), pairs.in_words(n)) for n in range(24)))
LABELS = ("cat", "the hat")  # of different lengths
CLASSES = WordTask("parities", tuple(Pair(str(n), LABELS[n % 2]) for n in range(24)), labels=LABELS)
ARGUMENTS = {"demonstrations": 5, "held_out": 7}


@pytest.fixture(scope="module")
def exams(tmp_path_factory):
    """An exam of an open task and one of classes."""
    name = str(small_tokenizer.write(tmp_path_factory.mktemp("tokenizer")) / "small.gguf")
    return [
        Exam(task, task.split(**ARGUMENTS), name, Format(between=" is")) for task in (OPEN, CLASSES)
    ]


@pytest.fixture(scope="module")
def network(exams):
    """A tiny llama with opinions."""
    spec = Llama(width=8, depth=2, heads=2, key_heads=1, head_width=4, hidden=12, opens_with=1)
    built = spec.build(KEY, exams[0].tokenizer.symbols)
    return jax.tree.map(lambda leaf: 20 * leaf if leaf.ndim > 2 else leaf, built)


def by_hand(network, exam, given, answer, shown=""):
    """The answer's log probability and whether it is the likeliest, from the whole text at once."""
    before = exam.tokenizer.encode(shown)
    prompt, answer = (exam.tokenizer.encode(part) for part in (f"{given} is", f" {answer}"))
    tokens = np.concatenate([before, prompt, answer])
    padded = np.pad(tokens, (0, 64 - len(tokens)))  # one program for all; rows look back only
    rows = np.asarray(px.predict(network, padded))[len(tokens) - len(answer) : len(tokens)]
    return rows[np.arange(len(answer)), answer].sum(), (rows.argmax(axis=1) == answer).all()


# --- shown ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_answer_is_scored_behind_demonstrations_read_once(exams, network):
    exam = exams[0]
    demonstrations = few_shot.draw_demonstrations(exam.split, 3, seed=1)
    marks = exam.judge(network, demonstrations)
    shown = "".join(f"{given} is {answer}\n" for given, answer in demonstrations)
    wanted = [by_hand(network, exam, *pair, shown) for pair in exam.split.held_out]
    np.testing.assert_allclose(-marks.log_loss, [each[0] for each in wanted], rtol=1e-4)
    assert marks.correct.tolist() == [each[1] for each in wanted]
    roomy = exam.judge(network, demonstrations, room=128)
    np.testing.assert_allclose(roomy.log_loss, marks.log_loss, rtol=1e-4)


class Always(px.Predictor):
    """Says one token, whatever it reads."""

    token: int
    symbols: int

    def start(self, capacity=None):
        return jnp.zeros(1)

    def advance(self, state, inputs):
        rows = jnp.zeros((len(inputs), self.symbols)).at[:, self.token].set(9.0)
        return state, px.Prediction(jax.nn.log_softmax(rows))


def test_an_answer_is_right_if_every_token_is_the_likeliest(exams):
    exam = exams[0]
    held_out = [exam.tokenizer.encode(f" {pair.answer}") for pair in exam.split.held_out]
    token = int(min(held_out, key=len)[0])
    found = exam.judge(Always(token, exam.rows.symbols)).correct
    assert found.tolist() == [(answer == token).all() for answer in held_out]
    alone = Exam(exam.task, exam.split._replace(held_out=(Pair("a", "the"),)), exam.name)
    for token in (alone.tokenizer.token(" the"), 0):
        found = alone.judge(Always(token, alone.rows.symbols)).correct
        assert found.tolist() == [token != 0]


def test_labels_are_compared_with_each_other(exams, network):
    exam = exams[1]
    marks = exam.judge(network)
    wanted = [
        [by_hand(network, exam, given, label)[0] for label in LABELS]
        for given in [pair.given for pair in exam.split.held_out] + ["N/A"]
    ]
    found = marks.label_log_probs
    np.testing.assert_allclose(found[: len(wanted)], wanted, rtol=1e-4)
    assert len(found) == 7 + 1 + 12  # all training inputs, which are fewer than the most
    right = exam.right
    np.testing.assert_allclose(marks.log_loss, -found[np.arange(7), right], rtol=1e-6)
    assert marks.correct.tolist() == (found[:7].argmax(axis=1) == right).tolist()


def test_calibration_takes_the_class_prior_away():
    rng = np.random.default_rng(0)
    log_probs = rng.normal(size=(9, 3))
    log_probs[5] = log_probs[0]  # the input without content
    plain, free, training = few_shot.calibrated(log_probs, held_out=5)
    chances = np.exp(log_probs[:5]) / np.exp(log_probs[:5]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(plain), chances)
    np.testing.assert_allclose(np.exp(free[0]), np.full(3, 1 / 3))
    among = np.exp(log_probs[6:]) / np.exp(log_probs[6:]).sum(axis=1, keepdims=True)
    divided = chances / among.mean(axis=0)
    np.testing.assert_allclose(np.exp(training), divided / divided.sum(axis=1, keepdims=True))
    shifted = log_probs + np.array([2.0, -1.0, 0.0])  # a bias for some labels changes nothing
    np.testing.assert_allclose(few_shot.calibrated(shifted, held_out=5)[1], free)


def test_draws_are_from_the_pool_and_shuffled_answers_are_others():
    split = OPEN.split(**ARGUMENTS)
    right, shuffled = (
        few_shot.draw_demonstrations(split, 4, 7, each) for each in ("right", "shuffled")
    )
    assert set(right) < set(split.demonstrations) and len(set(right)) == 4
    assert [pair.given for pair in right] == [pair.given for pair in shuffled]
    assert all(a.answer != b.answer for a, b in zip(right, shuffled, strict=True))
    assert {pair.answer for pair in shuffled} < {pair.answer for pair in split.demonstrations}
    assert few_shot.draw_demonstrations(split, 2, 7) == right[-2:]
    assert (
        few_shot.draw_demonstrations(split, 4, 8) != right
        and few_shot.draw_demonstrations(split, 0, 7) == ()
    )
    with pytest.raises(ValueError, match="fewer shots than the 5 demonstrations; got 5"):
        few_shot.draw_demonstrations(split, 5, 7)


@pytest.mark.slow
def test_results_behind_demonstrations_are_labelled(exams, network):
    for exam in exams:
        found = few_shot.few_shot(network, exam, (0, 2), draws=2, callbacks=())
        axes = ("answers", "shots", "draw", "sequence")
        assert found["log_loss"].dims == axes and found["log_loss"].attrs["unit"] == "nats"
        bare = found["log_loss"].sel(shots=0).values
        np.testing.assert_array_equal(bare, np.broadcast_to(bare[:1, :1], bare.shape))
        shown = few_shot.draw_demonstrations(exam.split, 2, 1, "shuffled")
        np.testing.assert_allclose(
            found["log_loss"].sel(answers="shuffled", shots=2, draw=1),
            exam.judge(network, shown).log_loss,
            rtol=1e-4,
        )
        labels = "label_correct" in found
        assert labels == bool(exam.task.labels)
        short = few_shot.summarise(found)
        assert short["log_loss"].dims == ("answers", "shots")
        if labels:
            assert found["label_correct"].dims == ("calibration", *axes)
            assert short["label_accuracy"].dims == ("calibration", "answers", "shots")


def test_another_alphabet_is_refused_before_compute(exams):
    with pytest.raises(ValueError, match=r"tokenizer's \d+ symbols; got 7\. Name its own"):
        exams[0].judge(Always(0, 7))


# --- tuned ----------------------------------------------------------------------------------

TUNERS = SoftPrompt(length=2, initial="tokens"), LowRank(rank=2)


@pytest.mark.slow
@pytest.mark.parametrize("tuner", TUNERS, ids=lambda tuner: type(tuner).__name__)
def test_a_curve_is_what_a_tuning_looks_like_from_outside(exams, network, tuner):
    exam, seen = exams[0], []
    settings = px.FitSettings(steps=5, batch=4, learning_rate=1e-2)
    watch = lambda done, total, note: seen.append(done)  # noqa: E731
    fitted, curve = few_shot.tune(KEY, tuner, network, exam, settings, every=2, callbacks=(watch,))
    start = tuner.steer(jax.random.fold_in(jax.random.fold_in(KEY, 0), 0), network)
    np.testing.assert_array_equal(curve["step"], [0, 2, 4, 5])
    assert seen[-1] == 5
    for place, predictor in ((0, start), (-1, fitted.predictor)):
        found = curve["log_loss"].isel(step=place, repetition=0)
        np.testing.assert_allclose(found, exam.judge(predictor).log_loss, rtol=1e-4)
    texts = exam.texts(exam.split.training)
    whole = settings.filled(length=texts.longest, learning_rate=1.0)
    plain = tuner.tune(KEY, network, texts, whole, callbacks=())
    np.testing.assert_array_equal(plain.loss, fitted.loss)
    assert (np.diff(curve["seconds"]) > 0).all()
    assert curve.attrs["training_pairs"] == 12


@pytest.mark.slow
def test_other_pairs_and_several_repetitions(exams, network):
    settings, pairs = px.FitSettings(steps=2, batch=2, repetitions=2), exams[1].split.demonstrations
    fitted, curve = few_shot.tune(
        KEY, TUNERS[0], network, exams[1], settings, pairs=pairs, every=1, callbacks=()
    )
    assert curve.attrs["training_pairs"] == 5 and len(fitted.predictor) == 2
    assert curve["log_loss"].dims == ("step", "repetition", "sequence")
    assert curve["label_correct"].dims == ("calibration", "step", "repetition", "sequence")
    assert (few_shot.summarise(curve)["between"] > 0).all()


def test_the_figure_shows_curves_beside_shots():
    rng = np.random.default_rng(0)
    inputs = [str(n) for n in range(6)]
    marks = lambda *shape: {  # noqa: E731
        "log_loss": rng.uniform(0.1, 9, (*shape, 6)),
        "correct": rng.uniform(size=(*shape, 6)) > 0.5,
    }

    def labelled(axes, found, **coordinates):
        each = {name: ((*axes, "sequence"), values) for name, values in found.items()}
        return xr.Dataset(each, {**coordinates, "sequence": inputs}, {"task": "numbers"})

    axes = ("answers", "shots", "draw")
    shown = labelled(axes, marks(2, 2, 3), answers=["right", "shuffled"], shots=[0, 5])
    curve = labelled(("step", "repetition"), marks(3, 1), step=[0, 10, 20])
    figure = tuning_curves(shown, {"soft prompt": curve, "low rank": curve})
    loss, accuracy = figure.axes
    assert loss.get_yscale() == "log" and accuracy.get_ylim() == (-0.02, 1.02)
    texts = " ".join(text.get_text() for panel in figure.axes for text in panel.texts)
    for name in ("soft prompt", "low rank", "0 shots", "5 shots"):
        assert name in texts
    assert len(loss.lines) >= 4
    figure = shot_curves({"right answers": shown, "shuffled answers": shown.isel(answers=[1])})
    texts = " ".join(text.get_text() for panel in figure.axes for text in panel.texts)
    assert "right answers" in texts and "shuffled answers" in texts
    assert figure.axes[1].get_xlabel() == "demonstrations"
    curves = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "s")]
    assert len(curves) == 2  # the other lines lead to their names


# --- the real model -------------------------------------------------------------------------


@pytest.mark.slow
def test_demonstrations_help_a_real_model():
    try:
        fetch.smollm2_path()
    except FileNotFoundError:
        pytest.skip("SmolLM2's weights were not fetched")
    pytest.importorskip("countryinfo")
    task = pairs.capitals()
    exam = Exam(task, task.split(held_out=16))
    network = Llama.smollm2_135m()
    found = few_shot.few_shot(network, exam, (0, 5), draws=1, answers=("right",), callbacks=())
    none, five = few_shot.summarise(found)["log_loss"].values[0]
    assert five < none - 2
