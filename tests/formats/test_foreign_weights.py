"""Weights that others saved: read as they mean it, or refused by name before memory is taken."""

import json
import os
import struct

import numpy as np
import pytest
import safetensors.numpy
from support import small_llama
from support.foreign_llama import HEAD, INT8, Q_PROJ, WEIGHTS, read, same, tensors

from promptax.files import StoreError
from promptax.formats import fetch

# --- what is beyond a llama -----------------------------------------------------------------

TENSORS = {
    "int8 alone": (WEIGHTS | INT8, "q_proj.weight of I8"),
    "int8 with scales (bitsandbytes)": (
        WEIGHTS | INT8 | {Q_PROJ.replace(".weight", ".SCB"): np.ones(8, np.float32)},
        "q_proj.weight of I8",
    ),
    "4 bits packed (bitsandbytes)": (
        WEIGHTS | {Q_PROJ: np.ones((32, 1), np.uint8), f"{Q_PROJ}.absmax": np.ones(1, np.float32)},
        "q_proj.weight of U8",
    ),
    "gptq": (
        tensors() | {Q_PROJ.replace(".weight", ".qweight"): np.ones((1, 8), np.int32)},
        "q_proj.qweight of I32",
    ),
    "awq": (
        tensors()
        | {
            Q_PROJ.replace("weight", "qweight"): np.ones((8, 1), np.int32),
            Q_PROJ.replace("weight", "scales"): np.ones((1, 8), np.float16),
        },
        "q_proj.qweight of I32",
    ),
    "hqq": (
        tensors() | {Q_PROJ.replace("weight", "W_q"): np.ones((4, 8), np.uint8)},
        "q_proj.W_q of U8",
    ),
    "hqq in floats": (
        tensors()
        | {
            Q_PROJ.replace("weight", "scale"): np.ones((8, 1), np.float16),
            Q_PROJ.replace("weight", "zero"): np.ones((8, 1), np.float16),
        },
        r"no others in .*q_proj.scale",
    ),
    "mxfp4": (
        tensors() | {Q_PROJ.replace("weight", "weight_blocks"): np.ones((8, 4), np.uint8)},
        "weight_blocks of U8",
    ),
    "scales of inputs (modelopt)": (
        WEIGHTS | {Q_PROJ.replace("weight", "input_scale"): np.ones((), np.float32)},
        r"no others in .*input_scale",
    ),
    "scales of keys": (
        WEIGHTS | {"model.layers.0.self_attn.k_scale": np.ones((), np.float32)},
        r"no others in .*k_scale",
    ),
    "a count of steps": (WEIGHTS | {"step": np.array(3)}, "step of I64"),
    "scales of plain weights (fp8 cast up)": (
        WEIGHTS | {f"{Q_PROJ}_scale_inv": np.ones((1, 1), np.float32)},
        r"no others in .*weight_scale_inv",
    ),
    "scales of the whole (compressed-tensors)": (
        WEIGHTS | {Q_PROJ.replace("weight", "weight_scale"): np.ones(1, np.float32)},
        r"no others in .*weight_scale",
    ),
    "a bias": (
        WEIGHTS | {Q_PROJ.replace(".weight", ".bias"): np.ones(8, np.float32)},
        r"no others in .*q_proj.bias",
    ),
    "a norm of queries": (
        WEIGHTS | {"model.layers.0.self_attn.q_norm.weight": np.ones(4, np.float32)},
        r"no others in .*q_norm",
    ),
    "another layer": (
        WEIGHTS | {Q_PROJ.replace(".0.", ".1."): np.ones((8, 8), np.float32)},
        r"no others in .*layers.1.",
    ),
    "a head for classes": (
        WEIGHTS | {"score.weight": np.ones((2, 8), np.float32)},
        r"no others in .*score.weight",
    ),
    "twice, with and without model.": (
        WEIGHTS | {"norm.weight": np.ones(8, np.float32)},
        "with and without 'model.'",
    ),
    "other rates of positions": (
        WEIGHTS | {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)},
        "got other rates",
    ),
    "not a number": (
        WEIGHTS | {Q_PROJ: np.full((8, 8), np.nan, np.float32)},
        r"finite numbers in .*q_proj",
    ),
    "infinity": (
        WEIGHTS | {"model.norm.weight": np.full(8, -np.inf, np.float32)},
        "finite numbers in model.norm",
    ),
    "more than float32 holds": (
        WEIGHTS | {Q_PROJ: np.full((8, 8), 1e39)},
        "q_proj.weight of .* more than float32 can hold",
    ),
    "complex": (WEIGHTS | {Q_PROJ: np.ones((8, 8), np.complex64)}, "q_proj.weight of C64"),
    "missing": (tensors(model__norm__weight=None), r"\['model.norm.weight'\] and more"),
    "of another shape": (WEIGHTS | {Q_PROJ: np.ones((8, 9), np.float32)}, r"got \(8, 9\)"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return read(small_llama.write(tmp_path_factory.mktemp("plain") / "a"))


@pytest.mark.parametrize(("arrays", "message"), TENSORS.values(), ids=TENSORS)
def test_tensors_beyond_a_llama_are_named(tmp_path, arrays, message):
    folder = small_llama.write(tmp_path / "a", tensors=arrays)
    with pytest.raises(StoreError, match=message) as error:
        read(folder)
    assert str(folder) in str(error.value)


QUANTISED = {
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "gptq": {"quant_method": "gptq", "bits": 4},
    "awq": {"quant_method": "awq", "bits": 4},
    "fp8": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "compressed-tensors": {"quant_method": "compressed-tensors"},
    "hqq": {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}},
    "torchao": {"quant_method": "torchao"},
    "mxfp4": {"quant_method": "mxfp4"},
    "bitsandbytes in 4 bits": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "nobody knows": {"bits": 3},
}
SETTINGS = {
    name: ({"quantization_config": value}, "quantization_config")
    for name, value in QUANTISED.items()
} | {
    "quantised, by an older name": (
        {"compression_config": {"format": "int"}},
        "compression_config",
    ),
    "quantised, as MLX says it": ({"quantization": {"group_size": 64, "bits": 4}}, "quantization"),
    "positions by yarn": ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "has 'yarn'"),
    "positions by 2": ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "has 'linear'"),
    "positions by an unknown factor": ({"rope_scaling": {"rope_type": "llama3"}}, "has 'llama3'"),
    "positions of another kind": ({"rope_parameters": {"full_attention": {"a": 1}}}, "full_atten"),
    "positions in text": ({"rope_scaling": "linear"}, "not rescaled; .*has 'linear'"),
    "part of the positions": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor 1"),
    "another activation": ({"hidden_act": "gelu"}, "hidden_act 'silu' or 'swish'.* got 'gelu'"),
    "biases": ({"attention_bias": True}, "attention_bias False"),
    "a scale of logits": ({"logit_scale": 0.1}, "logit_scale = 0.1"),
    "a window": ({"sliding_window": 4096}, "sliding_window = 4096"),
    "soft caps": ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
    "multipliers": ({"residual_multiplier": 0.22}, "residual_multiplier"),
    "experts": ({"num_local_experts": 8}, "num_local_experts = 8"),
    "a later invention": ({"hyper_connections": {"rate": 4}}, "hyper_connections"),
    "another architecture": ({"model_type": "qwen2"}, "llama architecture; .* has 'qwen2'"),
    "no architecture": ({"model_type": None}, "llama architecture; .* has None"),
    "no heads": ({"num_attention_heads": None}, "Expected the setting num_attention_heads in"),
    "no width": ({"hidden_size": None}, "Expected the setting hidden_size in"),
    "0 heads": ({"num_attention_heads": 0}, "num_attention_heads .* at least 1; got 0"),
    "a width as text": ({"hidden_size": "8"}, "hidden_size .* whole number .* got '8'"),
    "a width that is true": ({"hidden_size": True}, "hidden_size .* got True"),
    "heads that do not divide": ({"num_key_value_heads": 3}, "a multiple of those of keys"),
    "an odd head": ({"head_dim": 3}, "of an even width"),
    "no epsilon at all": ({"rms_norm_eps": 0}, "rms_norm_eps .* above 0 .* got 0"),
    "θ is more than float32 holds": ({"rope_theta": 1e39}, "rope_theta .* float32 can hold"),
    "ε is less than float32 holds": ({"rms_norm_eps": 1e-60}, "rms_norm_eps .* float32 can hold"),
    "θ is infinite": ({"rope_theta": float("inf")}, "rope_theta .* finite .* got inf"),
    "θ is no number": ({"rope_theta": [1]}, r"rope_theta .* got \[1\]"),
    "tied, perhaps": ({"tie_word_embeddings": "yes"}, "tie_word_embeddings True or False"),
    "another alphabet": ({"vocab_size": 300}, r"embed_tokens.weight of shape \(300, 8\)"),
    "billions of layers": ({"num_hidden_layers": 10**9}, "each of 1,000,000,000 layers"),
    "a huge width": ({"hidden_size": 10**9}, r"got \(259, 8\)|shape \(8,\)|got \(8,"),
    "a huge head": ({"head_dim": 2 * 10**8}, r"of shape \(400000000, 8\)"),
    "more than can be": ({"intermediate_size": 2**70}, "intermediate_size .* whole number"),
    "a begin token outside": ({"bos_token_id": 9999}, "begin token from 0 to 258 .* got 9999"),
    "a begin token below": ({"bos_token_id": -1}, "bos_token_id .* at least 0"),
}


