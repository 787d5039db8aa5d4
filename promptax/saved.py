"""Saved predictors as people name them: run folders or files, with names of their own."""

from pathlib import Path

from promptax import language, store
from promptax.fit import Fitted
from promptax.protocol import Predictor, Repeated
from promptax.specs import check


def named(words: tuple[str, ...]) -> dict[str, str]:
    """Paths by name, from NAME=PATH or PATH."""
    pairs = [word.split("=", 1) if "=" in word else [Path(word).stem, word] for word in words]
    names = [name for name, _ in pairs]
    check(len(set(names)) == len(names), f"Expected different names; got {names}. Use NAME=PATH.")
    return {name: path for name, path in pairs}


def predictor(path: str) -> Predictor | Repeated:
    """The predictor in a run folder or a file; of a fitted result, what was fitted. A language
    model by its name: smollm2, a folder in the Hugging Face format, a GGUF file."""
    if language.is_named(path):
        return language.predictor(path)
    inside = ("predictor.safetensors", "base.safetensors")  # of a fit, of a demo
    files = [Path(path) / name for name in inside if (Path(path) / name).exists()]
    file = files[0] if files else Path(path)
    thing = store.load(file)
    thing = thing.predictor if isinstance(thing, Fitted) else thing
    if not isinstance(thing, Predictor | Repeated):
        raise ValueError(f"Expected a saved predictor; {file} holds {type(thing).__name__}.")
    return thing
