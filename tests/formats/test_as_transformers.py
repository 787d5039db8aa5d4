"""Small folders with every oddity: tokens, chats and log probabilities are those of `transformers`.

Skipped where `transformers` (5 or newer) and PyTorch are not installed; neither is a dependency.
"""

import importlib.metadata
import os
import warnings

import numpy as np
import pytest
from support import small_llama

import promptax as px
from promptax.language import Tokenizer
from promptax.predictors import Llama

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch and its libraries warn of themselves

TEXTS = ("", "hi", "if a < b & c: é 😀\n", "<|b|> and <x> and <|end|>x")
CHAT = [{"role": "user", "content": "if a < b & c: é"}, {"role": "assistant", "content": " no\n"}]
TOKENS = np.array([5, 6, 7, 250])
CLOSE = 1e-4  # nats; 3e-6 was seen

WEIGHTS = small_llama.weights()
HEAD = np.random.default_rng(5).normal(size=(259, 8)).astype(np.float32)
EMBEDDING = WEIGHTS["model.embed_tokens.weight"]
LOOP = "{% for m in messages %}<|a|>{{ m.role }}\n{{ m.content }}<|b|>\n{% endfor %}"
END = {
    "content": "<|end|>",
    "special": True,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "single_word": False,
}
PLAIN_END = END | {"special": False, "content": "<x>"}
MORE = {"vocab_size": 261}


def more_rows(rows=261):
    table = np.random.default_rng(6).normal(size=(rows, 8)).astype(np.float32)
    return WEIGHTS | {"model.embed_tokens.weight": table}


def chat(template, **about):
    return {"about": {"chat_template": template, **about}}


