"""Numbers and lists as English: what readings, figures and pages have in common.

Nats have two formats. Pages round to what readers compare: two decimals (`nats`, and `signed` for a
change). Exact tables keep four decimals (`precise`, and `precise_change`).
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Int

_LISTED = 4  # names spelled out before "and 7 more"
_NOUNS = {
    "prompts": ("prompt", "prompts"),
    "weights": ("weight method", "weight methods"),
    "baselines": ("baseline", "baselines"),
}


def nats(value: float) -> str:
    """A number of nats as text: two decimals, fewer where they would be noise, no minus zero."""
    if not np.isfinite(value):
        return "none"
    if abs(value) >= 1e5:
        return f"{value:.1e}".replace("-", "−")
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{1 if abs(value) >= 100 else 2}f}"
    sign = "−" if value < 0 and any(digit in text for digit in "123456789") else ""
    return sign + text.removeprefix("-")


def listed(names: Sequence[str]) -> str:
    """Names as "a, b and c"; of a long list, the first few and how many more."""
    shown = list(names[:_LISTED]) if len(names) > _LISTED + 1 else list(names)
    if len(shown) < len(names):
        shown.append(f"{len(names) - len(shown)} more")
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1]


def noun(group: str, count: int) -> str:
    """What a member of this group is called."""
    singular, plural = _NOUNS.get(group, (f"member of {group}", f"members of {group}"))
    return singular if count == 1 else plural


def share(count: int, total: int) -> str:
    """How many of all, as text: "none", "all", or the number."""
    return "none" if count == 0 else "all" if count == total else str(count)


def count(number: int, noun: str) -> str:
    """A number with its noun, in the right form."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def signed(value: float) -> str:
    """A change in nats as text, its sign always shown."""
    text = nats(value)
    return text if text.startswith("−") else f"+{text}"


def sentence(text: str) -> str:
    """A capital at the beginning, a full stop at the end."""
    return capitalised(text) + "."


LONG = 12  # tokens; of a longer prompt its end is shown


def spelled(tokens: Int[np.ndarray, " prompt"]) -> str:
    """A prompt token by token, -1 past its end; of a long one its end."""
    words = [str(token) for token in tokens if token >= 0]
    return " ".join(words if len(words) <= LONG else ["…", *words[-LONG:]]) or "no prompt"


def shown(counts: Int[np.ndarray, " symbol"]) -> str:
    """A multiset of symbols in words: "1×0 5×1"."""
    parts = [f"{count}×{symbol}" for symbol, count in enumerate(counts) if count]
    return " ".join(parts) or "no prompt"


def precise(value: float | xr.DataArray | np.ndarray) -> str:
    """Nats with four decimals; "∞" where the loss is infinite."""
    number = float(value)
    return "∞" if np.isinf(number) else f"{number:.4f}".replace("-0.0000", "0.0000")


def precise_change(value: float | xr.DataArray | np.ndarray) -> str:
    """Nats with four decimals and a sign; no minus zero."""
    return f"{round(float(value), 4) + 0.0:+.4f}"


def capitalised(text: str) -> str:
    """The text with a capital at its beginning; the other letters stay."""
    return text[:1].upper() + text[1:]
