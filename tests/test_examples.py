"""Every example runs, with few steps."""

import pytest
from support.processes import ROOT
from support.warm import run_script

EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
by_name = {"ids": lambda path: path.name}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, **by_name)
def test_an_example_runs(script, tmp_path):
    assert run_script(tmp_path, script, "--quick")


@pytest.mark.parametrize("script", SCRIPTS, **by_name)
def test_an_example_says_what_to_expect(script):
    text = script.read_text(encoding="utf-8")
    assert "Expected" in text and f"python examples/{script.name} --quick" in text
