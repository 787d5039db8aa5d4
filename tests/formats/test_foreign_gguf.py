"""What GGUF files hold beyond what is looked for, and headers that claim too much, are refused."""

import hashlib
import struct

import numpy as np
import pytest
from support import small_llama
from support.foreign_llama import Q_PROJ, WEIGHTS, read, same

from promptax.files import StoreError
from promptax.formats import fetch, gguf


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return read(small_llama.write(tmp_path_factory.mktemp("plain") / "a"))


def test_a_gguf_file_is_known_by_its_content(tmp_path, plain):
    path = small_llama.write_gguf(tmp_path / "weights.bin")
    assert gguf.is_gguf(path) and not gguf.is_gguf(tmp_path)
    got = read(path)
    assert same(got, plain._replace(layers=got.layers))


IN_GGUF = {
    "no depth": ({"llama.block_count": None}, "Expected the setting llama.block_count in"),
    "no heads": ({"llama.attention.head_count": None}, "setting llama.attention.head_count in"),
    "heads by layer": ({"llama.attention.head_count": [2, 2]}, "head_count .* whole number"),
    "no epsilon": ({"llama.attention.layer_norm_rms_epsilon": None}, "layer_norm_rms_epsilon"),
    "billions of layers": ({"llama.block_count": 2**31 - 1}, "each of 2,147,483,647 layers"),
    "one of several files": ({"split.count": 3, "split.no": 0}, "one of 3 parts.*--merge"),
    "an adapter": (
        {"general.type": "adapter", "adapter.type": "lora"},
        "says that it is 'adapter'",
    ),
    "an adapter that does not say so": ({"adapter.lora.alpha": 8.0}, "adapter.lora.alpha = 8.0"),
    "eyes": ({"general.type": "mmproj"}, "says that it is 'mmproj'"),
    "experts": ({"llama.expert_count": 8}, "llama.expert_count = 8"),
    "a window": ({"llama.attention.sliding_window": 512}, "llama.attention.sliding_window"),
    "a scale": ({"llama.logit_scale": 0.5}, "llama.logit_scale = 0.5"),
    "a scale of attention": ({"llama.attention.scale": 0.1}, "llama.attention.scale"),
    "part of the positions": (
        {"llama.rope.dimension_count": 2, "llama.attention.key_length": 4},
        "dimension_count 4",
    ),
    "other values": ({"llama.attention.value_length": 6}, "value_length 4"),
    "positions by 2": (
        {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0},
        "factor 1",
    ),
    "a factor alone": ({"llama.rope.scaling.factor": 2.0}, "llama.rope.scaling.factor 1"),
    "an old factor": ({"llama.rope.scale_linear": 2.0}, "llama.rope.scale_linear 1"),
    "positions by yarn": ({"llama.rope.scaling.type": "yarn"}, "not rescaled; .* has 'yarn'"),
    "θ of 0": ({"llama.rope.freq_base": 0.0}, "freq_base .* above 0"),
    "not causal": ({"llama.attention.causal": False}, "llama.attention.causal True"),
    "another alphabet": ({"llama.vocab_size": 300}, r"token_embd.weight of shape \(300, 8\)"),
    "a begin token outside": ({"tokenizer.ggml.bos_token_id": 259}, "from 0 to 258 .* got 259"),
}


