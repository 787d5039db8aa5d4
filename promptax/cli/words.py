"""What may stand anywhere in a command line: plugins, and the flags that join other processes.

This file is read before it is known whether the command needs JAX, so it brings none.
"""

PROCESS_FLAGS = ("--coordinator", "--num-processes", "--process-id")


def expect(condition: bool, message: str) -> None:
    """Raise ValueError(message) unless the condition holds: `specs.check`, without JAX."""
    if not condition:
        raise ValueError(message)


def take(flag: str, arguments: list[str]) -> tuple[str | None, list[str]]:
    """The word after a flag, and the arguments without both."""
    for index, word in enumerate(arguments):
        if word.startswith(flag + "="):
            return word.split("=", 1)[1], arguments[:index] + arguments[index + 1 :]
        if word == flag:
            expect(index + 1 < len(arguments), f"Expected a name after {flag}; got none.")
            return arguments[index + 1], arguments[:index] + arguments[index + 2 :]
    return None, arguments


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
    if names:
        from promptax import specs

        for name in names:
            specs.import_plugin(name)
    return others


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
        platforms.use_cores()
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
