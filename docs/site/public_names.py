"""Which names are public, and what they say of themselves; read from the source, nothing imported.

A name is public if somebody is sent to it: `promptax/front_door.py` offers it as `px.NAME`, the
`__init__.py` of a folder offers it there, the code of a document imports it, the prose of a
document names it (`promptax.specs.later`, or a class by its name alone), it stands in the signature
of a public function, or it is a class in that of a member of a public class. Everything else may
change without a word. The command line has its own help, and no page here.
"""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
FRONT_DOOR = "promptax.front_door"
ROOMS_WITHOUT_PAGE = ("cli",)
MEMBERS_WITHOUT_WORDS = ("examples",)  # for the contract tests; `mkdocs.yml` leaves it out, too
CODE_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ANY_BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
CODE_SPAN = re.compile(r"`([^`\n(]+)(?:\([^`]*\))?`")  # `name` or `name(arguments)`
CLASS_STATEMENT = re.compile(r"^class (\w+)", re.MULTILINE)
Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign | ast.Import


class PublicName(NamedTuple):
    """A name, the module that defines it, and where else it is offered."""

    module: str
    name: str
    doors: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Where it is defined, such as `promptax.tasks.markov.markov_chain.MarkovChain`."""
        return f"{self.module}.{self.name}"

    @property
    def folder(self) -> str:
        """Where it lives: a room, or a folder of a room, such as `steering.searches`."""
        places = self.module.split(".")[1:]
        is_package = file_of(self.module).name == "__init__.py"
        return ".".join(places[:2] if is_package or len(places) > 2 else places[:1])

    @property
    def import_line(self) -> str:
        """How a user gets it: by the front door, the shortest other door, or its own module."""
        if FRONT_DOOR in self.doors:
            return f"import promptax as px  # px.{self.name}"
        door = min(self.doors, key=lambda door: (door.count("."), door), default=self.module)
        return f"from {door} import {self.name}"


def public_names() -> list[PublicName]:
    """Every public name once, in the order in which doors and documents offer them."""
    doors: dict[tuple[str, str], list[str]] = {}
    sources = [*_offered_by_doors(), *_imported_by_documents(), *_named_in_prose()]
    for door, module, name in sources:
        doors.setdefault(_home_of(module, name), []).append(door)
    unread = list(doors)
    while unread:
        home = unread.pop(0)
        new = [named for named in _in_signatures(*home) if named not in doors]
        doors.update((named, []) for named in new)
        unread += new
    return [
        PublicName(module, name, tuple(dict.fromkeys(filter(None, offered))))
        for (module, name), offered in doors.items()
        if module.split(".")[1] not in ROOMS_WITHOUT_PAGE
    ]


@cache
def file_of(module: str) -> Path:
    """The file of a module, a folder's `__init__.py` included."""
    place = REPOSITORY.joinpath(*module.split("."))
    inside = place / "__init__.py"
    return inside if inside.exists() else place.with_suffix(".py")


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def docstring_of_module(module: str) -> str:
    """What a module says of itself."""
    return ast.get_docstring(_parsed(file_of(module))) or ""


def docstring_of(public: PublicName) -> str:
    """What a name says of itself: its docstring, or the string behind a constant; "" if nothing."""
    body = _parsed(file_of(public.module)).body
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if public.name not in _defined_by(statement):
            continue
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            return ast.get_docstring(statement) or ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            return str(after.value.value)
        return ""
    return docstring_of_module(public.path) if file_of(public.path).exists() else ""


def silent_members(public: PublicName) -> list[str]:
    """The methods, properties and fields of a public class that nothing is said of.

    A member is spoken of by its own docstring, by the string behind a field, by name in the
    docstring of its class, or by any of these in a base class.
    """
    node = _class_of(public.module, public.name)
    if node is None:
        return []
    spoken = _members_spoken_of(public.module, public.name)
    return [name for name in _members(node) if name not in spoken]


def _class_of(module: str, name: str) -> ast.ClassDef | None:
    statements = _parsed(file_of(module)).body
    classes = (node for node in statements if isinstance(node, ast.ClassDef))
    return next((node for node in classes if node.name == name), None)


def _members(node: ast.ClassDef) -> dict[str, str]:
    """What each public member that a class statement defines says of itself, "" if nothing."""
    said: dict[str, str] = {}
    for body in _bodies(node):
        for statement, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(statement, ast.FunctionDef):
                name, text = statement.name, ast.get_docstring(statement) or ""
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                behind = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                name, text = statement.target.id, str(after.value.value) if behind else ""
            else:
                continue
            if not name.startswith("_") and name not in MEMBERS_WITHOUT_WORDS:
                said[name] = said.get(name) or text
    return said


@cache
def _members_spoken_of(module: str, name: str) -> frozenset[str]:
    """The members that a class or one of its bases says something of."""
    node = _class_of(module, name)
    if node is None:
        return frozenset()
    quoted = " ".join(re.findall(r"`([^`]+)`", ast.get_docstring(node) or ""))
    spoken = {member for member, text in _members(node).items() if text}
    spoken |= set(re.findall(r"\w+", quoted))
    for base in node.bases:
        origin = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(origin, ast.Name):
            spoken |= _members_spoken_of(*_home_of(module, origin.id))
    return frozenset(spoken)


def is_module(public: PublicName) -> bool:
    """Whether the name is a module that a document imports as a whole."""
    return file_of(public.path).exists()


