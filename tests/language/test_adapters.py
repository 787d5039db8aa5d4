"""Adapters of Hugging Face PEFT: both ways, against PEFT itself where it is installed."""

import json
import warnings
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import promptax as px
from promptax import files
from promptax.language.adapters import load_adapter, save_adapter
from promptax.predictors import LSTM, Llama
from promptax.protocol.repeated import Repeated
from promptax.steering import KeyValuePrompt, LowRank, SoftPrompt
from promptax.steering.weights.low_rank import LowRankDense

SIZES = {"width": 16, "depth": 2, "heads": 4, "key_heads": 2, "head_width": 6, "hidden": 24}
SYMBOLS, BEGIN = 40, 1
KEY = jax.random.key(3)
CLOSE = 1e-4  # nats; 2e-5 was seen
TOKENS = jnp.array([5, 39, 0, 7, 7, 21])
TUNERS = {
    "soft prompt": SoftPrompt(length=3, initial="tokens", before_begin=True),
    "keys and values": KeyValuePrompt(length=3, initial="normal"),
    "low rank": LowRank(rank=2),
    "low rank everywhere": LowRank(rank=3, layers=("query", "gate", "mlp_input", "mlp_output")),
}
of_each_kind = pytest.mark.parametrize("tuner", TUNERS.values(), ids=TUNERS)


