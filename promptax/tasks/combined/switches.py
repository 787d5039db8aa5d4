"""When a source switches, and between which parts: drawing, what an oracle says, what it loses.

A *path* says for each step which part speaks, and whether a segment begins with it. `moves`
[part, to] is the probability of each part after a switch.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from promptax.axes import LogProbs, Tokens
from promptax.tasks.base import Task, draw
from promptax.tasks.hidden.forward import at_height

Weights = tuple[float, ...] | Float[Array, " part"]
Chance = float | Float[Array, ""]


class Path(NamedTuple):
    """Which part speaks at each step, and whether a segment begins with the step."""

    parts: Int[Array, " time"]
    begins: Bool[Array, " time"]


class Switches(NamedTuple):
    """The latent: a path, and what was hidden in the parts. If parts are fresh, `latents` of each
    part have a leading axis [segment, ...]: those of its segments mean something."""

    parts: Int[Array, " time"]
    begins: Bool[Array, " time"]
    latents: tuple[Any, ...]


def moves(next_part: str, weights: Float[Array, " part"]) -> Float[Array, "part to"]:
    """The probability of each part after a switch: drawn from the weights, or the next one."""
    if next_part == "redraw":
        return jnp.broadcast_to(weights, (len(weights), len(weights)))
    return jnp.roll(jnp.eye(len(weights)), 1, axis=1)


def draw_path(
    key: Key[Array, ""], weights: Weights, hazard: Chance, moves: Array, length: int
) -> Path:
    """The part that begins, then a switch with probability `hazard` before each later step."""
    first, when = jax.random.split(key)
    heights = jnp.cumsum(moves, axis=1)
    begin = draw(first, jnp.asarray(weights), 1)[0]

    def step(part: Int[Array, ""], place: tuple[Array, Array]) -> tuple[Array, Any]:
        time, points = place
        switch = (points[0] < hazard) & (time > 0)
        part = jnp.where(switch, at_height(heights[part], points[1]), part)
        return part, (part, switch | (time == 0))

    points = jax.random.uniform(when, (length, 2))
    return Path(*jax.lax.scan(step, begin, (jnp.arange(length), points))[1])


def draw_fresh(
    key: Key[Array, ""], parts: tuple[Task, ...], path: Path
) -> tuple[Tokens, tuple[Any, ...]]:
    """Tokens [time] and the latents of each part [segment, ...]. Segments are drawn one after the
    other, as many as there are: to draw one for each step would cost the square of the length."""
    length, time = len(path.parts), jnp.arange(len(path.parts))
    segment, start = _segments(path)

    def draw_all(number: Int[Array, ""] | int) -> tuple[Array, tuple[Any, ...]]:
        keys = jax.random.split(jax.random.fold_in(key, number), len(parts))
        episodes = [part.sample(k, length) for part, k in zip(parts, keys, strict=True)]
        tokens = jnp.stack([episode.tokens for episode in episodes])
        return tokens, tuple(episode.latent for episode in episodes)

    def add(drawn: tuple[Array, Array, Any]) -> tuple[Array, Array, Any]:
        number, tokens, latents = drawn
        sequences, hidden = draw_all(number)
        since = jnp.maximum(time - start[number], 0)
        spoken = sequences[path.parts[start[number]], since]
        tokens = jnp.where(segment == number, spoken, tokens)

        def put(kept: Array, new: Array) -> Array:
            return kept.at[number].set(new)

        return number + 1, tokens, jax.tree.map(put, latents, hidden)

    shapes = eqx.filter_eval_shape(draw_all, 0)
    latents = jax.tree.map(lambda leaf: jnp.zeros((length, *leaf.shape), leaf.dtype), shapes[1])
    begun = jnp.zeros((), jnp.int32), jnp.zeros(length, shapes[0].dtype), latents
    if length == 0:
        return begun[1], latents
    count = jnp.sum(path.begins)
    _, tokens, latents = jax.lax.while_loop(lambda drawn: drawn[0] < count, add, begun)
    return tokens, latents


def draw_resumed(
    key: Key[Array, ""], parts: tuple[Task, ...], path: Path
) -> tuple[Tokens, tuple[Any, ...]]:
    """Tokens [time], of each part those of its own sequence in their order, and the latents."""
    keys = jax.random.split(key, len(parts))
    length = len(path.parts)
    episodes = [part.sample(k, length) for part, k in zip(parts, keys, strict=True)]
    tokens = jnp.stack([episode.tokens for episode in episodes])
    spoken = _times_before(path.parts, len(parts))
    return tokens[path.parts, spoken], tuple(episode.latent for episode in episodes)


def fresh_oracle(parts: tuple[Task, ...], latent: Switches, tokens: Tokens) -> LogProbs:
    """What a reader predicts [time, symbol] that knows the path and the latent of each segment."""
    length, time = len(tokens), jnp.arange(len(tokens))
    path = Path(latent.parts[:length], latent.begins[:length])
    segment, start = _segments(path)

    def add(drawn: tuple[Array, Array]) -> tuple[Array, Array]:
        number, rows = drawn
        first = start[number]
        text = tokens[jnp.minimum(first + time, length - 1)]
        hidden = jax.tree.map(lambda leaf: leaf[number], latent.latents)
        said = [part.oracle(h, text) for part, h in zip(parts, hidden, strict=True)]
        spoken = jnp.stack(said)[path.parts[first], jnp.maximum(time - first, 0)]
        return number + 1, jnp.where((segment == number)[:, None], spoken, rows)

    begun = jnp.zeros((), jnp.int32), jnp.zeros((length, parts[0].symbols))
    if length == 0:
        return begun[1]
    count = jnp.sum(path.begins)
    return jax.lax.while_loop(lambda drawn: drawn[0] < count, add, begun)[1]


def resumed_oracle(parts: tuple[Task, ...], latent: Switches, tokens: Tokens) -> LogProbs:
    """What a reader predicts [time, symbol] that knows the path and the latent of each part."""
    speaker = latent.parts[: len(tokens)]
    rows = []
    for number, (part, hidden) in enumerate(zip(parts, latent.latents, strict=True)):
        order = jnp.argsort(speaker != number, stable=True)  # the part's own steps come first
        rows.append(part.oracle(hidden, tokens[order]))
    return jnp.stack(rows)[speaker, _times_before(speaker, len(parts))]


def fresh_entropy(
    entropies: Float[Array, "part time"], weights: Weights, hazard: Chance, moves: Array
) -> Float[Array, " time"]:
    """H_t = Σ_b Σ_k P(part k begins at b) (1 - hazard)^(t - b) H_{t - b}(part k), nats."""
    length = entropies.shape[1]
    if length == 0:
        return jnp.zeros(0)
    chances, stays = jnp.asarray(hazard), 1 - jnp.asarray(hazard)

    def step(speaks: Float[Array, " part"], _: None) -> tuple[Array, Array]:
        begins = chances * (speaks @ moves)
        return stays * speaks + begins, begins

    first = jnp.asarray(weights)
    later = jax.lax.scan(step, first, length=length - 1)[1]
    begins = jnp.concatenate([first[None], later])
    lasts = jnp.cumprod(jnp.concatenate([jnp.ones(1), jnp.full(length - 1, stays)]))
    terms = [
        jnp.convolve(begins[:, part], lasts * entropy)[:length]
        for part, entropy in enumerate(entropies)
    ]
    return jnp.sum(jnp.stack(terms), axis=0)


def resumed_entropy(
    entropies: Float[Array, "part time"], weights: Weights, hazard: Chance, moves: Array
) -> Float[Array, " time"]:
    """H_t = Σ_k Σ_c P(part k speaks at t, and spoke c times before) H_c(part k), nats."""
    count, length = entropies.shape
    chances = jnp.asarray(hazard)
    transition = (1 - chances) * jnp.eye(count) + chances * moves
    number = jnp.arange(count)

    def step(speaks: Float[Array, "part part time"], _: None) -> tuple[Array, Array]:
        """`speaks` [k, j, c]: P(part j speaks, and part k spoke c times before)."""
        spoken = speaks[number, number]
        loss = jnp.sum(spoken * entropies)
        shifted = jnp.pad(spoken, ((0, 0), (1, 0)))[:, :length]
        return jnp.einsum("kjc,ji->kic", speaks.at[number, number].set(shifted), transition), loss

    first = jnp.zeros((count, count, length)).at[:, :, :1].set(jnp.asarray(weights)[None, :, None])
    return jax.lax.scan(step, first, length=length)[1]


def _segments(path: Path) -> tuple[Int[Array, " time"], Int[Array, " segment"]]:
    """The number of the segment that each step lies in, and the first step of each segment."""
    start = jnp.nonzero(path.begins, size=len(path.begins), fill_value=0)[0]
    return jnp.cumsum(path.begins) - 1, start


def _times_before(speaker: Int[Array, " time"], parts: int) -> Int[Array, " time"]:
    """How often the part that speaks at a step spoke before."""
    speaks = speaker[:, None] == jnp.arange(parts)
    before = jnp.cumsum(speaks, axis=0) - speaks
    return jnp.sum(jnp.where(speaks, before, 0), axis=1)