FOLDERS = {
    "plain": {},
    "begin tokens that disagree": {
        "config": {"bos_token_id": 0},
        "about": {"bos_token": "<|a|>", "chat_template": "{{ bos_token }}" + LOOP},
    },
    "a begin token of the tokenizer alone": {
        "config": {"bos_token_id": None},
        "about": {"bos_token": "<|a|>"},
    },
    "a begin token as an object": {
        "about": {"bos_token": {"__type": "AddedToken", **END, "content": "<s>"}}
    },
    "several ends": {"config": {"eos_token_id": [2, 1]}},
    "ends of generation_config": {
        "config": {"eos_token_id": 2},
        "generation_config": {"eos_token_id": [2, 0]},
    },
    "added_tokens_decoder": {
        "config": MORE,
        "tensors": more_rows(),
        "about": {
            "eos_token": "<|end|>",
            "added_tokens_decoder": {"259": END, "260": PLAIN_END},
            "chat_template": LOOP + "<|end|>",
        },
    },
    "added_tokens.json": {
        "config": MORE,
        "tensors": more_rows(),
        "about": {"eos_token": "<|end|>"},
        "added_tokens": {"<|end|>": 259, "<x>": 260},
    },
    "special_tokens_map.json": {
        "about": {"eos_token": None},
        "special_tokens_map": {"eos_token": "<|a|>", "bos_token": {"content": "<s>"}},
    },
    "special_tokens_map.json wins": {
        "about": {"eos_token": "<|b|>"},
        "special_tokens_map": {"eos_token": "<|a|>"},
    },
    "special_tokens_map.json loses": {
        "about": {"eos_token": "<|b|>", "added_tokens_decoder": {"2": END | {"content": "<|b|>"}}},
        "special_tokens_map": {"eos_token": "<|a|>"},
    },
    "a special token that nobody numbered": {
        "config": MORE,
        "tensors": more_rows(),
        "about": {"pad_token": "<|end|>"},
    },
    "additional special tokens": {
        "config": MORE,
        "tensors": more_rows(),
        "about": {"additional_special_tokens": ["<|end|>"], "pad_token": "<x>"},
    },
    "extra special tokens": {
        "config": MORE,
        "tensors": more_rows(),
        "about": {
            "additional_special_tokens": ["<never>"],
            "extra_special_tokens": ["<x>", "<|end|>"],
            "chat_template": LOOP + "<x>",
        },
    },
    "extra special tokens with names": {
        "config": MORE,
        "tensors": more_rows(),
        "about": {
            "extra_special_tokens": {"image_token": "<x>", "end_token": "<|end|>"},
            "chat_template": LOOP + "{{ image_token }}{{ end_token }}",
        },
    },
    "a special token of a name of its own": {
        "config": MORE,
        "tensors": more_rows(),
        "about": {"image_token": "<x>", "chat_template": LOOP + "{{ image_token }}"},
    },
    "additional ones in special_tokens_map.json": {
        "config": MORE,
        "tensors": more_rows(),
        "special_tokens_map": {"additional_special_tokens": ["<|end|>"], "image_token": "<x>"},
    },
    "a special token that takes spaces": {
        "config": MORE,
        "tensors": more_rows(),
        "about": {
            "pad_token": {
                **END,
                "__type": "AddedToken",
                "content": "<x>",
                "lstrip": True,
                "rstrip": True,
            }
        },
    },
    "a declared token that takes spaces": {
        "config": MORE,
        "tensors": more_rows(),
        "about": {"added_tokens_decoder": {"259": END | {"lstrip": True, "rstrip": True}}},
    },
    "a space before": {"about": {"add_prefix_space": True}},
    "the class of another tokenizer": {"about": {"tokenizer_class": "LlamaTokenizerFast"}},
    "a class that nobody knows": {"about": {"tokenizer_class": "OfMyOwn"}},
    "switches without a part": {
        "about": {
            "do_lower_case": True,
            "clean_up_tokenization_spaces": True,
            "model_max_length": 3,
            "split_special_tokens": False,
        }
    },
    "templates by their names": chat({"default": LOOP, "tools": "t"}),
    "HTML in a template": chat("{{ messages[0].content | e }}{{ '<' }}"),
    "lists in a template": chat(
        "{{ messages | map(attribute='role') | join(',') }}{{ messages[-1].content.split()[0] }}"
    ),
    "tojson": chat("{{ messages | tojson }}"),
    "tojson with indent": chat(
        "{{ messages | tojson(indent=2) }}|"
        "{{ messages[0] | tojson(separators=(',', ':'), sort_keys=True) }}"
    ),
    "tojson in ASCII": chat("{{ messages | tojson(ensure_ascii=True) }}"),
    "generation": chat(
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    ),
    "the year": chat("{{ strftime_now('%Y') }}"),
    "pad_token": chat(
        "{{ pad_token }}{{ messages[0].content }}{{ eos_token }}{{ unk_token }}", pad_token="<s>"
    ),
    "names that are not there": chat(
        "{{ bos_token }}[{{ sep_token is defined }}]{{ messages[0].content }}"
    ),
    "loop controls": chat(
        "{% for m in messages %}{% if loop.last %}{% break %}"
        "{% endif %}{{ m.content | trim }}{% endfor %}"
    ),
    "namespaces and macros": chat(
        "{% set ns = namespace(n=0) %}{% macro say(x) %}[{{ x }}]"
        "{% endmacro %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
        "{{ say(m.content) }}{{ ns.n }}{% endfor %}"
    ),
    "several templates": {
        "about": {
            "chat_template": [
                {"name": "tool_use", "template": "t"},
                {"name": "default", "template": LOOP},
            ]
        }
    },
    "whitespace control": chat(
        "\n  {%- for m in messages %}\n    {{- m.content }}\n  {% endfor %}\n"
    ),
    "an untied head that config.json ties": {"tensors": WEIGHTS | {"lm_head.weight": HEAD}},
    "a head equal to the embedding": {"tensors": WEIGHTS | {"lm_head.weight": EMBEDDING}},
    "an untied head": {
        "config": {"tie_word_embeddings": False},
        "tensors": WEIGHTS | {"lm_head.weight": HEAD},
    },
    "names without model.": {"tensors": {n.removeprefix("model."): x for n, x in WEIGHTS.items()}},
    "positions by 1": {"config": {"rope_scaling": {"type": "linear", "factor": 1.0}}},
    "wide heads": {
        "config": {"head_dim": 6, "num_key_value_heads": 1},
        "tensors": WEIGHTS
        | {
            f"model.layers.0.self_attn.{part}_proj.weight": np.random.default_rng(7)
            .normal(size=shape)
            .astype("f")
            for part, shape in {"q": (12, 8), "k": (6, 8), "v": (6, 8), "o": (8, 12)}.items()
        },
    },
    "a padded alphabet": {"config": {"vocab_size": 320}, "tensors": more_rows(320)},
    "float64": {"tensors": {n: x.astype(np.float64) for n, x in WEIGHTS.items()}},
    "θ of its own": {"config": {"rope_theta": 50.0}},
    "θ among the positions": {
        "config": {
            "rope_parameters": {"rope_type": "default", "rope_theta": 50.0},
            "rope_theta": 1e4,
        }
    },
    "another ε": {"config": {"rms_norm_eps": 0.1}},
    "half precision": {"tensors": {n: x.astype(np.float16) for n, x in WEIGHTS.items()}},
    "rates from older files": {
        "tensors": WEIGHTS
        | {"model.layers.0.self_attn.rotary_emb.inv_freq": (1e4 ** (-np.arange(2) / 2)).astype("f")}
    },
}


