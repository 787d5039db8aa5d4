"""Prompt or tune? The verdict in words, read off the numbers of a diagnosis.

The rules, with *excess* for the regret above the target's floor, and numbers on prompts of any
length from `promptax.analysis.prompt_or_tune.limits`:

- *already optimal*: the excess without any prompt is at most the tolerance.
- *a prompt suffices*: so is that of the best prompt that was tried.
- *a longer prompt suffices*: so is one that longer prompts are known to come near to.
- *a prompt cannot suffice*: no prompt of any length has an excess within the tolerance. *A prompt
  helps but cannot suffice* if one is known to gain more than the tolerance.
- *no prompt that was tried suffices*: of longer ones too little is known.

In the last two cases the same rules say what else would do: *a mixture of K prompts*, *of K longer
prompts*, *only weights* where no mixture of prompts can, *only weights suffice for sure* otherwise.
"""

import dataclasses

import numpy as np
import xarray as xr

from promptax.report.wording import capitalised, precise, shown, spelled

ALREADY = "already optimal"


SUFFICES = "a prompt suffices"


LONGER = "a longer prompt suffices"


HELPS = "a prompt helps but cannot suffice"


CANNOT = "a prompt cannot suffice"


OPEN = "no prompt that was tried suffices"


ONLY_WEIGHTS = "only weights"


FOR_SURE = "only weights suffice for sure"


KNOWN = 1e-5  # nats between what prompts reach and what none goes below: it is the limit


NEVER = "which the prior never produces, so that what follows is a convention and no posterior"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`status`: what a prompt can do; `remedy`: what else would, empty where none is needed;
    `sentence`: both, with the numbers that say so."""

    status: str
    remedy: str
    sentence: str


def verdict(table: xr.Dataset) -> Verdict:
    """The verdict on the table of a `Diagnosis`."""
    least, approached = float(table["least"]), float(table["approached"])
    enough = float(table["floor"]) + table.attrs["tolerance"]
    without, best = float(table["regret"][0]), float(table["best_up_to"][-1])
    if without <= enough:
        return Verdict(ALREADY, "", _already(table))
    if best <= enough:
        return Verdict(SUFFICES, "", _suffices(table))
    so_far = _so_far(table)
    if approached <= enough:
        longer = f"Longer ones come as near to {precise(approached)} as one likes"
        return Verdict(LONGER, "", f"{capitalised(LONGER)}: {so_far}. {longer}.")
    remedy, and_so = _remedy(table)
    if least <= enough:
        ever, status = "What longer ones would do is not known.", OPEN
    else:
        ever = f"No prompt of any length leaves less than {precise(least)}."
        status = HELPS if approached < without - table.attrs["tolerance"] else CANNOT
    return Verdict(status, remedy, f"{capitalised(status)}: {so_far}. {ever} {and_so}")


def limit(table: xr.Dataset) -> str:
    """What becomes of the best prompt's regret as prompts grow, in words."""
    floor, approached, least = (float(table[x]) for x in ("floor", "approached", "least"))
    above = f"above the floor of {precise(floor)}"
    if approached <= floor + table.attrs["tolerance"]:
        return f"reaches the floor of {precise(floor)}"
    if approached <= least + KNOWN:
        return f"stays {precise(approached - floor)} {above}"
    if least > floor + table.attrs["tolerance"]:
        return f"stays at least {precise(least - floor)} {above}"
    longest = int(table["prompt_length"][-1])
    return f"is {precise(approached - floor)} {above} at {longest:,} symbols, its limit not known"


