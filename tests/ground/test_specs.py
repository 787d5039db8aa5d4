"""Specs: the members of an open set, JSON there and back, numbers as data."""

import abc
import json
import math
import os
import re
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax import specs
from promptax.predictors import LSTM, Architecture, Transformer
from promptax.specs import Record, Spec
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical, Recorded, Task


class Shape(Spec):
    """An open set of this file's own: a class of any module is found once it is imported."""

    @abc.abstractmethod
    def corners(self):
        """How many corners."""


class Polygon(Shape):
    n: int = 3
    scale: float = 1.0
    grid: tuple[tuple[float, ...], ...] = ((1.0, 2.0), (3.0, 4.0))
    name: str = "a"
    inner: Shape | None = None

    def __check_init__(self):
        specs.check(self.n >= 3, f"Expected at least 3 corners; got {self.n}.")

    def corners(self):
        return self.n


class Star(Polygon):
    def points(self):
        return self.n


class Holder(Record):
    values: object


def says(error, message, call):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


# --- members --------------------------------------------------------------------------------


class Measured(Record):
    """A record that is no spec."""

    number: float
    steps: int
    pair: tuple[float, float] = (0.0, 1.0)


def test_records_that_are_no_specs_are_held_against_their_fields(as_users_see_it):
    whole = specs.to_json(Measured(math.nan, 3, (1.0, math.nan)))
    assert specs.from_json(whole).steps == 3
    assert specs.from_json({"class": "Measured", "number": 1.0, "steps": 3}).pair == (0.0, 1.0)
    for wrong in ({"steps": 2.5}, {"number": "1"}, {"pair": [1.0]}, {"step": 1}):
        with pytest.raises(ValueError, match=r"^Expected .* Measured"):
            specs.from_json(whole | wrong)
    del whole["steps"]
    with pytest.raises(ValueError, match=r"^Expected the field \['steps'\] of Measured; it is mis"):
        specs.from_json(whole)


def test_members_are_the_concrete_classes_in_order():
    assert specs.members(Shape) == {"Polygon": Polygon, "Star": Star}
    ours = ("Categorical", "CategoricalMixture", "Recorded")  # others come when a room needs them
    assert [name for name in specs.members(Task) if name in ours] == list(ours)
    assert {"LSTM": LSTM, "Transformer": Transformer}.items() <= specs.members(Architecture).items()


@pytest.mark.parametrize(
    "name", ["CategoricalMixture", "categorical-mixture", "categorical_mixture"]
)
def test_a_member_is_found_by_its_words(name):
    assert specs.member(Task, name) is CategoricalMixture


def test_a_near_miss_is_suggested():
    plugin = "A member of your own must be imported first (command line: --plugin MODULE)."
    says(
        ValueError,
        "Expected the name of a Shape: Polygon, Star; got 'polygone'. Did you mean 'Polygon'? "
        + plugin,
        lambda: specs.member(Shape, "polygone"),
    )
    says(
        ValueError,
        "Expected the name of a Shape: Polygon, Star; got 'xyz'. " + plugin,
        lambda: specs.member(Shape, "xyz"),
    )


@pytest.mark.usefixtures("as_users_see_it")
def test_what_a_member_returns_is_looked_at():
    class Bare(Task):
        symbols: int = 2

        def sample(self, key, length):
            return np.zeros(length, int)

    says(
        TypeError,
        "Expected Bare.sample to return an Episode(tokens); got an array.",
        lambda: Bare().sample(jax.random.key(0), 3),
    )


def test_a_plugin_is_imported_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "my_shapes_plugin.py").write_text("LOADED = True\n")
    (tmp_path / "my_broken_plugin.py").write_text("import a_module_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    specs.import_plugin("my_shapes_plugin")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_missing"):
        specs.import_plugin("my_broken_plugin")
    says(
        ValueError,
        "Expected --plugin to name an importable Python module; got 'no_such_plugin', which was "
        "not found. Run from the folder that holds it, or put that folder on PYTHONPATH.",
        lambda: specs.import_plugin("no_such_plugin"),
    )


# --- numbers --------------------------------------------------------------------------------


def test_floats_makes_nested_tuples():
    expected = ((0.0, 1.0), (2.0, 3.0))
    for given in (
        [[0, 1], [2, 3]],
        np.arange(4).reshape(2, 2),
        jnp.arange(4.0).reshape(2, 2),
        (jnp.array([0, 1]), [2, 3]),
    ):
        assert specs.floats(given) == expected
        assert all(type(x) is float for row in specs.floats(given) for x in row)


