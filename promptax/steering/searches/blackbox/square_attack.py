"""Random search by windows that shrink, for the best prompt or the worst (Maus et al. 2023, "Black
Box Adversarial Prompting for Foundation Models"; Andriushchenko et al. 2020, "Square Attack").

The centre is the best prompt so far. Every candidate is the centre with a window of neighbouring
places, which begins anywhere and goes on at the other end, filled with random symbols. All are read
on this step's episodes beside the centre, and the best one is the next centre. The window's share
of the prompt begins with `share` and halves when .1, .2, .4, .6 and .8 of the steps are done; one
place is the least. The published schedule halves at .001, .005 and .02 as well: it is made for
thousands of pixels, and leaves windows of one symbol to a prompt of six.

`find="worst"` looks for the prompt that loses most: the worst case of what a user may type. Where
the predictor holds what follows for impossible, the loss is +inf, and no prompt is worse; a prompt
that is impossible itself is none of them if such prompts may not win.

The published attack on prompts perturbs coordinates of soft rows by N(0, s²) and projects them to
the nearest token; s divides by the standard deviation of the last losses, and explodes where these
are flat. Symbols of an alphabet are equally far from each other, so that a projected perturbation
is a random symbol. Charged: every distinct candidate, and the centre.
"""

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.search_problem import Prompts
from promptax.steering.searches.duplicates import first_of_equals
from promptax.steering.searches.moves import Prompt

HALVINGS = 0.1, 0.2, 0.4, 0.6, 0.8  # shares of the steps


class SquareAttack(Search):
    """Searches the best hard prompt, or the worst one, by random windows that shrink.

    `loss` [repetition, step] is that of the centre before the step, nats per sequence. Works on any
    predictor over symbols, exact ones included.
    """

    reads_by_losses: ClassVar[bool] = True

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    candidates: int = 16
    """Windows that are tried in a step."""
    share: float = 0.8
    """Share of the prompt that a window has at first (.8 as published)."""
    find: Literal["best", "worst"] = "best"
    """Whether the loss is made small or great."""

    def __check_init__(self) -> None:
        check(self.candidates >= 1, f"Expected candidates of at least 1; got {self.candidates}.")
        check(0 < self.share <= 1, f"Expected a share above 0 and at most 1; got {self.share}.")
        check(
            self.find in ("best", "worst"), f"Expected find 'best' or 'worst'; got {self.find!r}."
        )

    @classmethod
    def examples(cls) -> "tuple[SquareAttack, ...]":
        return (cls(length=2, candidates=3),)

    @property
    def seeks_worst(self) -> bool:
        return self.find == "worst"

    def plan(self, symbols: int) -> str:
        del symbols
        return f"{self.candidates} windows in each step, for the {self.find} prompt"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Prompt:
        return jax.random.randint(key, (self.length,), 0, problem.symbols)

    def step(
        self, key: Key[Array, ""], state: Prompt, problem: SearchProblem
    ) -> tuple[Prompt, Float[Array, ""]]:
        tried = jnp.concatenate([state[None], self.windows(key, state, problem)])
        wanted = first_of_equals(tried, problem.predictor.exchangeable) == jnp.arange(len(tried))
        means = problem.means(tried, wanted=wanted)
        if self.find == "worst":
            if not problem.sizes.impossible_may_win:
                wanted &= ~problem.impossible(tried)
            best = jnp.argmax(jnp.where(wanted, means, -jnp.inf))
        else:
            best = jnp.argmin(means)
        return tried[best], means[0]

    def windows(self, key: Key[Array, ""], centre: Prompt, problem: SearchProblem) -> Prompts:
        """The centre with random symbols in a window, one for each candidate."""
        where, what = jax.random.split(key)
        shape = self.candidates, self.length
        halved = jnp.sum(problem.step >= jnp.asarray(HALVINGS) * problem.steps)
        width = jnp.round(jnp.asarray(self.share) * self.length * 0.5**halved)
        begins = jax.random.randint(where, (self.candidates, 1), 0, max(self.length, 1))
        behind = (jnp.arange(self.length) - begins) % max(self.length, 1)
        drawn = jax.random.randint(what, shape, 0, problem.symbols)
        return jnp.where(behind < jnp.maximum(width, 1), drawn, centre)

    def prompt(self, state: Int[Any, " prompt"]) -> Int[Any, " prompt"]:
        return state
