"""A llama of a few hundred numbers, as a Hugging Face folder and as a GGUF file."""

import json

import numpy as np
import safetensors.numpy
import tokenizers
from tokenizers import decoders, models
from tokenizers import pre_tokenizers as cuts

SYMBOLS, WIDTH = 259, 8
SPECIAL = ("<s>", "<|a|>", "<|b|>")  # tokens 0, 1, 2; then come the bytes
CONFIG = {
    "model_type": "llama",
    "vocab_size": SYMBOLS,
    "hidden_size": WIDTH,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "bos_token_id": 1,
    "tie_word_embeddings": True,
}
ABOUT = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|b|>"}
MATRICES = (
    *(f"self_attn.{part}_proj" for part in "qkvo"),
    *(f"mlp.{part}_proj" for part in ("gate", "up", "down")),
)
NORMS = ("input_layernorm", "post_attention_layernorm")
IN_GGUF = {
    "model.layers.": "blk.", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "model.embed_tokens": "token_embd",
    "model.norm": "output_norm", "lm_head": "output",
}  # fmt: skip


def weights(seed=0):
    """Tensors by the names of the Hugging Face format."""
    draw = np.random.default_rng(seed)
    named = {"model.embed_tokens.weight": draw.normal(size=(SYMBOLS, WIDTH))}
    named["model.norm.weight"] = np.ones(WIDTH)
    for name in NORMS:
        named[f"model.layers.0.{name}.weight"] = np.ones(WIDTH)
    for name in MATRICES:
        named[f"model.layers.0.{name}.weight"] = draw.normal(size=(WIDTH, WIDTH))
    return {name: array.astype(np.float32) for name, array in named.items()}


def tokenizer():
    """Every byte a token, after three special ones."""
    letters = {letter: place + 3 for place, letter in enumerate(sorted(cuts.ByteLevel.alphabet()))}
    vocabulary = letters | {text: place for place, text in enumerate(SPECIAL)}
    model = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    model.pre_tokenizer = cuts.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    model.add_special_tokens(list(SPECIAL))
    return model


def write(folder, config=None, about=None, tensors=None, **others):
    """A folder with everything that is asked of one.

    Args:
        config, about: what differs in config.json and tokenizer_config.json.
        tensors: all of them, if not those of `weights`.
        others: further JSON files, by name.
    """
    folder.mkdir(exist_ok=True)
    tokenizer().save(str(folder / "tokenizer.json"))
    objects = {
        "config": CONFIG | (config or {}),
        "tokenizer_config": ABOUT | (about or {}),
    } | others
    for name, content in objects.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    arrays = weights() if tensors is None else tensors
    safetensors.numpy.save_file(arrays, folder / "model.safetensors", {"format": "pt"})
    return folder


def write_gguf(path, settings=None, tensors=None, kinds=None, architecture="llama"):
    """A GGUF file with that llama; its rotary pairs as they are in a folder.

    `settings`: values by key that are added, or put in place; None leaves one out.
    """
    import gguf

    values = {
        "llama.block_count": 1, "llama.embedding_length": WIDTH, "llama.feed_forward_length": 8,
        "llama.attention.head_count": 2, "llama.attention.layer_norm_rms_epsilon": 1e-6,
        "tokenizer.ggml.bos_token_id": 1,
    } | (settings or {})  # fmt: skip
    writer = gguf.GGUFWriter(path, architecture)
    add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string,
           bool: writer.add_bool, list: writer.add_array}  # fmt: skip
    for key, value in values.items():
        if value is not None and key != "general.architecture":
            add[type(value)](key, value)
    for name, array in (weights() if tensors is None else tensors).items():
        for theirs, short in IN_GGUF.items():
            name = name.replace(theirs, short)
        writer.add_tensor(name, array, raw_dtype=(kinds or {}).get(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
