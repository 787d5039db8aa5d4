"""Prompt or tune? What hard prompts can do for a target, exactly, and what is left for weights.

For a prior and a target with exact predictors: the best prompt of every length, what is known of
longer ones (`limits`), the best Bayes mixture of K prompts, and a verdict in words (`verdict`). No
network and no sampling: this is what an ideally pretrained one could do (Genewein et al. 2025,
section 3).
"""

import dataclasses
import json

import numpy as np
import xarray as xr
from jaxtyping import Int

from promptax.analysis.prompt_or_tune.best_prompts import best_tokens, exact_expectations
from promptax.analysis.prompt_or_tune.limits import limits
from promptax.analysis.prompt_or_tune.longer_prompts import longer_prompts
from promptax.analysis.prompt_or_tune.prompt_mixtures import prompt_mixtures
from promptax.analysis.prompt_or_tune.verdict import limit, verdict
from promptax.axes import NATS
from promptax.doors import door
from promptax.protocol.entries import predict
from promptax.protocol.mixture import check_components
from promptax.specs import check, check_whole_numbers, to_json
from promptax.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What prompts can do, exactly, and the verdict.

    `table` [prompt_length], all in nats of expected cumulative regret to the target's oracle:
    `regret` behind the best prompt of exactly that length, `best_up_to` behind the best prompt of
    at most that length (of the lengths in the table), `counts` [prompt_length, symbol] of the
    former (`tokens` where order matters), `exhaustive`: whether all prompts of that length were
    tried, or the best one found is an upper bound; `mixture`, `mixture_counts` [prompt_length,
    component, symbol], the same for the best Bayes mixture of prompts (NaN and -1 where not tried);
    scalar `floor`: the regret of the target's own exact predictor, the least that any predictor
    has; scalars `approached`, `least`, `mixture_approached`, `mixture_least`: what is known of
    prompts of any length (`promptax.analysis.prompt_or_tune.limits`). Attributes: `steps`,
    `length`, `tolerance`, `shown` (lengths worth a row), `possible` (whether the prior ever
    produces the best prompt: what follows one that it never produces is a convention of its exact
    predictor), `status`, `remedy`, `verdict`, `limit`, `prior`, `target`.
    """

    table: xr.Dataset

    @property
    def floor(self) -> float:
        """The least regret that any predictor has on the target, nats."""
        return float(self.table["floor"])

    @property
    def without_prompt(self) -> float:
        """Regret of the prior's exact predictor as it is, nats."""
        return float(self.table["regret"][0])

    @property
    def best_regret(self) -> float:
        """Regret behind the best prompt of any length tried, nats."""
        return float(self.table["best_up_to"][-1])

    @property
    def mixture_regret(self) -> float:
        """Regret of the best mixture of prompts tried, nats; NaN if none was."""
        return float(self.table["mixture"].min()) if "mixture" in self.table else float("nan")

    @property
    def status(self) -> str:
        """What a prompt can do: one of the words of `promptax.analysis.prompt_or_tune.verdict`."""
        return str(self.table.attrs["status"])

    @property
    def remedy(self) -> str:
        """What else would suffice; empty where nothing else is needed."""
        return str(self.table.attrs["remedy"])

    @property
    def verdict(self) -> str:
        """Status and remedy in a sentence or two, with their numbers."""
        return str(self.table.attrs["verdict"])


@door
def diagnose(
    prior: Task,
    target: Task,
    length: int = 6,
    steps: int = 50,
    longest: int = 1000,
    components: int = 2,
    tolerance: float = 0.01,
) -> Diagnosis:
    """Whether a hard prompt can take the prior's exact predictor to the target, exactly.

    Args:
        prior: the pretraining task, with an exact predictor.
        target: the task that is prompted for, with an oracle and an exact predictor.
        length: every prompt of up to that many symbols is tried.
        steps: steps of a target sequence over which regret is summed.
        longest: longer prompts are tried as well, up to this length. Where order does not matter,
            all of them while that takes seconds (two symbols: a thousand), then, at a ladder of
            lengths 10, 25, 50, 100, …, those that an exchange of symbols leads to; where it does,
            at 10, 100 and this length, short words that are repeated.
        components: prompts in a mixture.
        tolerance: nats; regret that close to the floor counts as having reached it.

    Raises:
        ValueError: a task has no exact predictor, the alphabets differ, or there is too much to
            try, such as too many different beliefs where order matters: the message says how many.

    Example: `diagnose(DirichletCategorical(), Categorical((0.2, 0.8))).status` is "a prompt
    suffices".
    """
    check_whole_numbers(components=components, longest=longest)
    check_components(components)
    check(longest >= 0, f"Expected a longest length of at least 0 symbols; got {longest}.")
    check(tolerance > 0, f"Expected a tolerance above 0 nats; got {tolerance:g}.")
    expectations = exact_expectations(prior, target, length, steps)
    floor = float(expectations.regret(expectations.bayes).sum())
    table = longer_prompts(prior, expectations, length, max(length, longest))
    if expectations.counts_suffice(prior.bayes()):
        mixed = prompt_mixtures(prior, target, table.attrs["shown"], steps, components)
        table["mixture"] = mixed["regret"]
        table["mixture_counts"] = mixed["counts"]
        table["mixture_exhaustive"] = mixed["exhaustive"]
        table["mixture_counts"] = table["mixture_counts"].fillna(-1).astype(int)
        table["mixture_exhaustive"] = table["mixture_exhaustive"].fillna(False).astype(bool)
    up_to = np.minimum.accumulate(table["regret"].values)
    table["best_up_to"] = "prompt_length", up_to, {"unit": NATS}
    table["floor"] = (), floor, {"unit": NATS}
    bounds = limits(prior, expectations, table, components)
    for name in ("approached", "least", "mixture_approached", "mixture_least"):
        table[name] = (), getattr(bounds, name), {"unit": NATS}
    table = table.assign_attrs(unit=NATS, steps=steps, length=length, tolerance=tolerance)
    table.attrs["possible"] = int(_possible(prior, best_tokens(table)))
    judged = verdict(table)
    said = {"status": judged.status, "remedy": judged.remedy, "verdict": judged.sentence}
    specs = {"prior": json.dumps(to_json(prior)), "target": json.dumps(to_json(target))}
    return Diagnosis(table.assign_attrs(limit=limit(table), **said, **specs))


def _possible(prior: Task, prompt: Int[np.ndarray, " prompt"]) -> bool:
    """Whether the prior ever produces these symbols."""
    if not len(prompt):
        return True
    log_probs = np.asarray(predict(prior.bayes(), prompt))[np.arange(len(prompt)), prompt]
    return bool(np.isfinite(log_probs).all())
