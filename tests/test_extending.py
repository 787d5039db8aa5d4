"""docs/extending.md is true: its five files pass the contracts and work from the command line.

Everything runs in other processes, so that the new members stay unknown to the tests beside.
"""

import re

import pytest
from support.processes import ROOT, python
from support.warm import run_code

PLUGIN = "my_members"
MEMBERS = ("StickyChain", "MinGRU", "BitFit", "GreedyPrompt", "WeightDecay")
# The new tuner on an old network and the new one; that one alone, and with a prompt of its own.
CHOSEN = (
    "StickyChain or WeightDecay or (BitFit and (LSTM or MinGRU))"
    " or (MinGRU and (test_predictors or SoftPrompt)) or (GreedyPrompt and test_searches)"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the page's five files as the package `my_members`."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert len(files) == len(MEMBERS)
    folder = tmp_path_factory.mktemp("extending")
    package = folder / PLUGIN
    package.mkdir()
    for name, code in files.items():
        (package / f"{name}.py").write_text(code, encoding="utf-8")
    imports = "".join(f"from {PLUGIN}.{name} import *\n" for name in files)
    (package / "__init__.py").write_text(imports, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_the_new_members_obey_every_contract(folder):
    said = python(
        folder,
        *("-m", "pytest", "-vv", "--rootdir", ROOT, "-c", ROOT / "pyproject.toml"),
        *("-k", CHOSEN, ROOT / "tests" / "contracts"),
        PROMPTAX_PLUGIN=PLUGIN,
    )
    judged = [name for name in MEMBERS if re.search(rf"{name}.*PASSED", said)]
    contracts = {path.name for path in (ROOT / "tests" / "contracts").glob("test_*.py")}
    expected = set(MEMBERS) if "test_steering.py" in contracts else set(MEMBERS) - {"BitFit"}
    assert set(judged) == expected


COMMANDS = """
import os
from promptax.cli import main

os.environ["XDG_CACHE_HOME"] = os.path.abspath("cache")
plugin, small = ["--plugin", "my_members"], ["--fit.steps", "3", "--fit.batch", "8"]
target = ["--target", "stickychain", "--target.concentration", "8", "2"]
main(["list", *plugin])
main(["pretrain", *plugin, "--task", "stickychain", "--network", "mingru", "--network.width", "8",
      "--objective", "weightdecay", "--fit.length", "20", *small, "--out", "chain"])
main(["tune", *plugin, "--predictor", "chain", "--tuner", "bitfit", *target, *small,
      "--fit.length", "20", "--out", "often"])
main(["tune", *plugin, "--predictor", "chain", "--tuner", "greedyprompt", "--tuner.length", "2",
      *target, *small, "--fit.length", "20", "--out", "prompted"])
main(["evaluate", *plugin, "chain", "often=often", *target, "--sequences", "16",
      "--length", "20", "--prior", '{"class": "StickyChain"}'])
"""


@pytest.mark.slow
def test_the_new_members_work_from_the_command_line(folder):
    said = run_code(folder, COMMANDS)
    listed, measured = said.split("loss over the last", 1)
    for name in MEMBERS:
        assert name in listed
    assert "cost: 2 updates, 32 sequences, 646 tokens forward, 0 backward" in said
    for row in ("chain", "often", "bayes", "prior bayes"):
        assert re.search(rf"│ +│ {row} ", measured.replace("┃", "│")), measured
