"""The shape of the house: rooms in order, files that can be read in one sitting, who may print."""

import ast
from pathlib import Path

import pytest
from processes import python

ROOT = Path(__file__).parent.parent / "promptax"
FILES = sorted(ROOT.rglob("*.py"))
by_file = pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(ROOT)) for p in FILES])

# Data flows downwards: a room sees itself and the rooms above it.
ROOMS = [
    "axes",
    "specs",
    "protocol",
    "exchangeable",
    "mixture",
    "stepping",
    "sampling",
    "arithmetic_coding",
    "compression",
    "platforms",
    "files",
    "gguf_header",
    "weights",
    "tokenizer_files",
    "text",
    "words",
    "tasks",
    "enumeration",
    "predictors",
    "language",
    "progress",
    "settings",
    "steps",
    "fit",
    "steering",
    "quartiles",
    "control_variates",
    "evaluation",
    "examination",
    "in_context",
    "analysis",
    "report",
    "store",
    "adapters",
    "saved",
    "experiment",
    "conduct",
    "sweeps",
    "studies",
    "runs",
    "study_runs",
    "diagnosis",
    "bench",
    "commands",
    "arguments",
    "cli",
]
SEE_EVERYTHING = ("__init__", "__main__")
BLIND_TO = {"predictors": {"tasks", "enumeration"}}  # a network knows no task
MAY_PRINT = ("cli/", "progress.py")
MAY_OPEN = {"files.py", "store.py", "tasks/recorded.py", "specs.py", "platforms.py", "weights.py"}
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


def imports(path, everywhere=True):
    """The modules of promptax that a file imports, with lines; `everywhere`: in functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
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
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            yield name, node


@by_file
def test_a_file_belongs_to_a_room(path):
    assert room_of(path) in (*ROOMS, *SEE_EVERYTHING), "name the new room's place in ROOMS"


@by_file
def test_imports_come_from_rooms_above(path):
    room = room_of(path)
    if room in SEE_EVERYTHING:
        return
    seen = set(ROOMS[: ROOMS.index(room) + 1]) - BLIND_TO.get(room, set())
    for module, line in imports(path):
        place = f"{name_of(path)}:{line}"
        assert module in MODULES, f"{place}: {module} does not exist"
        assert module != "promptax", f"{place}: the front door is for users"
        assert module.split(".")[1] in seen, f"{place}: {room} does not see {module}"


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


def test_specs_opens_a_file_in_parse_alone():
    tree = ast.parse((ROOT / "specs.py").read_text(encoding="utf-8"))
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
    text = path.read_text(encoding="utf-8")
    assert not text or ast.get_docstring(ast.parse(text)), "Expected a module docstring"


def test_importing_is_quick():
    """What draws and what counts take long to import: not before they are used."""
    code = "import promptax, sys; print({'matplotlib', 'scipy.stats'} & set(sys.modules))"
    assert python(ROOT.parent, "-c", code).strip() == "set()"


def test_importing_starts_no_device():
    """Flags may still choose the devices, and other processes may be joined."""
    code = "import promptax.cli; from jax._src import xla_bridge as b; print(b._backends)"
    assert python(ROOT.parent, "-c", code).strip() == "{}"
