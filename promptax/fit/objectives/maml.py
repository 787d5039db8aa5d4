"""Model-agnostic meta-learning: weights from which a few gradient steps learn a task."""

from typing import Any

from promptax.fit.objectives.support_and_query import SupportAndQuery


class MAML(SupportAndQuery):
    """The query's log loss after inner steps on the support, differentiated through all of them.

        J(θ) = E[ L_query(φ_K) ],    φ_{i+1} = φ_i - inner_rate · ∇L_support(φ_i),    φ_0 = θ

    Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
    Networks", Algorithm 1; a task is one sequence, the loss is the mean over the batch's sequences,
    and Adam takes the outer step. Use what was learned by `adapt(predictor, tokens)`, or by
    `Adapting(predictor, MAML(…))`, which adapts anew to all that it has read.
    """

    @classmethod
    def examples(cls) -> "tuple[MAML, ...]":
        return cls(inner_steps=2, support=3), cls(inner_loss="sum", support=2, in_context=True)

    def inner_slope(self, gradient: Any) -> Any:
        return gradient
