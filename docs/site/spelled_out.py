"""Types without a page of their own are spelled out in signatures.

A reader of `advance(rows: Rows)` wants the axes of `Rows`, `Float[Array, "time embedding"]`, and
not another name. What an annotation tells the command line alone, `Annotated[type, …]`, is left
out.
"""

import dataclasses
from typing import Any

import griffe
import public_names


class SpelledOut(griffe.Extension):
    """Puts what a module calls `Rows = …` in place of the name, wherever an annotation has it."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Every module was read: names can be followed to where they are defined."""
        if pkg.name == "promptax":
            with_page = {public.path for public in public_names.public_names()}
            self._spell_out(pkg, lambda path: _meaning(loader, path, with_page))

    def _spell_out(self, owner: griffe.Module | griffe.Class, meaning: Any) -> None:
        for member in owner.members.values():
            if isinstance(member, griffe.Module | griffe.Class):
                self._spell_out(member, meaning)
            elif isinstance(member, griffe.Function):
                for function in (member, *(member.overloads or ())):
                    function.returns = _replaced(function.returns, meaning)
                    for parameter in function.parameters:
                        parameter.annotation = _replaced(parameter.annotation, meaning)
            elif isinstance(member, griffe.Attribute):
                member.annotation = _replaced(member.annotation, meaning)


def _meaning(loader: griffe.GriffeLoader, path: str, with_page: set[str]) -> griffe.Expr | None:
    """What a name stands for, if a module of ours says `Name = type` and no page tells of it."""
    if not path.startswith("promptax.") or path in with_page:
        return None
    try:
        defined = loader.modules_collection[path]
        defined = defined.final_target if isinstance(defined, griffe.Alias) else defined
    except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError):
        return None
    if not isinstance(defined, griffe.Attribute) or not isinstance(defined.parent, griffe.Module):
        return None
    is_type = isinstance(defined.value, griffe.ExprSubscript | griffe.ExprBinOp)
    return defined.value if is_type and defined.path not in with_page else None


def _replaced(part: Any, meaning: Any) -> Any:
    """An expression in which every such name is what it stands for."""
    if isinstance(part, list | tuple):
        return type(part)(_replaced(each, meaning) for each in part)
    if not isinstance(part, griffe.Expr):
        return part
    if isinstance(part, griffe.ExprName):
        meant = meaning(part.canonical_path)
        return part if meant is None else _replaced(meant, meaning)
    if isinstance(part, griffe.ExprSubscript) and part.left.canonical_path == "typing.Annotated":
        return _replaced(part.slice.elements[0], meaning)
    changed = {
        field.name: _replaced(getattr(part, field.name), meaning)
        for field in dataclasses.fields(part)
    }
    return dataclasses.replace(part, **changed)
