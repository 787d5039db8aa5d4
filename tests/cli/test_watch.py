"""`promptax watch`: what it draws, of which runs, at any width, and when it ends."""

import fcntl
import functools
import io
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest
from rich.console import Console
from support.command_line import _keep_compilation_settings, complaint, run  # noqa: F401
from support.processes import environment

from promptax import files
from promptax.cli.charts import draw_curve
from promptax.cli.commands import watch
from promptax.cli.watching import Metrics, RunFolder, place_of
from promptax.progress import METRICS, RUN_MARK, TRACEBACK
from promptax.studies import study_folder


def some_lines(steps, fit="tuning", total=100):
    losses = ((step, 10 + 100 / step) for step in steps)
    return "".join(
        json.dumps({"fit": fit, "step": step, "steps": total, "repetition": 0, "loss": loss}) + "\n"
        for step, loss in losses
    )


@pytest.fixture
def finished(tmp_path):
    folder = tmp_path / "run"
    files.write_text(folder / RUN_MARK, "")
    files.write_text(folder / METRICS, some_lines(range(1, 101)))
    return folder


@pytest.mark.parametrize("is_ascii", [True, False])
@pytest.mark.parametrize("width", [5, 20, 80, 300])
def test_a_curve_keeps_to_its_frame(width, is_ascii):
    steps = range(1, 51)
    lines = draw_curve(steps, [100.0 - step for step in steps], width, 10, is_ascii)
    assert len(lines) == 10 and max(map(len, lines)) <= max(width, 17)
    assert all(line.isascii() for line in lines) == is_ascii
    assert lines[0].split()[0] == "94" and lines[7].split()[0].startswith("50")


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0.0, "0"),
        (99.9996, "100"),
        (11059.3, "11059"),
        (-123456.7, "-123457"),
        (12345678.9, "1.2e+07"),
        (1.234e-5, "1.2e-05"),
        (-1.234e-5, "-1e-05"),
        (-1.2e300, "-1e+300"),
    ],
)
def test_labels_of_a_curve_are_numbers(value, label):
    lines = draw_curve([1, 2, 3], [value, value, value - 1e10 - abs(value) / 10], 40, 8, True)
    assert lines[0].split()[0] == label


def test_a_falling_curve_falls():
    lines = draw_curve(range(1, 72), [float(-step) for step in range(71)], 80, 10, True)
    columns = zip(*(line.ljust(80)[9:] for line in lines[:8]), strict=True)
    rows = [column.index("*") for column in columns]
    assert rows == sorted(rows) and rows[0] == 0 and rows[-1] == 7


def test_one_step_and_equal_losses_are_drawn():
    assert "*" in "".join(draw_curve([1], [3.0], 40, 8, True))
    for value in (3.0, 1e308, -1e300):
        assert "*" in "".join(draw_curve([1, 2], [value, value], 40, 8, True))


def test_a_finished_run_is_drawn_once(finished, capsys):
    said = run("watch", finished, capsys=capsys)
    assert "step 100 of 100, loss 11.1" in said and "not in work" not in said


def test_a_run_that_ended_early_says_so(finished, capsys):
    files.write_text(finished / METRICS, some_lines(range(1, 8)) + some_lines([1], "second"))
    said = run("watch", finished, capsys=capsys)
    assert "second" in said and "not in work, and ended before its last step" in said
    assert "tuning: step 7 of 100" in said


def test_a_file_that_grows_is_read_on_and_one_that_is_new_anew(finished):
    metrics, path = Metrics(finished / METRICS), finished / METRICS
    assert metrics.read()["tuning"].done == 100
    with open(path, "a") as file:
        file.write(some_lines([101], total=200) + '{"fit": "tun')
    assert metrics.read()["tuning"][1:] == (101, 200)
    files.write_text(path, some_lines(range(1, 4)))
    assert metrics.read()["tuning"].losses.keys() == {1, 2, 3}
    path.unlink()
    assert metrics.read() == {}