@pytest.mark.parametrize(("config", "message"), SETTINGS.values(), ids=SETTINGS)
def test_settings_beyond_a_llama_are_named(tmp_path, config, message):
    folder = small_llama.write(tmp_path / "a", config)
    with pytest.raises(StoreError, match=message) as error:
        read(folder)
    assert str(folder) in str(error.value)


HARMLESS = {
    "notes": {"architectures": ["LlamaForCausalLM"], "transformers_version": "5.0", "_name": "x"},
    "training": {"attention_dropout": 0.1, "initializer_range": 0.02, "use_cache": True},
    "of SmolLM2": {
        "is_llama_config": True,
        "rope_interleaved": False,
        "transformers.js_config": {"a": 1},
    },
    "switched off": {
        "sliding_window": None,
        "logit_scale": None,
        "quantization_config": None,
        "use_qk_norm": False,
        "num_experts": 0,
    },
    "positions by 1": {"rope_scaling": {"type": "linear", "factor": 1.0}},
    "positions by 1, as llama 3 does": {
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 1.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
    "θ among the positions": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        "rope_theta": 5.0,
    },
    "another name of silu": {"hidden_act": "swish"},
    "several ends": {"eos_token_id": [2, 0]},
}


@pytest.mark.parametrize("config", HARMLESS.values(), ids=HARMLESS)
def test_what_changes_nothing_is_passed_over(tmp_path, plain, config):
    assert same(read(small_llama.write(tmp_path / "a", config)), plain)


