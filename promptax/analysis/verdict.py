"""Prompt or tune? The verdict in words, read off the numbers of a diagnosis.

The rules, with *excess* for the regret above the target's floor:

- *already optimal*: the excess without any prompt is at most the tolerance.
- *a prompt suffices*: so is that of the best prompt up to the longest length.
- *a longer prompt may suffice*: it is not, but twice the length still takes off a tenth or more.
- otherwise *a prompt cannot suffice*, or *a prompt helps but cannot suffice* if it gains more than
  the tolerance over no prompt. Then the same rules say whether *a mixture of K prompts would
  suffice*, *may suffice if longer*, or *only weights* are left.
"""

import dataclasses

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

ALREADY = "already optimal"
SUFFICES = "a prompt suffices"
MAY = "a longer prompt may suffice"
HELPS = "a prompt helps but cannot suffice"
CANNOT = "a prompt cannot suffice"
ONLY_WEIGHTS = "only weights"
STILL_FALLING = 0.1  # of the excess, from half the longest length to the longest


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`status`: what a prompt can do; `remedy`: what else would, empty where none is needed;
    `sentence`: both, with the numbers that say so."""

    status: str
    remedy: str
    sentence: str


def verdict(table: xr.Dataset) -> Verdict:
    """The verdict on the table of a `Diagnosis`."""
    floor, tolerance = float(table["floor"]), table.attrs["tolerance"]
    excess = table["best_up_to"].values - floor
    lengths = table["prompt_length"].values
    if excess[0] <= tolerance:
        return Verdict(ALREADY, "", _already(table))
    if excess[-1] <= tolerance:
        return Verdict(SUFFICES, "", _suffices(table))
    if still_falling(excess, lengths):
        return Verdict(MAY, "", _may(table))
    status = HELPS if excess[-1] < excess[0] - tolerance else CANNOT
    remedy, and_so = _remedy(table)
    return Verdict(status, remedy, f"{_cannot(table, status)} {and_so}")


def still_falling(
    excess: Float[np.ndarray, " prompt_length"], lengths: Int[np.ndarray, " prompt_length"]
) -> bool:
    """Whether the excess, which never rises, falls by a tenth or more from half the length on."""
    half = excess[lengths <= lengths[-1] / 2][-1]
    return bool(np.isfinite(excess[-1]) and excess[-1] < (1 - STILL_FALLING) * half)


def limit(table: xr.Dataset) -> str:
    """What becomes of the best prompt's regret as prompts grow, in words."""
    floor, longest = float(table["floor"]), int(table["prompt_length"][-1])
    excess = table["best_up_to"].values - floor
    if excess[-1] <= table.attrs["tolerance"]:
        return f"reaches the floor of {nats(floor)}"
    if still_falling(excess, table["prompt_length"].values):
        return f"still falling at {longest:,} symbols, {nats(excess[-1])} above the floor"
    return f"stays {nats(excess[-1])} above the floor of {nats(floor)}"


def _remedy(table: xr.Dataset) -> tuple[str, str]:
    """What else would do, and the sentence that says so."""
    tried = table.dropna("prompt_length", subset=["mixture"]) if "mixture" in table else None
    if tried is None or not tried.sizes["prompt_length"]:
        return ONLY_WEIGHTS, "Mixtures of prompts were not tried: only weights are sure to suffice."
    count = tried.sizes["component"]
    best = np.minimum.accumulate(tried["mixture"].values)
    excess = best - float(table["floor"])
    row = tried.isel(prompt_length=int(np.argmin(np.round(tried["mixture"].values, 9))))
    prompts = " and ".join(shown(each) for each in row["mixture_counts"].values.astype(int))
    numbers = f"{prompts} leave {nats(best[-1])} nats"
    if excess[-1] <= table.attrs["tolerance"]:
        words = f"a mixture of {count} prompts would suffice"
        return words, f"{_capital(words)}: {numbers}."
    if still_falling(excess, tried["prompt_length"].values):
        words = f"a mixture of {count} longer prompts may suffice"
        return words, f"{_capital(words)}: {numbers}, and still fewer the longer they are."
    return ONLY_WEIGHTS, (
        f"Nor can a mixture of {count} prompts: the best leaves {nats(best[-1])} nats. What is "
        "left: only weights."
    )


