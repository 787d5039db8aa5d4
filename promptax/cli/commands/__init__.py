"""Which commands are there? An open set: one file and its line here, in the order of the help.

A command's file has three things: a docstring, whose first paragraph the help shows; `Flags`, a
frozen dataclass with a docstring under each field; and `run(flags, command)`, the deed. `command`
is the whole line as it was typed, for the record. It may have `imply(arguments)`: the arguments,
with those that they imply. A folder in this one, with its own `COMMANDS`,
holds the commands of a group: `lm/write.py` is `promptax lm write`. Only the file of the command
that is asked for is imported.
"""

COMMANDS = (
    "demo",
    "list",
    "pretrain",
    "tune",
    "evaluate",
    "diagnose",
    "report",
    "watch",
    "study",
    "bench",
    "lm",
)
