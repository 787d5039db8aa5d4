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
by_file = pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(ROOT)) for p in FILES])

FRONT = ("__init__", "__main__", "front_door")  # they see everything, and nothing sees them
MOST_FILES, MOST_FOLDERS = 10, 15  # in the root
BLIND_TO = {"predictors": {"tasks"}}  # a network knows no task
MAY_PRINT = ("cli/", "progress.py")
MAY_OPEN = {
    "files.py",
    "store.py",
    "specs.py",
    "platforms.py",
    "formats/netcdf.py",
    "formats/weights.py",
    "formats/fetch.py",
    "cli/printing.py",
    "cli/sources.py",
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


@by_file
def test_a_room_is_blind_to_some(path):
    hidden = BLIND_TO.get(room_of(path), set())
    for module, line in imports(path):
        seen = module.split(".")[1] if "." in module else ""
        assert seen not in hidden, f"{name_of(path)}:{line}: {room_of(path)} sees {module}"


def test_the_import_graph_has_no_cycles():
    graph = {
        module: {name for name, _ in imports(path, everywhere=False) if name in MODULES} - {module}
        for module, path in MODULES.items()
    }
    while leaves := [module for module, needs in graph.items() if not needs & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert not graph, f"each of these waits for another: {sorted(graph)}"


@by_file
def test_a_file_is_read_in_one_sitting(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{name_of(path)} has {lines} lines; 80 to 250 feel right"


@by_file
def test_only_the_command_line_and_progress_print(path):
    if name_of(path).startswith(MAY_PRINT):
        return
    for name, node in calls(path):
        assert name != "print", f"{name_of(path)}:{node.lineno} prints"


@by_file
def test_only_files_and_store_touch_disk(path):
    if name_of(path) in MAY_OPEN:
        return
    for name, node in calls(path):
        image = ast.unparse(node.func) == "Image.open"  # of bytes, as for a figure's savefig
        in_memory = image or (name == "savefig" and not isinstance(node.args[0], ast.Constant))
        by_them = ast.unparse(node.func).startswith(("store.", "files."))
        assert name not in OPENERS or in_memory or by_them, (
            f"{name_of(path)}:{node.lineno} calls {name}"
        )


@by_file
def test_every_dataset_has_axes_of_the_table(path):
    """`axes.labelled` makes all of them, and refuses an axis without a word in `AXES`."""
    for name, node in calls(path):
        assert name != "Dataset" or name_of(path) == "axes.py", (
            f"{name_of(path)}:{node.lineno} makes a Dataset; promptax.axes.labelled checks its axes"
        )


def test_specs_opens_a_file_in_parse_alone():
    tree = parsed(ROOT / "specs.py")
    opening = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Call) and getattr(inner.func, "id", None) == "open"
    ]
    assert opening == ["parse"]


@by_file
def test_a_file_says_what_it_is(path):
    tree = parsed(path)
    assert not tree.body or ast.get_docstring(tree), "Expected a module docstring"


HEAVY = {
    *("h5netcdf", "h5py", "jinja2", "matplotlib", "optax", "pandas", "PIL", "rich.progress"),
    *("scipy.optimize", "scipy.special", "scipy.stats", "tokenizers", "tyro", "xarray"),
}
START = {
    "import promptax": HEAVY | {"jax", "numpy"},
    "import promptax.front_door": HEAVY - {"tyro", "rich.progress"},
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
