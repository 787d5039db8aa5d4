"""Adapter folders of PEFT: which file holds what, and which kind is whose."""

import os
from pathlib import Path

import numpy as np

from promptax import files
from promptax.doors import door
from promptax.files import expect
from promptax.formats import weights
from promptax.formats.settings import shown
from promptax.language.adapters import low_rank, prompts, unchanged
from promptax.predictors.base import Network
from promptax.predictors.llama import Llama
from promptax.protocol.entries import one
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import Prompt, Prompted, Wrapper
from promptax.specs import check
from promptax.steering.gradient import replace_network

PROMPTS = {
    "PROMPT_TUNING": prompts.soft_rows,
    "P_TUNING": prompts.soft_rows,
    "PREFIX_TUNING": prompts.keys_and_values,
}
KINDS = (*PROMPTS, "LORA")
# Kinds that PEFT cannot merge into a model's weights.
UNMERGED = ("MULTITASK_PROMPT_TUNING", "ADAPTION_PROMPT", "CPT", "POLY", "XLORA")
MERGE = "Merge it into its model with PEFT (merge_and_unload), which then loads as a whole."
ANOTHER = "PEFT cannot merge this kind either: tune one of the kinds above instead."
# Settings that change nothing of what a saved adapter computes, beyond what its tensors say.
HARMLESS = (
    "task_type", "peft_version", "auto_mapping", "base_model_name_or_path", "base_model_class",
    "revision", "inference_mode", "modules_to_save",
    # of prompts
    "num_virtual_tokens", "token_dim", "num_transformer_submodules", "num_attention_heads",
    "num_layers", "encoder_*", "prompt_tuning_init*", "tokenizer_*", "init_weights",
    "prefix_projection",
    # of LORA; those of its start are known by init_lora_weights
    "r", "lora_alpha", "alpha_pattern", "rank_pattern", "use_rslora", "bias", "init_lora_weights",
    "target_modules", "exclude_modules", "lora_dropout", "fan_in_fan_out", "layers_to_transform",
    "layers_pattern", "megatron_c*", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
    "runtime_config", "qalora_group_size", "ensure_weight_tying",
)  # fmt: skip


@door
def save_adapter(
    folder: str | os.PathLike, predictor: Predictor, base_name: str | None = None
) -> Path:
    """Write what was tuned, a prompt or low-rank layers, as a folder that PEFT loads:
    `PeftModel.from_pretrained(model, folder)`. An adapter that is there already is replaced. The
    folder carries a digest, which `load_adapter` verifies; one that PEFT wrote has none.

    `base_name`: where PEFT's users find the model that the adapter is for: a folder, or a name on
    a hub.

    Raises:
        TypeError: several repetitions, or not a llama below the prompt.
        ValueError: nothing was tuned that PEFT knows, more than one thing was, or the prompt
            stands after the begin row.
        StoreError: the folder cannot be written; what was there is what it was.
    """
    network, spec = _llama_in(one(predictor))
    given, changes = _prompts_of(predictor), low_rank.changes_in(network)
    kinds = [type(prompt).__name__ for prompt in given] + ["low-rank layers"] * bool(changes)
    check(
        len(kinds) == 1,
        f"Expected one tuned thing, a prompt or low-rank layers; got {' and '.join(kinds)}. A PEFT "
        "folder holds one: tune one of them on the predictor as it was trained."
        if kinds
        else "Expected a tuned prompt or low-rank layers; got a network alone. Tune SoftPrompt("
        "before_begin=True), KeyValuePrompt or LowRank; promptax.save writes whole networks.",
    )
    config, tensors = prompts.describe(spec, given[0]) if given else low_rank.describe(changes)
    config |= {
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        weights.BASE: base_name,
    }
    whole = {name: np.asarray(tensor, np.float32, order="C") for name, tensor in tensors.items()}
    return files.write_together(files.path_of(folder), weights.adapter_files(config, whole))


@door
def load_adapter(folder: str | os.PathLike, predictor: Predictor) -> Predictor:
    """A llama with what is in a PEFT adapter folder: one that reads the prompt, or has the low-rank
    layers. `predictor` is left as it was; it may be steered already.

    Raises:
        TypeError: several repetitions, or no llama.
        FileNotFoundError: files are missing.
        StoreError: another kind of adapter, one for another model, a truncated file, or one that
            is not what promptax wrote there.
    """
    network, spec = _llama_in(one(predictor))
    place = files.path_of(folder)
    config, tensors = weights.read_adapter(place)
    kind = config.get("peft_type")
    advice = ANOTHER if kind in UNMERGED else MERGE
    expect(
        isinstance(kind, str) and kind in KINDS,
        f"Expected a peft_type of {', '.join(KINDS)}; got {shown(kind)} in {folder}. {advice}",
    )
    config.refuse_others(HARMLESS, ANOTHER if kind in PROMPTS else MERGE)
    others = unchanged.without(network, tensors, place)
    if kind in PROMPTS:
        steered = Prompted(predictor, PROMPTS[kind](spec, config, others))
    else:
        steered = replace_network(predictor, low_rank.with_changes(network, config, others))
    weights.expect_as_written(place, config, tensors)  # last: others say what is wrong
    return steered


def _llama_in(predictor: Predictor) -> tuple[Network, Llama]:
    """The llama below all prompts, and what it was built from."""
    inner = predictor
    while isinstance(inner, Wrapper):
        inner = inner.predictor
    if isinstance(inner, Network) and isinstance(inner.architecture, Llama):
        return inner, inner.architecture
    kind = type(inner.architecture if isinstance(inner, Network) else inner).__name__
    raise TypeError(
        f"Expected a Llama, for which PEFT has a counterpart; got {kind}. promptax.save and "
        "promptax.load keep any predictor."
    )


def _prompts_of(predictor: Predictor) -> list[Prompt]:
    prompts = []
    while isinstance(predictor, Wrapper):
        check(
            isinstance(predictor, Prompted),
            f"Expected one prompt; got {type(predictor).__name__}, which PEFT does not know. Save "
            "a predictor that reads one of its prompts.",
        )
        assert isinstance(predictor, Prompted)
        prompts.append(predictor.context)
        predictor = predictor.predictor
    return prompts
