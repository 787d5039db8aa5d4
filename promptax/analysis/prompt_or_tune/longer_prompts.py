"""The best prompts of up to some length, and of some that are much longer.

Every prompt of up to `length` symbols is tried. Where order does not matter, so are all longer ones
while that takes seconds (two symbols: a thousand), then those that exchanges of symbols lead to.
Where order matters, the longer ones are short words, each repeated again and again.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from promptax.analysis.prompt_or_tune.best_prompts import table_of_best
from promptax.analysis.prompt_or_tune.prompt_mixtures import prompt_mixtures
from promptax.axes import labelled
from promptax.evaluation.exact import enumeration
from promptax.evaluation.exact.expectations import BestPrompt, Expectations
from promptax.tasks.base import Task

EVERY_PROMPT = 5_000_000  # evaluations: lengths beyond the asked one are searched whole up to that
SHORT = 10  # lengths up to that are all shown
MOST_REPEATED = 512  # words that are tried again and again, where order matters


def longer_prompts(
    prior: Task, expectations: Expectations, prompt_length: int, longest: int
) -> xr.Dataset:
    """The table of `promptability`, longer; `exhaustive` [prompt_length]: whether all prompts of
    that length were tried, or the best one found is an upper bound. Attribute `shown`: the lengths
    worth a row."""
    if not expectations.counts_suffice(prior.bayes()):
        return _over_words(prior, expectations, prompt_length, longest)
    target, length = expectations.target, expectations.length
    shown = _ladder(prompt_length, longest)
    whole = max([prompt_length, *(rung for rung in shown if affordable(target, rung, length))])
    table = _whole(prior, expectations, whole)
    if longest > whole:
        single = prompt_mixtures(prior, target, shown, length, components=1).isel(component=0)
        longer = single.sel(prompt_length=[rung for rung in shown if rung > whole])
        table = xr.concat([table, longer], "prompt_length", data_vars="minimal")
    return table.assign_attrs(shown=shown)


def affordable(target: Task, prompt_length: int, length: int) -> bool:
    """Whether all prompts of up to that length can be tried in seconds, order being free."""
    one_by_one = enumeration.size(target.symbols, prompt_length + 1) * enumeration.size(
        target.symbols, length
    )
    return min(one_by_one, (prompt_length + length) ** target.symbols) <= EVERY_PROMPT


def _whole(prior: Task, expectations: Expectations, prompt_length: int) -> xr.Dataset:
    table = table_of_best(prior, expectations, prompt_length).table
    return table.assign(exhaustive=("prompt_length", np.ones(prompt_length + 1, bool)))


def _over_words(
    prior: Task, expectations: Expectations, prompt_length: int, longest: int
) -> xr.Dataset:
    """With the words of up to `prompt_length` symbols repeated, or the shortest of them if those
    are too many."""
    table = _whole(prior, expectations, prompt_length)
    rungs = [rung for rung in sorted({10, 100, longest}) if prompt_length < rung <= longest]
    words = _short_words(prior.symbols, prompt_length)
    best = _best_repeated(prior, expectations, words, rungs)
    if not best:
        return table.assign_attrs(shown=list(range(prompt_length + 1)))
    rows = [_row(prompt, prior.symbols, rungs[-1]) for prompt in best]
    table = table.pad(prompt=(0, rungs[-1] - prompt_length), constant_values=-1)
    table = xr.concat([table, *rows], "prompt_length", data_vars="minimal")
    return table.assign_attrs(shown=[*range(prompt_length + 1), *rungs])


def _short_words(symbols: int, prompt_length: int) -> list[np.ndarray]:
    """The words [prompt] of 1, 2, ... symbols, as many lengths as `MOST_REPEATED` allows."""
    words: list[np.ndarray] = []
    for length in range(1, prompt_length + 1):
        if len(words) + symbols**length > MOST_REPEATED:
            break
        words.extend(np.indices((symbols,) * length).reshape(length, -1).T)
    return words


def _best_repeated(
    prior: Task,
    expectations: Expectations,
    words: list[np.ndarray],
    rungs: Sequence[int],
) -> list[BestPrompt]:
    """The best of the words, repeated to each of these lengths; of single symbols alone where that
    is too much; nothing where even that is."""
    best = []
    try:
        for rung in rungs if words else ():
            repeated = np.array([np.tile(word, rung)[-rung:] for word in words])
            regrets = expectations.regrets_after_words(prior.bayes(), repeated)
            first = int(np.argmin(np.round(regrets, 9)))
            best.append(BestPrompt(tuple(repeated[first].tolist()), float(regrets[first])))
    except ValueError:  # too many beliefs
        single = words[: prior.symbols]
        return (
            _best_repeated(prior, expectations, single, rungs) if len(words) > len(single) else []
        )
    return best


def _row(prompt: BestPrompt, symbols: int, longest: int) -> xr.Dataset:
    """One row of the table, its tokens padded to the longest prompt's."""
    tokens = np.array(prompt.tokens)
    padded = np.pad(tokens, (0, longest - len(tokens)), constant_values=-1)
    counts = np.bincount(tokens, minlength=symbols)
    return labelled(
        {
            "regret": ("prompt_length", [prompt.regret]),
            "counts": (("prompt_length", "symbol"), counts[None]),
            "tokens": (("prompt_length", "prompt"), padded[None]),
            "exhaustive": ("prompt_length", [False]),
        },
        coords={"prompt_length": [len(tokens)]},
    )


def _ladder(prompt_length: int, longest: int) -> list[int]:
    """Lengths worth a row: the short ones, the asked one, 10, 25, 50, 100, …, the longest."""
    rungs = {round(first * 10**power) for power in range(1, 7) for first in (1, 2.5, 5)}
    short = range(min(prompt_length, SHORT) + 1)
    return sorted({*short, prompt_length, longest, *(rung for rung in rungs if rung <= longest)})
