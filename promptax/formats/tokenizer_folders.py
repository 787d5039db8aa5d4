"""The tokenizer of a Hugging Face folder.

A folder says the same thing in up to six files, which may disagree. They are read in the order of
`transformers` 5: special tokens are those of tokenizer.json, then of `added_tokens_decoder` in
tokenizer_config.json or, without it, of special_tokens_map.json and added_tokens.json. The begin
token is the tokenizer's, which writes it where text becomes tokens. A reply ends with the
tokenizer's end token or one of generation_config.json (without it, of config.json).
"""

from pathlib import Path
from typing import Any

from promptax.files import expect
from promptax.formats.settings import (
    Object,
    Settings,
    parse_object,
    read_object_if_there,
    read_whole_text,
    shown,
)
from promptax.formats.tokenizers import FLAGS, Parts, checked_template, model_of, package

NAMED = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")  # special tokens with a part to play
LISTS = ("extra_special_tokens", "additional_special_tokens")  # others; the newer name comes first
MOST_SYMBOLS = 2**24  # the largest alphabet known has 2**18
CONFIGS = ("tokenizer_config", "config", "generation_config")


def from_folder(folder: Path) -> Parts:
    """Read the tokenizer of a folder: tokenizer.json, and what is there of tokenizer_config.json,
    special_tokens_map.json, added_tokens.json, config.json, generation_config.json and
    chat_template.jinja.

    Raises:
        FileNotFoundError: there is no tokenizer.json.
        StoreError: a file is truncated, something else, or contradicts another one.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise FileNotFoundError(
            f"Expected a file at {path}; there is none. Let transformers write it: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    model = model_of(read_whole_text(path), path)
    settings, config, generation = (
        Settings(read_object_if_there(folder / f"{name}.json"), folder / f"{name}.json")
        for name in CONFIGS
    )
    settings.require(
        "split_special_tokens", (False,), "which makes special tokens mere characters."
    )
    special = _special_tokens(folder, settings)
    objects = [t for t in _named_tokens(folder, settings).values() if isinstance(t, dict)]
    flags = {token["content"]: token for token in objects if "content" in token}
    _add_tokens(model, _declared_tokens(folder, settings, special), special, flags, folder)
    if "unk" in special and getattr(model.model, "unk_token", "") is None:
        model.model.unk_token = special["unk"]  # else characters without a token are lost silently
    highest = max(model.get_vocab().values(), default=0)  # numbers may have gaps
    expect(
        highest < MOST_SYMBOLS,
        f"Expected numbers of tokens below {MOST_SYMBOLS:,} in {path}; got {highest:,}.",
    )
    symbols = max(highest + 1, config.whole_number("vocab_size", 0, least=0))
    of_generation = generation if generation.get("eos_token_id") is not None else config
    end = _first(model, special, "eos", config)
    ends = [end, *_numbers(of_generation, "eos_token_id")]
    return Parts(
        model,
        symbols,
        _first(model, special, "bos", config),
        end if end is not None and end < symbols else None,
        _chat_template(folder, settings),
        # one outside the alphabet never comes
        tuple(dict.fromkeys(token for token in ends if token is not None and token < symbols)),
        {f"{key}_token": text for key, text in special.items() if key.isidentifier()},
    )


def begin_token_of_folder(config: Settings) -> int | None:
    """The token that opens every sequence of the model beside a config.json: the tokenizer's,
    which writes it where text becomes tokens, or else the one that config.json names.

    Needs no package: the token is looked up in tokenizer.json.

    Raises:
        StoreError: a file is something else.
    """
    folder, named_by_config = config.path.parent, _numbers(config, "bos_token_id")
    settings = Settings(
        read_object_if_there(folder / "tokenizer_config.json"), folder / "tokenizer_config.json"
    )
    special = _special_tokens(folder, settings)
    written = folder / "tokenizer.json"
    if "bos" in special and written.is_file():
        number = _token_in_json(read_whole_text(written), written, special["bos"])
        declared = _declared_tokens(folder, settings, special)
        numbers = [token for token, flags in declared.items() if flags["content"] == special["bos"]]
        if number is not None or numbers:
            return numbers[0] if number is None else number
    return next(iter(named_by_config), None)


def _token_in_json(written: str, path: Path, text: str) -> int | None:
    """The number of a token in a tokenizer.json: among those added, or in the vocabulary."""
    whole = parse_object(written, f"{path}")
    for added in whole.get("added_tokens") or []:
        if isinstance(added, dict) and added.get("content") == text:
            return added.get("id")
    model = whole.get("model")
    words = model.get("vocab") if isinstance(model, dict) else None
    return words.get(text) if isinstance(words, dict) else None


def _special_tokens(folder: Path, settings: Settings) -> dict[str, str]:
    """How special tokens are written, by what chat templates know them by without "_token", such as
    {"bos": "<s>"}; those without a name by their number in a list."""
    named = _named_tokens(folder, settings)
    texts = {key: _text(token, key, folder) for key, token in named.items()}
    return {key.removesuffix("_token"): text for key, text in texts.items() if text is not None}


def _named_tokens(folder: Path, settings: Settings) -> dict[str, Any]:
    """Special tokens as a folder names them: texts, or objects with a text and flags."""
    values = dict(settings.values)
    if settings.get("added_tokens_decoder") is None:
        values |= read_object_if_there(folder / "special_tokens_map.json")
    named = {f"{key}_token": values.get(f"{key}_token") for key in NAMED}
    named |= {key: token for key, token in values.items() if key.endswith("_token")
              and isinstance(token, str | dict)}  # fmt: skip
    place = next((place for place in LISTS if values.get(place)), LISTS[0])
    several = values.get(place) or []
    expect(
        isinstance(several, list | dict),
        f"Expected a list of tokens as {place} of {settings.path}; got {shown(several)}.",
    )
    if isinstance(several, dict):
        return named | several
    return named | {f"{place} {number}": token for number, token in enumerate(several)}


def _text(token: Any, key: str, folder: Path) -> str | None:
    """A special token: its text, or an object with it."""
    text = token.get("content") if isinstance(token, dict) else token
    expect(
        text is None or (isinstance(text, str) and text != ""),
        f"Expected {key} to be the text of a token in {folder / 'tokenizer_config.json'}; got "
        f"{shown(token)}.",
    )
    return text


def _declared_tokens(
    folder: Path, settings: Settings, special: dict[str, str]
) -> dict[int, Object]:
    """Tokens by number that files beside tokenizer.json declare, each with its flags."""
    declared, place = settings.get("added_tokens_decoder"), settings.path
    if declared is None:
        place = folder / "added_tokens.json"
        numbers, parts = read_object_if_there(place), set(special.values())
        declared = {
            str(number): {
                "content": text,
                "special": text in parts,
                "normalized": text not in parts,
            }
            for text, number in numbers.items()
        }
    expect(
        isinstance(declared, dict)
        and all(number.isdecimal() and len(number) < 10 for number in declared)
        and all(
            isinstance(f, dict) and isinstance(f.get("content"), str) for f in declared.values()
        ),
        f"Expected tokens by number in {place}, each with its text; got {shown(declared)}.",
    )
    return {int(number): declared[number] for number in sorted(declared, key=int)}


def _add_tokens(
    model: Any,
    declared: dict[int, Object],
    special: dict[str, str],
    flags_of: dict[str, Object],
    folder: Path,
) -> None:
    """Give a tokenizer the tokens that it lacks, with the numbers that were declared; of special
    ones that nobody numbered, `flags_of` has the flags by their text."""
    tokenizers = package("tokenizers")
    for number, flags in declared.items():
        text, is_special = flags["content"], bool(flags.get("special"))
        flags = {key: bool(flags[key]) for key in FLAGS if key in flags}
        is_special |= text in special.values()
        token = tokenizers.AddedToken(text, special=is_special, **flags)
        (model.add_special_tokens if is_special else model.add_tokens)([token])
        place = model.token_to_id(text)
        expect(
            place == number,
            f"Expected the token {shown(text)} to be number {number}, as files beside "
            f"tokenizer.json in {folder} say; there it is {place}. Save the tokenizer again.",
        )
    for text in special.values():
        if model.token_to_id(text) is None:
            given = flags_of.get(text, {})
            flags = {key: bool(given[key]) for key in FLAGS if key in given}
            model.add_special_tokens([tokenizers.AddedToken(text, special=True, **flags)])


def _first(model: Any, special: dict[str, str], key: str, config: Settings) -> int | None:
    """The token that the tokenizer names, or else the first one that config.json names."""
    named = model.token_to_id(special[key]) if key in special else None
    numbers = _numbers(config, f"{key}_token_id") if named is None else [named]
    return next(iter(numbers), None)


def _numbers(settings: Settings, key: str) -> list[int]:
    """Tokens that a setting names: none, one, or a list of them."""
    value = settings.get(key)
    numbers = value if isinstance(value, list) else [] if value is None else [value]
    expect(
        all(type(number) is int and 0 <= number < 2**31 for number in numbers),
        f"Expected {key} to be tokens, numbers of at least 0, in {settings.path}; got "
        f"{shown(value)}.",
    )
    return numbers


def _chat_template(folder: Path, settings: Settings) -> str | None:
    """The chat template of a folder: a file of its own comes first."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return read_whole_text(path)
    template = settings.get("chat_template")
    if isinstance(template, dict):  # several by their names
        template = [{"name": name, "template": text} for name, text in template.items()]
    if isinstance(template, list):
        named = [one for one in template if isinstance(one, dict) and one.get("name") == "default"]
        template = named[0].get("template") if named else None
    return checked_template(template, settings.path)
