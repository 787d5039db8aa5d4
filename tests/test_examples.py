"""Every example runs, with few steps; the notebook too, from top to bottom."""

import os
import sys

import nbclient
import nbformat
import pytest
from support.processes import ROOT, environment, python

EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
by_name = {"ids": lambda path: path.name}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, **by_name)
def test_an_example_runs(script, tmp_path):
    assert python(tmp_path, script, "--quick")


@pytest.mark.parametrize("script", SCRIPTS, **by_name)
def test_an_example_says_what_to_expect(script):
    text = script.read_text(encoding="utf-8")
    assert "Expected" in text and f"python examples/{script.name} --quick" in text


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the notebook's tools
@pytest.mark.parametrize("path", NOTEBOOKS, **by_name)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PROMPTAX_QUICK", "1")
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, **by_name)
def test_a_notebook_is_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
