"""A whole file or folder of every kind that promptax reads, and how it is read.

`write_all` makes them, in a folder for each kind; they are small, and made up where that is all
that reading needs. What `promptax` writes carries a digest: no other content may be read from it.
"""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
import trials
import xarray as xr
from mutants import Random, hostile_json

import promptax as px
from promptax import files, specs, store
from promptax.cli import saved
from promptax.cli.commands.lm import decompress
from promptax.experiments import run_folder
from promptax.experiments.conditions import Measurements, result_path
from promptax.formats import weights
from promptax.language.adapters import load_adapter, save_adapter
from promptax.language.text_model import TextModel
from promptax.language.texts import Texts
from promptax.predictors import LSTM, Llama
from promptax.steering import KeyValuePrompt, LowRank, SoftPrompt, Tuner
from promptax.studies import CoinsInLanguage, study_folder
from promptax.tasks import Categorical, Recorded, Task

sys.path.insert(0, str(trials.ROOT / "tests"))
from support import made_up, small_llama

STATE = {"weights": jnp.arange(50.0), "step": np.array(3)}
TUNERS: dict[str, Tuner] = {
    "prompt": SoftPrompt(length=3, initial="tokens", before_begin=True),
    "prefix": KeyValuePrompt(length=3, initial="normal"),
    "low-rank": LowRank(rank=2),
}
ABOUT = {"chat_template": "{% for m in messages %}<|a|>{{ m['content'] }}<|b|>{% endfor %}"}
SPEC = {"class": "FitSettings", "steps": 30, "batch": 8, "learning_rate": [0.1, 0.2],
        "repetitions": 2, "schedule": "cosine"}  # fmt: skip


class Kind(NamedTuple):
    """A folder with files of one kind.

    `names`: the files that are damaged; `read`: what is read from the folder; `is_ours`: promptax
    wrote all of it, with digests; `damage`: a damage of its own, in place of those of `mutants`;
    `is_refused`: also where nothing is damaged.
    """

    names: tuple[str, ...]
    read: Callable[[Path], Any]
    is_ours: bool = False
    damage: Callable[[Random, bytes], bytes] | None = None
    is_refused: bool = False


# --- what promptax writes -------------------------------------------------------------------


def write_ours(folder: Path) -> None:
    """Files of promptax, in a folder for each kind."""
    network = LSTM(width=4).build(jax.random.key(0), 2)
    results, states = made_up.some_results(), made_up.some_states()
    loss, diverged = np.ones((1, 9), np.float32), np.array([-1], np.int32)
    tree = xr.DataTree.from_dict({"coin": results, "coin.states": states})
    px.save(folder / "record" / "network.safetensors", network)
    px.save(folder / "fit" / "fitted.safetensors", px.Fitted(network, loss, diverged))
    px.save(folder / "results" / "results.nc", results.assign_attrs(nothing=None))
    px.save(folder / "tree" / "results.nc", tree)
    px.save(folder / "spec" / "task.json", Categorical((0.2, 0.8)))
    px.save(folder / "argument" / "task.json", Categorical((0.2, 0.8)))
    px.Checkpoint(folder / "checkpoint" / "checkpoint.safetensors").save("run", STATE)
    px.save(folder / "crafted record" / "it.safetensors", px.Fitted(network, loss, diverged))
    run = folder / "run"
    settings = {"tuner": TUNERS["low-rank"], "fit": px.FitSettings(), "target": Categorical()}
    run_folder.write_spec(run, "promptax tune", 0, predictor="base", **settings)
    px.save(run / "predictor.safetensors", network)
    px.save(run / "results.nc", results)
    write_study(folder / "study", xr.DataTree.from_dict({"coin.states": states}))


def write_study(folder: Path, tree: xr.DataTree) -> None:
    """The folder of a study with the results of one condition."""
    study = CoinsInLanguage()
    conditions = study.conditions("smoke")
    study_folder.begin(folder, "promptax study", study, "smoke")
    study_folder.write_index(folder, conditions)
    px.save(result_path(folder, next(iter(conditions.values()))), tree)


def read_run(folder: Path) -> Any:
    """What commands read of a run folder."""
    is_tuned = run_folder.has_tuned_weights(folder)
    return saved.predictor(str(folder)), is_tuned, store.load(folder / "results.nc")


def read_study(folder: Path) -> Any:
    """What the page of a study is made from."""
    spec = run_folder.read_spec(folder, "command", "seed", "environment", "study", "scale")
    conditions = specs.from_json(spec["study"]).conditions(spec["scale"])
    return spec, files.read_json(folder / "conditions.json"), dict(Measurements(conditions, folder))


