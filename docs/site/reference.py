"""The pages of the reference: every public name from its docstring, grouped by room."""

import re
from collections import defaultdict

from public_names import (
    PublicName,
    docstring_of,
    docstring_of_module,
    file_of,
    is_module,
    public_names,
    silent_members,
)

FEWEST = 3  # fewer names of a folder go to the page of their room
ROOT_PAGE = "root"  # for files that are in no room
FRONT_DOOR_INTRODUCTION = """# What `px` offers

After `import promptax as px` these names are `px.NAME`, and so are the packages: `px.tasks`,
`px.steering`.
"""


class UndocumentedNameError(Exception):
    """Of a public name, or of a member of a public class, nothing is said."""


def reference_pages() -> dict[str, str]:
    """The Markdown of every page, by its address below `docs`.

    Raises:
        UndocumentedNameError: a public name, or a member of a public class, has no docstring.
    """
    names = public_names()
    silent = [name.path for name in names if not docstring_of(name).strip()]
    silent += [f"{name.path}.{member}" for name in names for member in silent_members(name)]
    if silent:
        raise UndocumentedNameError(
            "Expected a docstring for each public name, and for each method, property and field of "
            f"a public class; got none for {silent}."
        )
    groups = _grouped(names)
    pages = {f"reference/{group}.md": _page_of_group(group, groups[group]) for group in groups}
    pages["reference/px.md"] = _page_of_front_door(names)
    pages["reference/index.md"] = _index(groups)
    return pages


def navigation() -> list[dict[str, str | list]]:
    """The reference's entries in the menu: a room, and below it its folders."""
    groups = _grouped(public_names())
    rooms: dict[str, list[str]] = defaultdict(list)
    for group in sorted(groups, key=lambda group: (group == ROOT_PAGE, group)):
        rooms[group.split(".")[0]].append(group)
    entries: list[dict[str, str | list]] = [
        {"Overview": "reference/index.md"},
        {"px": "reference/px.md"},
    ]
    for room, members in rooms.items():
        if members == [room]:
            title = "other files" if room == ROOT_PAGE else room
            entries.append({title: f"reference/{room}.md"})
        else:
            below = [
                {"in general" if group == room else group.split(".")[1]: f"reference/{group}.md"}
                for group in members
            ]
            entries.append({room: below})
    return entries


def _grouped(names: list[PublicName]) -> dict[str, list[PublicName]]:
    by_folder: dict[str, list[PublicName]] = defaultdict(list)
    for name in names:
        by_folder[name.folder].append(name)
    groups: dict[str, list[PublicName]] = defaultdict(list)
    for folder, members in by_folder.items():
        room = folder.split(".")[0]
        is_file = "." not in folder and members[0].module == f"promptax.{room}"
        if is_file and not docstring_of_room(room):
            groups[ROOT_PAGE].extend(members)
        else:
            groups[folder if len(members) >= FEWEST else room].extend(members)
    return dict(groups)


def docstring_of_room(folder: str) -> str:
    """What a room or folder says of itself; "" for a single file."""
    file = file_of(f"promptax.{folder}")
    return docstring_of_module(f"promptax.{folder}") if file.name == "__init__.py" else ""


def _page_of_group(group: str, names: list[PublicName]) -> str:
    if group == ROOT_PAGE:
        title, introduction = "Files, checks, devices", "What lies beside the packages."
    else:
        title, introduction = folder_path(group), docstring_of_room(group)
    blocks = [f"::: {name.path}\n{_options(name)}" for name in names]
    return "\n\n".join([f"# {title}", introduction, _table(names), *blocks])


def folder_path(group: str) -> str:
    """The folder that a page is about, `promptax/steering/searches`: a place to look at, which need
    not be what its names are imported from."""
    return f"promptax/{group.replace('.', '/')}"


def _options(name: PublicName) -> str:
    options = ["heading_level: 2", f"toc_label: {name.name}"]
    options.append(f'extra: {{import_line: "{name.import_line}"}}')
    if is_module(name):
        options += ["members: true", "show_root_full_path: true"]
    return "\n".join(["    options:", *(f"      {option}" for option in options)]) + "\n"


def _table(names: list[PublicName]) -> str:
    rows = [
        f"| [`{name.name}`][{name.path}] | {first_sentence(docstring_of(name))} |"
        for name in sorted(names, key=lambda name: name.name.lower())
    ]
    return "\n".join(["| name | what it is |", "|---|---|", *rows])


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring, on one line, fit for a cell of a table."""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.?!]) (?=[A-ZÀ-Þ`>])", paragraph)[0]
    return sentence.replace("|", "\\|").replace("<", "&lt;")


def _page_of_front_door(names: list[PublicName]) -> str:
    offered = [name for name in names if "promptax.front_door" in name.doors]
    return f"{FRONT_DOOR_INTRODUCTION}\n{_table(offered)}\n"


def _index(groups: dict[str, list[PublicName]]) -> str:
    rows = []
    for group in sorted(groups):
        about = (
            first_sentence(docstring_of_room(group))
            if group != ROOT_PAGE
            else "What lies beside the packages."
        )
        label = folder_path(group) if group != ROOT_PAGE else "files, checks, devices"
        rows.append(f"| [{label}]({group}.md) | {about} | {len(groups[group])} |")
    return "\n".join(
        [INDEX_INTRODUCTION, "| package | what it is | names |", "|---|---|---|", *rows, ""]
    )


INDEX_INTRODUCTION = """# Reference

Every public name, from its docstring: what it is, what it returns, shapes in axis words, units,
errors, and the paper or equation behind it. Names are grouped by the folder of `promptax` that they
live in; the line below a name says from where to import it. `px.NAME` is a shorter way to what is
used most.

- [What `px` offers](px.md)
- The command line says what it takes: `promptax --help`, `promptax tune --help`, `promptax list`.

Shapes use one word for each axis, everywhere: *time* counts symbols, *symbol* runs over the
alphabet, *repetition* over seeds, *prompt* over the rows of a prompt. Losses and regrets are in
nats.

Public is what a package's `__init__.py` offers, what `px` offers, what these documents import or
name, and what stands in the signatures of public functions.
"""
