"""Text of users, models and files: a file gets it as it is, a terminal visibly, markup nowhere."""

import io
import os
import signal
import sys
import time

import pytest
from support.command_line import _keep_compilation_settings, run  # noqa: F401

from promptax import cli, progress
from promptax.cli import printing, speaking
from promptax.progress import visible

MARKUP = ("[/b]", "[bold red]", ":o:", ":smile: [link=x]y[/link]", "a\\[b]", "[[]]")


def test_tables_and_lines_take_any_text(capsys):
    for text in MARKUP:
        printing.say(text)
        printing.print_rows(text, (text, "number"), [(text, "1")], words=(text,))
        printing.note(text)
        said = capsys.readouterr()
        assert said.out.count(text) == 4 and said.err.count(text) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\r\b", "␍␈"),
        ("\x7f\x9b31m", "\\x7f\\x9b31m"),
        ("abc\u202edcba\u2066", "abc\\u202edcba\\u2066"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("name \udcff", "name \\udcff"),
        ("line\n\ttab naïve 日本 👩\u200d💻 ␛", "line\n\ttab naïve 日本 👩\u200d💻 ␛"),
    ],
)
def test_what_acts_on_a_terminal_is_shown(text, shown):
    assert visible(text) == shown and visible(shown) == shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


TEXT = "tab\t:o: [/b] \x1b[31m\r\n"


def test_a_models_text_is_written_as_it_is_and_to_terminals_visibly(capsys, monkeypatch):
    speaking.print_pieces(iter([TEXT[:3], TEXT[3:]]))
    said = capsys.readouterr()
    assert (said.out, said.err) == (TEXT, "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    speaking.print_pieces(iter([TEXT]))
    assert terminal.getvalue() == visible(TEXT) + "\n"


class Broken(io.StringIO):
    error: OSError = BrokenPipeError(32, "Broken pipe")

    def write(self, text):
        raise self.error


def fake(monkeypatch, deed):
    """A command line whose command does something else."""
    monkeypatch.setattr("promptax.cli.commands.list.run", lambda flags, command: deed())


@pytest.mark.parametrize(
    ("error", "code"),
    [(BrokenPipeError(32, "Broken pipe"), 141), (OSError(28, "No space left"), 2)],
)
def test_a_command_goes_on_where_nobody_reads(monkeypatch, error, code):
    done = []

    def deed():
        printing.say("first")
        done.append("work")
        printing.print_rows("second", ("a",), [("b",)])

    fake(monkeypatch, deed)
    broken = Broken()
    broken.error = error
    monkeypatch.setattr(sys, "stdout", broken)
    with pytest.raises(SystemExit) as stop:
        run("list")
    assert stop.value.code == code and done == ["work"]


def test_a_closed_pipe_ends_what_a_model_says(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Broken())
    pieces = iter("endless " * 9)
    speaking.print_pieces(pieces)
    assert next(pieces) == "n"
    printing.lost_output.clear()


def test_what_is_no_result_goes_to_standard_error(monkeypatch, capsys):
    fake(monkeypatch, lambda: printing.say("result"))
    run("list")
    said = capsys.readouterr()
    assert said.out == "result\n" and said.err == "0 s\n"


def test_complaints_are_shown_visibly_with_their_advice(monkeypatch, capsys):
    def deed():
        error = ValueError("no \x1b[2J [/b]")
        error.add_note("Do\n\n    this :o:")
        raise error

    fake(monkeypatch, deed)
    with pytest.raises(SystemExit):
        run("list")
    assert capsys.readouterr().err == "error: no ␛[2J [/b] Do\n\n    this :o:\n"


def test_closed_and_ascii_streams_do(monkeypatch):
    ascii_stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_stream)
    printing.prepare_streams()
    printing.say("± 日")
    ascii_stream.seek(0)
    assert ascii_stream.read() == "\\xb1 \\u65e5\n"


# --- stopping -------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def as_in_a_terminal():
    """Shells let commands that they start in the background ignore Ctrl-C, which stays ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_waits_for_the_loop_and_a_second_one_does_not(number, capfd):
    with progress.stoppable():
        with pytest.raises(progress.Stopped), progress.reporting("work", ()) as tell:
            assert not tell(1, 9)
            os.kill(os.getpid(), number)
            assert tell(2, 9)  # and the loop saves
        assert "once more stops at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert not progress.is_asked_to_stop()
    with progress.stoppable(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)  # no loop looks


class Dropping:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)  # the signal arrives here, and what is raised goes nowhere


def test_a_stop_that_python_drops_is_asked_for_again():
    with pytest.raises(KeyboardInterrupt) as stop, progress.stoppable():
        Dropping()
        time.sleep(5)
    assert progress.signal_of(stop.value) == signal.SIGTERM


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_says_so(monkeypatch, capsys, number, code, at_once):
    def deed():
        if at_once:  # no loop looks
            os.kill(os.getpid(), number)
        with progress.reporting("work", ()) as tell:
            os.kill(os.getpid(), number)
            tell(1, 2)

    fake(monkeypatch, deed)
    with pytest.raises(SystemExit) as stop:
        run("list")
    assert stop.value.code == code and "stopped: nothing was kept" in capsys.readouterr().err
    assert cli.REFUSED == 2
