"""What is measured, as data: every search that enters, on every instance, in both tracks.

Searches enter by themselves: `Search.for_budget` says which sizes they want, and those that cannot
search here (`Search.verify`) stay out. A plugin's searches enter like all others.
"""

from collections.abc import Iterator
from typing import NamedTuple

from promptax.experiments.conditions import Condition
from promptax.specs import check, members
from promptax.steering import Search
from promptax.studies.prompt_arena.contest import Contest
from promptax.studies.prompt_arena.instances import (
    Instance,
    Shape,
    easy_instance,
    hard_instance,
)

EXACT, SAMPLED = "exact", "sampled"
THREE, FOUR = Shape(3, 8, 10), Shape(4, 6, 8)
HARD = {THREE: (17, 20, 65, 90, 99, 122), FOUR: (0, 6, 13, 23, 25, 37)}
"""Seeds whose instances are hard (`instances.is_hard`): the first that are, of each shape; 106 and
140 of the first shape are held out."""
EASY = (0, 1)


class Scale(NamedTuple):
    """Sizes of everything; `hard` and `easy`: instances of each shape."""

    shapes: tuple[Shape, ...]
    hard: int
    easy: int
    tracks: tuple[str, ...]
    evaluations: int
    tokens: int
    relabellings: int
    repetitions: int


SCALES = {
    "smoke": Scale((FOUR,), 1, 0, (EXACT,), 128, 2**14, 1, 4),
    "small": Scale((THREE, FOUR), 3, 1, (EXACT, SAMPLED), 2**11, 2**18, 2, 10),
    "paper": Scale((THREE, FOUR), 6, 2, (EXACT, SAMPLED), 2**12, 2**20, 4, 25),
}
"""Runs are relabellings × repetitions on each instance. In the sampled track `small` reads one hard
instance of each shape: what it adds is noise, not another landscape."""


def name_of(track: str, instance: str, search: str) -> str:
    """The name of a condition."""
    return f"{track} · {instance} · {search}"


def conditions(scale: str, only: str = "") -> dict[str, Condition]:
    """All conditions at that scale, by name; `only`: the searches whose names have this word."""
    check(scale in SCALES, f"Expected a scale from {tuple(SCALES)}; got {scale!r}.")
    sizes = SCALES[scale]
    return {
        name_of(track, name, label): Condition(contest)
        for track in sizes.tracks
        for name, instance in instances(sizes, track)
        for label, contest in contests(sizes, track, instance)
        if only in label
    }


def instances(sizes: Scale, track: str) -> Iterator[tuple[str, Instance]]:
    """The instances of a track, by name: shape, kind and seed."""
    hard = sizes.hard if track == EXACT else min(1, sizes.hard)
    easy = sizes.easy if track == EXACT else 0
    for shape in sizes.shapes:
        size = f"{shape.symbols}^{shape.prompt_length}"
        for seed in HARD[shape][:hard]:
            yield f"hard {size} seed {seed}", hard_instance(shape, seed)
        for seed in EASY[:easy]:
            yield f"easy {size} seed {seed}", easy_instance(shape, seed)


def contests(sizes: Scale, track: str, instance: Instance) -> Iterator[tuple[str, Contest]]:
    """What every search that enters is asked on an instance, by the search's label."""
    budget = sizes.evaluations if track == EXACT else sizes.tokens
    for label, search in entrants(instance.shape.prompt_length, budget).items():
        contest = Contest(
            search=search,
            prior=instance.prior,
            target=instance.target,
            length=instance.shape.length,
            budget=budget,
            exact=track == EXACT,
            relabellings=sizes.relabellings,
            repetitions=sizes.repetitions,
        )
        if fits(contest):
            yield label, contest


def entrants(prompt_length: int, budget: int) -> dict[str, Search]:
    """Every search that exists and wants to enter, by its label."""
    return {
        label: search
        for member in members(Search).values()
        if member.recommends
        for label, search in member.for_budget(prompt_length, budget).items()
    }


def fits(contest: Contest) -> bool:
    """Whether the search can run there."""
    try:
        contest.verify()
    except (TypeError, ValueError):
        return False
    return True