def test_traced_turns_numbers_into_data_and_leaves_structure():
    here = specs.traced(Polygon(n=4, scale=2.0, inner=Polygon(scale=3.0)))
    assert here.n == 4 and here.name == "a"
    assert eqx.is_array(here.scale) and here.scale == 2.0 and here.inner.scale == 3.0
    np.testing.assert_array_equal(here.grid, [[1.0, 2.0], [3.0, 4.0]])
    recorded = specs.traced(Recorded(sequences=((0, 1), (1, 1))))
    assert isinstance(recorded.sequences, jax.Array) and recorded.symbols == 2
    mixture = specs.traced(CategoricalMixture())
    assert mixture.probabilities.shape == (2, 2) and mixture.weights.shape == (2,)
    assert eqx.tree_equal(specs.traced(here), here)


def test_specs_are_values():
    assert Categorical() == Categorical((0.2, 0.8)) == Categorical(np.array([0.2, 0.8]))
    assert Categorical() != Categorical((0.3, 0.7))
    assert hash(Categorical()) == hash(Categorical([0.2, 0.8]))
    with pytest.raises(AttributeError):
        Categorical().probabilities = (0.5, 0.5)  # frozen


# --- JSON -----------------------------------------------------------------------------------


def test_a_record_there_and_back():
    spec = Star(n=5, scale=0.1, inner=Polygon(n=7))
    text = json.dumps(specs.to_json(spec))
    assert specs.from_json(json.loads(text)) == spec
    assert specs.to_json(spec)["class"] == "Star"


def test_arrays_go_beside_the_description_or_inline():
    thing = Holder({"a": jnp.arange(3.0), "b": (np.array([[1, 2]], np.int8), None, "word", True)})
    arrays = {}
    description = specs.to_json(thing, arrays)
    assert sorted(arrays) == ["values/a", "values/b/0"]
    back = specs.from_json(json.loads(json.dumps(description)), arrays)
    np.testing.assert_array_equal(back.values["a"], thing.values["a"])
    assert back.values["b"][0].dtype == np.int8 and back.values["b"][1:] == (None, "word", True)
    inline = specs.from_json(json.loads(json.dumps(specs.to_json(thing))))
    np.testing.assert_array_equal(inline.values["a"], thing.values["a"])
    assert inline.values["a"].dtype == np.float32
    empty = Holder(np.zeros((0, 3), np.float32))
    assert specs.from_json(specs.to_json(empty)).values.shape == (0, 3)


def test_numpy_numbers_become_plain():
    assert specs.to_json({"a": np.float64(0.5), "b": np.int32(3), "c": np.bool_(True)}) == {
        "a": 0.5,
        "b": 3,
        "c": True,
    }


def test_what_is_no_record_is_refused():
    says(
        TypeError,
        "Expected records, arrays, numbers, words, tuples or dicts; got set at /values/0. Derive "
        "the class from promptax.specs.Record.",
        lambda: specs.to_json(Holder(({1},))),
    )
    with pytest.raises(TypeError, match=r"got object at the top\."):
        specs.to_json(object())


def test_a_missing_array_is_named():
    arrays = {}
    description = specs.to_json(Holder(jnp.zeros(2)), arrays)
    for beside in (None, {}):
        says(
            ValueError,
            "Expected an array named 'values' beside the description; it is missing. The file is "
            "incomplete or was edited; write it again.",
            lambda beside=beside: specs.from_json(description, beside),
        )


def test_an_unknown_field_suggests_the_near_miss():
    says(
        ValueError,
        "Expected fields ['probabilities', 'weights'] for CategoricalMixture; got 'weight'. Did "
        "you mean 'weights'?",
        lambda: specs.from_json({"class": "CategoricalMixture", "weight": [0.5, 0.5]}),
    )


def test_specs_are_validated_again():
    says(
        ValueError,
        "Expected at least 3 corners; got 2.",
        lambda: specs.from_json({"class": "Polygon", "n": 2}),
    )


class Kite(Spec):
    n: int = 4
    tail: int = specs.later(0)
    colours: tuple[int, ...] = specs.later((), converter=tuple)


class Drawn(Record):
    values: object
    filled: bool = specs.later(False, static=True)
    notes: dict = eqx.field(default_factory=dict)


def test_a_later_field_leaves_what_was_stored_before_as_it_was():
    before = {"class": "Kite", "n": 4}
    assert specs.to_json(Kite()) == before and specs.from_json(before) == Kite()
    changed = Kite(tail=2, colours=[1])
    assert specs.to_json(changed) == {**before, "tail": 2, "colours": [1]}
    assert specs.from_json(specs.to_json(changed)) == changed


