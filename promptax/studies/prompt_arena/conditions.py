"""What is measured, as data: every search that enters, on every instance, in both tracks.

Searches enter by themselves, a plugin's like all others: `Search.for_budget` says which sizes they
want, and whether they enter at all. One that enters and cannot run here is refused by name before
anything is measured. Races stay out of the exact track: part of all sequences is another question.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from promptax.experiments.conditions import Condition
from promptax.specs import check, members
from promptax.steering import Search, SimplexPrompt
from promptax.studies.prompt_arena.beside import Beside
from promptax.studies.prompt_arena.contest import Contest
from promptax.studies.prompt_arena.instances import (
    Instance,
    Shape,
    easy_instance,
    hard_instance,
)

EXACT, SAMPLED = "exact", "sampled"
HINDSIGHT, BESIDE = "hindsight: ", "beside: "  # labels of what is shown and not ranked
SHORT, LONG = Shape(4, 7, 4), Shape(4, 10, 4)  # 2^14 and 2^20 prompts
"""4 steps of the target have 35 vectors of counts, all of which an evaluation without noise reads;
8 have 165, and took five times as long."""
EVALUATIONS = {SHORT: 2**7, LONG: 2**11}
"""Budgets of the exact track. Of the short prompts even one that is best only in one composition
stands 7 times among 2^14, so that some hundred random draws find it as well as a search does."""
HARD = {SHORT: (1,), LONG: (68, 193, 374, 941, 1037, 1053)}
"""Seeds whose instances are hard (`instances.is_hard`): the first that are, of each shape; of the
long ones 1056, 1383, 1422, 1449, 1466 and 1631 follow, and are held out."""
EASY = {SHORT: (1, 2, 3), LONG: (0, 1, 4)}
"""Seeds whose instances are easy (`instances.is_easy`): the first that are, of each shape."""


class Scale(NamedTuple):
    """Sizes of everything; `hard` and `easy`: how many instances; `repetitions`: runs on each."""

    shape: Shape
    hard: int
    easy: int
    tracks: tuple[str, ...]
    tokens: int
    repetitions: int
    hindsight: bool
    """Whether what is shown beside the ranking is measured too."""


SCALES = {
    "smoke": Scale(SHORT, 1, 0, (EXACT,), 2**14, 4, False),
    "small": Scale(LONG, 3, 1, (EXACT, SAMPLED), 2**16, 10, True),
    "paper": Scale(LONG, 6, 3, (EXACT, SAMPLED), 2**18, 100, True),
}
"""Programs are compiled for a shape, which takes longer than to run them: a scale has one."""


def name_of(track: str, instance: str, search: str) -> str:
    """The name of a condition."""
    return f"{track} · {instance} · {search}"


def conditions(scale: str, only: str = "") -> dict[str, Condition]:
    """All conditions at that scale, by name; `only`: those whose labels have this word."""
    check(scale in SCALES, f"Expected a scale from {tuple(SCALES)}; got {scale!r}.")
    sizes = SCALES[scale]
    return {
        name_of(track, name, label): Condition(measurement)
        for track in sizes.tracks
        for name, instance in instances(sizes)
        for label, measurement in [
            *contests(sizes, track, instance).items(),
            *(tuned(sizes, instance).items() if track == SAMPLED else ()),
        ]
        if only in label
    }


def instances(sizes: Scale) -> Iterator[tuple[str, Instance]]:
    """The instances of a scale, by name: kind, shape and seed. Both tracks have the same."""
    shape = sizes.shape
    size = f"{shape.symbols}^{shape.prompt_length}"
    for seed in HARD[shape][: sizes.hard]:
        yield f"hard {size} seed {seed}", hard_instance(shape, seed)
    for seed in EASY[shape][: sizes.easy]:
        yield f"easy {size} seed {seed}", easy_instance(shape, seed)


def contests(sizes: Scale, track: str, instance: Instance) -> dict[str, Contest]:
    """What every search that enters is asked on an instance, by the search's label."""
    exact = track == EXACT
    budget = EVALUATIONS[sizes.shape] if exact else sizes.tokens
    length = instance.shape.prompt_length
    searches = entrants(length, budget)
    if sizes.hindsight:
        searches |= in_hindsight(length, budget)
    return {
        label: Contest(
            search=search,
            prior=instance.prior,
            target=instance.target,
            length=instance.shape.length,
            budget=budget,
            exact=exact,
            repetitions=sizes.repetitions,
        )
        for label, search in searches.items()
        if not (exact and search.reads_parts)  # all sequences have no parts
    }


def entrants(prompt_length: int, budget: int) -> dict[str, Search]:
    """Every search that exists and wants to enter, by its label."""
    return {
        label: search
        for member in members(Search).values()
        if member.recommends
        for label, search in member.for_budget(prompt_length, budget).items()
    }


def in_hindsight(prompt_length: int, budget: int) -> dict[str, Search]:
    """Searches at every value of the number that must be chosen, but for the default, which has
    entered already. The best of them is known only afterwards: it is shown, and not ranked."""
    searches = {}
    for member in members(Search).values():
        rate, rates = member.rates_to_try
        entered = member.for_budget(prompt_length, budget) if rates else {}
        for label, search in entered.items():
            for value in rates:
                if value != getattr(search, rate):
                    tried = dataclasses.replace(search, **{rate: value})
                    searches[f"{HINDSIGHT}{label}, {rate} {value:g}"] = tried
    return searches


def tuned(sizes: Scale, instance: Instance) -> dict[str, Beside]:
    """What gradients tune, at several learning rates: rows of weights over symbols, since all else
    needs a network."""
    length = instance.shape.prompt_length
    return {
        f"{BESIDE}SimplexPrompt, learning rate {rate:g}": Beside(
            tuner=SimplexPrompt(length=length),
            learning_rate=rate,
            prompt_length=length,
            prior=instance.prior,
            target=instance.target,
            length=instance.shape.length,
            budget=sizes.tokens,
            repetitions=sizes.repetitions,
        )
        for rate in (0.005, 0.02, 0.08, 0.32)
        if sizes.hindsight
    }
