"""Of the code in the working folder, only what --plugin names is run."""

import importlib.metadata
import os
import subprocess
import sys

import pytest
from support.processes import ROOT

from promptax import specs

OPTIONAL = {"IPython", "dask", "ipywidgets", "jax_plugins", "netCDF4", "pyarrow", "ray", "torch"}
INSTALLED = {name for name in importlib.metadata.packages_distributions() if name.isidentifier()}

EVERYTHING = """
import pathlib, tempfile
import matplotlib.figure, rich.progress, scipy.stats, tokenizers, xarray as xr
import promptax as px, promptax.cli.commands.study, promptax.cli.commands.report
from promptax import store
with tempfile.TemporaryDirectory() as folder:
    place = pathlib.Path(folder) / "it.nc"
    px.save(place, xr.Dataset({"x": ("time", [0.5])}))
    px.load(place)
    store.write_figure(place.with_suffix(".png"), matplotlib.figure.Figure())
for name in OPTIONAL:
    try:
        __import__(name)
    except ImportError:
        pass
"""


def run_in(folder, *arguments):
    """Python in that folder, which is not on its path but by Python's own doing."""
    child = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return child.returncode, child.stdout + child.stderr


@pytest.fixture
def planted(tmp_path):
    """A folder with a module named like each library that could be asked for, which leaves a
    trace when it is run; and the plugin that makes promptax import all that it can."""
    work = tmp_path / "work"
    work.mkdir()
    names = INSTALLED | OPTIONAL | set(sys.stdlib_module_names) - {"__main__"} | {"helper"}
    for name in names - {"promptax"}:
        trace = f"open({str(tmp_path / 'traces')!r}, 'a').write('{name}\\n')\n"
        (work / f"{name}.py").write_text(trace + "raise ImportError('planted')\n")
    (work / "mine").mkdir()
    (work / "mine" / "__init__.py").write_text(f"OPTIONAL = {OPTIONAL!r}\n" + EVERYTHING)
    (work / "mine" / "members.py").write_text(
        "import mine\nfrom promptax.tasks import Categorical\nclass Marked(Categorical): pass\n"
    )
    (tmp_path / "promptax-script").write_text("from promptax.cli import main\nmain()\n")
    return work


@pytest.mark.slow
def test_planted_modules_are_never_run(planted):
    script = planted.parent / "promptax-script"
    code, said = run_in(planted, script, "list", "--plugin", "mine.members")
    assert code == 0 and "Marked" in said, said[-3000:]
    code, said = run_in(planted, script, "list", "--plugin", "helper")
    assert code != 0  # it was named, and run
    assert (planted.parent / "traces").read_text() == "helper\n"


@pytest.mark.slow
def test_python_m_promptax_leaves_them_alone_too(planted):
    for name in sys.stdlib_module_names:  # Python itself would import these
        (planted / f"{name}.py").unlink(missing_ok=True)
    code, said = run_in(planted, "-m", "promptax", "list", "--plugin", "mine.members")
    assert code == 0 and "Marked" in said, said[-3000:]
    assert not (planted.parent / "traces").exists()


def test_what_is_installed_is_found_before_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('planted')")
    sys.modules.pop("colorsys", None)
    specs.import_plugin("colorsys")
    (tmp_path / "other_colors.py").write_text("")
    with pytest.raises(ModuleNotFoundError):
        __import__("other_colors")
