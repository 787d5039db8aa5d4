"""How far a hard prompt can take the exact predictor of a prior towards a target, exactly.

A prompt conditions the prior's posterior. If the target is one task inside the prior, a long enough
prompt is all that is needed; if it is a mixture, no prompt is enough, since posteriors collapse
(Genewein et al. 2025, section 3). Every prompt is tried and every sequence of the target counted:
no sampling.
"""

import dataclasses

import numpy as np
import xarray as xr

from promptax import enumeration
from promptax.axes import NATS
from promptax.specs import check
from promptax.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class Promptability:
    """The best hard prompt of every length, exactly.

    `table`: `regret` [prompt_length], expected cumulative regret to the target's oracle after the
    best prompt of exactly that length, in nats; `counts` [prompt_length, symbol], how often that
    prompt has each symbol. For an exchangeable prior the order of a prompt does not matter.
    """

    table: xr.Dataset

    @property
    def best_regret(self) -> float:
        """Regret after the best prompt of exactly the asked length, nats."""
        return float(self.table["regret"][-1])

    @property
    def best_prompt(self) -> tuple[int, ...]:
        """The tokens of the best prompt of exactly the asked length, sorted."""
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

    Args:
        prior: the pretraining task; its exact predictor must depend on counts alone.
        target: the task that is prompted for; it needs an oracle and such a predictor too.
        length: symbols in the prompt; all shorter lengths are tried as well.
        steps: steps of a target sequence over which regret is summed.

    Raises:
        ValueError: a task cannot be enumerated, the alphabets differ, or there is too much to try.

    Example: `promptability(DirichletCategorical(), Categorical((0.2, 0.8))).best_regret` is 0.5711.
    """
    _check_all(prior, target, length, steps)
    table = enumeration.count_table(target, steps)
    layers = [enumeration.compositions(total, target.symbols) for total in range(length + 1)]
    regrets = enumeration.prompt_regrets(prior.bayes(), np.concatenate(layers), table)
    ends = np.cumsum([len(layer) for layer in layers])
    best, counts = [], []
    for layer, scores in zip(layers, np.split(regrets, ends[:-1]), strict=True):
        index = int(np.argmin(np.round(scores, 9)))
        best.append(scores[index])
        counts.append(layer[index])
    return Promptability(
        xr.Dataset(
            {
                "regret": ("prompt_length", np.array(best), {"unit": NATS}),
                "counts": (("prompt_length", "symbol"), np.array(counts)),
            },
            coords={
                "prompt_length": np.arange(length + 1),
                "symbol": np.arange(target.symbols),
            },
            attrs={"unit": NATS, "steps": steps},
        )
    )


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
        prior.has_bayes and prior.bayes().exchangeable,
        "Expected a prior whose exact predictor depends on counts alone, such as "
        f"DirichletCategorical; got {type(prior).__name__}. Search by sampling instead: "
        "promptax.steering.HardPrompt.",
    )
    check(
        enumeration.is_enumerable(target, steps),
        "Expected a target with an oracle, an exact predictor that depends on counts alone and at "
        f"most {enumeration.MOST_COUNTS:,} count vectors; got {type(target).__name__} with "
        f"{target.symbols} symbols and {steps} steps. Choose fewer steps, or sample: "
        "promptax.evaluate.",
    )