def read_argument(folder: Path) -> Any:
    """A spec as the command line takes it."""
    return specs.parse(Task)(f"@{folder / 'task.json'}")


def read_compressed(folder: Path) -> Any:
    """The text of a compressed file, as the command line makes it again."""
    file, out, model = (str(folder / name) for name in ("text.ptax", "text", "../Hugging Face"))
    decompress.run(decompress.Flags(file=file, out=out, model=model), "")
    return Path(out).read_text()


def crafted(random: Random, whole: bytes) -> bytes:
    """A record of which one value is another, with a digest that is right: no accident does so."""
    size = int.from_bytes(whole[:8], "little")
    arrays = safetensors.numpy.load(whole)
    metadata = json.loads(whole[8 : 8 + size])["__metadata__"]
    note = json.loads(metadata[store.ENTRY])
    thing = hostile_json(random, json.dumps(note["thing"]).encode())
    text = json.dumps(note | {"thing": "THING"}).replace('"THING"', thing.decode(errors="replace"))
    digest = weights.digest_of_arrays(text, arrays)
    return safetensors.numpy.save(arrays, {store.ENTRY: text, store.DIGEST: digest})


CHECKPOINT = "checkpoint.safetensors"
STUDY = ("spec.json", "conditions.json")
OURS = {
    "record": Kind(("network.safetensors",), lambda f: px.load(f / "network.safetensors"), True),
    "fit": Kind(("fitted.safetensors",), lambda f: px.load(f / "fitted.safetensors"), True),
    "results": Kind(("results.nc",), lambda f: px.load(f / "results.nc"), True),
    "tree": Kind(("results.nc",), lambda f: px.load(f / "results.nc"), True),
    "checkpoint": Kind(
        (CHECKPOINT,), lambda f: px.Checkpoint(f / CHECKPOINT).restore("run", STATE), True
    ),
    "spec": Kind(("task.json",), lambda f: px.load(f / "task.json"), True),
    "argument": Kind(("task.json",), read_argument, True),
    "run": Kind(("spec.json", "predictor.safetensors", "results.nc"), read_run, True),
    "study": Kind(STUDY, read_study, True),
    "compressed": Kind(("text.ptax",), read_compressed, True),
    "crafted record": Kind(
        ("it.safetensors",), lambda f: px.load(f / "it.safetensors"), damage=crafted
    ),
}


# --- what others write ----------------------------------------------------------------------


def write_theirs(folder: Path) -> None:
    """Files that people and other programs write, in a folder for each kind."""
    for name, mark in SEPARATORS.items():
        tokens = np.random.default_rng(2).integers(0, 2, (20, 20)).tolist()
        rows = "\n".join(mark.join(map(str, row)) for row in tokens)
        files.write_text(folder / f"symbols by {name}" / "rows.txt", rows)
    lines = [{"prompt": f"What is {n}?", "completion": f" {n} naïve"} for n in range(20)]
    files.write_text(folder / "jsonl" / "texts.jsonl", "\n".join(map(json.dumps, lines)))
    files.write_text(folder / "json list" / "texts.json", json.dumps(lines))
    files.write_text(folder / "plain" / "texts.txt", "\n".join(f"text {n} naïve" for n in lines))
    files.write_text(folder / "hand-written spec" / "fit.json", json.dumps(SPEC, indent=1))
    files.write_bytes(folder / "netCDF of others" / "it.nc", _netcdf())
    whole = small_llama.write(folder / "Hugging Face", about=ABOUT)
    compressed = TextModel.named(whole).compress("a naïve text", 8)
    files.write_bytes(folder / "compressed" / "text.ptax", compressed)
    _split(small_llama.write(folder / "Hugging Face in shards", about=ABOUT))
    for name in ("gguf", "gguf adapter"):
        (folder / name).mkdir()
    small_llama.write_gguf(folder / "gguf" / "it.gguf", _gguf_tokenizer())
    small_llama.write_gguf(folder / "gguf adapter" / "it.gguf", {"general.type": "adapter"})
    base = Llama.from_safetensors(whole)
    for name, tuner in TUNERS.items():
        tuned = tuner.steer(jax.random.key(1), base)
        _as_of_others(save_adapter(folder / f"PEFT {name}", tuned, "a/base"))
        save_adapter(folder / f"adapter {name}" / saved.ADAPTER, tuned, str(whole))
        what = {"predictor": str(whole), "tuner": tuner, "target": Categorical()}
        run_folder.write_spec(folder / f"adapter {name}", "promptax tune", 0, **what)


