"""Commands as the tests give them, and their complaints; the user's compilation cache stays."""

import pytest

from promptax import cli


def run(*arguments, capsys=None):
    cli.main([str(argument) for argument in arguments])
    return capsys.readouterr().out if capsys else None


def complaint(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture(autouse=True)
def _keep_compilation_settings(monkeypatch):
    monkeypatch.setattr(cli, "_use_compilation_cache", lambda: None)