def _remedy(table: xr.Dataset) -> tuple[str, str]:
    """What else would do, and the sentence that says so."""
    tried = table.dropna("prompt_length", subset=["mixture"]) if "mixture" in table else None
    if tried is None or not tried.sizes["prompt_length"]:
        return FOR_SURE, "Mixtures of prompts were not tried: only weights suffice for sure."
    count, enough = tried.sizes["component"], float(table["floor"]) + table.attrs["tolerance"]
    row = tried.isel(prompt_length=int(np.argmin(np.round(tried["mixture"].values, 9))))
    counts = row["mixture_counts"].values.astype(int)
    prompts = " and ".join(map(shown, counts)) if counts.any() else "empty prompts"
    numbers = f"{prompts} leave {precise(row['mixture'])} nats"
    if row["mixture"] <= enough:
        words = f"a mixture of {count} prompts would suffice"
        return words, f"{capitalised(words)}: {numbers}."
    approached, least = float(table["mixture_approached"]), float(table["mixture_least"])
    if approached <= enough:
        words = f"a mixture of {count} longer prompts would suffice"
        nearer = f"longer ones come as near to {precise(approached)} as one likes"
        return words, f"{capitalised(words)}: {numbers}, and {nearer}."
    if least > enough:
        return ONLY_WEIGHTS, (
            f"Nor does any mixture of prompts leave less than {precise(least)}: what is left is "
            "only weights."
        )
    return FOR_SURE, (
        f"No mixture of {count} prompts that was tried suffices either: {numbers}. Only weights "
        "suffice for sure."
    )


def _already(table: xr.Dataset) -> str:
    steps, floor, tolerance = table.attrs["steps"], float(table["floor"]), table.attrs["tolerance"]
    keeps = table["regret"].values - floor <= tolerance
    text = (
        f"Already optimal: without a prompt the regret over {steps} steps is "
        f"{precise(table['regret'][0])} nats, and {precise(floor)} is the least that any predictor "
        "has."
    )
    last = int(np.flatnonzero(keeps)[-1])
    if last:
        return f"{text} A prompt such as {_prompt(table, last)} keeps it so."
    longest = int(table["prompt_length"][-1])
    lost = f" Every prompt that was tried, of 1 to {longest:,} symbols, raises it by more than "
    return text + f"{lost}{precise(tolerance)}." * bool(longest)


def _suffices(table: xr.Dataset) -> str:
    reached = table["best_up_to"].values - float(table["floor"]) <= table.attrs["tolerance"]
    first, best = int(np.argmax(reached)), float(table["best_up_to"][-1])
    asked = table.sel(prompt_length=table.attrs["length"])
    return (
        f"A prompt suffices: {_best_prompt(table)} leaves {precise(best)} nats "
        f"over {table.attrs['steps']} steps, where {precise(table['floor'])} is the least that any "
        f"predictor has. Without a prompt it is {precise(table['regret'][0])}, and after reading "
        f"the best of up to {table.attrs['length']} symbols {precise(asked['best_up_to'])}; "
        f"{int(table['prompt_length'][first]):,} symbols come within {table.attrs['tolerance']:g}."
    )


def _so_far(table: xr.Dataset) -> str:
    """What the prompts that were tried leave, and where."""
    without, best = float(table["regret"][0]), float(table["best_up_to"][-1])
    floor, longest = float(table["floor"]), int(table["prompt_length"][-1])
    over = f"the regret over {table.attrs['steps']} steps"
    above = f"{precise(best - floor)} above the floor of {precise(floor)}"
    tried = f"of up to {longest:,} symbols" + " that was tried" * (not table["exhaustive"].all())
    gain = without - best
    if gain > table.attrs["tolerance"]:
        took = f"takes {over} from {precise(without)} to {precise(best)} nats, {above}"
        return f"the best {tried}, {_best_prompt(table)}, {took}"
    above = f"{precise(without - floor)} above the floor of {precise(floor)}"
    text = f"without one {over} is {precise(without)} nats, {above}"
    if not longest:
        return f"{text}, and none was tried"
    less = "lowers it" if gain <= KNOWN else f"lowers it by more than {table.attrs['tolerance']:g}"
    return f"{text}, and no prompt {tried} {less}"


def _best_prompt(table: xr.Dataset) -> str:
    """The best that was tried, with a warning if it means nothing to the prior."""
    prompt = _prompt(table, int(np.argmin(np.round(table["regret"].values, 9))))
    return prompt if table.attrs["possible"] else f"{prompt} ({NEVER})"


def _prompt(table: xr.Dataset, index: int) -> str:
    row = table.isel(prompt_length=index)
    return spelled(row["tokens"].values) if "tokens" in table else shown(row["counts"].values)
