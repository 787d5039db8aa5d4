"""How far a hard prompt can take the exact predictor of a prior towards a target, exactly.

A prompt conditions the prior's posterior. If the target is one task inside the prior, a long enough
prompt is all that is needed; if it is a mixture, no prompt is enough, since posteriors collapse
(Genewein et al. 2025, section 3). Every prompt is tried and every sequence of the target counted:
no sampling. Where counts are all that matters, prompts are multisets and sequences are counts, and
a thousand symbols take a second; where order matters, all words are read.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Int

from promptax.axes import NATS
from promptax.evaluation.exact import enumeration, exhaustive
from promptax.protocol.entries import condition
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class Promptability:
    """The best hard prompt of every length, exactly.

    `table`: `regret` [prompt_length], expected cumulative regret to the target's oracle after the
    best prompt of exactly that length, in nats; `counts` [prompt_length, symbol], how often that
    prompt has each symbol. For an exchangeable prior the order of a prompt does not matter; for
    others `tokens` [prompt_length, prompt] is the prompt as it is read, -1 past its end.
    """

    table: xr.Dataset

    @property
    def best_regret(self) -> float:
        """Regret after the best prompt of exactly the asked length, nats."""
        return float(self.table["regret"][-1])

    @property
    def best_prompt(self) -> tuple[int, ...]:
        """The tokens of the best prompt of exactly the asked length; sorted if order is free."""
        if "tokens" in self.table:
            return tuple(int(token) for token in self.table["tokens"].values[-1])
        counts = self.table["counts"].values[-1]
        return tuple(int(token) for token in np.repeat(np.arange(len(counts)), counts))

    @property
    def best_length(self) -> int:
        """The shortest of the lengths that reach the smallest regret (to 1e-9 nats)."""
        return int(np.argmin(np.round(self.table["regret"].values, 9)))

    @property
    def best_up_to(self) -> float:
        """Regret after the best prompt of at most the asked length, nats."""
        return float(self.table["regret"][self.best_length])


def promptability(prior: Task, target: Task, length: int = 6, steps: int = 50) -> Promptability:
    """Expected cumulative regret, in nats, of the prior's exact predictor after its best prompt.

    Of prompts that are equally good to 1e-9 nats, the one with the fewest symbols 0, or, where
    order matters, the first in order.

    Args:
        prior: the pretraining task, with an exact predictor.
        target: the task that is prompted for, with an oracle and an exact predictor.
        length: symbols in the prompt; all shorter lengths are tried as well.
        steps: steps of a target sequence over which regret is summed. If order matters to one of
            the tasks, all sequences of that many steps are read: about 10 for two symbols.

    Raises:
        ValueError: a task cannot be enumerated, the alphabets differ, or there is too much to try.

    Example: `promptability(DirichletCategorical(), Categorical((0.2, 0.8))).best_regret` is 0.5711.
    """
    _check_all(prior, target, length, steps)
    if counts_suffice(prior, target):
        scores = enumeration.best_hard_prompts(prior.bayes(), target, range(length + 1), steps)
        found, regret = [np.array(each.counts) for each in scores], [each.regret for each in scores]
    else:
        words = [exhaustive.all_words(target.symbols, total) for total in range(length + 1)]
        best = [exhaustive.best_word(prior.bayes(), some, target, steps) for some in words]
        found, regret = [list(each) for each in zip(*best, strict=True)]
    return Promptability(
        xr.Dataset(
            {
                "regret": ("prompt_length", np.array(regret), {"unit": NATS}),
                **_shown(found, target.symbols, counts_suffice(prior, target)),
            },
            coords={
                "prompt_length": np.arange(length + 1),
                "symbol": np.arange(target.symbols),
            },
            attrs={"unit": NATS, "steps": steps},
        )
    )


def best_tokens(table: xr.Dataset) -> Int[np.ndarray, " prompt"]:
    """The best prompt of a table, the shortest of equally good ones (to 1e-9 nats)."""
    row = table.isel(prompt_length=int(np.argmin(np.round(table["regret"].values, 9))))
    if "tokens" in table:
        return row["tokens"].values[: int(row["prompt_length"])]
    return np.repeat(np.arange(table.sizes["symbol"]), row["counts"].values)


def behind(predictor: Predictor, tokens: Sequence[int] | Int[np.ndarray, " prompt"]) -> Predictor:
    """The predictor after these tokens; itself where there are none."""
    return condition(predictor, jnp.asarray(tokens, jnp.int32)) if len(tokens) else predictor


def counts_suffice(prior: Task, target: Task) -> bool:
    """Whether order matters to neither task, so that sums over counts are exact."""
    return prior.bayes().exchangeable and target.has_bayes and target.bayes().exchangeable


def _shown(found: list[np.ndarray], symbols: int, as_counts: bool) -> dict[str, Any]:
    """`counts` [prompt_length, symbol] and, where order matters, `tokens` [prompt_length, prompt]
    of the best prompts."""
    if as_counts:
        return {"counts": (("prompt_length", "symbol"), np.array(found))}
    counts = [np.bincount(word, minlength=symbols) for word in found]
    longest = len(found[-1])
    tokens = [np.pad(word, (0, longest - len(word)), constant_values=-1) for word in found]
    return {
        "counts": (("prompt_length", "symbol"), np.array(counts)),
        "tokens": (("prompt_length", "prompt"), np.array(tokens)),
    }


def _check_all(prior: Task, target: Task, length: int, steps: int) -> None:
    check(
        length >= 0 and steps >= 1,
        f"Expected a length of at least 0 and at least 1 step; got {length} and {steps}.",
    )
    check(
        prior.symbols == target.symbols,
        f"Expected a prior and a target over one alphabet; got {prior.symbols} and "
        f"{target.symbols} symbols.",
    )
    check(
        prior.has_bayes,
        "Expected a prior with an exact predictor, such as DirichletCategorical; got "
        f"{type(prior).__name__}. Search by sampling instead: promptax.steering.HardPrompt.",
    )
    if target.has_bayes and not counts_suffice(prior, target):
        words = sum(target.symbols**total for total in range(length + 1))
        exhaustive.check_readable(target, words, steps)
        return
    check(
        enumeration.is_enumerable(target, steps),
        "Expected a target with an oracle, an exact predictor and, where order does not matter, at "
        f"most {enumeration.MOST_COUNTS:,} count vectors; got {type(target).__name__} with "
        f"{target.symbols} symbols and {steps} steps. Choose fewer steps, or sample: "
        "promptax.evaluate.",
    )