def without_prefix(arrays):
    return {name.removeprefix("model."): array for name, array in arrays.items()}


EMBEDDING = WEIGHTS["model.embed_tokens.weight"]
RATES = 1e4 ** (-np.arange(2) / 2)
ALIKE = {
    "without model.": without_prefix(WEIGHTS),
    "the embedding as unembedding too": WEIGHTS | {"lm_head.weight": EMBEDDING},
    "the unembedding alone": tensors(model__embed_tokens__weight=None)
    | {"lm_head.weight": EMBEDDING},
    "rates that follow from θ": WEIGHTS
    | {"model.layers.0.self_attn.rotary_emb.inv_freq": RATES.astype("f")},
    "float64": {name: array.astype(np.float64) for name, array in WEIGHTS.items()},
}


@pytest.mark.parametrize("arrays", ALIKE.values(), ids=ALIKE)
def test_tensors_that_mean_the_same_are_read_alike(tmp_path, plain, arrays):
    assert same(read(small_llama.write(tmp_path / "a", tensors=arrays)), plain)


def test_an_unembedding_that_differs_is_not_tied(tmp_path):
    """As in transformers 5, which then says that config.json is wrong."""
    arrays = WEIGHTS | {"lm_head.weight": HEAD}
    got = read(small_llama.write(tmp_path / "a", tensors=arrays))
    assert not got.fields["tied"]
    np.testing.assert_array_equal(got.unembedding, HEAD)


# --- files ----------------------------------------------------------------------------------