def scrambled(tuner, base, key=KEY):
    """A predictor whose tuned leaves are random, as if it had been tuned."""
    steered = tuner.steer(key, base)
    tuned, frozen = eqx.partition(steered, tuner.where(steered))
    leaves, shape = jax.tree.flatten(tuned)
    keys = jax.random.split(key, len(leaves))
    new = [0.5 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    return eqx.combine(jax.tree.unflatten(shape, new), frozen)


@pytest.fixture(scope="module")
def base():
    return Llama(**SIZES, opens_with=BEGIN).build(jax.random.key(0), SYMBOLS)


def config_of(folder):
    return json.loads((folder / "adapter_config.json").read_text())


def edit(folder, **settings):
    """Change some of an adapter's settings."""
    (folder / "adapter_config.json").write_text(json.dumps(config_of(folder) | settings))
    return folder


def change(folder, change):
    """Change an adapter's tensors."""
    path = folder / "adapter_model.safetensors"
    path.write_bytes(safetensors.numpy.save(change(safetensors.numpy.load_file(path))))
    return folder


@pytest.mark.slow
@of_each_kind
def test_what_is_saved_comes_back_exactly(tmp_path, base, tuner):
    tuned = scrambled(tuner, base)
    again = load_adapter(save_adapter(tmp_path / "new" / "adapter", tuned, "a/base"), base)
    assert eqx.tree_equal(again, tuned)
    assert config_of(tmp_path / "new" / "adapter")["base_model_name_or_path"] == "a/base"


@pytest.mark.slow
def test_an_adapter_is_replaced_whole_or_not_at_all(tmp_path, base, monkeypatch):
    first, second = (scrambled(TUNERS[name], base) for name in ("soft prompt", "low rank"))
    save_adapter(tmp_path, first)
    write = files.Path.write_bytes

    def full_disk(path, content):
        if "adapter_model" in path.name:
            raise OSError("disk full")
        return write(path, content)

    monkeypatch.setattr(files.Path, "write_bytes", full_disk)
    with pytest.raises(files.StoreError, match="disk full"):
        save_adapter(tmp_path, second)
    monkeypatch.undo()
    names = ["adapter_config.json", "adapter_model.safetensors"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert eqx.tree_equal(load_adapter(tmp_path, base), first)
    save_adapter(tmp_path, second)
    assert eqx.tree_equal(load_adapter(tmp_path, base), second)


@pytest.mark.slow
def test_a_change_of_a_change_is_one_change(tmp_path, base):
    once = scrambled(LowRank(rank=2), base)
    twice = scrambled(LowRank(rank=1, layers=("query",)), once, jax.random.key(8))
    again = load_adapter(save_adapter(tmp_path, twice), base)
    assert config_of(tmp_path)["rank_pattern"] == {"k_proj": 2, "v_proj": 2, "o_proj": 2}
    np.testing.assert_allclose(px.predict(again, TOKENS), px.predict(twice, TOKENS), atol=1e-5)


@pytest.mark.slow
def test_an_adapter_steers_what_is_steered_already(tmp_path, base):
    prompted = scrambled(TUNERS["soft prompt"], base)
    low_rank = scrambled(TUNERS["low rank"], base)
    both = load_adapter(save_adapter(tmp_path, low_rank), prompted)
    assert eqx.tree_equal(both, eqx.tree_at(lambda p: p.predictor, prompted, low_rank))


def test_layers_may_differ_in_rank_and_scale(tmp_path, base):
    tuned = scrambled(LowRank(rank=2, layers=("query",)), base)
    save_adapter(tmp_path, tuned)
    path = "model.layers.{}.self_attn.q_proj"

    def uneven(tensors):  # layer 0: twice the rank, with zeros; layer 1: none
        new = {name: array for name, array in tensors.items() if ".layers.0." in name}
        axis = {name: 0 if "lora_A" in name else 1 for name in new}
        return {n: np.concatenate([array, 0 * array], axis[n]) for n, array in new.items()}

    change(tmp_path, uneven)
    edit(tmp_path, alpha_pattern={path.format(0): 12, "q_proj": 1}, rank_pattern={"q_proj": 4})
    layer = load_adapter(tmp_path, base).torso.layers.query
    was = tuned.torso.layers.query
    assert layer.down.shape == (2, 16, 4) and isinstance(layer, LowRankDense)
    np.testing.assert_allclose((layer.down @ layer.up)[0], 3 * (was.down @ was.up)[0], rtol=1e-4)
    assert not jnp.any(layer.up[1])
    edit(tmp_path, use_rslora=True)
    layer = load_adapter(tmp_path, base).torso.layers.query
    np.testing.assert_allclose((layer.down @ layer.up)[0], 6 * (was.down @ was.up)[0], rtol=1e-4)


# --- complaints -----------------------------------------------------------------------------


@pytest.mark.usefixtures("as_users_see_it")
def test_what_peft_cannot_read_is_not_saved(tmp_path, base):
    soft, low = scrambled(TUNERS["soft prompt"], base), scrambled(TUNERS["low rank"], base)
    after = SoftPrompt(length=2).steer(KEY, base)
    mixture = px.mix(base, [[1], [2]])
    copies = Repeated(base, base, 3)
    lstm = LSTM(width=4).build(KEY, 3)
    cases = {
        r"got one that stands after it.*SoftPrompt\(before_begin=True\)": after,
        "Expected a tuned prompt or low-rank layers; got a network alone. Tune SoftPrompt": base,
        "got SoftRows and SoftRows. A PEFT folder holds one": SoftPrompt(length=2).steer(KEY, soft),
        "got SoftRows and low-rank layers": TUNERS["soft prompt"].steer(KEY, low),
        "got a prompt of GivenPrompt": px.condition(base, [1, 2]),
        "got PromptedMixture, which PEFT does not know": mixture,
        "at least one row": SoftPrompt(length=0, before_begin=True).steer(KEY, base),
        "got 3 repetitions. Pick one": copies,
        "Expected a Llama, for which PEFT has a counterpart; got LSTM": lstm,
    }
    for message, predictor in cases.items():
        with pytest.raises((ValueError, TypeError), match=message):
            save_adapter(tmp_path / "adapter", predictor)
    assert not (tmp_path / "adapter").exists()


@pytest.mark.slow
def test_adapters_that_do_not_fit_are_named(tmp_path, base):
    wide = Llama(**SIZES | {"width": 20}).build(KEY, SYMBOLS)
    shallow = Llama(**SIZES | {"depth": 1}).build(KEY, SYMBOLS)
    saved = {name: save_adapter(tmp_path / name, scrambled(t, base)) for name, t in TUNERS.items()}
    cases = [
        ("soft prompt", wide, r"of shape \(3, 20\): num_virtual_tokens, and .*; got \(3, 16\)"),
        ("keys and values", shallow, r"\(3, 24\): .* 1 layers · 2 · 2 heads.*; got \(3, 48\)"),
        ("low rank", wide, r"lora_A \(2, 20\).* of self_attn.._proj in layer 0; got \(2, 16\)"),
        ("low rank", shallow, "in 1 layers in .*; got 'base_model.model.model.layers.1.self_attn"),
    ]
    for name, predictor, message in cases:
        with pytest.raises(ValueError, match=message):
            load_adapter(saved[name], predictor)
    with pytest.raises(TypeError, match="got LSTM"):
        load_adapter(saved["low rank"], LSTM(width=4).build(KEY, 3))


def test_adapters_of_other_kinds_are_named(tmp_path, base):
    folder = save_adapter(tmp_path, scrambled(TUNERS["low rank"], base))
    cases = [
        (
            {"peft_type": "ADALORA"},
            "P_TUNING, PREFIX_TUNING, LORA; got 'ADALORA' .* \\(merge_and_unload\\)",
        ),
        ({"use_dora": True}, "known here in .*adapter_config.json; got use_dora = True"),
        ({"bias": "all"}, "got bias='all'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa' changes them"),
        ({"lora_alpha": None}, "Expected a number lora_alpha"),
        ({"r": 8, "rank_pattern": {}}, "Expected factors of rank 8 of .* says; got"),
        ({"target_modules": ["lm_head"]}, "which PEFT would pass over"),
        ({"target_modules": "q_proj"}, "which PEFT would pass over"),  # of whole paths
        ({"exclude_modules": ["q_proj"]}, r"got some of model\.layers\.0\.self_attn\.q_proj"),
        ({"layers_to_transform": [5]}, "which PEFT would pass over"),
        ({"target_modules": 3}, "Expected names of modules as target_modules of"),
        (
            {"alpha_pattern": {"*_proj": 3}},
            "regular expressions in alpha_pattern of .*adapter_conf",
        ),
    ]
    whole = config_of(folder)
    for settings, message in cases:
        (folder / "adapter_config.json").write_text(json.dumps(whole | settings))
        with pytest.raises(ValueError, match=message):
            load_adapter(folder, base)
    (folder / "adapter_config.json").write_text(json.dumps(whole))
    edit(folder, peft_type="PROMPT_TUNING")
    with pytest.raises(ValueError, match="Expected the tensor 'prompt_embeddings' alone"):
        load_adapter(folder, base)
    edit(folder, peft_type="LORA")
    magnitudes = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"
    change(folder, lambda tensors: tensors | {magnitudes: np.ones(3, np.float32)})
    with pytest.raises(ValueError, match="changes more than matrices"):
        load_adapter(folder, base)
    change(folder, lambda tensors: {n: x for n, x in tensors.items() if "lora_A" in n})
    with pytest.raises(ValueError, match=r"layer 0; got \(2, 16\) and None"):
        load_adapter(folder, base)


def test_files_that_are_missing_or_cut_are_named(tmp_path, base):
    with pytest.raises(FileNotFoundError, match=r"Expected adapter_config\.json in .*nowhere"):
        load_adapter(tmp_path / "nowhere", base)
    folder = save_adapter(tmp_path / "adapter", scrambled(TUNERS["soft prompt"], base))
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match="truncated or foreign"):
        load_adapter(folder, base)
    path.rename(folder / "adapter_model.bin")
    with pytest.raises(FileNotFoundError, match=r"adapter_model\.bin.*pickle"):
        load_adapter(folder, base)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="to lie in folders"):
        save_adapter(tmp_path / "file", scrambled(TUNERS["soft prompt"], base))


