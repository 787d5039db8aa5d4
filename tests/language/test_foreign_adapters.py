"""Adapters that others saved: what means the same loads alike, the rest is refused by name."""

import contextlib
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from promptax.files import StoreError
from promptax.formats import evaluating
from promptax.language.adapters import load_adapter, save_adapter
from promptax.predictors import Llama
from promptax.steering import KeyValuePrompt, LowRank, SoftPrompt

SIZES = {"width": 8, "depth": 1, "heads": 2, "key_heads": 1, "head_width": 4, "hidden": 12}
TUNERS = {
    "prompt": SoftPrompt(length=3, initial="tokens", before_begin=True),
    "prefix": KeyValuePrompt(length=3, initial="normal"),
    "low rank": LowRank(rank=2, layers=("query", "gate")),
}
PREFIX = "base_model.model.model."


@pytest.fixture(scope="module")
def base():
    return Llama(**SIZES, opens_with=1).build(jax.random.key(0), 11)


@pytest.fixture(scope="module")
def tuned(base):
    """What was tuned, by its tuner's name; the low-rank change is not zero."""
    steered = {name: tuner.steer(jax.random.key(1), base) for name, tuner in TUNERS.items()}
    low = steered["low rank"]
    ups = lambda network: [network.torso.layers.query.up, network.torso.layers.gate.up]  # noqa: E731
    steered["low rank"] = eqx.tree_at(ups, low, [jnp.ones_like(up) for up in ups(low)])
    return steered


def saved(folder, tuned, settings=None, change=lambda tensors: tensors):
    """Save what was tuned, then change settings and tensors of the folder."""
    save_adapter(folder, tuned)
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    config.write_text(json.dumps(json.loads(config.read_text()) | (settings or {})))
    weights.write_bytes(safetensors.numpy.save(change(safetensors.numpy.load_file(weights))))
    return folder


def renamed(old, new):
    return lambda tensors: {name.replace(old, new): array for name, array in tensors.items()}


def along_with(name, array):
    return lambda tensors: tensors | {name: np.asarray(array)}


def table(base):
    return np.asarray(base.embedding.weight)


