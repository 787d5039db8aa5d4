"""Prompts drawn from a policy that learns from their losses (RLPrompt, Deng et al. 2022,
"RLPrompt: Optimizing Discrete Text Prompts with Reinforcement Learning").

`promptax.steering.searches.policy.writing` has the formulas. Where the published code differs: its
policy is a small language model with a trained layer behind it; it reads rewards as z-scores within
a batch, which hides their level and is 0 where all prompts are equal, and learns by an average of
four path consistencies with a slow copy of Q; its prompt is the greedy one, which it may never have
read. Charged: the drawn prompts, and the best one, which is read anew in every step.
"""

from typing import ClassVar

from promptax.steering.search import Search
from promptax.steering.searches.policy.writing import LearnBy, WrittenSearch


class PolicySearch(WrittenSearch):
    """Searches a hard prompt by a policy over symbols, which learns from what drawn prompts lose.

    `loss` [repetition, step] is that of the best prompt before the step, nats per sequence. Works
    on any predictor over symbols; no gradient goes through the predictor.
    """

    prompters: ClassVar[int] = 1  # pyright: ignore[reportIncompatibleVariableOverride]

    rates_to_try: ClassVar[tuple[str, tuple[float, ...]]] = "learning_rate", (0.025, 0.1, 0.4, 1.6)

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    samples: int = 16
    """Prompts that are drawn and read in a step (16 as published)."""
    width: int = 16
    """Size of the policy's hidden state."""
    learning_rate: float = 0.1
    """Adam's rate; so high, since most of the policy is a table that begins with zeros."""
    temperature: float = 0.01
    """What a nat of entropy is worth, nats per sequence: what does not matter any more."""
    learn_by: LearnBy = "policy gradient"
    """Leave-one-out policy gradient, or path consistency (a soft Q form)."""

    @classmethod
    def examples(cls) -> "tuple[PolicySearch, ...]":
        return (cls(length=2, samples=3, width=2),)

    @classmethod
    def relatives(cls, length: int, budget: int) -> dict[str, Search]:
        del budget
        consistent = cls(length=length, learn_by="path consistency", temperature=0.03)
        return {"PolicySearch by path consistency": consistent}

    def plan(self, symbols: int) -> str:
        del symbols
        return f"{self.samples} prompts of a policy that learns in each step"
