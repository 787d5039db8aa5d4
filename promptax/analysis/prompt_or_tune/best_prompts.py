"""How far a hard prompt can take the exact predictor of a prior towards a target, exactly.

A prompt conditions the prior's posterior. If the target is one task inside the prior, a long enough
prompt is all that is needed; if it is a mixture, no prompt is enough, since posteriors collapse
(Genewein et al. 2025, section 3). Every prompt is tried and every sequence of the target counted:
no sampling. Where counts are all that matters, prompts are multisets and sequences are counts, and
a thousand symbols take a second; where order matters, prompts and sequences that leave equal
beliefs are merged (`promptax.evaluation.exact.beliefs`).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Int

from promptax.axes import NATS, labelled
from promptax.doors import door
from promptax.evaluation.exact import enumeration
from promptax.evaluation.exact.expectations import MOST_PROMPTS, Expectations, check_word
from promptax.protocol.entries import condition
from promptax.protocol.predictor import Predictor
from promptax.specs import check, check_kind, check_whole_numbers
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


@door
def promptability(prior: Task, target: Task, length: int = 6, steps: int = 50) -> Promptability:
    """Expected cumulative regret, in nats, of the prior's exact predictor after its best prompt.

    Of prompts that are equally good to 1e-9 nats, the one with the fewest symbols 0, or, where
    order matters, the first in order.

    Args:
        prior: the pretraining task, with an exact predictor.
        target: the task that is prompted for, with an oracle and an exact predictor.
        length: symbols in the prompt; all shorter lengths are tried as well.
        steps: steps of a target sequence over which regret is summed.

    Raises:
        ValueError: a task is not exact, the alphabets differ, or there is too much to try: too many
            count vectors, or, where order matters, too many different beliefs. The message says how
            many.

    Example: `promptability(DirichletCategorical(), Categorical((0.2, 0.8))).best_regret` is 0.5711.
    """
    return table_of_best(prior, exact_expectations(prior, target, length, steps), length)


def exact_expectations(prior: Task, target: Task, prompt_length: int, length: int) -> Expectations:
    """The expectations over the target's sequences of that length.

    Raises:
        ValueError: sizes that make no sense, a task that is not exact, or alphabets that differ.
    """
    check_kind(prior, Task, "DirichletCategorical()")
    check_kind(target, Task, "Categorical((0.2, 0.8))")
    check_whole_numbers(length=prompt_length, steps=length)
    check(
        prompt_length >= 0 and length >= 1,
        "Expected a prompt length of at least 0 and at least 1 step; got "
        f"{prompt_length} and {length}.",
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
    check(
        target.has_bayes and target.has_oracle,
        f"Expected a target with an oracle and an exact predictor; got {type(target).__name__}, of "
        "which no exact answer is known. Tune, and compare on sequences that were held out "
        "(docs/tutorials/own_sequences.md).",
    )
    expectations = Expectations(target, length)
    if expectations.counts_suffice(prior.bayes()):
        count = enumeration.size(prior.symbols, prompt_length + 1)
        check(
            count <= MOST_PROMPTS,
            f"Expected at most {MOST_PROMPTS:,} prompts to try, order being free; got "
            f"{count:,} of up to {prompt_length:,} symbols. Choose a shorter length; `longest` "
            "tries some that are longer.",
        )
    else:
        check_word(prompt_length)
    return expectations


def table_of_best(prior: Task, expectations: Expectations, prompt_length: int) -> Promptability:
    """The best prompts of every length up to that one."""
    symbols = np.arange(prior.symbols)
    prompts = expectations.best_prompts(prior.bayes(), range(prompt_length + 1))
    words = [np.array(prompt.tokens, int) for prompt in prompts]
    counts = [np.bincount(word, minlength=len(symbols)) for word in words]
    variables: dict[str, Any] = {
        "regret": ("prompt_length", [prompt.regret for prompt in prompts], {"unit": NATS}),
        "counts": (("prompt_length", "symbol"), np.array(counts)),
    }
    if not expectations.counts_suffice(prior.bayes()):
        ends = [(0, prompt_length - len(word)) for word in words]
        tokens = [np.pad(*pair, constant_values=-1) for pair in zip(words, ends, strict=True)]
        variables["tokens"] = ("prompt_length", "prompt"), np.array(tokens)
    coordinates = {"prompt_length": np.arange(prompt_length + 1), "symbol": symbols}
    attributes = {"unit": NATS, "steps": expectations.length}
    return Promptability(labelled(variables, coordinates, attributes))


def best_tokens(table: xr.Dataset) -> Int[np.ndarray, " prompt"]:
    """The best prompt of a table, the shortest of equally good ones (to 1e-9 nats)."""
    row = table.isel(prompt_length=int(np.argmin(np.round(table["regret"].values, 9))))
    if "tokens" in table:
        return row["tokens"].values[: int(row["prompt_length"])]
    return np.repeat(np.arange(table.sizes["symbol"]), row["counts"].values)


def behind(predictor: Predictor, tokens: Sequence[int] | Int[np.ndarray, " prompt"]) -> Predictor:
    """The predictor after these tokens; itself where there are none."""
    return condition(predictor, jnp.asarray(tokens, jnp.int32)) if len(tokens) else predictor
