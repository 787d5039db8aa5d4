"""Several policies that write segments of a prompt in turn (MultiPrompter, Kim et al. 2023,
"MultiPrompter: Cooperative Prompt Optimization with Multi-Agent Reinforcement Learning").

Of n prompters, prompter j writes segment j and has read all that stands before it. All are paid the
same: the reward of the whole prompt. With V the critic's value of the prefix before a segment, the
advantage in the policy gradient of `promptax.steering.searches.policy.writing` becomes

    A_kj = R_k - mean_{i≠k} R_i - (V_kj - mean_{i≠k} V_ij),

which keeps the gradient's expectation, since V_kj knows nothing of segment j. The critic is shared;
it learns, by squares, how much more than the mean a prompt earns that begins in this way. The first
segment has no prefix and no term, so that one prompter is `PolicySearch`, bit for bit.

The published method takes PPO's clipped steps, several for the same prompts; here one step is taken
for each batch, in which PPO's clip never acts. Every prompter has a network of its own: n of width
w have more weights than one of width w, which a fair comparison states. Charged: the drawn prompts,
and the best one.
"""

from typing import ClassVar

from promptax.specs import check
from promptax.steering.searches.policy.writing import LearnBy, WrittenSearch


class Prompters(WrittenSearch):
    """Searches a hard prompt by several policies, each of which writes a segment of it.

    `loss` [repetition, step] is that of the best prompt before the step, nats per sequence. Works
    on any predictor over symbols; no gradient goes through the predictor.
    """

    rates_to_try: ClassVar[tuple[str, tuple[float, ...]]] = "learning_rate", (0.025, 0.1, 0.4, 1.6)

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    prompters: int = 2
    """Policies that write, in turn; each of them a segment."""
    samples: int = 16
    """Prompts that are drawn and read in a step."""
    width: int = 16
    """Size of a policy's hidden state."""
    learning_rate: float = 0.1
    """Adam's rate; so high, since most of a policy is a table that begins with zeros."""
    temperature: float = 0.01
    """What a nat of entropy is worth, nats per sequence: what does not matter any more."""
    learn_by: LearnBy = "policy gradient"
    """Leave-one-out policy gradient; path consistency has no place for a critic, and ignores it."""

    def __check_init__(self) -> None:
        most = max(self.length, 1)
        check(
            1 <= self.prompters <= most or self.length < 0,  # which another check refuses
            f"Expected 1 to {most} prompters, as many as symbols at most; got {self.prompters}.",
        )

    @classmethod
    def examples(cls) -> "tuple[Prompters, ...]":
        return (cls(length=2, samples=3, width=2),)

    def plan(self, symbols: int) -> str:
        del symbols
        return f"{self.samples} prompts of {self.prompters} policies that learn in each step"