@pytest.mark.parametrize(("settings", "message"), IN_GGUF.values(), ids=IN_GGUF)
def test_settings_of_gguf_files_beyond_a_llama_are_named(tmp_path, settings, message):
    path = small_llama.write_gguf(tmp_path / "a.gguf", settings)
    with pytest.raises(StoreError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


GGUF_TENSORS = {
    "a bias": ({"blk.0.attn_q.bias": np.ones(8, "f")}, r"no others in .*attn_q.bias"),
    "a scale": ({"blk.0.attn_q.scale": np.ones(1, "f")}, r"no others in .*attn_q.scale"),
    "experts": ({"blk.0.ffn_gate_inp.weight": np.ones((2, 8), "f")}, "ffn_gate_inp"),
    "an adapter's factors": ({"blk.0.attn_q.weight.lora_a": np.ones((2, 8), "f")}, "lora_a"),
    "rates of positions": ({"rope_freqs.weight": np.ones(2, "f")}, "has rope_freqs.weight"),
    "whole numbers": ({Q_PROJ: np.ones((8, 8), np.int8)}, "can dequantise in .*attn_q"),
    "not a number": (
        {"model.norm.weight": np.full(8, np.nan, "f")},
        "finite numbers in output_norm",
    ),
}


@pytest.mark.parametrize(("arrays", "message"), GGUF_TENSORS.values(), ids=GGUF_TENSORS)
def test_tensors_of_gguf_files_beyond_a_llama_are_named(tmp_path, arrays, message):
    path = small_llama.write_gguf(tmp_path / "a.gguf", tensors=WEIGHTS | arrays)
    with pytest.raises(StoreError, match=message):
        read(path)


def test_weights_that_were_fetched_are_held_against_their_digest(tmp_path, monkeypatch, plain):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = small_llama.write_gguf(tmp_path / "a.gguf")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(fetch, "SMOLLM2", fetch.SMOLLM2._replace(sha256=digest))
    fetched = fetch._fetched(fetch.SMOLLM2)
    fetched.parent.mkdir()
    fetched.write_bytes(path.read_bytes())
    assert read(fetched).fields == read(path).fields
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    for damaged in (fetched, path):
        damaged.write_bytes(data)
    with pytest.raises(StoreError, match=r"as it was fetched, with SHA-256 .* promptax lm fetch"):
        read(fetched)
    read(path)  # nobody knows what another file should be


def text(content, size=None):
    """A text as GGUF writes it, or one that claims another size."""
    return struct.pack("<Q", len(content) if size is None else size) + content


def header(*parts, tensors=0, values=0):
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, values) + b"".join(parts)


def value(kind, *parts, key=b"a"):
    return text(key) + struct.pack("<I", kind) + b"".join(parts)


def listed(kind, count, *parts):
    return struct.pack("<IQ", kind, count) + b"".join(parts)


HOSTILE = {
    "billions of values": header(values=2**60),
    "billions of tensors": header(tensors=2**60),
    "a text of all memory": header(text(b"a", 2**62), values=1),
    "a list of billions of bytes": header(value(9, listed(0, 2**61)), values=1),
    "a list of billions of texts": header(value(9, listed(8, 2**40)), values=1),
    "a list of billions of lists": header(value(9, listed(9, 2**40)), values=1),
    "lists without end": header(value(9, *[listed(9, 1)] * 5000), values=1),
    "a kind of value that is none": header(value(77, b"\0" * 8), values=1),
    "a name that is no text": header(value(8, text(b"x"), key=b"\xff\xfe"), values=1),
    "a key twice": header(value(8, text(b"x")) * 2, values=2),
    "a tensor of many axes": header(text(b"t") + struct.pack("<I", 2**31) + bytes(99), tensors=1),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_headers_that_claim_too_much_are_refused_at_once(tmp_path, content):
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"Expected a whole GGUF file; got .*a\.gguf"):
        gguf.read(path)


def tensor(name, shape, kind=0, offset=0):
    axes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + axes + struct.pack("<IQ", kind, offset)


PLACES = {
    "beyond the end": (header(tensor(b"t", [2**40]), tensors=1) + bytes(64), "ends within t"),
    "one in the other": (
        header(tensor(b"t", [8]), tensor(b"u", [8], offset=16), tensors=2) + bytes(128),
        "u begins within t",
    ),
    "of an unknown kind": (header(tensor(b"t", [8], kind=999), tensors=1) + bytes(64), "type 999"),
    "of a part of a block": (header(tensor(b"t", [7], kind=8), tensors=1) + bytes(64), "type 8"),
    "without axes": (header(tensor(b"t", [], kind=8), tensors=1) + bytes(64), "type 8"),
}


@pytest.mark.parametrize(("content", "message"), PLACES.values(), ids=PLACES)
def test_tensors_in_impossible_places_are_named(tmp_path, content, message):
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=message):
        read(path)
