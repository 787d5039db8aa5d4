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

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax import platforms
from promptax.axes import AnyKey, Tree
from promptax.checks import kind_of, warn
from promptax.doors import door
from promptax.fit.cost import Cost, cumulative
from promptax.fit.descent import DescentRule, descent
from promptax.fit.rater import Rater
from promptax.fit.settings import FitSettings
from promptax.predictors.base import Architecture, Network
from promptax.protocol.outcomes import Episode, Outcome
from promptax.protocol.predictor import Predictor
from promptax.specs import Spec, as_key, check, check_kind, traced
from promptax.tasks.base import Task, steps_to_read
from promptax.tasks.batches import sample_batch

REFERENCE = 1024  # scores that say where a sequence stands: quantiles are within 2 of a hundred


class LearnedRater(NamedTuple):
    """What was learned, and what it cost.

    `rater`: that of the last update whose numbers were finite; a warning says if one was not.
    `loss` [step]: the held-out loss in nats per sequence before each update, the mean over models
    of all ages; NaN from an update on that was not finite.
    `cost`: what the updates read (`RaterRun.cost`).
    """

    rater: Rater
    loss: Float[Array, " step"]
    cost: Cost


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
        settings = settings.filled(
            length=steps_to_read(task, settings.length, 100), learning_rate=1e-3
        )
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
        _warn_of_divergence(np.asarray(loss))
        keys = jax.random.split(third, REFERENCE)
        observations = sample_batch(traced(task), keys, settings.length).observations
        reference = jnp.sort(_scores(learned, observations))
        rated = Rater(learned.network, learned.readout, reference)
        return LearnedRater(rated, loss, run.cost(network, settings.steps))

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
        if held_out is not None:
            check_kind(held_out, Task, "Categorical((0.2, 0.8))")
        settings.refuse_search()
        self.check_followed(settings)
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
            raise TypeError(f"Expected a network that rates; got {kind_of(reader)}.")
        platforms.expect_room(
            self.kept_bytes(shape, settings.batch, steps_to_read(task, settings.length, 100)),
            f"{self.inner_steps} inner steps of {self.models} models,",
            "Choose fewer inner steps or models, or a smaller batch.",
        )

    def check_followed(self, settings: FitSettings) -> None:
        """Complain about settings that the learning of a rater does not follow."""
        check(
            settings.precision == "float32",
            f"Expected precision='float32', which second derivatives need; got "
            f"{settings.precision!r}.",
        )
        check(
            settings.micro_batch is None,
            f"Expected no micro_batch, for weights compare all sequences of a batch; got "
            f"{settings.micro_batch}. Choose a smaller batch, or fewer models.",
        )
        check(
            settings.clip_over == "tuned",
            f"Expected clip_over='tuned', for all of a rater is learned; got "
            f"{settings.clip_over!r}.",
        )

    def kept_bytes(self, model: Predictor, batch: int, length: int) -> int:
        """A lower bound in bytes on what an update keeps for the rater's derivative: of every model
        and inner step the leaves, and the activations of its batch of sequences of that length."""
        leaves = jax.tree.leaves(eqx.filter(model, _is_leaf, is_leaf=_is_leaf))
        numbers = sum(leaf.size for leaf in leaves)
        reading = model.reading_bytes(length) * batch
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

    def cost(self, network: Predictor, steps: int) -> Cost:
        """What so many updates read, by the rater's network and the models; one repetition.

        Rated sequences are read twice, by the rater and by the model. Every reading counts one
        derivative, though the rater's goes through the models' gradients. Not counted: the
        sequences of `reference`, read once at the end.
        """
        choices = self.choices
        rated = choices.models * choices.inner_steps * self.batch
        judged = choices.models * self.batch
        model = eqx.filter_eval_shape(self.model.build, jax.random.key(0), self.outcome)
        operations = rated * network.reading_operations(self.length)
        operations += (rated + judged) * model.reading_operations(self.length)
        tokens = (2 * rated + judged) * self.length
        once = {
            "sequences": 2 * rated + judged,
            "tokens_forward": tokens,
            "tokens_backward": tokens,
            "operations": 3 * operations,  # as in a fit of all weights: forward, backward, weights
            "updates": 1,
        }
        return cumulative(
            **{name: np.full((1, steps), value, float) for name, value in once.items()}
        )

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
        leaves, moments, models, ages, is_finite = carry
        number, rate = given
        data, fresh = jax.random.split(jax.random.fold_in(key, number))

        def lose(leaves: Tree) -> tuple[Array, Tree]:
            return run.held_out_loss(eqx.combine(leaves, others), models, data)

        (loss, models), slopes = jax.value_and_grad(lose, has_aux=True)(leaves)
        directions, moments = rule.update(slopes, moments)
        moved = jax.tree.map(lambda a, b: a - rate * b, leaves, directions)
        is_finite &= _all_finite((loss, moved))
        leaves = jax.tree.map(functools.partial(jnp.where, is_finite), moved, leaves)
        ages = ages + choices.inner_steps
        is_old = ages >= choices.lifetime

        def renew(models: Tree) -> Tree:
            return jax.tree.map(_chooser(is_old), build_all(fresh), models)

        models = jax.lax.cond(jnp.any(is_old), renew, _unchanged, models)
        carry = leaves, moments, models, jnp.where(is_old, 0, ages), is_finite
        return carry, jnp.where(is_finite, loss, jnp.nan)

    # at the start all models are fresh, and end their first lives one after the other
    ages = jnp.arange(choices.models) * choices.lifetime // choices.models
    models = build_all(jax.random.fold_in(key, len(rates)))
    carry = leaves, rule.init(leaves), models, ages, jnp.array(True)
    (leaves, *_), losses = jax.lax.scan(step, carry, (jnp.arange(len(rates)), rates))
    return eqx.combine(leaves, others), losses


def _all_finite(tree: Tree) -> Any:
    """Whether all numbers of a tree are finite."""
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _warn_of_divergence(loss: Float[np.ndarray, " step"]) -> None:
    """Say at which update the learning stopped, if it did."""
    broken = np.flatnonzero(np.isnan(loss))
    if len(broken):
        warn(
            f"Diverged: the rater at step {broken[0] + 1} of {len(loss)} (the held-out loss or its "
            "gradient was not finite). It keeps its last finite weights. A lower learning_rate, "
            "inner_rate or clip usually helps."
        )


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
