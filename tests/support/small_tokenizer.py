"""A small byte-level tokenizer, as a Hugging Face folder and as a GGUF file."""

import json

import gguf
import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    "the cat sat on the mat and the hat, and that was that.",
    "What is the capital of France? Paris is the capital of France.",
    "def square(x):\n    return x**2  # the square\n",
    "user assistant system naïve café 12 345 日本 😀",
] * 3


def trained():
    """A tokenizer of the package `tokenizers`, with about 400 tokens."""
    model = tokenizers.Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    model.decoder = decoders.ByteLevel()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=letters, show_progress=False
    )
    model.train_from_iterator(CORPUS, trainer)
    return model


def write(folder):
    """The tokenizer in that folder as Hugging Face has it, and in small.gguf."""
    model = trained()
    model.enable_truncation(4)  # as many folders have it; text is never cut in silence
    model.save(str(folder / "tokenizer.json"))
    about = {"chat_template": TEMPLATE, "eos_token": {"content": "<|im_end|>"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    (folder / "config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": [0, 2]}))
    words = [model.id_to_token(token) for token in range(model.get_vocab_size())]
    merges = json.loads(model.to_str())["model"]["merges"]
    write_gguf(folder / "small.gguf", words, [" ".join(pair) for pair in merges])
    return folder


def write_gguf(path, words, merges, without=(), **changed):
    """A GGUF file with that tokenizer and two tensors; `without`: words left out."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(changed.get("model", "gpt2"))
    writer.add_tokenizer_pre(changed.get("pre", "smollm"))
    kept = [word for word in words if word not in without]
    writer.add_token_list(kept)
    types = dict.fromkeys(SPECIAL, 3) | dict.fromkeys(changed.get("user_defined", ()), 4)
    writer.add_token_types([types.get(word, 1) for word in kept])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    if "eot" in changed:
        writer.add_eot_token_id(changed["eot"])
    writer.add_chat_template(TEMPLATE)
    writer.add_array("some.numbers", [1.5, 2.5])
    writer.add_bool("some.flag", True)
    writer.add_tensor("one", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("two", np.arange(5, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