def test_a_later_field_of_a_built_thing_is_at_its_default():
    old = specs.from_json({"class": "Drawn", "values": 1.0})
    assert jax.tree.structure(old) == jax.tree.structure(Drawn(1.0)) and old.filled is False
    assert old.notes == {} and old.notes is not specs.from_json(specs.to_json(old)).notes
    assert specs.from_json(specs.to_json(Drawn(1.0, True))).filled is True


# --- words of the command line --------------------------------------------------------------


def test_parse_reads_json_and_files(tmp_path):
    text = '{"class": "DirichletCategorical", "concentration": [2, 1]}'
    path = tmp_path / "task.json"
    path.write_text(text, encoding="utf-8")
    parser = specs.parse(Task)
    assert parser(text) == parser(f"@{path}") == DirichletCategorical((2.0, 1.0))
    assert parser('{"class": "categorical"}') == Categorical()


def test_parse_refuses_another_set():
    for text, kind in (('{"class": "LSTM"}', "LSTM"), ("[1, 2]", "tuple")):
        says(
            ValueError, f"Expected JSON of a Task; got {kind}.", lambda t=text: specs.parse(Task)(t)
        )


def test_parse_takes_a_member_by_name_and_names_broken_json():
    assert specs.parse(Task)("dirichlet-categorical") == DirichletCategorical()
    with pytest.raises(ValueError, match=r"Did you mean 'DirichletCategorical'\?"):
        specs.parse(Task)("dirichletcategorica")
    with pytest.raises(ValueError, match=r"Expected JSON such as .*; got '\{class: .* @FILE"):
        specs.parse(Task)("{class: LSTM}")


def test_files_without_json_are_named_without_advice_for_the_shell(tmp_path):
    path = tmp_path / "it.json"
    path.write_text("{class: LSTM}")
    with pytest.raises(
        ValueError, match=r"it.json: Expected JSON such as .*; got '\{class: "
    ) as said:
        specs.parse(Task)(f"@{path}")
    assert "shell" not in str(said.value)
    path.write_text(" " * (2**24 + 1))
    with pytest.raises(ValueError, match=r"at most 16,777,216 bytes; .*it.json has more"):
        specs.parse(Task)(f"@{path}")


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "zip", "latin", "missing"])
def test_specs_are_read_as_all_text_is(tmp_path, kind):
    """A pipe that nobody writes to would be waited for without end."""
    path = Path("/dev/zero") if kind == "device" else tmp_path / "it.json"
    make = {"pipe": lambda: os.mkfifo(path), "folder": path.mkdir}
    content = {"zip": b"PK\3\4", "latin": b'{"class": "\xe9"}'}
    if kind in content:
        path.write_bytes(content[kind])
    make.get(kind, lambda: None)()
    with pytest.raises((ValueError, FileNotFoundError), match=f"Expected .*{path}"):
        specs.parse(Task)(f"@{path}")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_specs_are_read_in_what_their_mark_says(tmp_path, encoding):
    path = tmp_path / "it.json"
    path.write_text('{"class": "categorical"}\r\n', encoding=encoding)
    assert specs.parse(Task)(f"@{path}") == Categorical()


def test_tuples_of_specs_are_json_on_the_command_line():
    parts = Categorical((0.3, 0.7)), DirichletCategorical()
    words = specs.JSON_ARGUMENT.str_from_instance(parts)
    assert len(words) == 1 and specs.JSON_ARGUMENT.instance_from_str(words) == parts


def test_a_member_with_the_name_of_one_of_ours_is_refused_when_it_is_asked_for():
    class Uniform(Shape):
        def corners(self):
            return 4

        @classmethod
        def examples(cls):
            return ()

    assert specs.from_json({"class": "Polygon"}) == Polygon()
    assert specs.member(Shape, "uniform") is Uniform  # no other shape has this name
    with pytest.raises(ValueError, match=r"names of their own.*test_specs have one named Uniform"):
        specs.from_json({"class": "Uniform"})
    Uniform.__name__ = "Uniform of a test"  # classes live on


def test_no_two_records_have_one_name():
    """What is stored is read again by the name of its class."""
    specs.members(Task)  # imports all members
    pending, classes = [specs.Record], set()
    while pending:
        subclasses = set(pending.pop().__subclasses__()) - classes
        classes |= subclasses
        pending += subclasses
    names = [kind.__name__ for kind in classes if kind.__module__.startswith("promptax.")]
    assert len(names) > 100
    assert not {name for name in names if names.count(name) > 1}