# --- against PEFT ---------------------------------------------------------------------------

from_elsewhere = pytest.mark.filterwarnings(
    "ignore"
)  # PyTorch and its libraries warn of themselves


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """PEFT, and a folder with a llama that transformers made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft = pytest.importorskip("peft")
        torch = pytest.importorskip("torch")
        transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=SYMBOLS, hidden_size=SIZES["width"], num_hidden_layers=SIZES["depth"],
        num_attention_heads=SIZES["heads"], num_key_value_heads=SIZES["key_heads"],
        head_dim=SIZES["head_width"], intermediate_size=SIZES["hidden"], bos_token_id=BEGIN,
        initializer_range=0.5,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("llama")
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return peft, folder


def theirs(folder):
    import transformers

    return transformers.LlamaForCausalLM.from_pretrained(folder).eval()


def log_probs_of(model, tokens=TOKENS, begin=True):
    """Row t predicts tokens[t], as here."""
    import torch

    ids = torch.tensor([[BEGIN, *tokens.tolist()]])
    with torch.no_grad():
        given = {"input_ids": ids}
        if not begin:
            rows = model.get_input_embeddings()(ids)
            rows[:, 0] = 0
            given = {"inputs_embeds": rows}
        rows = model.eval()(**given).logits[0]
    return rows[-len(tokens) - 1 : -1].log_softmax(-1).numpy()


@pytest.mark.slow
@from_elsewhere
@pytest.mark.parametrize("begin", [True, False], ids=["begin token", "row of zeros"])
@of_each_kind
def test_peft_predicts_as_what_was_saved(tmp_path, elsewhere, tuner, begin):
    peft, folder = elsewhere
    base = Llama.from_safetensors(folder)
    if not begin:
        base = replace(base, architecture=replace(base.architecture, opens_with=None))
    tuned = scrambled(tuner, base)
    save_adapter(tmp_path, tuned, str(folder))
    model = peft.PeftModel.from_pretrained(theirs(folder), tmp_path)
    expected = px.predict(tuned, TOKENS)
    assert np.max(np.abs(expected - px.predict(base, TOKENS))) > 0.1
    np.testing.assert_allclose(log_probs_of(model, begin=begin), expected, atol=CLOSE)


ADAPTERS = {
    "soft prompt": ("PromptTuningConfig", {"num_virtual_tokens": 3}),
    "encoded prompt": ("PromptEncoderConfig", {"num_virtual_tokens": 3, "encoder_hidden_size": 8}),
    "keys and values": ("PrefixTuningConfig", {"num_virtual_tokens": 3}),
    "projected": ("PrefixTuningConfig", {"num_virtual_tokens": 3, "prefix_projection": True}),
    "low rank": ("LoraConfig", {"r": 2, "lora_alpha": 5, "target_modules": ["q_proj", "v_proj"]}),
    "by pattern": (
        "LoraConfig",
        {
            "target_modules": "all-linear",
            "rank_pattern": {"layers.1.self_attn.q_proj": 3, "down_proj": 4},
            "alpha_pattern": {"layers.0.*_proj": 7, "gate_proj": 3},
            "r": 2,
        },
    ),
    "root of rank": (
        "LoraConfig",
        {"r": 4, "use_rslora": True, "target_modules": ["o_proj"], "layers_to_transform": [1]},
    ),
}


@pytest.mark.slow
@from_elsewhere
@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_what_peft_saves_predicts_the_same_here(tmp_path, elsewhere, adapter):
    import torch

    peft, folder = elsewhere
    name, settings = adapter
    config = getattr(peft, name)(task_type="CAUSAL_LM", **settings)
    model = peft.get_peft_model(theirs(folder), config)
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(tmp_path)
    base = Llama.from_safetensors(folder)
    ours = px.predict(load_adapter(tmp_path, base), TOKENS)
    assert np.max(np.abs(ours - px.predict(base, TOKENS))) > 0.1
    again = peft.PeftModel.from_pretrained(theirs(folder), tmp_path)  # PEFT sorts patterns
    np.testing.assert_allclose(ours, log_probs_of(again), atol=CLOSE)
