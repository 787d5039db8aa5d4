"""What may stand anywhere in a command line: plugins, and the flags that join other processes.

This file is read before it is known whether the command needs JAX, so it brings none.
"""

import os
import re
from collections.abc import Iterable

PROCESS_FLAGS = ("--coordinator", "--num-processes", "--process-id")


def expect(condition: bool, message: str) -> None:
    """Raise ValueError(message) unless the condition holds: `specs.check`, without JAX."""
    if not condition:
        raise ValueError(message)


def with_home(arguments: Iterable[str]) -> list[str]:
    """The arguments with the home folder in place of "~", also where shells leave it: --out=~/a."""
    return [
        flag + "=" + os.path.expanduser(path) if flag.startswith("--") and path[:1] == "~" else word
        for word in arguments
        for flag, _, path in [word.partition("=")]
    ]


def take(flag: str, arguments: list[str]) -> tuple[str | None, list[str]]:
    """The word after a flag, and the arguments without both.

    Raises:
        ValueError: nothing follows the flag, or it is there twice.
    """
    taken, others, remaining = [], [], list(arguments)
    while remaining:
        word = remaining.pop(0)
        if word.startswith(flag + "="):
            taken.append(word.split("=", 1)[1])
        elif word == flag:
            expect(len(remaining) > 0, f"Expected a name after {flag}; got none.")
            taken.append(remaining.pop(0))
        else:
            others.append(word)
    expect(len(taken) <= 1, f"Expected {flag} once; got it with {', '.join(map(repr, taken))}.")
    return (taken[0] if taken else None), others


def import_plugins(arguments: list[str]) -> list[str]:
    """Import what --plugin names, wherever it stands. Returns the other arguments."""
    names, others, remaining = [], [], list(arguments)
    while remaining:
        word = remaining.pop(0)
        if word == "--plugin" or word.startswith("--plugin="):
            expect("=" in word or bool(remaining), "Expected --plugin MODULE; got no module.")
            names.append(word.split("=", 1)[1] if "=" in word else remaining.pop(0))
        else:
            others.append(word)
    for name in names:
        _import_plugin(name)
    return others


def _import_plugin(name: str) -> None:
    """Import a plugin; what goes wrong inside it is told with its name.

    Raises:
        ValueError: it is not there, or cannot be imported.
    """
    from promptax import specs

    is_name = all(part.isidentifier() for part in name.split(".")) and not name.endswith(".py")
    remedy = _remedy_for_path(name)
    expect(
        is_name,
        f"Expected --plugin MODULE, as Python imports it (a.b, no path); got {name!r}.{remedy}",
    )
    try:
        specs.import_plugin(name)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(
            f"Expected a plugin that can be imported; {name!r} ends in {type(error).__name__}: "
            f"{error}. PROMPTAX_TRACEBACK=1 shows where."
        ) from error


def _remedy_for_path(name: str) -> str:
    """What to type for a module that is given by its path, or for several that are given as one."""
    if "," in name:
        return " Give --plugin once for each module."
    folder, file = os.path.split(name)
    module = os.path.splitext(file)[0]
    is_dotted = folder == "" and all(part.isidentifier() for part in module.split("."))
    if not is_dotted and not module.isidentifier():
        written = re.sub(r"\W", "_", module)
        is_file = file == f"{module}.py" and written.isidentifier()
        return f" Rename the file to {written}.py." if is_file else ""
    return f" Use {f'PYTHONPATH={folder} and ' if folder else ''}--plugin {module}."


def take_process_flags(arguments: list[str]) -> tuple[dict[str, str | None], list[str]]:
    """The values of the flags that make this one of several processes, and the other arguments."""
    values = {}
    for flag in PROCESS_FLAGS:
        values[flag], arguments = take(flag, arguments)
    return values, arguments


def join_processes(values: dict[str, str | None]) -> None:
    """Join other processes if the flags for that were given, or else use this machine's cores."""
    from promptax import platforms

    if not any(values.values()):
        platforms.spread_over_cores()
        return
    missing = [flag for flag, value in values.items() if value is None]
    expect(not missing, f"Expected {', '.join(PROCESS_FLAGS)} together; {missing} is missing.")
    coordinator, count, number = (str(value) for value in values.values())
    expect(
        count.isdigit() and number.isdigit() and int(number) < int(count),
        f"Expected --process-id from 0 to --num-processes - 1; got {number} of {count}.",
    )
    expect(
        ":" in coordinator,
        f"Expected --coordinator HOST:PORT of process 0; got {coordinator!r}.",
    )
    platforms.join(coordinator, int(count), int(number))