def sharded(folder, arrays, weight_map=None, shard="model-00001-of-00001.safetensors"):
    """Put shards with an index into a folder."""
    safetensors.numpy.save_file(arrays, folder / shard)
    index = {"weight_map": {name: shard for name in arrays} if weight_map is None else weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_a_single_file_comes_before_an_old_index(tmp_path, plain):
    folder = small_llama.write(tmp_path / "a")
    sharded(folder, {name: -array for name, array in WEIGHTS.items()})
    assert same(read(folder), plain)
    (folder / "model-00001-of-00001.safetensors").unlink()
    assert same(read(folder), plain)


def spoiled(name, content):
    def spoil(folder):
        (folder / name).write_bytes(content)

    return spoil


def only_shards(arrays, weight_map=None):
    def spoil(folder):
        (folder / "model.safetensors").unlink()
        sharded(folder, arrays, weight_map)

    return spoil


def header_of(claim):
    """A safetensors file that is all header."""
    written = json.dumps(claim).encode()
    return struct.pack("<Q", len(written)) + written


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
FP8 = {"dtype": "F8_E4M3", "shape": [8, 8], "data_offsets": [0, 64]}
HUGE = {"dtype": "F32", "shape": [2**31, 2**20], "data_offsets": [0, 2**53]}
FILES = {
    "a pointer of Git": (spoiled("model.safetensors", POINTER), "pointer of Git LFS"),
    "a pickle": (spoiled("model.safetensors", b"\x80\x04K\x01."), "whole safetensors file"),
    "empty": (spoiled("model.safetensors", b""), "whole safetensors file"),
    "a huge header": (spoiled("model.safetensors", b"\xff" * 7 + b"\0{"), "whole safetensors file"),
    "fp8 without scales": (
        spoiled("model.safetensors", header_of({Q_PROJ: FP8}) + bytes(64)),
        "q_proj.weight of F8_E4M3",
    ),
    "whole numbers of 4 bits": (
        spoiled("model.safetensors", header_of({Q_PROJ: FP8 | {"dtype": "I4"}}) + bytes(64)),
        "whole safetensors file|of I4",
    ),
    "a huge tensor": (spoiled("model.safetensors", header_of({Q_PROJ: HUGE})), "whole safetensors"),
    "config is a list": (spoiled("config.json", b"[1]"), r"JSON object in .*config.json; got"),
    "config is cut": (spoiled("config.json", b'{"model_type": "lla'), "JSON object in .*config"),
    "config is nested": (spoiled("config.json", b"[" * 100_000), "nested too deeply"),
    "config is Latin-1": (
        spoiled("config.json", b'{"a": "\xe9"}'),
        r"text in UTF-8; .*config.json",
    ),
    "config says it twice": (
        spoiled("config.json", b'{"hidden_size": 8, "hidden_size": 9}'),
        "two values for the key 'hidden_size'",
    ),
    "config has half a character": (
        spoiled("config.json", b'{"a": "\\ud800"}'),
        "surrogates not allowed",
    ),
    "config has a long number": (
        spoiled("config.json", b'{"a": ' + b"9" * 5000 + b"}"),
        "JSON obj",
    ),
    "tokenizer.json is a list": (spoiled("tokenizer_config.json", b"3"), "tokenizer_config.json"),
    "a shard elsewhere": (
        only_shards(WEIGHTS, {"a": "../../model.safetensors"}),
        "leads elsewhere",
    ),
    "an index of nothing": (only_shards(WEIGHTS, {}), "Expected weight_map in"),
    "an index of numbers": (only_shards(WEIGHTS, {"a": 3}), "Expected weight_map in"),
    "a shard too few": (only_shards(tensors(model__norm__weight=None)), "they are missing"),
}


@pytest.mark.parametrize(("spoil", "message"), FILES.values(), ids=FILES)
def test_files_that_are_something_else_are_named(tmp_path, spoil, message):
    folder = small_llama.write(tmp_path / "a")
    spoil(folder)
    with pytest.raises(StoreError, match=message) as error:
        read(folder)
    assert str(folder) in str(error.value)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    folder = small_llama.write(tmp_path / "a")
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    sharded(folder, WEIGHTS, {"a": "one.safetensors", "b": "two.safetensors"}, "two.safetensors")
    with pytest.raises(StoreError, match=r"each tensor once in .* is in two.safetensors"):
        read(folder)


def test_missing_files_are_named(tmp_path):
    folder = small_llama.write(tmp_path / "a")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"Expected the weights model.*pickle"):
        read(folder)
    (folder / "config.json").rename(folder / "small.gguf")
    with pytest.raises(FileNotFoundError, match=r"Did you mean .*small.gguf"):
        read(folder)


def test_a_cache_needs_no_home(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(fetch.Path, "home", homeless)
    assert fetch.cache_folder().name == f"promptax-{os.getuid()}"
