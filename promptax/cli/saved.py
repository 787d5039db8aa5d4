"""Saved predictors as people name them: run folders or files, with names of their own."""

import dataclasses
from pathlib import Path

from promptax import files, specs, store
from promptax.cli.printing import note
from promptax.cli.words import take
from promptax.fit.fitted import Fitted
from promptax.language import text_model
from promptax.language.adapters import load_adapter
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated
from promptax.specs import check
from promptax.tasks import Task

ADAPTER = "adapter"  # in a run folder: what was tuned of a language model


def named(words: tuple[str, ...]) -> dict[str, str]:
    """Paths by name, from NAME=PATH or PATH."""
    pairs = [_name_and_path(word) for word in words]
    names = [name for name, _ in pairs]
    check(len(set(names)) == len(names), f"Expected different names; got {names}. Use NAME=PATH.")
    return dict(pairs)


def _name_and_path(word: str) -> tuple[str, str]:
    """A path that is there wins, also one with "=" in it."""
    path = Path(word).expanduser()
    if "=" in word and not path.exists():
        name, given = word.split("=", 1)
        return name, str(Path(given).expanduser())
    return path.name if path.is_dir() else path.stem, str(path)


def lasting(path: str) -> str:
    """The path in a form that also says later, and from other folders, what is meant."""
    return str(Path(path).expanduser().absolute()) if Path(path).expanduser().exists() else path


def predictor(path: str) -> Predictor | Repeated:
    """The predictor in a run folder or a file; of a fitted result, what was fitted. A language
    model by its name: smollm2, a folder in the Hugging Face format, a GGUF file."""
    if text_model.is_named(path):
        return text_model.predictor(path)
    adapter, spec = Path(path) / ADAPTER, Path(path) / "spec.json"
    if adapter.is_dir() and spec.is_file():
        return load_adapter(adapter, text_model.predictor(_base_of(Path(path))))
    inside = ("predictor.safetensors", "base.safetensors")  # of a fit, of a demo
    there = [Path(path) / name for name in inside if (Path(path) / name).exists()]
    file = there[0] if there else Path(path)
    thing = store.load(file)
    thing = thing.predictor if isinstance(thing, Fitted) else thing
    if not isinstance(thing, Predictor | Repeated):
        raise ValueError(f"Expected a saved predictor; {file} holds {type(thing).__name__}.")
    return thing


def with_tokenizer(arguments: list[str]) -> list[str]:
    """The arguments with the tokenizer of the language model that is steered or measured, where the
    target has one and none was named: `--target texts` alone then means texts of that model."""
    word, others = take("--target", arguments)
    is_named = any(given.split("=")[0] == "--target.tokenizer" for given in arguments)
    if word is None or word[:1] in ("{", "[", "@") or is_named:
        return arguments
    fields = {field.name for field in dataclasses.fields(specs.member(Task, word))}
    models = [model for given in others if (model := _language_model(given))]
    has_one = "tokenizer" in fields and len(models) > 0
    return [*arguments, "--target.tokenizer", models[0]] if has_one else arguments


def _language_model(word: str) -> str:
    """The language model that a word of the command line names, or that the run folder there was
    made from; "" if there is none."""
    path = Path(word if Path(word).exists() else word.split("=", 1)[-1]).expanduser()
    if text_model.is_named(str(path)):
        return str(path)
    return _base_of(path) if (path / ADAPTER).is_dir() else ""


def _base_of(folder: Path) -> str:
    """The language model that a run folder's adapter is for.

    A relative path was once kept as it was typed: it is looked for here, and from the folders
    around the run folder.
    """
    base = str(files.read_json(folder / "spec.json").get("predictor", ""))
    check(base != "", f"Expected the name of a predictor in {folder}/spec.json; got none.")
    around = [Path(), *folder.absolute().parents]
    near = next((str(place / base) for place in around if (place / base).exists()), "")
    check(
        near != "" or text_model.is_named(base),
        f"Expected the name of a language model as predictor in {folder}/spec.json; got {base!r}, "
        "which is none, here or in a folder above.",
    )
    return near or base


def one_predictor(path: str) -> Predictor:
    """A saved predictor, of repetitions the first."""
    thing = predictor(path)
    if isinstance(thing, Repeated):
        note(f"{path} holds {len(thing)} repetitions; taking the first")
        return thing[0]
    return thing
