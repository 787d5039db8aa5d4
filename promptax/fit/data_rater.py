"""A learned rater of sequences: which of them are worth training on.

Weights of sequences are learned by what they do to training. Small models take T weighted steps,

    θ_{i+1} = θ_i - inner_rate · direction(∇ Σ_j w_j ℓ_j(θ_i)),    w = softmax(the batch's scores),

and the rater moves so that the held-out loss at θ_T becomes small: the gradient goes through all T
steps. Weights of a batch sum to 1, so that no rater can lower the learning rate; what equal scores
give is the mean loss. Scores compare sequences of one batch, so take large batches.

Several models are in training at once, each at another age, so that the rater sees what is worth
reading early and late. A model that has reached its `lifetime` begins anew.

Calian et al. 2025, "DataRater: Meta-Learned Dataset Curation" (arXiv 2505.17895), Algorithm 1.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax import platforms
from promptax.axes import AnyKey
from promptax.checks import door
from promptax.fit.descent import DescentRule, descent
from promptax.fit.settings import FitSettings
from promptax.predictors.base import Architecture, Network
from promptax.protocol.outcomes import Episode, Outcome
from promptax.protocol.predictor import Predictor
from promptax.specs import Record, Spec, as_key, check, check_kind, traced
from promptax.tasks.base import Task, sample_batch

Tree = Any

REFERENCE = 1024  # scores that say where a sequence stands: quantiles are within 2 of a hundred


class Rater(Record):
    """A network that reads a sequence and gives it one number: the higher, the better.

    `network`: what reads; `readout` [width]: the score is its product with the mean of the
    network's outputs over time; `reference` [sequence]: scores of sequences of the task that it
    was learned on, in order, by which `threshold` knows shares.
    """

    network: Network
    readout: Float[Array, " width"]
    reference: Float[Array, " sequence"]

    def scores(self, observations: Array) -> Float[Array, " sequence"]:
        """A score for each sequence [sequence, time], or [sequence, time, input]."""
        reading = self.network.read_batch(self.network.start(), observations)
        return jnp.mean(reading.outputs(), axis=-2) @ self.readout

    def weights(self, observations: Array) -> Float[Array, " sequence"]:
        """softmax(scores) over the batch: how much each of its sequences counts; they sum to 1."""
        return jax.nn.softmax(self.scores(observations))

    def threshold(self, dropped: Any) -> Float[Array, ""]:
        """The score below which so large a share of the task's sequences lies."""
        return jnp.quantile(self.reference, dropped)


class LearnedRater(NamedTuple):
    """`rater`, and `loss` [step]: the held-out loss in nats per sequence before each update, the
    mean over models of all ages."""

    rater: Rater
    loss: Float[Array, " step"]


