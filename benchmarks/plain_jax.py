"""The other side of the comparison in JAX: what a careful user writes without a library.

One jitted function for a whole update (loss over a concatenated batch, gradient for the tuned
leaves, clipping, Adam), called from a Python loop, with the data of each step sampled by another
jitted function. The networks are the main paper's, as plain functions over dictionaries.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

WIDTH, HEADS, HIDDEN = 128, 4, 512
ADAPTED = ("query", "key", "value", "mix", "inputs", "recurrent")


def parameters(key: jax.Array, network: str) -> dict[str, jax.Array]:
    """Freshly initialised weights."""
    keys = iter(jax.random.split(key, 16))
    dense = lambda n, m: jax.random.normal(next(keys), (n, m)) / jnp.sqrt(n)  # noqa: E731
    out = {"embed": dense(2, WIDTH), "embed_bias": jnp.zeros(WIDTH)}
    out |= {"unembed": dense(WIDTH, 2), "unembed_bias": jnp.zeros(2)}
    if network == "LSTM":
        out |= {"inputs": dense(WIDTH, 4 * WIDTH), "recurrent": dense(WIDTH, 4 * WIDTH)}
        return out | {"bias": jnp.zeros(4 * WIDTH)}
    out |= {name: dense(WIDTH, WIDTH) for name in ("query", "key", "value", "mix")}
    out |= {"up": dense(WIDTH, HIDDEN), "down": dense(HIDDEN, WIDTH)}
    for name in ("norm1", "norm2", "norm3", "query_norm", "key_norm"):
        out[name] = jnp.ones(WIDTH)
    return out | {f"norm{i}_bias": jnp.zeros(WIDTH) for i in (1, 2, 3)}


def norm(rows: jax.Array, scale: jax.Array, bias: jax.Array | float = 0.0) -> jax.Array:
    """Layer norm."""
    mean = rows.mean(-1, keepdims=True)
    return (rows - mean) * jax.lax.rsqrt(rows.var(-1, keepdims=True) + 1e-6) * scale + bias


def transformer(p: dict[str, jax.Array], rows: jax.Array) -> jax.Array:
    """Outputs [sequence, time, width]."""
    batch, length, _ = rows.shape
    rates = 1e4 ** (-jnp.arange(0, WIDTH, 2) / WIDTH)
    angles = jnp.arange(length)[:, None] * rates
    rows = rows + jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
    normed = norm(rows, p["norm1"], p["norm1_bias"])
    heads = lambda x: x.reshape(batch, length, HEADS, WIDTH // HEADS)  # noqa: E731
    query = heads(norm(normed @ p["query"], p["query_norm"]))
    key, value = heads(norm(normed @ p["key"], p["key_norm"])), heads(normed @ p["value"])
    scores = jnp.einsum("bthd,bshd->bhts", query, key) / jnp.sqrt(WIDTH // HEADS)
    scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
    mixed = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), value)
    rows = rows + mixed.reshape(batch, length, WIDTH) @ p["mix"]
    inner = jax.nn.gelu(norm(rows, p["norm2"], p["norm2_bias"]) @ p["up"])
    return norm(rows + inner @ p["down"], p["norm3"], p["norm3_bias"])


def lstm(p: dict[str, jax.Array], rows: jax.Array) -> jax.Array:
    """Outputs [sequence, time, width]."""

    def step(state: tuple, row: jax.Array) -> tuple:
        cell, hidden = state
        i, f, g, o = jnp.split(row @ p["inputs"] + hidden @ p["recurrent"] + p["bias"], 4, -1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (cell, hidden), hidden

    zeros = jnp.zeros((rows.shape[0], WIDTH))
    return jax.lax.scan(step, (zeros, zeros), rows.swapaxes(0, 1))[1].swapaxes(0, 1)


TORSOS = {"Transformer": transformer, "LSTM": lstm}


def losses(network: str, p: dict[str, jax.Array], tokens: jax.Array) -> jax.Array:
    """Log loss of every token [sequence, time]."""
    one_hot = jax.nn.one_hot(tokens, 2)
    before = [jnp.broadcast_to(p["embed_bias"], (len(tokens), 1, WIDTH))]
    if "prompt" in p:
        before.append(jnp.broadcast_to(p["prompt"], (len(tokens), 6, WIDTH)))
    rows = jnp.concatenate([*before, one_hot[:, :-1] @ p["embed"] + p["embed_bias"]], 1)
    outputs = TORSOS[network](p, rows)[:, -tokens.shape[1] :]
    log_probs = jax.nn.log_softmax(outputs @ p["unembed"] + p["unembed_bias"])
    return -jnp.sum(log_probs * one_hot, -1)


def evaluation(
    network: str, sequences: int = 2048, length: int = 200, chunk: int = 256
) -> Callable:
    """Losses of all sequences, in chunks; the same kind of function."""
    key = jax.random.key(0)
    weights = parameters(key, network)
    read = jax.jit(lambda p, tokens: losses(network, p, tokens))
    sample = jax.jit(lambda key: (jax.random.uniform(key, (chunk, length)) < 0.8).astype(jnp.int32))

    def run(updates: int) -> float:
        started = time.perf_counter()
        for _ in range(updates):
            keys = jax.random.split(key, sequences // chunk)
            np.concatenate([np.asarray(read(weights, sample(each))) for each in keys])
        return (time.perf_counter() - started) / updates

    return run


def update(network: str, job: str, length: int) -> Callable[[int], float]:
    """A job as a function of how many updates to run, which returns seconds per update.

    Jobs: "pretraining" on random coins; "full weights", "soft prompt" and "low rank" on a coin of
    0.2. Low-rank changes are merged into the matrices, once for each update.
    """
    key = jax.random.key(0)
    weights = parameters(key, network)
    tuned, frozen = weights, {}
    if job == "soft prompt":
        tuned, frozen = {"prompt": jnp.eye(6, WIDTH)}, weights
    elif job == "low rank":
        shapes = {name: weights[name].shape for name in ADAPTED if name in weights}
        down = {f"{name}_down": 0.1 * jnp.ones((n, 4)) for name, (n, _) in shapes.items()}
        tuned = down | {f"{name}_up": jnp.zeros((4, m)) for name, (_, m) in shapes.items()}
        frozen = weights
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))

    def loss(tuned: dict, frozen: dict, tokens: jax.Array) -> jax.Array:
        p = tuned | frozen
        low_rank = [name.removesuffix("_up") for name in p if name.endswith("_up")]
        p |= {name: p[name] + p[f"{name}_down"] @ p[f"{name}_up"] for name in low_rank}
        return jnp.sum(losses(network, p, tokens)) / len(tokens)

    @jax.jit
    def step(tuned: dict, moments: tuple, frozen: dict, tokens: jax.Array) -> tuple:
        value, gradient = jax.value_and_grad(loss)(tuned, frozen, tokens)
        change, moments = adam.update(gradient, moments)
        return optax.apply_updates(tuned, change), moments, value

    @jax.jit
    def sample(key: jax.Array) -> jax.Array:
        one, two = jax.random.split(key)
        bias = jax.random.uniform(one, (256, 1)) if job == "pretraining" else 0.8
        return (jax.random.uniform(two, (256, length)) < bias).astype(jnp.int32)

    def run(updates: int) -> float:
        state, losses = (tuned, adam.init(tuned)), []
        started = time.perf_counter()
        for number in range(updates):
            *state, value = step(*state, frozen, sample(jax.random.fold_in(key, number)))
            losses.append(value)
        jax.block_until_ready(losses)
        return (time.perf_counter() - started) / updates

    return run
