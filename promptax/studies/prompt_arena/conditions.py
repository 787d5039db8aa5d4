"""What is measured, as data: every search that enters, on every instance, in every track.

Searches enter by themselves, a plugin's like all others: `Search.for_budget` and `Search.relatives`
say which sizes they want, and whether they enter at all. One that enters and cannot run here is
refused by name before anything is measured. What needs drawn sequences, as races do, stays out of
the exact track. What gradients tune has tracks where it stands beside the searches.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from promptax.experiments.conditions import Condition
from promptax.experiments.measurement import Measurement
from promptax.experiments.plan import PUBLISHED, PUBLISHED_START
from promptax.specs import check, members
from promptax.steering import (
    FullWeights,
    HardPromptMixture,
    LowRank,
    PromptMixture,
    RealPrompt,
    Search,
    SimplexPrompt,
    SoftPrompt,
    Tuner,
)
from promptax.steering.searches.wrappers.raced_rates import RacedRates
from promptax.studies.prompt_arena.beside import Beside
from promptax.studies.prompt_arena.contest import Contest
from promptax.studies.prompt_arena.instances import (
    Instance,
    Shape,
    easy_instance,
    hard_instance,
    plateau_instance,
)
from promptax.studies.prompt_arena.network import OnNetwork

EXACT, SAMPLED, NETWORK = "exact", "sampled", "network"
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
PLATEAU = {SHORT: (), LONG: (60, 201)}
"""Seeds whose instances are plateaus (`instances.is_plateau`): the first that are; 295 and 357
follow."""
EASY = {SHORT: (1, 2, 3), LONG: (0, 1, 4)}
"""Seeds whose instances are easy (`instances.is_easy`): the first that are, of each shape."""


NETWORK_PROMPT_LENGTH = 6  # symbols of the prompts of a network: 4,096 prompts
RATES = (0.005, 0.02, 0.08)  # of what gradients tune on a network


PROMPT = {"length": NETWORK_PROMPT_LENGTH, **PUBLISHED_START}
TUNED = {
    "SoftPrompt": SoftPrompt(**PROMPT),
    "SimplexPrompt": SimplexPrompt(**PROMPT),
    "RealPrompt": RealPrompt(**PROMPT),
    "mixture of two SoftPrompts": PromptMixture(SoftPrompt(**PROMPT)),
    "LowRank": LowRank(**PUBLISHED),
    "FullWeights": FullWeights(**PUBLISHED),
}
"""What gradients tune on a network: rows of prompts, and weights without a prompt."""


class Scale(NamedTuple):
    """Sizes of everything; `hard`, `easy` and `plateaus`: how many instances; `networks`: how many
    priors of hard ones a network is trained on; `repetitions`: runs on each."""

    shape: Shape
    hard: int
    easy: int
    plateaus: int
    networks: int
    tracks: tuple[str, ...]
    tokens: int
    repetitions: int
    both_rules: bool
    """Whether each plateau stands once more as an open one: programs of their own."""
    whole: bool
    """Whether relatives and raced rates enter, and what is shown beside the ranking is measured."""


SCALES = {
    "smoke": Scale(SHORT, 1, 0, 0, 0, (EXACT,), 2**14, 4, False, False),
    "small": Scale(LONG, 3, 1, 1, 1, (EXACT, SAMPLED), 2**16, 10, False, True),
    "paper": Scale(LONG, 6, 3, 2, 3, (EXACT, SAMPLED), 2**18, 100, True, True),
}
"""Programs are compiled for a shape, which takes longer than to run them: a scale has one."""


def name_of(track: str, instance: str, search: str) -> str:
    """The name of a condition."""
    return f"{track} · {instance} · {search}"


def conditions(scale: str, only: str = "") -> dict[str, Condition]:
    """All conditions at that scale, by name; `only`: those whose labels have this word."""
    check(scale in SCALES, f"Expected a scale from {tuple(SCALES)}; got {scale!r}.")
    sizes = SCALES[scale]
    tracks: dict[tuple[str, str], Mapping[str, Measurement]] = {
        (track, name): contests(sizes, track, instance)
        | (tuned(sizes, instance) if track == SAMPLED else {})
        for track in sizes.tracks
        for name, instance in instances(sizes, track)
    }
    for seed in HARD[sizes.shape][: sizes.networks]:
        size = f"{sizes.shape.symbols}^{NETWORK_PROMPT_LENGTH}"
        tracks[NETWORK, f"network {size} seed {seed}"] = measure_on_network(sizes, seed)
    return {
        name_of(*where, label): Condition(measurement)
        for where, measurements in tracks.items()
        for label, measurement in measurements.items()
        if only in label
    }


def instances(sizes: Scale, track: str) -> Iterator[tuple[str, Instance]]:
    """The instances of a scale, by name: kind, shape and seed. All tracks have the same, but for
    plateaus, which ask whether a search comes to the best prompt, not whether noise misleads it."""
    shape = sizes.shape
    size = f"{shape.symbols}^{shape.prompt_length}"
    for seed in HARD[shape][: sizes.hard]:
        yield f"hard {size} seed {seed}", hard_instance(shape, seed)
    for seed in EASY[shape][: sizes.easy]:
        yield f"easy {size} seed {seed}", easy_instance(shape, seed)
    if track == EXACT:
        for seed in PLATEAU[shape][: sizes.plateaus]:
            name, instance = f"plateau {size} seed {seed}", plateau_instance(shape, seed)
            yield name, instance
            if sizes.both_rules:
                yield f"open {name}", instance._replace(impossible_may_win=True)


def contests(sizes: Scale, track: str, instance: Instance) -> dict[str, Contest]:
    """What every search that enters is asked on an instance, by the search's label."""
    exact = track == EXACT
    budget = EVALUATIONS[sizes.shape] if exact else sizes.tokens
    length = instance.shape.prompt_length
    return {
        label: Contest(
            search=search,
            prior=instance.prior,
            target=instance.target,
            length=instance.shape.length,
            budget=budget,
            exact=exact,
            repetitions=sizes.repetitions,
            impossible_may_win=instance.impossible_may_win,
        )
        for label, search in entrants(length, budget, sizes.whole).items()
        if not (exact and search.needs_samples)
    }