@pytest.fixture(scope="module")
def theirs():
    """transformers and PyTorch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = pytest.importorskip("transformers")
        torch = pytest.importorskip("torch")
    if int(importlib.metadata.version("transformers").split(".")[0]) < 5:
        pytest.skip("transformers is older than 5")
    transformers.logging.set_verbosity_error()
    return transformers, torch


@pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS)
def test_a_folder_is_read_as_transformers_reads_it(tmp_path, theirs, folder):
    transformers, torch = theirs
    path = small_llama.write(tmp_path / "a", **folder)
    ours, reference = Tokenizer.named(str(path)), transformers.AutoTokenizer.from_pretrained(path)
    assert ours.end == reference.eos_token_id
    if reference.bos_token_id is not None:
        assert ours.begin == reference.bos_token_id
    for text in TEXTS:
        expected = reference.encode(text, add_special_tokens=False)
        assert ours.encode(text, special=True).tolist() == expected, text
    if reference.chat_template is not None:
        given = {"add_generation_prompt": True, "tokenize": True, "return_dict": False}
        assert ours.chat(CHAT).tolist() == reference.apply_chat_template(CHAT, **given)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    ends = model.generation_config.eos_token_id
    assert ends is None or set(ours.ends) >= ({*ends} if isinstance(ends, list) else {ends})
    network = Llama.from_safetensors(path)
    assert network.architecture.opens_with == ours.begin
    if ours.begin is None:
        return
    with torch.no_grad():
        logits = model(torch.tensor([[ours.begin, *TOKENS.tolist()]])).logits[0, :-1]
    expected = logits.log_softmax(-1).numpy()
    np.testing.assert_allclose(px.predict(network, TOKENS), expected, atol=CLOSE)


GGUF = {  # settings and tensors of GGUF files
    "plain": ({}, WEIGHTS),
    "a head of its own": ({}, WEIGHTS | {"lm_head.weight": HEAD}),
    "θ of its own": ({"llama.rope.freq_base": 50.0}, WEIGHTS),
    "another ε": ({"llama.attention.layer_norm_rms_epsilon": 0.1}, WEIGHTS),
    "half precision": ({}, {n: x.astype(np.float16) for n, x in WEIGHTS.items()}),
    "heads of keys": (
        {"llama.attention.head_count_kv": 1},
        WEIGHTS
        | {f"model.layers.0.self_attn.{n}_proj.weight": HEAD[place : place + 4]
           for n, place in (("k", 0), ("v", 4))},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "tensors"), GGUF.values(), ids=GGUF)
def test_a_gguf_file_is_read_as_transformers_reads_it(tmp_path, theirs, settings, tensors):
    transformers, torch = theirs
    sizes = {"llama.vocab_size": 259, "llama.attention.head_count_kv": 2}  # which they need
    path = small_llama.write_gguf(tmp_path / "a.gguf", sizes | settings, tensors)
    kinds = {"gguf_file": path.name, "dtype": torch.float32}
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, **kinds).eval()
    with torch.no_grad():
        logits = model(torch.tensor([[1, *TOKENS.tolist()]])).logits[0, :-1]
    network = Llama.from_gguf(path)
    expected = logits.log_softmax(-1).numpy()
    np.testing.assert_allclose(px.predict(network, TOKENS), expected, atol=CLOSE)
