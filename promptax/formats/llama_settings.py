"""What files say of a llama's sizes and settings, as the fields of `Llama`.

A setting that the network here has no counterpart for is refused by its name, unless it is on the
list of harmless ones, or switched off. `transformers` ignores what its llama does not know; here
that would be a guess about what somebody else's code does with it.
"""

from pathlib import Path
from typing import Any

from promptax.files import expect
from promptax.formats.settings import Object, Settings, shown
from promptax.formats.tokenizer_folders import begin_token_of_folder

Fields = dict[str, Any]

# In config.json: notes, training, generation (whose end tokens the tokenizer reads), and memory.
HARMLESS_IN_CONFIG = (
    "_*", "architectures", "auto_map", "torch_dtype", "dtype", "transformers_version", "use_cache",
    "initializer_range", "pretraining_tp", "attention_dropout",
    "hidden_dropout", "dropout", "layerdrop", "is_llama_config", "transformers.js_config",
    "attn_implementation", "unsloth*", "model_name", "license", "language", "tags", "name",
    "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "decoder_start_token_id",
    "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens",
    "bad_words_ids", "tokenizer_class", "prefix", "finetuning_task", "task_specific_params",
    "problem_type", "id2label", "label2id", "num_labels", "return_dict", "return_dict_in_generate",
    "output_attentions", "output_hidden_states", "output_scores", "torchscript", "use_bfloat16",
    "tf_legacy_loss", "tie_encoder_decoder", "is_decoder", "chunk_size_feed_forward", "max_length",
    "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
    "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
    "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "exponential_decay*",
    "num_return_sequences", "remove_invalid_values", "max_window_layers", "max_sequence_length",
    "model_max_length", "rope_interleaved", "base_model_tp_plan", "base_model_pp_plan",
)  # fmt: skip
# Of these, the network has only one form.
FIXED_IN_CONFIG = {
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "hidden_act": ("silu", "swish"),
    "partial_rotary_factor": (1, 1.0),
    "rope_interleaved": (False,),
    "is_causal": (True,),
}
IN_CONFIG = "Remove it from config.json if it is a note; else this llama does not have it."
QUANTISED = ("quantization_config", "compression_config", "quantization", "quant_config")

# In a GGUF file, under "llama.": notes, and what matters only where positions are rescaled.
HARMLESS_IN_GGUF = (
    "llama.tensor_data_layout", "llama.rope.scaling.finetuned",
    "llama.rope.scaling.original_context_length", "llama.rope.scaling.yarn*",
)  # fmt: skip
FIXED_IN_GGUF = {
    "llama.attention.causal": (True,),
    "llama.use_parallel_residual": (False,),
    "llama.rope.scale_linear": (1,),
    "llama.rope.scaling.factor": (1,),
    "llama.rope.scaling.attn_factor": (1,),
}
IN_GGUF = "This llama does not have it: name another file."
RESCALED = "which rescales rotary positions; this llama does not."
SAME = "which this llama does not have."


