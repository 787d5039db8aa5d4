"""Tuned prompts and low-rank changes as adapter folders of Hugging Face PEFT, and back.

A folder holds `adapter_config.json` and `adapter_model.safetensors`. Which `peft_type` is what:

    PROMPT_TUNING   SoftPrompt(before_begin=True)   prompt_embeddings [prompt, embedding]
    P_TUNING        the same, when loaded           prompt_embeddings [prompt, embedding]
    PREFIX_TUNING   KeyValuePrompt                  prompt_embeddings [prompt, layer·part·head·each]
    LORA            LowRank                         of each module of each layer, lora_A [rank,
                                                    input] and lora_B [output, rank]

In PREFIX_TUNING's rows, keys come before values; the heads are those of keys and values, and keys
are turned by their position already. LORA adds scale · lora_B @ lora_A to a module's matrix, with
scale = lora_alpha / rank, or lora_alpha / √rank under `use_rslora` (Kalajdzievski 2023); what is
saved here has scale 1.

PEFT puts a prompt before all that its model reads. That model is given what opens a sequence as
well: `input_ids` [begin, *tokens]; without a begin token, `inputs_embeds` whose first row is zeros.
Neither PEFT nor PyTorch is needed here.
"""

from promptax.language.adapters.folders import load_adapter as load_adapter
from promptax.language.adapters.folders import save_adapter as save_adapter
