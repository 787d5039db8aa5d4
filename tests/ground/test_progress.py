"""The progress bar: on terminals only, after a moment, closed whatever happens."""

import io
import time

import pytest
from rich.console import Console

from promptax import progress


def console(monkeypatch, terminal):
    """What a bar writes, and whether it believes itself to be on a terminal."""
    written = io.StringIO()
    fake = lambda **_: Console(file=written, force_terminal=terminal, width=120)  # noqa: E731
    monkeypatch.setattr(progress, "Console", fake)
    return written


def test_a_bar_shows_itself_on_terminals_only(monkeypatch):
    written = console(monkeypatch, terminal=False)
    bar = progress.Bar("tuning", patience=0.0)
    assert not bar(1, 3) and bar.display is None and not bar(2, 3)
    assert written.getvalue() == ""


def test_a_bar_waits_shows_and_closes(monkeypatch):
    written = console(monkeypatch, terminal=True)
    bar = progress.Bar("tuning", patience=0.2)
    bar(1, 4)
    assert bar.display is None and written.getvalue() == ""
    time.sleep(0.25)
    bar(2, 4, "loss 1.234")
    assert bar.display is not None
    bar.display.refresh()
    shown = written.getvalue()
    assert "tuning" in shown and "2/4" in shown and "loss 1.234" in shown
    bar(4, 4)
    assert bar.display is None
    bar.close()  # twice is fine


def test_a_quick_bar_never_shows(monkeypatch):
    written = console(monkeypatch, terminal=True)
    with progress.reporting("tuning", None) as tell:
        assert tell(1, 1) is False
    assert written.getvalue() == ""


def test_a_notebook_without_widgets_gets_a_line(monkeypatch, capsys):
    fake = lambda **_: Console(file=io.StringIO(), force_jupyter=True)  # noqa: E731
    monkeypatch.setattr(progress, "Console", fake)
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: None)
    bar = progress.Bar("tuning", patience=0.0)
    for done in range(1, 4):
        bar(done, 3, "loss \x1b 1.5")
    bar.close()
    said = capsys.readouterr()
    assert (
        said.out == ""
        and said.err == "".join(f"\rtuning {done}/3 loss ␛ 1.5\x1b[K" for done in (1, 2, 3)) + "\n"
    )


def test_names_and_notes_are_no_markup(monkeypatch):
    written = console(monkeypatch, terminal=True)
    bar = progress.Bar("[/b] \x1b[2J", patience=0.0)
    bar(1, 4, "[red]:o:")
    assert bar.display is not None
    bar.display.refresh()
    bar.close()
    assert "[/b] ␛[2J" in written.getvalue() and "[red]:o:" in written.getvalue()


def test_a_bar_closes_on_an_error(monkeypatch):
    console(monkeypatch, terminal=True)
    bar = progress.Bar("tuning", patience=0.0)
    with pytest.raises(KeyboardInterrupt), progress.reporting("tuning", [bar]) as tell:
        tell(1, 3)
        assert bar.display is not None
        raise KeyboardInterrupt
    assert bar.display is None
