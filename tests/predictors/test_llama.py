"""The llama: against a plain reading of its equations, from files, and behind them."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import promptax as px
from promptax.fit import updates as loop
from promptax.formats import fetch
from promptax.language.text_model import TextModel
from promptax.predictors import Llama, llama
from promptax.predictors.base import Network
from promptax.protocol.outcomes import Episode
from promptax.steering import LowRank, SoftPrompt
from promptax.steering.search_problem import SearchProblem, Sizes
from promptax.tasks import Categorical

KEY = jax.random.key(0)
SPEC = Llama(width=8, depth=2, heads=4, key_heads=2, head_width=4, hidden=12, opens_with=1)
SYMBOLS = 11
TOKENS = np.array([3, 1, 4, 1, 5, 9, 2, 6])


def network(spec: Llama = SPEC) -> Network:
    """Weights large enough that every part matters."""
    built = spec.build(KEY, SYMBOLS)
    leaves, structure = jax.tree.flatten(eqx.filter(built, eqx.is_array))
    keys = jax.random.split(KEY, len(leaves))
    fresh = [
        0.5 * jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)
    ]
    return eqx.combine(structure.unflatten(fresh), built)


def plainly(net: Network, tokens: np.ndarray) -> np.ndarray:
    """Log probabilities [time, symbol] by loops over heads and rows, in float64."""
    spec, layers = net.torso.spec, net.torso.layers
    get = lambda array: np.asarray(array, np.float64)  # noqa: E731
    table = get(net.embedding.weight)
    rows = table[np.r_[spec.opens_with, tokens]]

    def norm(x, scale):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + spec.epsilon) * get(scale)

    def turned(x, at):
        half = spec.head_width // 2
        angle = at * spec.rotary_base ** (-np.arange(half) * 2 / spec.head_width)
        a, b = x[:half], x[half:]
        return np.r_[a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)]

    for i in range(spec.depth):
        at = lambda name, i=i: get(getattr(layers, name).weight[i])  # noqa: E731
        x = norm(rows, layers.before_attention[i])
        q, k, v = (x @ at(name).T for name in ("query", "key", "value"))
        out = np.zeros((len(rows), spec.heads * spec.head_width))
        for head in range(spec.heads):
            own = slice(head * spec.head_width, (head + 1) * spec.head_width)
            shared = head // (spec.heads // spec.key_heads)
            theirs = slice(shared * spec.head_width, (shared + 1) * spec.head_width)
            for n in range(len(rows)):
                query = turned(q[n, own], n)
                scores = [query @ turned(k[m, theirs], m) for m in range(n + 1)]
                chances = np.exp(np.array(scores) / np.sqrt(spec.head_width))
                out[n, own] = chances / chances.sum() @ v[: n + 1, theirs]
        rows = rows + out @ at("attention_output").T
        x = norm(rows, layers.before_mlp[i])
        gate = x @ at("gate").T
        rows = rows + (gate / (1 + np.exp(-gate)) * (x @ at("mlp_input").T)) @ at("mlp_output").T
    logits = norm(rows, net.torso.norm) @ (
        table.T if net.unembedding is None else get(net.unembedding.matrix())
    )
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))[:-1]


# --- against its equations ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_predictions_are_those_of_the_equations(tied):
    net = network(dataclasses.replace(SPEC, tied=tied))
    np.testing.assert_allclose(px.predict(net, TOKENS), plainly(net, TOKENS), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_many_weights_read_all_prompts_of_a_search_at_once(monkeypatch, count):
    """The last token of a sequence is predicted, not read; three prompts make pieces of two. One
    sequence is differentiated together with the prompt, which changes no slope."""
    net, prompts = network(), jnp.array([[7, 2], [0, 9], [5, 5]])
    inputs, scored = (
        jnp.array(TOKENS.reshape(2, 4)[:count]),
        np.array([[1, 1, 0, 1], [0, 1, 1, 0]])[:count],
    )
    problem = SearchProblem(
        net, Sizes(net.outcome, 2, None, 1), Episode(inputs, scored=jnp.array(scored > 0))
    )
    apart = jax.jit(lambda prompt: problem.gradient(prompt))(prompts[0]) if count == 1 else None
    monkeypatch.setattr(llama, "LARGE", 1)
    monkeypatch.setattr(llama, "PROMPT_ROWS", 8 * count)
    assert net.predict_behind(net.start(), prompts[:2], inputs) is not None
    losses = jax.jit(problem.losses)(prompts)
    if apart is not None:
        for together, old in zip(jax.jit(problem.gradient)(prompts[0]), apart, strict=True):
            np.testing.assert_allclose(together, old, rtol=1e-4, atol=1e-5)
    for prompt, row in zip(prompts, losses, strict=True):
        for tokens, counts, loss in zip(inputs, scored, row, strict=True):
            said = plainly(net, np.r_[prompt, tokens])[2:]
            np.testing.assert_allclose(
                loss, -counts @ said[np.arange(4), np.asarray(tokens)], rtol=1e-5
            )


@pytest.mark.slow
def test_bfloat16_and_rematerialising_change_little_or_nothing():
    plain = network()
    again = network(dataclasses.replace(SPEC, rematerialise=True))
    np.testing.assert_array_equal(px.predict(again, TOKENS), px.predict(plain, TOKENS))
    short = Llama(width=8, heads=2, key_heads=1, head_width=4, hidden=12, dtype="bfloat16")
    rows = px.predict(short.build(KEY, SYMBOLS), TOKENS)
    assert rows.dtype == jnp.float32
    np.testing.assert_allclose(jax.nn.logsumexp(rows, axis=-1), 0.0, atol=1e-5)


# --- files ----------------------------------------------------------------------------------

CONFIG = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "intermediate_size": 12,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e4,
    "bos_token_id": 1,
    "tie_word_embeddings": True,
}
THEIRS = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "mlp_input": "mlp.up_proj",
    "mlp_output": "mlp.down_proj",
}


def named(net: Network) -> dict[str, np.ndarray]:
    """The weights by their names in the Hugging Face format."""
    layers = net.torso.layers
    found = {
        "model.embed_tokens.weight": net.embedding.weight,
        "model.norm.weight": net.torso.norm,
    }
    for i in range(SPEC.depth):
        at = f"model.layers.{i}"
        found[f"{at}.input_layernorm.weight"] = layers.before_attention[i]
        found[f"{at}.post_attention_layernorm.weight"] = layers.before_mlp[i]
        for ours, theirs in THEIRS.items():
            found[f"{at}.{theirs}.weight"] = getattr(layers, ours).weight[i]
    return {name: np.asarray(array) for name, array in found.items()}


def write(folder, arrays, config=CONFIG, shards=1):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if shards == 1:
        safetensors.numpy.save_file(arrays, folder / "model.safetensors")
        return folder
    places = {name: f"model-{i % shards}.safetensors" for i, name in enumerate(arrays)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    for shard in set(places.values()):
        here = {name: arrays[name] for name, place in places.items() if place == shard}
        safetensors.numpy.save_file(here, folder / shard)
    return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_a_folder_gives_the_network_that_was_written(tmp_path, shards):
    net, config = network(), CONFIG | {"max_position_embeddings": 90}
    read = Llama.from_safetensors(write(tmp_path / "small", named(net), config, shards))
    assert read.architecture == dataclasses.replace(SPEC, context_length=90)
    np.testing.assert_array_equal(px.predict(read, TOKENS), px.predict(net, TOKENS))


def test_an_unembedding_of_its_own_is_read(tmp_path):
    net = network(dataclasses.replace(SPEC, tied=False))
    arrays = named(net) | {"lm_head.weight": np.asarray(net.unembedding.weight)}
    config = CONFIG | {"tie_word_embeddings": False}
    read = Llama.from_safetensors(write(tmp_path / "small", arrays, config))
    np.testing.assert_array_equal(px.predict(read, TOKENS), px.predict(net, TOKENS))


@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf_file_gives_the_network_that_was_written(tmp_path, tied):
    net, path = network(dataclasses.replace(SPEC, tied=tied)), tmp_path / "small.gguf"
    arrays = named(net)
    if not tied:
        arrays["lm_head.weight"] = np.asarray(net.unembedding.weight)
    write_gguf(path, arrays)
    read = Llama.from_gguf(path)
    assert read.architecture.tied == tied
    np.testing.assert_allclose(px.predict(read, TOKENS), px.predict(net, TOKENS), atol=1e-6)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="Expected a whole GGUF file"):
        Llama.from_gguf(path)


def test_gguf_files_of_rescaled_positions_are_refused(tmp_path):
    write_gguf(tmp_path / "a.gguf", named(network()), scaling="linear")
    with pytest.raises(ValueError, match=r"not rescaled; .*a.gguf has 'linear'"):
        Llama.from_gguf(tmp_path / "a.gguf")
    write_gguf(tmp_path / "b.gguf", named(network()) | {"rope_freqs.weight": np.ones(2, "f")})
    with pytest.raises(ValueError, match=r"not rescaled; .*b.gguf has rope_freqs.weight"):
        Llama.from_gguf(tmp_path / "b.gguf")


def write_gguf(path, arrays, scaling=None):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(12)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(4)
    writer.add_rope_freq_base(1e4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_bos_token_id(1)
    short = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "mlp.up_proj": "ffn_up"}
    short |= {"self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output"}
    short |= {"mlp.gate_proj": "ffn_gate", "mlp.down_proj": "ffn_down", "model.norm": "output_norm"}
    short |= {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    short |= {"model.embed_tokens": "token_embd", "model.layers": "blk"}
    short |= {"lm_head": "output"}
    if scaling:
        writer.add_string("llama.rope.scaling.type", scaling)
    for name, array in arrays.items():
        if "q_proj" in name or "k_proj" in name:  # as GGUF has them: neighbours are pairs
            array = array.reshape(-1, 2, 2, 8).swapaxes(1, 2).reshape(array.shape)
        for theirs, gguf_name in short.items():
            name = name.replace(theirs, gguf_name)
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_folders_that_cannot_be_read_are_refused(tmp_path):
    arrays = named(network())
    with pytest.raises(
        FileNotFoundError, match=r"Expected config.json in .*nowhere; there is none"
    ):
        Llama.from_safetensors(tmp_path / "nowhere")
    folder = write(tmp_path / "other", arrays, CONFIG | {"model_type": "gpt2"})
    with pytest.raises(ValueError, match=r"Expected the llama architecture; .* has 'gpt2'"):
        Llama.from_safetensors(folder)
    folder = write(tmp_path / "scaled", arrays, CONFIG | {"rope_scaling": {"rope_type": "llama3"}})
    with pytest.raises(ValueError, match=r"not rescaled; .* has 'llama3'"):
        Llama.from_safetensors(folder)
    folder = write(tmp_path / "biased", arrays, CONFIG | {"attention_bias": True})
    with pytest.raises(ValueError, match="Expected attention_bias False"):
        Llama.from_safetensors(folder)
    for setting in ({"is_causal": False}, {"layer_types": ["sliding_attention"] * 2}):
        folder = write(tmp_path / "masked otherwise", arrays, CONFIG | setting)
        with pytest.raises(ValueError, match=rf"Expected {next(iter(setting))} .*got"):
            Llama.from_safetensors(folder)
    less = {name: array for name, array in arrays.items() if "layers.1.mlp.gate" not in name}
    with pytest.raises(ValueError, match=r"Expected \['model.layers.1.mlp.gate_proj.weight'\]"):
        Llama.from_safetensors(write(tmp_path / "less", less))
    with pytest.raises(ValueError, match=r"Expected \['lm_head.weight'\]"):
        Llama.from_safetensors(
            write(tmp_path / "a", arrays, CONFIG | {"tie_word_embeddings": False})
        )
    wrong = arrays | {"model.embed_tokens.weight": np.zeros((SYMBOLS, 9), np.float32)}
    with pytest.raises(
        ValueError, match=r"Expected model.embed_tokens.weight of shape \(11, 8\); got \(11, 9\)"
    ):
        Llama.from_safetensors(write(tmp_path / "wide", wrong))
    folder = write(tmp_path / "cut", arrays)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-50])
    with pytest.raises(ValueError, match="Expected a whole safetensors file"):
        Llama.from_safetensors(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"Expected the weights model\.safetensors"):
        Llama.from_safetensors(folder)


def test_weights_that_were_not_fetched_or_are_not_theirs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.PLACE, str(tmp_path / "nothing.gguf"))
    with pytest.raises(
        FileNotFoundError, match=r"Fetch them once \(93 MB, Apache-2.0\): promptax lm"
    ):
        Llama.smollm2_135m()
    other = tmp_path / "other.gguf"
    other.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"with SHA-256 b179c9523d0e6a0f…; got"):
        fetch.check_hash(other, fetch.SMOLLM2.sha256)


# --- steering -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "tuner", [SoftPrompt(length=2), LowRank(rank=2)], ids=lambda t: type(t).__name__
)
def test_what_is_not_scored_is_not_read_and_changes_nothing(monkeypatch, tuner):
    net, time = network(), 16
    steered = tuner.steer(KEY, net)
    tuned, frozen = eqx.partition(steered, tuner.where(steered))
    program = loop.Program(*eqx.partition(frozen, False), jnp.float32(1.0))
    ends = jnp.array([3, 16, 7, 2])
    scored = (jnp.arange(time) < ends[:, None]) & (jnp.arange(time) > 0)
    tokens = jax.random.randint(KEY, (4, time), 0, SYMBOLS)

    def gradient(tokens, micro):
        episodes = Episode(tokens, latent=jnp.arange(4), scored=scored)
        one = lambda *arrays: loop.loss_and_gradient(*arrays, Categorical().outcome, micro)  # noqa: E731
        return eqx.filter_jit(one)(
            tuned, program, episodes
        )  # traced anew, also where LARGE differs

    expected = gradient(tokens, 4)
    monkeypatch.setattr(llama, "LARGE", 1)
    assert net.reading_lengths(time) == (8, 16)
    for micro in (4, 1):
        found = gradient(tokens, micro)
        for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


# --- SmolLM2, if its weights are there -------------------------------------------------------

PARAGRAPH = """France is a country in Western Europe. Its capital and largest city is Paris, which \
is located on the river Seine. The country is known for its food, wine, art, and history. Many \
people visit France every year to see famous places such as the Eiffel Tower and the Louvre \
Museum."""


@pytest.fixture(scope="module")
def smollm2():
    try:
        fetch.smollm2_path()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    jax.config.update("jax_disable_most_optimizations", False)
    yield TextModel.named("smollm2")
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.mark.slow
def test_smollm2_reads_a_paragraph_as_transformers_does(smollm2):
    tokens = smollm2.tokens(PARAGRAPH)
    rows = px.predict(smollm2.predictor, tokens)
    losses = -np.take_along_axis(np.asarray(rows), tokens[:, None], axis=1)[1:]
    # transformers 5.23 on the same weights; queries and keys in the file's order give 3.247
    np.testing.assert_allclose(losses.mean(), 1.6528, atol=1e-3)
    state, parts = smollm2.predictor.start(64), []
    read = eqx.filter_jit(lambda predictor, state, tokens: predictor.advance(state, tokens))
    for piece in (tokens[:32], tokens[32:33], tokens[33:]):
        state, prediction = read(smollm2.predictor, state, jnp.asarray(piece))
        parts.append(prediction.log_probs)
    np.testing.assert_allclose(jnp.concatenate(parts), rows, atol=1e-3)


@pytest.mark.slow
def test_smollm2_adds(smollm2):
    messages = [{"role": "user", "content": "What is 2 plus 2? Answer with a number."}]
    said = "".join(smollm2.reply(KEY, messages, 12, temperature=0.0))
    assert "4" in said
