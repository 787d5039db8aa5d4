"""What searches share whose prompts are written by policies: drawing, learning, and what is kept.

A policy writes a prompt symbol by symbol. Before place i it has read o_<i into a hidden state,

    h_0 = 0,   h_{i+1} = tanh(h_i R + E[o_i]),   π(o_i = v | o_<i) ∝ exp(h_i U + b_i)[v],

so that it is a table over places (b) which a small recurrent network corrects for the prefix. U and
b are 0 at first: all prompts are equally likely. In a step, K prompts are drawn from it and read
with the best one so far on the same episodes. The reward R of a prompt is minus its mean loss. By
`learn_by`, one step of Adam makes small

- "policy gradient": -1/K Σ_k (R_k - 1/(K-1) Σ_{j≠k} R_j) log π(o_k) - temperature · H, with the
  leave-one-out baseline (Kool et al. 2019) and H the mean entropy of π along the drawn prompts;
- "path consistency", a soft Q form, whose logits are Q / temperature (Nachum et al. 2017): the
  variance over k of R_k - temperature · log π(o_k). It is 0 where
  π(o) ∝ exp(R(o) / temperature): V of the empty prefix is the mean over the drawn prompts.

Both have that same optimum for a prompt of one symbol. For a longer one the policy gradient has
another: its H takes the drawn prompts as they are, and does not see that another first symbol leads
to places of another entropy. What is returned is the best prompt, not the policy's: each step reads
the best prompt anew, and replaces it by a drawn one that loses less on the same episodes.
"""

import abc
import math
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.search_problem import Prompts

LearnBy = Literal["policy gradient", "path consistency"]


class WrittenSearch(Search):
    """Searches a hard prompt by drawing prompts from policies that learn from their losses.

    A member owes the fields below and `plan`. Of several policies, each writes a segment of the
    prompt, in turn; they share a critic.
    """

    samples: eqx.AbstractVar[int]
    """Prompts that are drawn and read in a step."""
    width: eqx.AbstractVar[int]
    """Size of a policy's hidden state."""
    learning_rate: eqx.AbstractVar[float]
    """Adam's rate."""
    temperature: eqx.AbstractVar[float]
    """What a nat of entropy is worth, nats per sequence."""
    learn_by: eqx.AbstractVar[LearnBy]
    """What a step of learning makes small."""
    prompters: eqx.AbstractVar[int]
    """How many policies write."""

    def __check_init__(self) -> None:
        check(
            self.samples >= 2,
            f"Expected at least 2 samples, which are each other's baseline; got {self.samples}.",
        )
        check(self.width >= 1, f"Expected a width of at least 1; got {self.width}.")
        check(
            0 < self.learning_rate < math.inf,
            f"Expected a learning_rate above 0; got {self.learning_rate}. It must be finite, too.",
        )
        check(
            self.learn_by in ("policy gradient", "path consistency"),
            f"Expected learn_by 'policy gradient' or 'path consistency'; got {self.learn_by!r}.",
        )
        check(
            self.temperature > 0 or (self.temperature == 0 and self.learn_by == "policy gradient"),
            f"Expected a temperature of at least 0, or above 0 for path consistency; got "
            f"{self.temperature}.",
        )

    @abc.abstractmethod
    def plan(self, symbols: int) -> str:
        """How many prompts are drawn, and by whom."""

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> "Writers":
        prompt, policy, critic = jax.random.split(key, 3)
        best = jax.random.randint(prompt, (self.length,), 0, problem.symbols)
        policies = jax.vmap(lambda key: reader(key, problem.symbols, self.width, problem.symbols))(
            jax.random.split(policy, self.prompters)
        )
        tuned: Any = Tuned(
            policies,
            jnp.zeros((self.length, problem.symbols)),
            # with one segment there is no prefix that a critic could look at
            reader(critic, problem.symbols, self.width, 1) if self.prompters > 1 else None,
        )
        return Writers(best, tuned, self.optimiser.init(tuned))

    def step(
        self, key: Key[Array, ""], state: "Writers", problem: SearchProblem
    ) -> tuple["Writers", Float[Array, ""]]:
        drawn = write_prompts(key, state.tuned, self.samples)
        tried = jnp.concatenate([state.best[None], drawn])
        means = problem.means(tried)
        rewards = -finite(means[1:])
        slopes = jax.grad(self.objective)(state.tuned, drawn, rewards)
        changes, optimiser = self.optimiser.update(slopes, state.optimiser)
        tuned = jax.tree.map(jnp.add, state.tuned, changes)
        return Writers(tried[jnp.argmin(means)], tuned, optimiser), means[0]

    def prompt(self, state: "Writers") -> Int[Any, " prompt"]:
        return state.best

    @property
    def optimiser(self) -> Any:
        """Adam."""
        import optax  # takes long to import; a search needs it, a list of members does not

        return optax.adam(jnp.asarray(self.learning_rate))

    def objective(
        self, tuned: "Tuned", prompts: Prompts, rewards: Float[Array, " candidate"]
    ) -> Float[Array, ""]:
        """What a step of learning makes small, from drawn prompts and their rewards in nats."""
        log_probs = log_probabilities(tuned, prompts)
        chosen = jnp.take_along_axis(log_probs, prompts[..., None], axis=-1)[..., 0]
        temperature, fitting = jnp.asarray(self.temperature), 0.0
        if self.learn_by == "path consistency":
            return jnp.var(rewards - temperature * jnp.sum(chosen, axis=1))
        advantages = jnp.broadcast_to(above_others(rewards)[:, None], chosen.shape)
        if tuned.critic is not None:
            values = segment_values(tuned.critic, prompts, self.prompters)
            later = jnp.arange(self.length) * self.prompters // max(self.length, 1) > 0
            misses = jnp.where(later, values - (rewards - jnp.mean(rewards))[:, None], 0.0)
            fitting = jnp.mean(misses**2)
            advantages -= jnp.where(later, above_others(jax.lax.stop_gradient(values)), 0.0)
        entropy = -jnp.mean(jnp.sum(jnp.exp(log_probs) * log_probs, axis=(1, 2)))
        gain = jnp.mean(jnp.sum(advantages * chosen, axis=1))
        return fitting - gain - temperature * entropy