ALIKE = {  # tuner, settings, change of the tensors, given the base
    "P_TUNING": ("prompt", {"peft_type": "P_TUNING", "encoder_hidden_size": 8}, None),
    "another version": ("prompt", {"peft_version": "0.99", "revision": "main"}, None),
    "a projected prefix": ("prefix", {"prefix_projection": True, "encoder_hidden_size": 8}, None),
    "by the adapter's name": ("low rank", {}, lambda _: renamed(".weight", ".default.weight")),
    "without its head": ("low rank", {}, lambda _: renamed(PREFIX, "base_model.model.")),
    "patterns without its head": (
        "low rank",
        {"target_modules": r"layers\.\d+\..*", "exclude_modules": r"model\..*"},
        lambda _: renamed(PREFIX, "base_model.model."),
    ),
    "a pattern with flags": ("low rank", {"target_modules": "(?i).*(Q_PROJ|gate_proj)"}, None),
    "a module by its whole path, and a layer": (
        "low rank",
        {
            "target_modules": [
                f"model.layers.0.{module}" for module in ("self_attn.q_proj", "mlp.gate_proj")
            ],
            "layers_to_transform": [3],
        },
        None,
    ),
    "one layer": ("low rank", {"layers_to_transform": 0}, None),
    "switched off": (
        "low rank",
        {"use_dora": False, "kasa_config": None, "layer_replication": []},
        None,
    ),
    "embeddings": ("low rank", {}, lambda b: along_with(PREFIX + "embed_tokens.weight", table(b))),
    "the head": ("low rank", {}, lambda b: along_with("base_model.model.lm_head.weight", table(b))),
    "a layer below": (
        "low rank",
        {},
        lambda b: along_with(PREFIX + "embed_tokens.base_layer.weight", table(b)),
    ),
    "saved modules": (
        "low rank",
        {"modules_to_save": ["embed_tokens"]},
        lambda b: along_with(PREFIX + "embed_tokens.modules_to_save.default.weight", table(b)),
    ),
    "in half precision": (
        "low rank",
        {},
        lambda b: along_with(PREFIX + "embed_tokens.weight", table(b).astype(np.float16)),
    ),
    "a norm": ("low rank", {}, lambda b: along_with(PREFIX + "norm.weight", b.torso.norm)),
    "a matrix": (
        "low rank",
        {},
        lambda b: along_with(
            PREFIX + "layers.0.mlp.up_proj.weight", b.torso.layers.mlp_input.weight[0]
        ),
    ),
    "embeddings beside a prompt": (
        "prompt",
        {},
        lambda b: along_with(PREFIX + "embed_tokens.weight", table(b)),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("tuner", "settings", "change"), ALIKE.values(), ids=ALIKE)
def test_adapters_that_mean_the_same_load_alike(tmp_path, base, tuned, tuner, settings, change):
    changed = {} if change is None else {"change": change(base)}
    folder = saved(tmp_path, tuned[tuner], settings, **changed)
    assert eqx.tree_equal(load_adapter(folder, base), tuned[tuner])


LATER = ("use_dora", "use_qalora", "use_bdlora", "lora_bias", "layer_replication", "arrow_config")
LATER += ("target_parameters", "trainable_token_indices", "alora_invocation_tokens", "kasa_config")
LATER += ("monteclora_config", "velora_config", "a_later_invention")
MERGED, UNMERGED = r"merge_and_unload", r"PEFT cannot merge this kind either"
NAN = np.full((2, 8), np.nan, np.float32)
REFUSED = {  # tuner, settings, change of the tensors, message
    **{
        name: ("low rank", {name: [1]}, None, rf"got {name} = \[1\], .*merge_and") for name in LATER
    },
    **{
        kind: ("low rank", {"peft_type": kind}, None, MERGED) for kind in ("ADALORA", "LOHA", "IA3")
    },
    **{
        kind: ("prompt", {"peft_type": kind}, None, UNMERGED)
        for kind in ("MULTITASK_PROMPT_TUNING", "CPT", "ADAPTION_PROMPT", "XLORA")
    },
    "no kind": ("prompt", {"peft_type": None}, None, "got None in"),
    "a list of kinds": ("prompt", {"peft_type": ["LORA"]}, None, r"got \['LORA'\] in"),
    "rows without a number": (
        "prompt",
        {"num_virtual_tokens": None},
        None,
        "num_virtual_tokens in",
    ),
    "rows by the billion": ("prompt", {"num_virtual_tokens": 2**40}, None, "num_virtual_tokens in"),
    "a new prompt setting": ("prompt", {"gate": 0.5}, None, rf"got gate = 0.5.*{UNMERGED}"),
    **{
        f"layers as {layers!r}": (
            "low rank",
            {"layers_to_transform": layers},
            None,
            "numbers of layers as layers_to_tra",
        )
        for layers in ("0", 1.0, True, [None])
    },
    "an infinite scale": ("low rank", {"lora_alpha": float("inf")}, None, "number lora_alpha"),
    "a scale in words": ("low rank", {"alpha_pattern": {"q_proj": "2"}}, None, "got '2'"),
    "patterns in a list": ("low rank", {"alpha_pattern": ["q_proj"]}, None, "alpha_pattern of"),
    "a broken pattern": ("low rank", {"alpha_pattern": {"(": 2}}, None, "unterminated"),
    "an endless pattern": ("low rank", {"alpha_pattern": {"(.*.*)*!": 2}}, None, "did not end"),
    "other embeddings": (
        "low rank",
        {},
        along_with(PREFIX + "embed_tokens.weight", np.ones((11, 8), "f")),
        rf"embed_tokens.weight .* as it is in the model.*{MERGED}",
    ),
    "more embeddings": (
        "low rank",
        {},
        along_with(PREFIX + "embed_tokens.weight", np.ones((12, 8), "f")),
        "another shape",
    ),
    "another norm": (
        "low rank",
        {},
        along_with(PREFIX + "norm.weight", np.zeros(8, "f")),
        "norm.weight",
    ),
    "a head for classes": (
        "low rank",
        {},
        along_with("base_model.model.score.weight", np.ones((2, 8), "f")),
        "score.weight",
    ),
    "factors of embeddings": (
        "low rank",
        {},
        along_with(PREFIX + "embed_tokens.lora_embedding_A", np.ones((2, 11), "f")),
        "lora_embedding_A",
    ),
    "factors of a norm": (
        "low rank",
        {},
        along_with(PREFIX + "layers.0.input_layernorm.lora_A.weight", np.ones((2, 8), "f")),
        "input_layernorm",
    ),
    "factors twice": (
        "low rank",
        {},
        along_with(
            PREFIX + "layers.0.self_attn.q_proj.lora_A.default.weight", np.ones((2, 8), "f")
        ),
        "each factor once",
    ),
    "a rank of 0": (
        "low rank",
        {},
        lambda tensors: {n: x[:0] if "lora_A" in n else x[:, :0] for n, x in tensors.items()},
        "lora_A",
    ),
    "whole numbers": (
        "low rank",
        {},
        lambda tensors: {n: x.astype(np.int8) for n, x in tensors.items()},
        "plain numbers",
    ),
    "not a number": (
        "low rank",
        {},
        lambda tensors: {n: np.full_like(x, np.nan) for n, x in tensors.items()},
        "finite numbers",
    ),
    "no tensors": ("low rank", {}, lambda tensors: {}, "got no tensors"),
}


@pytest.mark.parametrize(("tuner", "settings", "change", "message"), REFUSED.values(), ids=REFUSED)
def test_adapters_that_mean_more_are_named(
    tmp_path, base, tuned, monkeypatch, tuner, settings, change, message
):
    monkeypatch.setattr(evaluating, "SECONDS", 0.5)
    changed = {} if change is None else {"change": change}
    folder = saved(tmp_path, tuned[tuner], settings, **changed)
    with pytest.raises(StoreError, match=message) as error:
        load_adapter(folder, base)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("tuner", TUNERS)
def test_damage_to_what_was_saved_is_noticed(tmp_path, base, tuned, tuner):
    """A flipped bit anywhere: the folder is refused, or what it holds is what it was."""
    folder, random = save_adapter(tmp_path, tuned[tuner], "a base"), np.random.default_rng(0)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        data = (folder / name).read_bytes()
        for place in random.integers(len(data), size=25):
            flipped = bytearray(data)
            flipped[place] ^= 1 << random.integers(8)
            (folder / name).write_bytes(flipped)
            with contextlib.suppress(StoreError):
                assert eqx.tree_equal(load_adapter(folder, base), tuned[tuner]), (name, place)
        (folder / name).write_bytes(data)
    assert eqx.tree_equal(load_adapter(folder, base), tuned[tuner])


def test_a_base_may_be_called_something_else(tmp_path, base, tuned):
    folder = save_adapter(tmp_path, tuned["prompt"], "a base")
    config = folder / "adapter_config.json"
    written = json.loads(config.read_text())
    config.write_text(json.dumps(written | {"base_model_name_or_path": "/elsewhere"}))
    assert eqx.tree_equal(load_adapter(folder, base), tuned["prompt"])
    config.write_text(json.dumps(written | {"revision": "other"}))
    with pytest.raises(StoreError, match="as promptax wrote it; its settings or its tensors"):
        load_adapter(folder, base)


@pytest.mark.parametrize("content", [b"[1]", b"{", b"[" * 100_000, b'{"a": "\xff"}', b""])
def test_settings_that_are_something_else_are_named(tmp_path, base, tuned, content):
    folder = saved(tmp_path, tuned["prompt"])
    (folder / "adapter_config.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"Expected .* in .*adapter_config\.json"):
        load_adapter(folder, base)