REFUSED = {
    "a folder of others": ({"thesis.tex": "years"}, "promptax did not make"),
    "a run without metrics": ({RUN_MARK: ""}, f"Expected {METRICS} in"),
    "a folder of that name": ({RUN_MARK: "", f"{METRICS}/inside": ""}, f"Expected {METRICS} in"),
    "another file of that name": ({RUN_MARK: "", METRICS: "hello\n"}, "in line 1 of"),
    "a list": ({RUN_MARK: "", METRICS: some_lines([1]) + "[1]\n"}, "in line 2 of"),
    "words for numbers": (
        {RUN_MARK: "", METRICS: '{"fit": "a", "step": "b", "steps": 1, "loss": 1}\n'},
        "in line 1 of",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_run_is_refused(case, tmp_path, capsys):
    contents, expected = REFUSED[case]
    for name, text in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        files.write_text(tmp_path / name, text)
    assert expected in complaint(capsys, "watch", tmp_path)
    assert "is not there" in complaint(capsys, "watch", tmp_path / "nowhere", "--once")


def test_a_run_that_is_about_to_begin_is_waited_for(finished, capsys, monkeypatch):
    here = finished.rename(finished.with_name("elsewhere"))
    timer = threading.Timer(0.3, here.rename, [finished])
    timer.start()
    assert "step 100 of 100" in run("watch", finished, capsys=capsys)
    timer.join()
    monkeypatch.setattr(watch, "PATIENCE", 0.2)
    said = complaint(capsys, "watch", finished.with_name("nowhere"))
    assert "is not there yet; waiting 0.2 seconds" in said and "is not there. `promptax" in said


def test_a_study_is_watched_condition_by_condition(tmp_path, capsys):
    """The last one that wrote is seen until it is done; then the next one."""
    files.write_json(tmp_path / "conditions.json", {"coin": "a.nc", "die": "b.nc"})
    assert run("watch", tmp_path, capsys=capsys).startswith(f"{tmp_path}: it")
    with study_folder.at_work(tmp_path):
        place = place_of(str(tmp_path))
        with study_folder.at_work(tmp_path):  # another process
            pass
        assert place.is_in_work() and place.read() == {}
        for name, steps in (("a", 3), ("b", 7)):
            file = tmp_path / "unfinished" / name / METRICS
            files.write_text(file, some_lines(range(1, steps + 1)))
            os.utime(file, (steps, steps))
        for name, steps in (("die", 7), ("coin", 3)):
            assert place.read()["tuning"].done == steps and place.name.startswith(f"{name}, ")
            os.utime(tmp_path / "unfinished" / "a" / METRICS, (9, 9))
            assert place.read()["tuning"].done == steps
            if name == "die":
                place.metrics.path.unlink()
        files.write_text(tmp_path / "unfinished" / "c" / METRICS, some_lines([1]))
        assert place.read()["tuning"].done == 1  # the other one failed long ago
        assert place.name.startswith("c, ")  # in a folder whose list does not have it
        files.write_text(tmp_path / "unfinished" / "c" / TRACEBACK, "ValueError")
        assert place.read()["tuning"].done == 3
        files.write_text(tmp_path / "unfinished" / "c" / METRICS, some_lines([2]))
        assert place.read()["tuning"].done == 2  # it is tried again
        for path in (tmp_path / "unfinished").glob("*/*"):
            path.unlink()
        assert place.read() == {} and place.name == str(tmp_path)
    assert not place.is_in_work()


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan", "3601"])
def test_seconds_that_nobody_waits_are_refused(seconds, finished, capsys):
    said = complaint(capsys, "watch", finished, "--every", seconds)
    assert "Expected --every of more than 0 and at most 3,600 seconds" in said


def watch_in_a_terminal(folder, rows=20, columns=60):
    """Start to watch in a terminal of that size; its process and where it writes."""
    handle, terminal = pty.openpty()
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    code = (  # tests that run in the background ignore Ctrl-C, and what they start does too
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from promptax.cli import main; main(['watch', {str(folder)!r}, '--every', '0.05'])"
    )
    process = subprocess.Popen(  # a fork of this process would copy the threads' locks of JAX
        [sys.executable, "-c", code],
        env=environment(folder.parent, TERM="xterm", LINES=str(rows), COLUMNS=str(columns)),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    return process, handle


def read_until(handle, words, patience=60.0):
    """What a terminal shows until it shows these words, or ends."""
    seen, end = "", time.monotonic() + patience
    while words not in seen and time.monotonic() < end:
        try:
            seen += os.read(handle, 10_000).decode(errors="replace")
        except OSError:  # it ended
            break
    return seen


def grow(folder, *steps):
    with open(folder / METRICS, "a") as file:
        file.write(some_lines(range(*steps)))


@pytest.mark.slow
def test_ctrl_c_ends_the_watching_and_leaves_the_last_picture(finished):
    files.write_text(finished / METRICS, some_lines(range(1, 5)))
    with files.alone(finished / RUN_MARK):
        process, handle = watch_in_a_terminal(finished)
        assert "step 4 of 100" in read_until(handle, "step 4 of 100")
        grow(finished, 5, 91)
        assert "step 90 of 100" in read_until(handle, "step 90 of 100")
        process.send_signal(signal.SIGINT)
        last = read_until(handle, "no such words")
    assert process.wait(60) == 0
    assert "step 90 of 100" in last and "stopped" not in last
    os.close(handle)


def test_the_watching_ends_with_the_run(finished):
    files.write_text(finished / METRICS, some_lines(range(1, 5)))
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=50, height=16)
    follow = functools.partial(watch._follow, RunFolder(finished), console, 0.02)
    thread = threading.Thread(target=follow)
    with files.alone(finished / RUN_MARK):
        thread.start()
        patience = time.monotonic() + 60
        while "step 4 of 100" not in screen.getvalue():
            assert thread.is_alive() and time.monotonic() < patience
            time.sleep(0.01)
    thread.join(10)
    assert not thread.is_alive()
