"""Open sets on the command line: what is read of them, what is taken by default, which commands."""

import functools
import importlib

import pytest
from support import judges as laws

from promptax import specs
from promptax.cli import commands, overview, sources
from promptax.cli.arguments import choice, parse
from promptax.cli.commands.list import imported_members
from promptax.steering import Annealing, GradientSearch, Raced, Restarted, Tuner
from promptax.steering.races.ucb import UCB
from promptax.tasks import Categorical, DirichletCategorical, Task

FROM_CLASSES, FROM_FILES = map(functools.cache, (imported_members, sources.members))
WORDS = sorted(specs.open_sets)


@pytest.mark.parametrize("word", WORDS)
def test_the_files_say_what_the_classes_say(word):
    """Members of the tests aside, which are in no file of promptax."""
    members = laws.members(specs.open_sets[word].base).values()
    ours = {member.__name__ for member in members if member.__module__.startswith("promptax.")}
    inside = [row for row in FROM_CLASSES()[word] if row.name in ours]
    assert FROM_FILES()[word] == inside and inside


@pytest.mark.parametrize("word", WORDS)
def test_the_usual_member_is_one(word):
    base, default = specs.open_sets[word]
    assert default in laws.members(base)


def test_an_open_set_needs_a_usual_member():
    with pytest.raises(ValueError, match=r"Expected default=MEMBER beside open_as='thing'"):
        type("Thing", (specs.Spec,), {"__module__": __name__}, open_as="thing")
    assert "thing" not in specs.open_sets


def test_every_command_has_a_file_and_a_line():
    names = overview.command_names()
    for name in names:
        module = overview.module_of(name)
        assert module.Flags.__doc__ and module.run.__doc__ and overview.about(name)
    files = {path.stem for path in sources.ROOT.glob("cli/commands/*") if path.stem[0] != "_"}
    assert files == set(commands.COMMANDS)
    group = importlib.import_module("promptax.cli.commands.lm")
    files = {path.stem for path in sources.ROOT.glob("cli/commands/lm/*") if path.stem[0] != "_"}
    assert files == set(group.COMMANDS)


def test_a_role_has_its_own_default_and_making():
    import dataclasses

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Flags:
        """Three roles of one open set."""

        task: Task
        """As usual."""
        target: Task = choice("Categorical")
        """Another member."""
        skewed: Task = choice("Categorical", make=lambda member: member((0.3, 0.7)))
        """Other values."""

    flags = parse(Flags, "it", [], "")
    assert flags.task == DirichletCategorical() and flags.target == Categorical()
    assert flags.skewed == Categorical((0.3, 0.7))
    flags = parse(Flags, "it", ["--skewed", "dirichlet-categorical", "--task", "categorical"], "")
    assert flags.task == Categorical()


def test_members_inside_a_member_are_chosen_by_name_too(capsys):
    import dataclasses

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Flags:
        """A tuner."""

        tuner: Tuner
        """Which."""

    def chosen(*words):
        return parse(Flags, "it", ["--tuner", *words], "").tuner

    assert chosen("restarted") == Restarted()
    nested = chosen("restarted", "--tuner.search=raced", "--tuner.search.search", "annealing")
    assert nested == Restarted(search=Raced(search=Annealing()))
    searched = chosen("raced", "--tuner.race", "ucb", "--tuner.search.length", "3")
    assert searched == Raced(race=UCB(), search=GradientSearch(length=3))
    spec = '{"class": "Annealing", "length": 2}'
    assert chosen("restarted", "--tuner.search", spec) == Restarted(Annealing(length=2))
    with pytest.raises(ValueError, match=r"Expected the name of a Search: .*got 'lstm'"):
        chosen("restarted", "--tuner.search", "lstm")
    with pytest.raises(SystemExit):  # has no part of that name
        chosen("annealing", "--tuner.search", "raced")
    assert "Unrecognized options" in capsys.readouterr().err