def from_config(settings: Settings) -> Fields:
    """Fields of `Llama` from the config.json of a Hugging Face folder, and `vocab_size` of it."""
    expect_llama(settings.get("model_type"), settings.path)
    for key in QUANTISED:
        method = settings.get(key)
        expect(
            not method,
            f"Expected weights that are not quantised in {settings.path.parent}; its config.json "
            f"has {key} {shown(method)}. Save the model dequantised (in transformers: "
            "model.dequantize()), or name a GGUF file.",
        )
    for key, allowed in FIXED_IN_CONFIG.items():
        settings.require(key, allowed, SAME)
    kinds = settings.get("layer_types", [])
    expect(
        isinstance(kinds, list) and set(map(str, kinds)) <= {"full_attention"},
        f"Expected layer_types of full_attention in {settings.path}; got {shown(kinds)}, {SAME}",
    )
    width, heads = settings.whole_number("hidden_size"), settings.whole_number(_HEADS)
    fields: Fields = dict(
        width=width,
        depth=settings.whole_number("num_hidden_layers"),
        heads=heads,
        key_heads=settings.whole_number("num_key_value_heads", heads),
        head_width=settings.whole_number("head_dim", max(1, width // heads)),
        hidden=settings.whole_number("intermediate_size"),
        rotary_base=_rotary_base(settings),
        epsilon=settings.positive_number("rms_norm_eps", 1e-6),
        tied=_flag(settings, "tie_word_embeddings"),
        context_length=settings.whole_number("max_position_embeddings", 0, least=0) or None,
        opens_with=begin_token_of_folder(settings),
        vocab_size=settings.whole_number("vocab_size", 0, least=0) or None,
    )
    settings.refuse_others(HARMLESS_IN_CONFIG, IN_CONFIG)
    _expect_heads(fields, settings.path)
    return fields


_HEADS = "num_attention_heads"


def _flag(settings: Settings, key: str) -> bool:
    settings.require(key, (True, False), "which is neither.")
    return bool(settings.get(key, False))


def _rotary_base(settings: Settings) -> float:
    """θ of the rotary positions. Newer files have it with the other settings of positions.

    Of the ways to rescale positions, those by a factor of 1 leave them as they are.
    """
    base = settings.positive_number("rope_theta", 1e4)
    given = [settings.get(key) for key in ("rope_parameters", "rope_scaling")]
    place = f"rotary positions that are not rescaled; {settings.path}"
    for rotary in filter(None, given):
        expect(isinstance(rotary, dict), f"Expected {place} has {shown(rotary)}.")
        inside = Settings(rotary, settings.path)
        kind = inside.get("rope_type", inside.get("type", "default"))
        inside.taken.add("type")
        factor = inside.get("factor")
        same = kind == "default" or (kind in ("linear", "llama3") and factor == 1)
        expect(same, f"Expected {place} has {shown(kind)}.")
        inside.require("partial_rotary_factor", (1, 1.0), SAME)
        base = inside.positive_number("rope_theta", base)
        inside.refuse_others(_OF_RESCALING, IN_CONFIG)
    return base


_OF_RESCALING = (  # matter only where the factor is not 1
    "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
    "max_position_embeddings",
)  # fmt: skip


def from_gguf(settings: Settings) -> Fields:
    """Fields of `Llama` from the header of a GGUF file, and `vocab_size` of it."""
    _expect_whole_model(settings)
    expect_llama(settings.get("general.architecture"), settings.path)
    for key, allowed in FIXED_IN_GGUF.items():
        settings.require(key, allowed, RESCALED if ".rope." in key else SAME)
    scaling = settings.get("llama.rope.scaling.type", "none")
    expect(
        scaling in ("none", "linear"),  # by a factor of 1: see above
        f"Expected rotary positions that are not rescaled; {settings.path} has {shown(scaling)}.",
    )
    expect(
        scaling == "none" or settings.get("llama.rope.scaling.factor") is not None,
        f"Expected rotary positions that are not rescaled; {settings.path} has {shown(scaling)} "
        "without a factor.",
    )
    width = settings.whole_number("llama.embedding_length")
    heads = settings.whole_number("llama.attention.head_count")
    part = max(1, width // heads)
    key_width = settings.whole_number("llama.attention.key_length", 0, least=0)
    turned = settings.whole_number("llama.rope.dimension_count", 0, least=0)
    head_width = key_width or turned or part
    settings.require("llama.attention.value_length", (head_width,), SAME)
    settings.require("llama.rope.dimension_count", (head_width,), SAME)
    begin = settings.get("tokenizer.ggml.bos_token_id")
    fields: Fields = dict(
        width=width,
        depth=settings.whole_number("llama.block_count"),
        heads=heads,
        key_heads=settings.whole_number("llama.attention.head_count_kv", heads),
        head_width=head_width,
        hidden=settings.whole_number("llama.feed_forward_length"),
        rotary_base=settings.positive_number("llama.rope.freq_base", 1e4),
        epsilon=round(settings.positive_number("llama.attention.layer_norm_rms_epsilon"), 12),
        opens_with=begin,
        context_length=settings.whole_number("llama.context_length", 0, least=0) or None,
        tied=False,
        vocab_size=settings.whole_number("llama.vocab_size", 0, least=0) or None,
    )
    others = {k: v for k, v in settings.values.items() if k.startswith(("llama.", "adapter."))}
    inner = Settings(others, settings.path)
    inner.taken = settings.taken
    inner.refuse_others(HARMLESS_IN_GGUF, IN_GGUF)
    _expect_heads(fields, settings.path)
    return fields


def _expect_whole_model(settings: Settings) -> None:
    """Complain about GGUF files that hold something else than one whole model."""
    kind = settings.get("general.type", "model")
    advice = {
        "adapter": "Merge it into its model (llama-export-lora), or name a PEFT folder.",
    }.get(kind, "Name the file with the model.")
    expect(
        kind == "model",
        f"Expected a GGUF file with a model; {settings.path} says that it is {shown(kind)}. "
        f"{advice}",
    )
    parts = settings.get("split.count", 0)
    expect(
        type(parts) is int and parts <= 1,
        f"Expected a model in one file; {settings.path} is one of {shown(parts)} parts. Put them "
        "together with llama.cpp's own tools: llama-gguf-split --merge",
    )


def expect_llama(kind: Any, path: Path) -> None:
    """Complain about another architecture."""
    expect(
        kind == "llama",
        f"Expected the llama architecture; {path} has {shown(kind)}. Others of the same kind "
        "(SmolLM2, TinyLlama, Llama 2) say 'llama' there.",
    )


def _expect_heads(fields: Object, path: Path) -> None:
    heads, key_heads, width = fields["heads"], fields["key_heads"], fields["head_width"]
    expect(
        heads % key_heads == 0 and width % 2 == 0,
        f"Expected heads of queries that are a multiple of those of keys, and of an even width, in "
        f"{path}; got {heads}, {key_heads} and {width}. Copy the file again.",
    )