class DataRater(Spec):
    """How a rater of sequences is learned.

    Example: `DataRater().learn(key, LSTM(16), LSTM(16), task, settings, held_out=clean).rater`.
    """

    inner_steps: int = 2
    """T: weighted steps that a model takes, and that the rater's gradient goes through."""
    inner_rate: float = 1e-3
    """Learning rate of the models."""
    inner_optimiser: DescentRule = "adam"
    """The models' rule; "adam" has ε = 1e-8 inside its root. Its memory lives as long as the
    model."""
    models: int = 4
    """How many models are in training at once."""
    lifetime: int = 64
    """Steps that a model takes before it begins anew; at different times for different models."""

    def __check_init__(self) -> None:
        for name in ("inner_steps", "models"):
            value = getattr(self, name)
            check(value >= 1, f"Expected {name} of at least 1; got {value}.")
        check(self.inner_rate > 0, f"Expected an inner_rate above 0; got {self.inner_rate}.")
        check(
            self.lifetime >= self.inner_steps,
            f"Expected a lifetime of at least the {self.inner_steps} inner steps of one update; "
            f"got {self.lifetime}.",
        )

    @door
    def learn(
        self,
        key: AnyKey,
        rater: Architecture,
        model: Architecture,
        task: Task,
        settings: FitSettings | None = None,
        *,
        held_out: Task | None = None,
    ) -> LearnedRater:
        """Learn to rate a task's sequences by what they do for a model's held-out loss.

        Args:
            rater: the network that reads sequences and rates them.
            model: what is trained on them.
            task: where the sequences come from that are rated.
            settings: `steps` are updates of the rater by Adam, at `learning_rate` (1e-3 if not
                given), on batches of `batch` rated and as many held-out sequences for each model.
            held_out: where the sequences come from that judge; None: from `task`, too.
        """
        key = as_key(key)
        settings = FitSettings() if settings is None else settings
        self.verify(rater, model, task, settings, held_out)
        settings = settings.filled(length=100, learning_rate=1e-3)
        first, second, third = jax.random.split(key, 3)
        network = eqx.tree_at(
            lambda network: network.unembedding,
            rater.build(first, task.outcome),
            None,
        )
        readout = jnp.zeros(rater.output_width())  # all sequences alike, until something is learned
        start = Rater(network, readout, jnp.zeros(0))
        tasks = traced(task), traced(held_out or task)
        assert settings.length is not None
        run = RaterRun(traced(self), *tasks, model, settings.batch, settings.length)
        clip = jnp.inf if settings.clip is None else settings.clip
        learned, loss = _learn(run, second, start, jnp.asarray(settings.rates()[0]), clip)
        keys = jax.random.split(third, REFERENCE)
        observations = sample_batch(traced(task), keys, settings.length).observations
        reference = jnp.sort(_scores(learned, observations))
        return LearnedRater(Rater(learned.network, learned.readout, reference), loss)

    def verify(
        self,
        rater: Architecture,
        model: Architecture,
        task: Task,
        settings: FitSettings,
        held_out: Task | None,
    ) -> None:
        """Raise, before any compute, if these do not fit together, or into memory."""
        for architecture in (rater, model):
            check_kind(architecture, Architecture, "LSTM(width=16)")
        check_kind(task, Task, "DirichletCategorical()")
        check_kind(settings, FitSettings, "FitSettings(steps=100)")
        settings.refuse_search()
        check(settings.repetitions == 1, f"Expected one repetition; got {settings.repetitions}.")
        check(settings.steps >= 1, f"Expected at least 1 step; got {settings.steps}.")
        check(
            settings.batch >= 2,
            f"Expected a batch of at least 2 sequences, which weights compare; got "
            f"{settings.batch}.",
        )
        check(
            held_out is None or held_out.outcome == task.outcome,
            f"Expected held-out sequences of {task.outcome.words()}, as the rated ones; got "
            f"{held_out.outcome.words() if held_out else ''}.",
        )
        reader, shape = (
            eqx.filter_eval_shape(architecture.build, jax.random.key(0), task.outcome)
            for architecture in (rater, model)
        )
        if not isinstance(reader, Network):
            raise TypeError(f"Expected a network that rates; got {type(reader).__name__}.")
        platforms.expect_room(
            self.kept_bytes(shape, settings),
            f"{self.inner_steps} inner steps of {self.models} models,",
            "Choose fewer inner steps or models, or a smaller batch.",
        )

    def kept_bytes(self, model: Predictor, settings: FitSettings) -> int:
        """A lower bound in bytes on what an update keeps for the rater's derivative: of every model
        and inner step the leaves, and the activations of its batch."""
        leaves = jax.tree.leaves(eqx.filter(model, _is_leaf, is_leaf=_is_leaf))
        numbers = sum(leaf.size for leaf in leaves)
        reading = model.reading_bytes(settings.length or 100) * settings.batch
        return self.models * self.inner_steps * (4 * numbers + reading)


def _is_leaf(leaf: Any) -> bool:
    """Whether this is an array, or the shape of one."""
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