class Reader(NamedTuple):
    """A recurrent network over symbols: E [symbol, width], R [width, width], U [width, output]."""

    embedding: Any
    recurrence: Any
    readout: Any


class Tuned(NamedTuple):
    """What learns: a reader of every policy [prompter, ...], the table b [prompt, symbol], and the
    critic, where there is one."""

    policies: Reader
    table: Any
    critic: Reader | None


class Writers(NamedTuple):
    """The best prompt [prompt] so far, what learns, and Adam's state."""

    best: Any
    tuned: Tuned
    optimiser: Any


def reader(key: Key[Array, ""], symbols: int, width: int, outputs: int) -> Reader:
    """A reader whose outputs are 0 at first."""
    first, second = jax.random.split(key)
    return Reader(
        jax.random.normal(first, (symbols, width)),
        jax.random.normal(second, (width, width)) / jnp.sqrt(jnp.float32(width)),
        jnp.zeros((width, outputs)),
    )


def read_symbol(
    network: Reader, hidden: Float[Array, " width"], symbol: Int[Array, ""]
) -> Float[Array, " width"]:
    """The hidden state after one symbol more."""
    return jnp.tanh(hidden @ network.recurrence + network.embedding[symbol])


def write_prompts(key: Key[Array, ""], tuned: Tuned, samples: int) -> Prompts:
    """Prompts of the policies, each of which writes its segment and reads all that stands."""
    length = len(tuned.table)
    prompters, _, width = tuned.policies.embedding.shape

    def write(key: Key[Array, ""]) -> Int[Array, " prompt"]:
        def place(hidden: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
            number, key = given
            author = number * prompters // length
            logits = hidden[author] @ tuned.policies.readout[author] + tuned.table[number]
            symbol = jax.random.categorical(key, logits)
            return jax.vmap(read_symbol, (0, 0, None))(tuned.policies, hidden, symbol), symbol

        numbers = jnp.arange(length), jax.random.split(key, length)
        return jax.lax.scan(place, jnp.zeros((prompters, width)), numbers)[1].astype(jnp.int32)

    return jax.vmap(write)(jax.random.split(key, samples))


def hidden_states(network: Reader, prompt: Int[Array, " prompt"]) -> Float[Array, "prompt width"]:
    """The hidden state before every place of a prompt."""

    def place(hidden: Array, symbol: Array) -> tuple[Array, Array]:
        return read_symbol(network, hidden, symbol), hidden

    return jax.lax.scan(place, jnp.zeros(network.recurrence.shape[-1]), prompt)[1]


def log_probabilities(tuned: Tuned, prompts: Prompts) -> Float[Array, "candidate prompt symbol"]:
    """Log probability of every symbol at every place, given the symbols before it, nats."""
    length = len(tuned.table)
    prompters = len(tuned.policies.readout)
    author = jnp.arange(length) * prompters // max(length, 1)

    def of_prompt(prompt: Int[Array, " prompt"]) -> Float[Array, "prompt symbol"]:
        hidden = jax.vmap(hidden_states, (0, None))(tuned.policies, prompt)
        outputs = hidden @ tuned.policies.readout  # [prompter, prompt, symbol]
        return outputs[author, jnp.arange(length)] + tuned.table

    return jax.nn.log_softmax(jax.vmap(of_prompt)(prompts), axis=-1)


def segment_values(
    critic: Reader, prompts: Prompts, prompters: int
) -> Float[Array, "candidate prompt"]:
    """What the critic expects of the prefix before the segment of every place, nats above the mean
    of the drawn prompts."""
    places = jnp.arange(prompts.shape[1])
    segments = places * prompters // max(len(places), 1)
    begins = jnp.searchsorted(segments, segments)  # the first place of the same segment
    hidden = jax.vmap(hidden_states, (None, 0))(critic, prompts)
    return (hidden @ critic.readout)[..., 0][:, begins]


def above_others(values: Float[Array, "candidate *more"]) -> Float[Array, "candidate *more"]:
    """Each candidate's value less the mean of all other candidates'."""
    count = len(values)
    return (values - jnp.mean(values, axis=0)) * (count / (count - 1))


def finite(losses: Float[Array, " candidate"]) -> Float[Array, " candidate"]:
    """Losses, with the greatest finite one where they are infinite."""
    there = jnp.isfinite(losses)
    worst = jnp.max(jnp.where(there, losses, -jnp.inf))
    return jnp.where(there, losses, jnp.where(jnp.any(there), worst, 0.0))
