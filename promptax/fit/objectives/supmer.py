"""A prompt from which few gradient steps learn a task, with a learned turn of these steps."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from promptax.fit.objectives.inner_steps import Leaves
from promptax.fit.objectives.paced import Paced, check_rate, paced_in
from promptax.fit.objectives.support_and_query import SupportAndQuery
from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import Prompted
from promptax.specs import check

SCALES, GATE = "scales", "gate"


class SUPMER(SupportAndQuery):
    """The query's log loss after inner steps of a prompt alone, along a learned direction:

        g' = (1 - c) ψ(g) + c g,    ψ(g) = |g| · (d ∘ g) / |d ∘ g|  for every row of the prompt

    g is the support's gradient for the prompt, a constant for the outer derivative (first order). d
    has one number for each coordinate of a row, so that it fits prompts of any length; they begin
    at 1, where ψ(g) = g. The gate c = σ(a) begins at ½ and is learned, too; with `gate=1` nothing
    is turned, and this is first-order MAML on the prompt, the control. Prompt, d and a are leaves
    of the predictor (`Paced`); `promptax.steering.tune_start` tunes these and nothing else.

    Pan, Xie, Wang, Li, Chua and Tian 2023, "Self-supervised Meta-Prompt Learning with
    Meta-Gradient Regularization for Few-shot Generalization" (arXiv 2303.12314). Their ψ is a
    low-rank perceptron and their gate one of the encoder's state; their mixup of query sets, with
    its curriculum, is left out: tasks here are drawn, not clustered from text.
    """

    slope_is_of_value: ClassVar[bool] = False
    keeps_steps: ClassVar[bool] = False

    gate: float | None = None
    """c, the share of the gradient itself; None: it is learned."""

    def __check_init__(self) -> None:
        check(
            self.gate is None or 0 <= self.gate <= 1,
            f"Expected a gate from 0 to 1, or None to learn it; got {self.gate}.",
        )
        check(
            not self.adapts,
            f"Expected no names in SUPMER.adapts, for the prompt alone takes inner steps; got "
            f"{self.adapts}.",
        )

    @classmethod
    def examples(cls) -> "tuple[SUPMER, ...]":
        """None: the contracts judge networks, and this needs one that reads a prompt."""
        return ()

    def equip(self, predictor: Predictor, settings: FitSettings) -> Paced:
        del settings
        leaves = jax.tree.leaves(self.split_leaves(predictor)[0])
        width = leaves[0].shape[-1]
        check(
            all(leaf.shape[-1] == width for leaf in leaves),
            "Expected a prompt whose rows are all of one width, such as SoftPrompt's.",
        )
        factors = {SCALES: jnp.ones(width, leaves[0].dtype), GATE: jnp.zeros((), leaves[0].dtype)}
        return Paced(predictor, factors, type(self).__name__, float(self.inner_rate))

    def check_pace(self, predictor: Predictor) -> None:
        paced = paced_in(predictor)
        if paced is None or paced.learned_by != type(self).__name__:
            raise TypeError(
                f"Expected a predictor with the leaves that SUPMER learns; got "
                f"{type(predictor).__name__}. Give it to promptax.steering.tune_start, or begin by "
                "SUPMER(…).equip(predictor, settings)."
            )
        check_rate(paced, self.inner_rate)

    def inner_slope(self, gradient: Any) -> Any:
        return jax.lax.stop_gradient(gradient)

    def turn(self, predictor: Predictor, slopes: Leaves) -> Leaves:
        paced = paced_in(predictor)
        assert paced is not None
        scales, logit = paced.factors[SCALES], paced.factors[GATE]
        gate = jax.nn.sigmoid(logit) if self.gate is None else jnp.asarray(self.gate, logit.dtype)

        def turn_rows(slope: Array) -> Array:
            scaled = scales * slope
            length, new = jnp.sum(slope**2, -1), jnp.sum(scaled**2, -1)
            is_zero = (new == 0) | (length == 0)  # of which the root has no derivative
            ratio = jnp.sqrt(jnp.where(is_zero, 1.0, length) / jnp.where(is_zero, 1.0, new))
            return (1 - gate) * ratio[..., None] * scaled + gate * slope

        return jax.tree.map(turn_rows, slopes)

    def split_leaves(self, predictor: Predictor) -> tuple[Leaves, Predictor]:
        """The leaves of the outermost prompt, and everything else; refused if there is none."""
        if not isinstance(_reader(predictor), Prompted):
            raise TypeError(
                f"Expected a predictor that reads a prompt, whose rows SUPMER moves; got "
                f"{type(predictor).__name__}. Steer it first: SoftPrompt().steer(key, predictor)."
            )
        nothing = jax.tree.map(lambda _: False, predictor)
        marked = jax.tree.map(eqx.is_inexact_array, _context(predictor))
        leaves, others = eqx.partition(predictor, eqx.tree_at(_context, nothing, marked))
        if not jax.tree.leaves(leaves):
            raise TypeError(
                "Expected a prompt of numbers, such as SoftPrompt's; got one of symbols."
            )
        return leaves, others

    def where(self, predictor: Predictor) -> Any:
        """A tree of booleans: what is tuned, the prompt and what turns its steps."""
        nothing = jax.tree.map(lambda _: False, predictor)
        marked = jax.tree.map(eqx.is_inexact_array, _context(predictor))
        mask = eqx.tree_at(_context, nothing, marked)
        return eqx.tree_at(
            lambda paced: paced.factors, mask, {SCALES: True, GATE: self.gate is None}
        )


def _reader(predictor: Any) -> Any:
    """What reads the outermost prompt, below what carries learned directions."""
    while isinstance(predictor, Paced):
        predictor = predictor.predictor
    return predictor


def _context(predictor: Any) -> Any:
    return _reader(predictor).context
