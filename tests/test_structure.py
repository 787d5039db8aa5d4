"""The shape of the house: rooms in order, files that can be read in one sitting, who may print.

A room is a folder or a file in the package's root. Its place follows from what it imports; this
file writes the list of rooms in CONTRIBUTING.md.
"""

import ast
import functools
from pathlib import Path

import pytest
from support.processes import python

REPOSITORY = Path(__file__).parent.parent
ROOT = REPOSITORY / "promptax"
FILES = sorted(ROOT.rglob("*.py"))

FRONT = ("__init__", "__main__", "front_door")  # they see everything, and nothing sees them
MOST_FILES, MOST_FOLDERS = 11, 15  # in the root
BLIND_TO = {"predictors": {"tasks"}}  # a network knows no task
MAY_PRINT = ("cli/", "progress.py")
MAY_OPEN = {
    "files.py",
    "store.py",
    "platforms.py",
    "formats/netcdf.py",
    "formats/weights.py",
    "formats/fetch.py",
    "cli/printing.py",
    "cli/sources.py",
    "cli/watching.py",
    "fit/logs/metrics_file.py",
    "report/pages/pointer.py",
}
OPENERS = {
    "open",
    "read_text",
    "write_text",
    "read_bytes",
    "write_bytes",
    "mkdir",
    "unlink",
    "replace_file",
    "save_file",
    "load_file",
    "to_netcdf",
    "open_dataset",
    "load_dataset",
    "loadtxt",
    "savefig",
}


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def module_of(path):
    parts = ["promptax", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


@functools.cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def calls_of(path):
    """Every call in a file."""
    return [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]


def imports(path, everywhere=True):
    """The modules of promptax that a file imports, with lines; `everywhere`: in functions too."""
    tree = parsed(path)
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: write the whole module name"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name in MODULES else node.module for name in inner]
        else:
            continue
        yield from ((name, node.lineno) for name in found if name.split(".")[0] == "promptax")


def calls(path):
    """The names that a file calls, with their lines; `x.name(...)` counts as `name`."""
    for node in calls_of(path):
        yield getattr(node.func, "id", None) or getattr(node.func, "attr", None), node


def rooms():
    """The rooms by floor: each sees those of the floors before it."""
    sees = {room_of(path): set() for path in FILES if room_of(path) not in FRONT}
    for path in FILES:
        for module, line in imports(path) if room_of(path) in sees else ():
            place = f"{name_of(path)}:{line}"
            assert module in MODULES, f"{place}: {module} does not exist"
            assert module != "promptax", f"{place}: the front door is for users"
            sees[room_of(path)].add(module.split(".")[1])
    floors = []
    while sees:
        floor = sorted(room for room, seen in sees.items() if not (seen - {room}) & set(sees))
        assert floor, f"Expected no circle of rooms; got one among {sorted(sees)}"
        floors.append(floor)
        for room in floor:
            del sees[room]
    return floors


def test_the_list_of_rooms_is_written():
    """Of each room, what its docstring says first. Run this test and commit what it wrote."""
    width, lines = max(len(room) for floor in rooms() for room in floor) + 4, []
    for floor in rooms():
        for room in floor:
            inside = ROOT / room / "__init__.py"
            file = inside if inside.exists() else ROOT / f"{room}.py"
            about = ast.get_docstring(parsed(file)) or ""
            name = f"{room}/" if inside.exists() else room
            lines.append(f"    {name:<{width}}{about.split(chr(10))[0]}".rstrip())
        lines.append("")
    page = REPOSITORY / "CONTRIBUTING.md"
    text = page.read_text(encoding="utf-8")
    before, rest = text.split("<!-- rooms -->\n", 1)
    after = rest.split("<!-- end of rooms -->\n", 1)[1]
    listed = "\n".join(lines).rstrip()
    whole = f"{before}<!-- rooms -->\n\n{listed}\n\n<!-- end of rooms -->\n{after}"
    if whole != text:
        page.write_text(whole, encoding="utf-8")
    assert whole == text, "the list of rooms in CONTRIBUTING.md was old; it is written anew"


def test_the_root_is_an_entrance_hall():
    files = [path for path in FILES if path.parent == ROOT]
    folders = {path.relative_to(ROOT).parts[0] for path in FILES if path.parent != ROOT}
    assert len(files) <= MOST_FILES and len(folders) <= MOST_FOLDERS, (len(files), len(folders))


def test_a_room_is_blind_to_some():
    sights = [
        f"{name_of(path)}:{line}: {room_of(path)} sees {module}"
        for path in FILES
        for module, line in imports(path)
        if "." in module and module.split(".")[1] in BLIND_TO.get(room_of(path), ())
    ]
    assert not sights


def test_the_import_graph_has_no_cycles():
    graph = {
        module: {name for name, _ in imports(path, everywhere=False) if name in MODULES} - {module}
        for module, path in MODULES.items()
    }
    while leaves := [module for module, needs in graph.items() if not needs & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert not graph, f"each of these waits for another: {sorted(graph)}"


def test_a_file_is_read_in_one_sitting():
    lines = {name_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}
    long = {name: count for name, count in lines.items() if count > 400}
    assert not long, "80 to 250 lines feel right"


def places(wanted, allowed):
    """Where a call is `wanted`, in files whose name is not `allowed`."""
    return [
        f"{name_of(path)}:{node.lineno}"
        for path in FILES
        if not allowed(name_of(path))
        for name, node in calls(path)
        if wanted(name, node)
    ]


def test_only_the_command_line_and_progress_print():
    assert not places(lambda name, _: name == "print", lambda path: path.startswith(MAY_PRINT))


def touches_disk(name, node):
    if name not in OPENERS:
        return False
    image = ast.unparse(node.func) == "Image.open"  # of bytes, as for a figure's savefig
    in_memory = image or (name == "savefig" and not isinstance(node.args[0], ast.Constant))
    return not in_memory and not ast.unparse(node.func).startswith(("store.", "files."))


def test_only_files_and_store_touch_disk():
    assert not places(touches_disk, lambda path: path in MAY_OPEN)


def test_every_dataset_has_axes_of_the_table():
    """`axes.labelled` makes all of them, and refuses an axis without a word in `AXES`."""
    assert not places(lambda name, _: name == "Dataset", lambda path: path == "axes.py")


def test_a_file_says_what_it_is():
    trees = {name_of(path): parsed(path) for path in FILES}
    silent = [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)]
    assert not silent, "Expected a module docstring"


def test_kept_results_name_a_system_and_no_kernel():
    """What a machine calls its kernel is of no use to readers."""
    lines = [
        line.strip()
        for path in sorted((ROOT.parent / "docs" / "results").rglob("*.json"))
        for line in path.read_text().splitlines()
        if '"platform"' in line
    ]
    assert lines
    assert set(lines) <= {f'"platform": "{name}",' for name in ("Linux", "macOS", "Windows")}


HEAVY = {
    *("h5netcdf", "h5py", "jinja2", "matplotlib", "optax", "pandas", "PIL", "rich.progress"),
    *("scipy.optimize", "scipy.special", "scipy.stats", "tokenizers", "tyro", "xarray"),
}
START = {
    "import promptax": HEAVY | {"jax", "numpy"},
    "import promptax.front_door": HEAVY - {"tyro", "rich.progress"},
    "from promptax.cli.commands import diagnose, evaluate, pretrain, tune": {"matplotlib", "PIL"},
    "from promptax.cli import main; main(['--help'])": HEAVY | {"jax", "numpy"},
    "from promptax.cli import main; main(['list'])": HEAVY - {"tyro"} | {"jax", "numpy"},
}


@pytest.mark.slow
@pytest.mark.parametrize("code", START)
def test_nothing_heavy_is_imported_before_it_is_used(code):
    """Each of these takes a tenth of a second or more; JAX takes half a second."""
    asked = f"import sys; {code}; print(sorted({START[code]!r} & set(sys.modules)))"
    assert python(ROOT.parent, "-c", asked).splitlines()[-1] == "[]"


def test_importing_starts_no_device():
    """Flags may still choose the devices, and other processes may be joined."""
    code = "import promptax.cli; from jax._src import xla_bridge as b; print(b._backends)"
    assert python(ROOT.parent, "-c", code).strip() == "{}"