def _already(table: xr.Dataset) -> str:
    steps, floor, tolerance = table.attrs["steps"], float(table["floor"]), table.attrs["tolerance"]
    keeps = table["regret"].values - floor <= tolerance
    text = (
        f"Already optimal: without a prompt the regret over {steps} steps is "
        f"{nats(table['regret'][0])} nats, and {nats(floor)} is the least that any predictor has."
    )
    if not keeps[1:].any():
        return text + " Every prompt makes it worse."
    last = int(np.flatnonzero(keeps)[-1])
    return f"{text} A prompt such as {_prompt(table, last)} keeps it so."


def _suffices(table: xr.Dataset) -> str:
    reached = table["best_up_to"].values - float(table["floor"]) <= table.attrs["tolerance"]
    first, last = int(np.argmax(reached)), int(np.argmin(np.round(table["regret"].values, 9)))
    asked = table.sel(prompt_length=table.attrs["length"])
    return (
        f"A prompt suffices: {_prompt(table, last)} leaves {nats(table['regret'][last])} nats over "
        f"{table.attrs['steps']} steps, where {nats(table['floor'])} is the least that any "
        f"predictor has. Without a prompt it is {nats(table['regret'][0])}, behind the best of up "
        f"to {table.attrs['length']} symbols {nats(asked['best_up_to'])}; "
        f"{int(table['prompt_length'][first]):,} symbols come within {table.attrs['tolerance']:g}."
    )


def _may(table: xr.Dataset) -> str:
    best, lengths = table["best_up_to"].values, table["prompt_length"].values
    half = int(np.flatnonzero(lengths <= lengths[-1] / 2)[-1])
    return (
        f"A longer prompt may suffice: the best of up to {lengths[-1]:,} symbols leaves "
        f"{nats(best[-1])} nats over {table.attrs['steps']} steps, which is "
        f"{nats(best[-1] - table['floor'])} above the floor and still falling "
        f"({nats(best[half])} at {lengths[half]:,} symbols, {nats(best[0])} without a prompt)."
    )


def _cannot(table: xr.Dataset, status: str) -> str:
    best, floor = float(table["best_up_to"][-1]), float(table["floor"])
    longest = int(table["prompt_length"][-1])
    above = f"{nats(best - floor)} above the floor of {nats(floor)}"
    over = f"nats over {table.attrs['steps']} steps"
    tried = "" if bool(table["exhaustive"].all()) else " that was tried"
    if status == CANNOT:
        return (
            f"A prompt cannot suffice: no prompt of up to {longest:,} symbols{tried} improves on "
            f"none at all, which leaves {nats(table['regret'][0])} {over}, {above}."
        )
    index = int(np.argmin(np.round(table["regret"].values, 9)))
    return (
        f"A prompt helps but cannot suffice: the best of up to {longest:,} symbols{tried}, "
        f"{_prompt(table, index)}, takes the regret from {nats(table['regret'][0])} to "
        f"{nats(best)} {over}, {above}, and longer prompts come no closer."
    )


def _prompt(table: xr.Dataset, index: int) -> str:
    row = table.isel(prompt_length=index)
    if "tokens" in table and int(row["prompt_length"]):
        return " ".join(str(token) for token in row["tokens"].values if token >= 0)
    return shown(row["counts"].values)


def shown(counts: Int[np.ndarray, " symbol"]) -> str:
    """A multiset of symbols in words: "1×0 5×1"."""
    parts = [f"{count}×{symbol}" for symbol, count in enumerate(counts) if count]
    return " ".join(parts) or "no prompt"


def nats(value: float | xr.DataArray | np.ndarray) -> str:
    """Four decimals; ∞ where something that comes is thought impossible."""
    number = float(value)
    return "∞" if np.isinf(number) else f"{number:.4f}".replace("-0.0000", "0.0000")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
