"""How every figure looks: colours, marks, sizes.

Colours are Okabe and Ito's (with four of Paul Tol's where a group needs more), which stay apart
for the common kinds of colour blindness. Colour is never the only cue: a group has its own family
of colours and its own dashes, members differ in marker, and every curve carries its name.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import matplotlib
import xarray as xr

from promptax.report import summaries

WIDTH = 6.4  # inches; a phone shows it at about 0.6 of this size, hence the large letters
TEXT, SMALL, NOTE = 11.0, 10.0, 9.5  # points
INK, MUTED, FAINT, PAPER = "#1f2328", "#57606a", "#d0d7de", "#ffffff"
TIME_COLORS = "viridis"
PROMPT_COLOR = "#D55E00"

_FAMILIES: dict[str, tuple[str, ...]] = {
    "prompts": ("#E69F00", "#CC79A7", "#882255", "#D55E00"),
    "weights": ("#0072B2", "#56B4E9", "#009E73", "#332288", "#44AA99"),
    "baselines": ("#57606a", "#8c959f", "#1f2328", "#6e7781"),
}
_OTHERS = ("#661100", "#999933", "#117733", "#AA4499")
_METHODS = {
    "prompts": ("hard prompt", "simplex prompt", "real prompt", "soft prompt"),
    "weights": ("full weights", "low rank", "embedding", "unembedding", "both embeddings"),
}
_OF_METHODS: dict[str, str] = {  # the main paper's methods have one colour wherever they are drawn
    name: color
    for group, names in _METHODS.items()
    for name, color in zip(names, _FAMILIES[group], strict=True)
}
_MARKERS = "os^DvPX*"
_SOLID: tuple[Any, ...] = ("-", (0, (8, 1.5)))
_DASHED: tuple[Any, ...] = (
    (0, (4, 2)),
    (0, (1, 1.4)),
    (0, (7, 2)),
    (0, (6, 1.6, 1, 1.6)),
    (0, (3, 1.2, 1, 1.2, 1, 1.2)),
)

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # the one that comes with matplotlib: same figure everywhere
    "font.size": TEXT,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "axes.titlesize": TEXT,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": SMALL,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "grid.alpha": 0.7,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.7,
    "lines.markersize": 5,
    "lines.solid_capstyle": "round",
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "path",  # letters as outlines: no font needed where the page is read
    "svg.hashsalt": "promptax",  # same data, same bytes
}
_LOCK = threading.RLock()


@dataclasses.dataclass(frozen=True)
class Look:
    """How one predictor is drawn, in every figure."""

    color: str
    line: Any
    marker: str


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Draw in house style inside this block; the settings outside it are untouched.

    matplotlib has one settings table for all threads, so blocks take turns.
    """
    defaults: dict[Any, Any] = {
        name: value
        for name, value in matplotlib.rcParamsDefault.items()
        if not name.startswith("backend")  # the one setting that would not be put back
    }
    with _LOCK, matplotlib.rc_context({**defaults, **_RC}):
        yield


def looks(results: xr.Dataset) -> dict[str, Look]:
    """One look per predictor: its name's colour if it has one, else by its place in its group."""
    by_name: dict[str, Look] = {}
    for group, members in summaries.groups(results).items():
        family = _FAMILIES.get(group, _OTHERS)
        taken = {_OF_METHODS[name] for name in members if name in _OF_METHODS}
        colors = [color for color in family if color not in taken] or list(family)
        lines = _DASHED if group == "baselines" else _SOLID
        unnamed = [name for name in members if name not in _OF_METHODS]
        for index, name in enumerate(members):
            place = 0 if name in _OF_METHODS else unnamed.index(name)
            turn = index if group == "baselines" else place // len(colors)
            by_name[name] = Look(
                color=_OF_METHODS.get(name, colors[place % len(colors)]),
                line=lines[turn % len(lines)],
                marker="" if group == "baselines" else _MARKERS[index % len(_MARKERS)],
            )
    return by_name