def entrants(prompt_length: int, budget: int, whole: bool = True) -> dict[str, Search]:
    """Every search that exists and wants to enter, by its label; what is shown in hindsight too.
    If not `whole`: without relatives, other rates, and races of rates."""
    searches: dict[str, Search] = {}
    for member in members(Search).values():
        if member.recommends and (whole or member is not RacedRates):
            searches |= member.for_budget(prompt_length, budget)
            relatives = member.relatives(prompt_length, budget) if whole else {}
            for label, search in relatives.items():  # what a subclass inherits has entered already
                searches.setdefault(label, search)
    return searches | (in_hindsight(prompt_length, budget) if whole else {})


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
            tuner=SimplexPrompt(length=length, **PUBLISHED_START),
            learning_rate=rate,
            prompt_length=length,
            prior=instance.prior,
            target=instance.target,
            length=instance.shape.length,
            budget=sizes.tokens,
            repetitions=sizes.repetitions,
        )
        for rate in (0.005, 0.02, 0.08, 0.32)
        if sizes.whole
    }


def measure_on_network(sizes: Scale, seed: int) -> dict[str, OnNetwork]:
    """Every search, and what gradients tune, on a network that was trained on a hard prior."""
    instance = hard_instance(sizes.shape, seed)

    def measure(tuner: Tuner, rate: float | None = None) -> OnNetwork:
        return OnNetwork(
            tuner=tuner,
            learning_rate=rate,
            prior=instance.prior,
            target=instance.target,
            prompt_length=NETWORK_PROMPT_LENGTH,
            length=instance.shape.length,
            budget=sizes.tokens,
            repetitions=sizes.repetitions,
        )

    searches = {
        label: measure(search)
        for label, search in entrants(NETWORK_PROMPT_LENGTH, sizes.tokens, whole=False).items()
    }
    numbers = {
        f"{BESIDE}{name}, learning rate {rate:g}": measure(tuner, rate)
        for name, tuner in TUNED.items()
        for rate in RATES
    }
    # all prompts of 3 symbols are 64; those of 6 are more than the budget reads
    pair = HardPromptMixture(length=NETWORK_PROMPT_LENGTH // 2, sequences=128)
    return {**searches, **numbers, f"{BESIDE}two prompts of {pair.length} symbols": measure(pair)}
