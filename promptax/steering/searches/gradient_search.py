"""A good prompt of real tokens where there are too many to try them all: gradients say which.

Greedy coordinate gradient (Zou et al. 2023, "Universal and Transferable Adversarial Attacks on
Aligned Language Models", Algorithm 2). With the prompt as one-hot rows e [prompt, symbol], the loss
of a prompt in which position i reads symbol v is, to first order,

    L + ∂L/∂e[i, v] - ∂L/∂e[i, prompt[i]]

For a network that is the gradient for the prompt's embedding rows times the embedding table. The
estimates choose what is tried, by reading it; the batch itself decides.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.fit.fitted import Checkpoint, Fitted, identity_of
from promptax.fit.settings import FitSettings
from promptax.fit.updates import Program, loss_and_gradient
from promptax.progress import Callback, report
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import GivenPrompt, Prompted
from promptax.specs import check, traced
from promptax.steering.base import Tuner, filled
from promptax.steering.gradient import initial_inputs
from promptax.steering.searches.hard_prompt import behind, found, losses_after
from promptax.tasks.base import Task, sample_batch

Prompts = Int[Any, "repetition prompt"]
Slopes = Float[Array, "prompt symbol"]


class GradientSearch(Tuner):
    """Searches a hard prompt by swapping one symbol at a time, as gradients suggest.

    Each step has a batch of its own: swaps to the most promising symbols are tried on it, and the
    best is made if it predicts the batch better than the prompt as it is. `loss` [repetition,
    step] is that of the prompt before the step's swap, nats per sequence. Works on any predictor,
    exact ones included.
    """

    group: ClassVar[str] = "prompts"
    needs_alphabet: ClassVar[bool] = True

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    candidates: int = 128
    """Swaps that are tried in a step, all different; all there are if those are fewer."""
    top: int = 256
    """How many symbols of each position to choose from, the most promising."""
    initial_tokens: tuple[int, ...] = eqx.field(default=(), converter=tuple)
    """Symbols to start from, repeated or cut to the length (empty: random symbols)."""

    def __check_init__(self) -> None:
        for name, least in {"length": 0, "candidates": 1, "top": 1}.items():
            value = getattr(self, name)
            check(value >= least, f"Expected {name} of at least {least}; got {value}.")

    @classmethod
    def examples(cls) -> "tuple[GradientSearch, ...]":
        return cls(length=2, candidates=3, top=2), cls(length=3, initial_tokens=(1, 0))

    def suits(self, predictor: Predictor) -> None:
        del predictor

    def plan(self, symbols: int) -> str:
        swaps = min(self.candidates, self.length * min(self.top, symbols - 1))
        return f"{swaps:,} swaps of a symbol in each step"

    def tune(
        self,
        key: Key[Array, ""],
        predictor: Predictor,
        target: Task,
        settings: FitSettings | None = None,
        *,
        checkpoint: Checkpoint | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> Fitted:
        """Search; of the settings, those about learning rates and clipping do not apply."""
        settings = filled(settings, target, 1.0)
        self.verify(predictor, target, settings)
        first, data, swaps = (jax.random.fold_in(key, i) for i in range(3))
        own = [jax.random.fold_in(first, r) for r in range(settings.repetitions)]
        start = [initial_inputs(k, self.initial_tokens, self.length, target.outcome) for k in own]
        prompts = np.stack(start).astype(np.int32)
        losses = np.full((settings.repetitions, settings.steps), np.nan, np.float32)
        state = _State(prompts, np.array(0), losses)
        identity = identity_of(key, (self, predictor, prompts), target, settings)
        if checkpoint is not None:
            state = checkpoint.restore(identity, state) or state
        step = _Step(traced(predictor), traced(target), settings, self, data, swaps)
        with report("GradientSearch", callbacks) as progress:
            while int(state.step) < settings.steps:
                state = step(state)
                done = int(state.step)
                mean = np.mean(state.loss[:, max(0, done - 20) : done])
                stop = progress(done, settings.steps, f"loss {mean:.3f}")
                last = stop or done == settings.steps
                if checkpoint is not None and (last or checkpoint.due()):
                    checkpoint.save(identity, state)
                if stop:
                    break
        each = [behind(predictor, prompt) for prompt in state.prompts]
        return found(each, loss=state.loss[:, : int(state.step)])


class _State(NamedTuple):
    """What the next step needs, in NumPy arrays."""

    prompts: Prompts
    step: Any
    loss: Any  # [repetition, step], NaN where still to come


class _Step(NamedTuple):
    """One step of all repetitions; its data and swaps follow from the keys and its number."""

    predictor: Predictor
    target: Task
    settings: FitSettings
    search: GradientSearch
    data: Key[Array, ""]
    swaps: Key[Array, ""]

    def __call__(self, state: _State) -> _State:
        settings, number = self.settings, jnp.int32(int(state.step))
        assert settings.length is not None
        swaps, data = _keys(self.swaps, self.data, number, settings.repetitions, settings.batch)
        episodes = sample_batch(self.target, data, settings.length)
        sizes = self.search.candidates, self.search.top, settings.micro_batch
        with jax.default_matmul_precision(settings.precision):
            given = jnp.asarray(state.prompts), swaps, episodes
            prompts, now = _swapped(self.predictor, given, sizes, self.target.outcome)
        loss = np.array(state.loss)
        loss[:, int(state.step)] = np.asarray(now)
        return _State(np.asarray(prompts), np.array(int(state.step) + 1), loss)


@eqx.filter_jit
def _keys(
    swaps: Array, data: Array, number: Array, repetitions: int, batch: int
) -> tuple[Key[Array, " repetition"], Key[Array, "repetition sequence"]]:
    """One key for the swaps of each repetition, and one for each of its sequences."""

    def own(key: Array) -> Array:
        each = jax.vmap(lambda r: jax.random.fold_in(key, r))(jnp.arange(repetitions))
        return jax.vmap(lambda k: jax.random.fold_in(k, number))(each)

    return own(swaps), jax.vmap(lambda key: jax.random.split(key, batch))(own(data))


@eqx.filter_jit
def _swapped(
    predictor: Predictor, given: tuple, sizes: tuple[int, int, int | None], outcome: Any
) -> tuple[Prompts, Float[Array, " repetition"]]:
    """The prompts after a step, and the loss of those before it."""
    candidates, top, micro = sizes

    def one(given: tuple) -> tuple[Array, Array]:
        prompt, key, episodes = given
        batch, length = episodes.inputs.shape[:2]
        here = micro or predictor.micro_batch(batch, length)
        estimates = slopes(predictor, prompt, episodes, outcome, here)
        tried = swaps(key, prompt, estimates, candidates, top)
        losses = jnp.mean(losses_after(predictor, tried, episodes, outcome, here), axis=1)
        best = jnp.argmin(jnp.where(jnp.isnan(losses), jnp.inf, losses))  # of equals the first
        return tried[best], losses[0]

    return jax.lax.map(one, given)


def slopes(
    predictor: Predictor,
    prompt: Int[Array, " prompt"],
    episodes: Episode,
    outcome: Any,
    micro: int,
) -> Slopes:
    """∂L/∂e: the gradient of the mean loss, nats per sequence, for the prompt's one-hot rows."""
    prompted = Prompted(predictor, GivenPrompt(jax.nn.one_hot(prompt, predictor.symbols)))
    nothing = jax.tree.map(lambda _: False, prompted)
    halves = eqx.partition(prompted, eqx.tree_at(lambda p: p.reads.values, nothing, True))  # pyright: ignore
    program = Program(*eqx.partition(halves[1], False), jnp.float32(jnp.inf))
    _, (gradient, _) = loss_and_gradient(halves[0], program, episodes, outcome, micro)
    return gradient.reads.values


def swaps(
    key: Key[Array, ""],
    prompt: Int[Array, " prompt"],
    estimates: Slopes,
    candidates: int,
    top: int,
) -> Int[Array, "candidate prompt"]:
    """The prompt as it is, and different ones with one symbol swapped: random positions, random
    symbols of the `top` with the lowest estimates there."""
    length, symbols = estimates.shape
    top = min(top, symbols - 1)
    known = jnp.nan_to_num(estimates).at[jnp.arange(length), prompt].set(jnp.inf)  # is no swap
    best = jax.lax.top_k(-known, top)[1]
    chosen = jax.random.permutation(key, length * top)[:candidates]
    where, what = chosen // top, best.reshape(-1)[chosen]
    swapped = jnp.tile(prompt, (len(chosen), 1)).at[jnp.arange(len(chosen)), where].set(what)
    return jnp.concatenate([prompt[None], swapped])
