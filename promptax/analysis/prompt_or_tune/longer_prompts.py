"""The best prompts of up to some length, and of some that are much longer.

Every prompt of up to `length` symbols is tried. Where order does not matter, so are all longer ones
while that takes seconds (two symbols: a thousand), then those that exchanges of symbols lead to.
Where order matters, the longer ones are short words, each repeated again and again.
"""

import numpy as np
import xarray as xr
from jaxtyping import Int

from promptax.analysis.prompt_or_tune.best_prompts import counts_suffice, promptability
from promptax.analysis.prompt_or_tune.prompt_mixtures import prompt_mixtures
from promptax.evaluation.exact import enumeration, exhaustive
from promptax.tasks.base import Task

EVERY_PROMPT = 5_000_000  # evaluations: lengths beyond `length` are searched whole up to that
SHORT = 10  # lengths up to that are all shown


def longer_prompts(prior: Task, target: Task, length: int, steps: int, longest: int) -> xr.Dataset:
    """The table of `promptability`, longer; `exhaustive` [prompt_length]: whether all prompts of
    that length were tried, or the best one found is an upper bound. Attribute `shown`: the lengths
    worth a row."""
    if not counts_suffice(prior, target):
        return _over_words(prior, target, length, steps, longest)
    shown = _ladder(length, longest)
    whole = max([length, *(each for each in shown if affordable(target, each, steps))])
    table = _whole(prior, target, whole, steps)
    if longest > whole:
        single = prompt_mixtures(prior, target, shown, steps, components=1).isel(component=0)
        longer = single.sel(prompt_length=[each for each in shown if each > whole])
        table = xr.concat([table, longer], "prompt_length", data_vars="minimal")
    return table.assign_attrs(shown=shown)


def affordable(target: Task, length: int, steps: int) -> bool:
    """Whether all prompts of up to that length can be tried in seconds, order being free."""
    one_by_one = enumeration.size(target.symbols, length + 1) * enumeration.size(
        target.symbols, steps
    )
    return min(one_by_one, (length + steps) ** target.symbols) <= EVERY_PROMPT


def _whole(prior: Task, target: Task, length: int, steps: int) -> xr.Dataset:
    table = promptability(prior, target, length, steps).table
    return table.assign(exhaustive=("prompt_length", np.ones(length + 1, bool)))


def _over_words(prior: Task, target: Task, length: int, steps: int, longest: int) -> xr.Dataset:
    """With the words of up to `length` symbols repeated, or shorter ones if those are too many."""
    table = _whole(prior, target, length, steps)
    rungs = [each for each in sorted({10, 100, longest}) if length < each <= longest]
    affords = exhaustive.MOST_READ // (steps * target.symbols**steps * max(1, len(rungs)))
    words: list[Int[np.ndarray, " prompt"]] = []
    for total in range(1, length + 1):
        if len(words) + target.symbols**total <= affords:
            words.extend(exhaustive.all_words(target.symbols, total))
    if not words or not rungs:
        return table.assign_attrs(shown=list(range(length + 1)))
    rows = []
    for rung in rungs:
        repeated = np.array([np.tile(word, rung)[-rung:] for word in words])
        tokens, regret = exhaustive.best_word(prior.bayes(), repeated, target, steps)
        rows.append(
            xr.Dataset(
                {
                    "regret": ("prompt_length", [regret]),
                    "counts": (
                        ("prompt_length", "symbol"),
                        np.bincount(tokens, minlength=target.symbols)[None],
                    ),
                    "tokens": (
                        ("prompt_length", "prompt"),
                        np.pad(tokens, (0, rungs[-1] - rung), constant_values=-1)[None],
                    ),
                    "exhaustive": ("prompt_length", [False]),
                },
                coords={"prompt_length": [rung]},
            )
        )
    table = table.pad(prompt=(0, rungs[-1] - length), constant_values=-1)
    table = xr.concat([table, *rows], "prompt_length", data_vars="minimal")
    return table.assign_attrs(shown=[*range(length + 1), *rungs])


def _ladder(length: int, longest: int) -> list[int]:
    """Lengths worth a row: the short ones, the asked one, 10, 25, 50, 100, …, the longest."""
    rungs = {round(first * 10**power) for power in range(1, 7) for first in (1, 2.5, 5)}
    short = range(min(length, SHORT) + 1)
    return sorted({*short, length, longest, *(rung for rung in rungs if rung <= longest)})
