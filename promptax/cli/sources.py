"""What the files of promptax say about its classes, read without importing any of them.

To list members, `promptax list` would have to import JAX and every room, which takes longer than
reading all files. So bases, fields and docstrings come from the syntax trees. A test compares the
result with what the imported classes say of themselves.
"""

import ast
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

Place = tuple[str, str]  # a module, and a name in it


class Member(NamedTuple):
    """A member of an open set, as lists show it."""

    name: str
    summary: str
    """The first paragraph of its docstring, on one line."""
    fields: tuple[str, ...]


class Class(NamedTuple):
    """One class statement, without what it has from its bases."""

    name: str
    bases: tuple[Place, ...]
    """As its file names them; `_defined` says where they are defined."""
    open_as: str
    """The word of the open set that it begins; "" for others."""
    summary: str
    fields: tuple[str, ...]
    abstract: frozenset[str]
    """The methods that its subclasses owe."""
    concrete: frozenset[str]
    """The names that it gives a value, a body, or a field."""


class Module(NamedTuple):
    """The names that a file defines, and those that it imports from promptax."""

    classes: dict[str, Class]
    imports: dict[str, Place]


def docstring(module: str) -> str:
    """The first paragraph of the docstring of a module, on one line."""
    path = ROOT.parent / module.replace(".", "/")
    return _summary(_tree(path / "__init__.py" if path.is_dir() else path.with_suffix(".py")))


def members() -> dict[str, list[Member]]:
    """The concrete members of every open set by the set's word, all in alphabetical order."""
    modules = {_name(path): _module(path) for path in sorted(ROOT.rglob("*.py"))}
    by_word: dict[str, list[Member]] = {}
    for module in modules.values():
        for start in module.classes.values():
            lineage = _lineage(start, modules)
            if start.open_as:
                by_word.setdefault(start.open_as, [])
            words = {ancestor.open_as for ancestor in lineage[1:]} - {""}
            for word in words if not _owes(lineage) else ():
                member = Member(start.name, start.summary, _fields(lineage))
                by_word.setdefault(word, []).append(member)
    return {word: sorted(by_word[word]) for word in sorted(by_word)}


def _lineage(start: Class, modules: dict[str, Module]) -> list[Class]:
    """A class and its ancestors in promptax, the nearest first, each behind all that derive from
    it."""
    bases = [_defined(base, modules) for base in start.bases]
    ancestors = [part for base in bases if base for part in _lineage(base, modules)]
    return [start, *reversed(dict.fromkeys(reversed(ancestors)))]


def _defined(place: Place, modules: dict[str, Module]) -> Class | None:
    """The class that a module knows by a name; None if it is not one of promptax."""
    module, name = place
    if module not in modules:
        return None
    classes, imports = modules[module]
    if name in classes:
        return classes[name]
    return _defined(imports[name], modules) if name in imports else None


def _owes(lineage: list[Class]) -> bool:
    """Whether a method is still abstract: the nearest class that has the name decides."""
    given: set[str] = set()
    for ancestor in lineage:
        if ancestor.abstract - given:
            return True
        given |= ancestor.concrete
    return False


def _fields(lineage: list[Class]) -> tuple[str, ...]:
    """In the order of `dataclasses.fields`: those of the ancestors first."""
    names = [name for ancestor in reversed(lineage) for name in ancestor.fields]
    return tuple(name for name in dict.fromkeys(names) if not name.startswith("_"))


# --- from syntax trees ----------------------------------------------------------------------


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _name(path: Path) -> str:
    """The name that a file is imported by."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _module(path: Path) -> Module:
    """Only what stands at the left margin counts."""
    name, body = _name(path), _tree(path).body
    return Module(
        {node.name: _class(name, node) for node in body if isinstance(node, ast.ClassDef)},
        {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        },
    )


def _class(module: str, node: ast.ClassDef) -> Class:
    bases = [base for base in node.bases if isinstance(base, ast.Name)]
    words = {word.arg: word.value for word in node.keywords}
    functions = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    annotated = [part for part in node.body if isinstance(part, ast.AnnAssign)]
    assigned = [part for part in node.body if isinstance(part, ast.Assign)]
    abstract = frozenset(function.name for function in functions if _is_abstract(function))
    names = [ast.unparse(part.target) for part in annotated]
    names += [ast.unparse(target) for part in assigned for target in part.targets]
    names += [function.name for function in functions]
    return Class(
        node.name,
        tuple((module, base.id) for base in bases),
        _word(words.get("open_as")),
        _summary(node),
        tuple(ast.unparse(part.target) for part in annotated if not _is_of_class(part)),
        abstract,
        frozenset(names) - abstract,
    )


def _word(node: ast.expr | None) -> str:
    """The text that is written there, "" for anything else; nothing is evaluated."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_abstract(function: ast.FunctionDef) -> bool:
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    return "abc.abstractmethod" in decorators or "abstractmethod" in decorators


def _is_of_class(annotated: ast.AnnAssign) -> bool:
    """Whether it is no field: an attribute of the class, or one that members must bring."""
    return ast.unparse(annotated.annotation).startswith(("ClassVar", "eqx.AbstractVar"))


def _summary(node: ast.Module | ast.ClassDef) -> str:
    return head(ast.get_docstring(node))


def head(text: str | None) -> str:
    """The first paragraph of a docstring on one line, without what leads over to a formula."""
    line = " ".join((text or "").split("\n\n")[0].split())
    if not line.endswith(":"):
        return line
    before, stop, _ = line.rpartition(". ")
    return before + "." if stop else line[:-1] + "."