def _netcdf() -> bytes:
    return bytes(made_up.some_states().to_netcdf(engine="h5netcdf"))


def _split(folder: Path) -> None:
    """Two files of weights, and the index that says what is where."""
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    placed = {name: f"model-0000{1 + place % 2}-of-00002.safetensors" for place, name in
              enumerate(names)}  # fmt: skip
    for file in set(placed.values()):
        part = {name: tensors[name] for name in names if placed[name] == file}
        safetensors.numpy.save_file(part, folder / file, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": placed}
    files.write_text(folder / "model.safetensors.index.json", json.dumps(index))


def _gguf_tokenizer() -> dict[str, Any]:
    model = json.loads(small_llama.tokenizer().to_str())["model"]
    words = [*sorted(model["vocab"], key=model["vocab"].get)[:-1], "ab"]  # of two letters
    return {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": words, "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.token_type": [3 if word in small_llama.SPECIAL else 1 for word in words],
        "tokenizer.ggml.eos_token_id": 2, "tokenizer.chat_template": ABOUT["chat_template"],
    }  # fmt: skip


def _as_of_others(folder: Path) -> None:
    """The adapter as PEFT saves it: without a digest."""
    path = folder / "adapter_model.safetensors"
    safetensors.numpy.save_file(safetensors.numpy.load_file(path), path, {"format": "pt"})


def read_model(path: Path) -> Any:
    """A language model, and what its tokenizer makes of a text and of a chat."""
    model = TextModel.named(path)
    tokens = model.tokenizer.encode("naïve 日本 <|b|> 12")
    chat = model.tokenizer.template and model.tokenizer.chat([{"role": "user", "content": "a"}])
    tokenizer = model.tokenizer
    numbers = tokenizer.symbols, tokenizer.begin, tokenizer.end, tokenizer.ends
    return model.predictor, tokens, tokenizer.decode(tokens), chat, numbers


@functools.cache
def base_of(folder: Path) -> Any:
    """The model that the adapters are for; its folder is damaged at other times, and kept here."""
    return Llama.from_safetensors(folder / "Hugging Face")


def read_adapter(folder: Path) -> Any:
    """A model with the adapter in a folder of PEFT."""
    return load_adapter(folder, base_of(folder.parent))


def read_texts(name: str, folder: Path) -> Any:
    """The tokens of a file of texts."""
    texts = Texts(path=str(folder / name), tokenizer="bytes", end=False)
    return texts.sequences, texts.prompt_lengths, texts.vocabulary


def read_symbols(folder: Path) -> Any:
    """The symbols of a file of sequences."""
    task = Recorded(path=str(folder / "rows.txt"))
    return task.sequences, task.alphabet


SEPARATORS = {"commas": ",", "semicolons": ";", "tabs": "\t", "spaces": " ", "nothing": ""}
FOLDER = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
SHARDS = (
    "config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
)  # fmt: skip
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
THEIRS = {
    **{f"symbols by {name}": Kind(("rows.txt",), read_symbols) for name in SEPARATORS},
    "jsonl": Kind(("texts.jsonl",), functools.partial(read_texts, "texts.jsonl")),
    "json list": Kind(("texts.json",), functools.partial(read_texts, "texts.json")),
    "plain": Kind(("texts.txt",), functools.partial(read_texts, "texts.txt")),
    "hand-written spec": Kind(
        ("fit.json",), lambda f: specs.parse(px.FitSettings)(f"@{f / 'fit.json'}")
    ),
    "netCDF of others": Kind(("it.nc",), lambda f: px.load(f / "it.nc")),
    "Hugging Face": Kind(FOLDER, read_model),
    "Hugging Face in shards": Kind(SHARDS, read_model),
    "gguf": Kind(("it.gguf",), lambda f: read_model(f / "it.gguf")),
    "gguf adapter": Kind(("it.gguf",), lambda f: read_model(f / "it.gguf"), is_refused=True),
    **{f"PEFT {name}": Kind(ADAPTER, read_adapter) for name in TUNERS},
    **{
        f"adapter {name}": Kind(
            ("spec.json", *(f"{saved.ADAPTER}/{file}" for file in ADAPTER)),
            lambda f: saved.predictor(str(f)),
            True,
        )
        for name in TUNERS
    },
}
KINDS = OURS | THEIRS


def write_all(folder: Path) -> None:
    """A folder for each of KINDS."""
    write_ours(folder)
    write_theirs(folder)
