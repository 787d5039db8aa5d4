"""Sources that are told by a tag: metadata conditioning, with its exact predictor.

Language models are pretrained with the address or the name of a source in front of its texts, so
that they need not guess it; sometimes the tag is dropped, so that they can still guess (Gao et al.
2025, "Metadata Conditioning Accelerates Language Model Pre-training", arXiv 2501.01956). Where the
sources are tasks, what a tag is worth is known exactly: the information about the source.
"""

from typing import Annotated, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.outcomes import Episode, Symbols
from promptax.specs import JSON_ARGUMENT, check, floats
from promptax.tasks.base import Task
from promptax.tasks.combined.parts import (
    OnePart,
    TaskOfParts,
    check_alphabets,
    check_parts,
    draw_one,
    oracle_of_one,
)
from promptax.tasks.combined.tagged_posterior import TaggedPosterior
from promptax.tasks.hidden.forward import log_sum
from promptax.tasks.independent.categorical import Categorical
from promptax.tasks.independent.dirichlet_categorical import DirichletCategorical
from promptax.tasks.markov.contexts import check_whole
from promptax.tasks.markov.known_chain import KnownChain


class TaggedPart(NamedTuple):
    """The latent: which part made the sequence, what was hidden in it, and whether there is a
    tag."""

    source: OnePart
    tagged: Bool[Array, ""]


class Tagged(TaskOfParts):
    """Each sequence comes from one of the parts, and a symbol of its own tells which one.

    *Alphabet*: over S symbols and with K parts there are S + K symbols. S + k is the tag of part k;
    it comes once in a sequence, or never.

    *Conventions*: `place` symbols of the sequence stand before the tag. At 0 the tag opens the
    sequence; at n it stands behind the first n symbols, and what follows goes on from the same
    source. A tag takes one step, during which the source stands still. With probability `dropped`
    there is no tag: the source simply goes on. A tag is scored like any symbol. The oracle knows
    it, and loses nothing there; the exact predictor loses what it does not know of the source.

    With `dropped=1.0` this is `Mixture` over the larger alphabet. So what was trained with tags can
    be measured without them.
    """

    parts: Annotated[tuple[Task, ...], JSON_ARGUMENT] = (DirichletCategorical(), Categorical())
    """The sources."""
    weights: tuple[float, ...] = eqx.field(default=(0.5, 0.5), converter=floats)
    """Probability of each source; zeros are legal."""
    dropped: float = eqx.field(default=0.1, converter=floats)
    """Probability that there is no tag; from 0 to 1."""
    place: int = 0
    """How many symbols stand before the tag."""

    def __check_init__(self) -> None:
        check_parts(self.parts, self.weights)
        check_alphabets(self.parts)
        check(
            0 <= self.dropped <= 1,
            f"Expected dropped, a probability from 0 to 1; got {self.dropped}.",
        )
        check_whole("place", self.place, 0, "0 puts the tag before the sequence.")

    @property
    def outcome(self) -> Symbols:
        return Symbols(self.parts[0].symbols + len(self.parts))

    @property
    def longest(self) -> int | None:
        lengths = [part.longest for part in self.parts]
        ends = [length for length in lengths if length is not None]
        return max(ends) + 1 if len(ends) == len(lengths) else None

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        drop, source = jax.random.split(key)
        episode, latent = draw_one(source, self.parts, self.weights, length)
        tagged = jax.random.uniform(drop) >= jnp.asarray(self.dropped)
        time = jnp.arange(length)
        at_tag, behind = tagged & (time == self.place), tagged & (time > self.place)
        tag = latent.part + self.parts[0].symbols
        tokens = jnp.where(at_tag, tag, episode.tokens[time - behind])
        scored = None if episode.scored is None else at_tag | episode.scored[time - behind]
        return Episode(tokens, latent=TaggedPart(latent, tagged), scored=scored)

    def oracle(self, latent: TaggedPart, tokens: Tokens) -> LogProbs:
        symbols, sources, time = self.parts[0].symbols, len(self.parts), jnp.arange(len(tokens))
        skipped = latent.tagged & (time >= self.place)
        text = tokens[jnp.minimum(time + skipped, len(tokens) - 1)]
        rows = oracle_of_one(self.parts, latent.source, jnp.minimum(text, symbols - 1))
        rows = rows[time - (latent.tagged & (time > self.place))]
        rows = jnp.pad(rows, ((0, 0), (0, sources)), constant_values=-jnp.inf)
        tag = jnp.where(jnp.arange(symbols + sources) == symbols + latent.source.part, 0, -jnp.inf)
        return jnp.where((latent.tagged & (time == self.place))[:, None], tag, rows)

    def bayes(self) -> TaggedPosterior:
        parts = tuple(part.bayes() for part in self.parts)
        return TaggedPosterior(parts, self.weights, self.dropped, self.place)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        """That of the source at each step; with a tag, 0 at the tag and one step later behind."""
        entropies = jnp.stack([part.oracle_entropy(length) for part in self.parts])
        plain = jnp.asarray(self.weights) @ entropies
        time = jnp.arange(length)
        told = jnp.where(time == self.place, 0.0, plain[time - (time > self.place)])
        dropped = jnp.asarray(self.dropped)
        return dropped * plain + (1 - dropped) * told

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        """P(tokens) = (1 - dropped) w_k P(tokens but the tag | k) where there is the tag of part k
        in its place, dropped Σ_k w_k P(tokens | k) where there is no tag, and 0 elsewhere."""
        symbols, weights = self.parts[0].symbols, jnp.log(jnp.asarray(self.weights))

        def of_sources(text: Tokens) -> Float[Array, " part"]:
            plain = jnp.minimum(text, symbols - 1)
            evidence = jnp.stack([part.log_evidence(plain) for part in self.parts])
            return jnp.where(jnp.any(text >= symbols), -jnp.inf, weights + evidence)

        untold = log_sum(of_sources(tokens), axis=0)
        if len(tokens) <= self.place:
            return untold
        text = jnp.concatenate([tokens[: self.place], tokens[self.place + 1 :]])
        tag: Int[Array, ""] = tokens[self.place] - symbols
        of_tag = jnp.where(jnp.arange(len(self.parts)) == tag, of_sources(text), -jnp.inf)
        dropped = jnp.asarray(self.dropped)
        return jnp.logaddexp(
            jnp.log(dropped) + untold, jnp.log1p(-dropped) + log_sum(of_tag, axis=0)
        )

    @classmethod
    def examples(cls) -> "tuple[Tagged, ...]":
        order = KnownChain(((0.9, 0.1), (0.3, 0.7)))
        gaps = Categorical((0.0, 1.0)), DirichletCategorical((0.5, 0.5))
        return cls((Categorical(), order), (0.4, 0.6), 0.25), cls(gaps, (0.3, 0.7), 0.4, place=2)
