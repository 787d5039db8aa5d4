"""The process in which chat templates and patterns of foreign files are evaluated.

Both are small programs that somebody else wrote, and may take all time and all memory. This process
can be stopped, and may take only so much memory. It is started by its path, in isolated mode, and
imports nothing of promptax. It reads one request a line, as JSON, and answers with one line.
"""

import functools
import json
import re
import sys
from datetime import datetime
from typing import Any

MOST_MEMORY = 2**29  # bytes of address space; Python with Jinja takes some 2**26
MOST_CHARACTERS = 2**24  # of a text that is rendered


class Clock:
    """The time of a request: all its renderings see the same."""

    now = datetime.now()


@functools.lru_cache(maxsize=8)
def compiled(source: str) -> Any:
    """A chat template in Jinja's sandbox, with what `transformers` 5 offers to templates."""
    import jinja2
    import jinja2.ext
    import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        """`{% generation %}` marks replies for training; what counts here is its body."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    sandbox = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def as_json(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        """Jinja's own filter sorts keys, and writes < and & for HTML."""
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent,
                          separators=separators, sort_keys=sort_keys)  # fmt: skip

    sandbox.filters["tojson"] = as_json
    sandbox.globals["raise_exception"] = refuse
    sandbox.globals["strftime_now"] = lambda written: Clock.now.strftime(written)
    return sandbox.from_string(source)


def render(template: str, given: dict[str, Any], chats: list[Any]) -> list[str]:
    """Each chat, a list of messages, as the template writes it."""
    Clock.now = datetime.now()
    texts = [compiled(template).render(messages=messages, **given) for messages in chats]
    if sum(map(len, texts)) > MOST_CHARACTERS:
        raise ValueError(f"the chat has more than {MOST_CHARACTERS:,} characters")
    return texts


def match(patterns: list[str], paths: list[str], whole: bool) -> list[list[bool]]:
    """Whether each pattern fits each path, or the end of it, whole names of modules."""
    wanted = patterns if whole else [rf"(.*\.)?({end})" for end in patterns]
    return [[re.fullmatch(pattern, path) is not None for path in paths] for pattern in wanted]


@functools.lru_cache(maxsize=4)
def cutter(written: str) -> Any:
    """A tokenizer of the package `tokenizers`, of which only the ways to cut text matter."""
    import tokenizers

    return tokenizers.Tokenizer.from_str(written)


def cut(written: str, text: str, special: bool) -> int:
    """How many pieces are left of a text that a tokenizer normalises and cuts by its patterns."""
    try:
        model = cutter(written)
        model.encode_special_tokens = not special
        return len(model.encode(text, add_special_tokens=False))
    except BaseException as error:  # the package may panic
        raise ValueError(str(error)) from error


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The result, or why there is none: whatever goes wrong is the fault of the foreign text."""
    try:
        work = {"render": render, "match": match, "cut": cut}[request.pop("what")]
        return {"result": work(**request)}
    except MemoryError:
        return {"problem": f"it takes more than {MOST_MEMORY:,} bytes of memory"}
    except Exception as error:
        return {"problem": str(error) or type(error).__name__}


def main() -> None:
    """Answer requests until there are no more."""
    sys.path += [folder for folder in sys.argv[1:] if folder not in sys.path]
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    except (ImportError, ValueError, OSError):
        pass  # a system without such limits; the one of time is left
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
