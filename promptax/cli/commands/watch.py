"""Redraw the loss of a run in the terminal while it runs, until it ends or Ctrl-C."""

import contextlib
import dataclasses
import sys
import time
from pathlib import Path

import tyro
from rich.console import Console
from rich.live import Live

from promptax.cli.charts import draw_curve
from promptax.cli.printing import note, plain, say
from promptax.cli.watching import Place, Watched, place_of
from promptax.cli.words import expect

RECENT = 20  # steps that have a line; the loss in words is the mean over them
LONGEST_WAIT = 3600.0  # seconds between two looks
PATIENCE = 30.0  # seconds for a run that was just started to make its folder: JAX loads first
NO_LOSS = "no finite loss"
MOST_ROWS = 22  # of a picture; in a high terminal the others are for the list of fits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Which run is watched, and how."""

    folder: tyro.conf.Positional[str]
    """Run folder of pretrain, tune or demo, or folder of a study."""
    every: float = 1.0
    """Seconds between two looks."""
    once: bool = False
    """Draw what is there, and end."""


def run(flags: Flags, command: str) -> None:
    """Draw until the run ends. Where nobody sees a screen, such as in a pipe, draw once. A folder
    that is not there yet is waited for, unless with --once."""
    del command
    expect(
        0 < flags.every <= LONGEST_WAIT,
        f"Expected --every of more than 0 and at most {LONGEST_WAIT:,.0f} seconds; got "
        f"{flags.every}.",
    )
    try:
        place = place_of(flags.folder) if flags.once else _awaited(flags.folder)
    except KeyboardInterrupt:  # the usual way to end it
        return
    console = Console()
    if console.is_terminal and not console.is_dumb_terminal and not flags.once:
        with contextlib.suppress(KeyboardInterrupt):  # the usual way to end it
            _follow(place, console, flags.every)
    for line in picture(place, console.width, MOST_ROWS, _is_ascii(console)):
        say(line)


def _awaited(path: str) -> Place:
    """The folder of a run, which may be about to begin.

    Raises:
        ValueError: it is no run folder, or none came.
    """
    try:
        return place_of(path)
    except ValueError:
        if Path(path).expanduser().exists():
            raise
    note(f"{path} is not there yet; waiting {PATIENCE:g} seconds for a run to make it")
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(0.1)
        with contextlib.suppress(ValueError):
            return place_of(path)
    return place_of(path)


def _follow(place: Place, console: Console, seconds: float) -> None:
    """Redraw on a screen of its own until the run ends."""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while place.is_in_work():
            width, height = console.size
            lines = picture(place, width, height, _is_ascii(console))
            live.update(plain("\n".join(lines)), refresh=True)
            time.sleep(seconds)


def picture(place: Place, width: int, height: int, is_ascii: bool) -> list[str]:
    """The lines of the screen: the curve of the fit that was written last, and a list of others."""
    working, fits = place.is_in_work(), place.read()
    if not fits:
        return [f"{place.name}: {'waiting for its first step' if working else place.idle}"[:width]]
    *others, name = fits
    fit = fits[name]
    head = [f"{name} in {place.name}"[:width], _in_words(fit)[:width]]
    if not working and fit.done < fit.steps:
        head.append("It is not in work, and ended before its last step."[:width])
    rows = min(MOST_ROWS, height - len(head) - 1 - min(len(others), height // 4))
    curve = ["no finite loss yet"]
    if fit.losses:
        steps = sorted(fit.losses)
        curve = draw_curve(steps, [fit.losses[step] for step in steps], width, rows, is_ascii)
    left = max(0, height - len(head) - len(curve) - 1)
    done = [f"{other}: {_in_words(fits[other])}"[:width] for other in reversed(others)]
    return [*head, *curve, *done[:left]]


def _in_words(fit: Watched) -> str:
    recent = [fit.losses[step] for step in sorted(fit.losses)[-RECENT:]]
    mean = f", mean of {len(recent)} steps" if len(recent) > 1 else ""
    loss = f"loss {sum(recent) / len(recent):.3f} nats a sequence{mean}" if recent else NO_LOSS
    return f"step {fit.done:,} of {fit.steps:,}, {loss}"


def _is_ascii(console: Console) -> bool:
    """Whether the terminal shows letters of ASCII alone."""
    encoding = getattr(sys.stdout, "encoding", None) or console.encoding
    return not encoding.lower().replace("-", "").startswith("utf")