class RaterRun(eqx.Module):
    """What stays the same in all updates."""

    choices: DataRater
    task: Task
    held_out: Task
    model: Architecture = eqx.field(static=True)
    batch: int
    length: int

    @property
    def outcome(self) -> Outcome:
        return self.task.outcome

    def draw(self, task: Task, key: Key[Array, ""]) -> Episode:
        """A batch of sequences [sequence, time]."""
        return sample_batch(task, jax.random.split(key, self.batch), self.length)

    def build(self, key: Key[Array, ""]) -> tuple[Tree, Tree]:
        """A fresh model, and what its rule remembers."""
        model = self.model.build(key, self.outcome)
        leaves = eqx.filter(model, eqx.is_inexact_array)
        return model, descent(self.choices.inner_optimiser).init(leaves)

    def losses(self, model: Predictor, episodes: Episode) -> Float[Array, " sequence"]:
        """The log loss of each sequence, nats."""
        _, prediction = model.advance_batch(model.start(), episodes.inputs)
        return jnp.sum(self.outcome.log_loss(prediction, episodes), axis=-1)

    def after_inner_steps(
        self, rater: Rater, model: tuple[Tree, Tree], keys: Key[Array, " step"]
    ) -> tuple[Tree, Tree]:
        """A model after one weighted step for each key, and what its rule then remembers."""
        frozen = eqx.filter(model[0], eqx.is_inexact_array, inverse=True)

        def step(carry: tuple[Tree, Tree], key: Key[Array, ""]) -> tuple[tuple[Tree, Tree], None]:
            leaves, memory = carry
            episodes = self.draw(self.task, key)
            weights = rater.weights(episodes.inputs)

            def lose(leaves: Tree) -> Float[Array, ""]:
                return jnp.sum(weights * self.losses(eqx.combine(leaves, frozen), episodes))

            rule = descent(self.choices.inner_optimiser)
            directions, memory = rule.update(jax.grad(lose)(leaves), memory)
            rate = self.choices.inner_rate
            return (jax.tree.map(lambda a, b: a - rate * b, leaves, directions), memory), None

        carry = eqx.filter(model[0], eqx.is_inexact_array), model[1]
        (leaves, memory), _ = jax.lax.scan(step, carry, keys)
        return eqx.combine(leaves, frozen), memory

    def held_out_loss(
        self, rater: Rater, models: tuple[Tree, Tree], key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], tuple[Tree, Tree]]:
        """The held-out loss after the inner steps, a mean over models, and these models."""

        def lose_one(model: tuple[Tree, Tree], key: Key[Array, ""]) -> tuple[Array, Tree]:
            inner, outer = jax.random.split(key)
            keys = jax.random.split(inner, self.choices.inner_steps)
            moved = self.after_inner_steps(rater, model, keys)
            return jnp.mean(self.losses(moved[0], self.draw(self.held_out, outer))), moved

        keys = jax.random.split(key, self.choices.models)
        losses, moved = jax.vmap(lose_one)(models, keys)
        return jnp.mean(losses), moved


@eqx.filter_jit
def _learn(
    run: RaterRun,
    key: Key[Array, ""],
    start: Rater,
    rates: Float[Array, " step"],
    clip: float | Array,
) -> tuple[Rater, Float[Array, " step"]]:
    """The rater after one update for each rate, and the held-out loss before each of them."""
    import optax

    choices = run.choices
    rule = optax.chain(optax.clip_by_global_norm(clip), optax.scale_by_adam())  # pyright: ignore[reportArgumentType]
    leaves, others = eqx.partition(start, eqx.is_inexact_array)

    def build_all(key: Key[Array, ""]) -> tuple[Tree, Tree]:
        return jax.vmap(run.build)(jax.random.split(key, choices.models))

    def step(carry: tuple, given: tuple[Int[Array, ""], Array]) -> tuple[tuple, Array]:
        leaves, moments, models, ages = carry
        number, rate = given
        data, fresh = jax.random.split(jax.random.fold_in(key, number))

        def lose(leaves: Tree) -> tuple[Array, Tree]:
            return run.held_out_loss(eqx.combine(leaves, others), models, data)

        (loss, models), slopes = jax.value_and_grad(lose, has_aux=True)(leaves)
        directions, moments = rule.update(slopes, moments)
        leaves = jax.tree.map(lambda a, b: a - rate * b, leaves, directions)
        ages = ages + choices.inner_steps
        is_old = ages >= choices.lifetime

        def renew(models: Tree) -> Tree:
            return jax.tree.map(_chooser(is_old), build_all(fresh), models)

        models = jax.lax.cond(jnp.any(is_old), renew, _unchanged, models)
        return (leaves, moments, models, jnp.where(is_old, 0, ages)), loss

    # at the start all models are fresh, and end their first lives one after the other
    ages = jnp.arange(choices.models) * choices.lifetime // choices.models
    carry = leaves, rule.init(leaves), build_all(jax.random.fold_in(key, len(rates))), ages
    (leaves, *_), losses = jax.lax.scan(step, carry, (jnp.arange(len(rates)), rates))
    return eqx.combine(leaves, others), losses


def _unchanged(models: Tree) -> Tree:
    return models


def _chooser(is_new: Array) -> Any:
    """Takes the first of two leaves [model, ...] where a model is new."""

    def choose(new: Any, old: Any) -> Any:
        if not eqx.is_array(new):
            return old
        return jnp.where(is_new.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return choose


@eqx.filter_jit
def _scores(rater: Rater, observations: Array) -> Float[Array, " sequence"]:
    return rater.scores(observations)