def _defined_by(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    return []


def _imports_of(tree: ast.Module) -> list[tuple[str, str, bool]]:
    """What is imported from promptax: module, name, and whether it is offered on (`A as A`)."""
    return [
        (node.module, alias.name, alias.asname == alias.name)
        for body in _bodies(tree)
        for node in body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("promptax")
        for alias in node.names
    ]


@cache
def _home_of(module: str, name: str) -> tuple[str, str]:
    """The module that defines a name which `module` offers."""
    if name in _names_defined_in(module):
        return module, name
    for source, imported, _ in _imports_of(_parsed(file_of(module))):
        if imported == name and source != module:
            return _home_of(source, name)
    return module, name


def _offered_by_doors() -> list[tuple[str, str, str]]:
    """Every door with what it offers: door, module, name; the front door first."""
    packages = sorted(
        ".".join(file.parent.relative_to(REPOSITORY).parts)
        for file in (REPOSITORY / "promptax").rglob("__init__.py")
    )
    offered = []
    for door in [FRONT_DOOR, *packages]:
        tree = _parsed(file_of(door))
        listed = _listed_as_public(tree)
        for module, name, on in _imports_of(tree):
            is_room = file_of(f"{module}.{name}").exists()
            if (on or name in listed) and not is_room:
                offered.append((door, module, name))
    return offered


def _listed_as_public(tree: ast.Module) -> list[str]:
    """The names in `__all__`."""
    return [
        element.value
        for statement in tree.body
        if "__all__" in _defined_by(statement) and isinstance(statement.value, ast.List)
        for element in statement.value.elts
    ]


def _imported_by_documents() -> list[tuple[str, str, str]]:
    """What the code of documents imports, besides what is offered at the front door."""
    blocks = [block for text in _documents() for block in CODE_BLOCK.findall(text)]
    imported = dict.fromkeys(
        (module, name)
        for block in blocks
        for module, name, _ in _imports_of(ast.parse(block))
        if module != "promptax" and file_of(module).exists()
    )
    return [("", module, name) for module, name in imported if _exists(*_home_of(module, name))]


def _named_in_prose() -> list[tuple[str, str, str]]:
    """What documents name between backticks: by its path, or a class by its name alone, where no
    other class is called so. A module that is named is a file to look at, and no name."""
    spans = dict.fromkeys(
        span for text in _documents() for span in CODE_SPAN.findall(ANY_BLOCK.sub("", text))
    )
    classes = _modules_of_classes()
    named = []
    for span in spans:
        path, _, name = span.rpartition(".")
        modules = [path] if path.startswith("promptax.") else [] if path else classes.get(span, [])
        if len(modules) == 1 and file_of(modules[0]).exists():
            module, name = _home_of(modules[0], name)
            if name in _names_defined_in(module):
                named.append(("", module, name))
    return named


def _documents() -> list[str]:
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
    return [page.read_text(encoding="utf-8") for page in pages]


def _modules_of_classes() -> dict[str, list[str]]:
    """In which modules there is a class of a name."""
    modules: dict[str, list[str]] = defaultdict(list)
    for file in sorted((REPOSITORY / "promptax").rglob("*.py")):
        module = ".".join(file.relative_to(REPOSITORY).with_suffix("").parts)
        for name in CLASS_STATEMENT.findall(file.read_text(encoding="utf-8")):
            modules[name].append(module.removesuffix(".__init__"))
    return modules


def _in_signatures(module: str, name: str) -> list[tuple[str, str]]:
    """The names of promptax in the annotations of a function; or the classes of promptax in those
    of a class's members, as far as something is said of them: where each is defined, and itself.
    Another type is spelled out there (`spelled_out`)."""
    statements = _parsed(file_of(module)).body
    found: dict[tuple[str, str], None] = {}
    for node in statements:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            found |= dict.fromkeys(_ours(module, _annotations(node)))
        elif isinstance(node, ast.ClassDef) and node.name == name:
            said = {member for member, text in _members(node).items() if text}
            parts = [part for body in _bodies(node) for part in body]
            shown = [part for part in parts if said & set(_defined_by(part))]
            named = _ours(module, [each for part in shown for each in _annotations(part)])
            found |= dict.fromkeys(home for home in named if _class_of(*home) is not None)
    return list(found)


def _bodies(node: ast.ClassDef | ast.Module) -> list[list[ast.stmt]]:
    """The statements of a class or a module, and those that only type checkers see."""
    return [node.body, *(part.body for part in node.body if isinstance(part, ast.If))]


def _annotations(statement: ast.stmt) -> list[ast.expr | None]:
    """Of a function's parameters and result, or of a field."""
    if isinstance(statement, ast.FunctionDef):
        arguments = (node for node in ast.walk(statement.args) if isinstance(node, ast.arg))
        return [*(argument.annotation for argument in arguments), statement.returns]
    return [statement.annotation] if isinstance(statement, ast.AnnAssign) else []


def _ours(module: str, annotations: list[ast.expr | None]) -> list[tuple[str, str]]:
    """The names of promptax in annotations, as (where it is defined, name)."""
    found = dict.fromkeys(
        _home_of(module, node.id)
        for annotation in annotations
        for node in ast.walk(annotation or ast.Constant(None))
        if isinstance(node, ast.Name) and not node.id.startswith("_")
    )
    return [
        (home, name)
        for home, name in found
        if name in _names_defined_in(home) and not _is_type_variable(home, name)
    ]


def _is_type_variable(module: str, name: str) -> bool:
    """Whether a name stands for any type, `T = TypeVar("T")`: it is nothing to look up."""
    return any(
        name in _defined_by(statement) and "TypeVar" in ast.unparse(statement.value)
        for statement in _parsed(file_of(module)).body
        if isinstance(statement, ast.Assign)
    )


def _names_defined_in(module: str) -> set[str]:
    return {name for statement in _parsed(file_of(module)).body for name in _defined_by(statement)}


def _exists(module: str, name: str) -> bool:
    """Whether a name is defined there; `promptax.tasks.Texts` is found elsewhere when asked for."""
    return name in _names_defined_in(module) or file_of(f"{module}.{name}").exists()
