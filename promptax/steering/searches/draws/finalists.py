"""Best of N, with the winner's curse taken away: what wins by luck is read again.

The least of N noisy losses is too small, and the more so the larger N: who wins among many has been
lucky. So a step reads two things on the same episodes, new prompts and the `finalists` of the steps
before. The best new prompt takes the place of the worst finalist if it beats it on these episodes,
and its lucky loss is forgotten: a finalist's average counts what was read after it came. The result
is the finalist with the least average.

Episodes of one step are hard or easy for all prompts alike. The leader, whose average is known
best, says by how much, and this is taken off the others' losses before they are averaged.

A loss over all sequences there are is no luck: there the new prompt's own loss counts at once, and
the best one leads in the step that it comes in.

Charged: all new prompts and all finalists, in each step; of equal ones the first.
"""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.search_problem import Prompts
from promptax.steering.searches.duplicates import first_of_equals
from promptax.steering.searches.moves import draw_prompts


class Finalists(NamedTuple):
    """`prompts` [finalist, prompt]; `averages` [finalist]: their mean losses since they came, nats
    per sequence; `counts` [finalist]: the steps that these are of, -1 where nobody came yet;
    `leader` [prompt]: the prompt of the one that leads."""

    prompts: Any
    averages: Any
    counts: Any
    leader: Any


class BestOfDraws(Search):
    """Draws prompts and keeps the best. A member owes the fields below, and `draw`."""

    reads_by_losses: ClassVar[bool] = True

    candidates: eqx.AbstractVar[int]
    """New prompts in a step."""
    finalists: eqx.AbstractVar[int]
    """How many of the best are read again in each step."""

    def __check_init__(self) -> None:
        for name in ("candidates", "finalists"):
            value = getattr(self, name)
            check(value >= 1, f"Expected {name} of at least 1; got {value}.")

    @abc.abstractmethod
    def draw(self, key: Key[Array, ""], problem: SearchProblem) -> Prompts:
        """New prompts [candidate, prompt]."""

    def plan(self, symbols: int) -> str:
        del symbols
        return (
            f"{self.candidates:,} new prompts in each step, {self.finalists:,} of them read again"
        )

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Finalists:
        prompts = draw_prompts(key, self.finalists, self.length, problem.symbols)
        nobody = jnp.full(self.finalists, -1)
        return Finalists(prompts, jnp.zeros(self.finalists), nobody, prompts[0])

    def step(
        self, key: Key[Array, ""], state: Finalists, problem: SearchProblem
    ) -> tuple[Finalists, Float[Array, ""]]:
        new = self.draw(key, problem)
        here = state.counts >= 0
        wanted = are_new(state, new)
        losses = problem.means(jnp.concatenate([state.prompts, new]), wanted=wanted)
        old, drawn = losses[: self.finalists], losses[self.finalists :]
        best = jnp.argmin(drawn)
        shown = jnp.where(jnp.any(here), old[leader_of(state)], drawn[best])
        averages, counts = read_again(state, old)
        worst = jnp.argmax(jnp.where(here, averages, jnp.inf))
        enters = wanted[self.finalists :][best] & ((drawn[best] < old[worst]) | ~here[worst])

        def replace(whole: Array, value: Any) -> Array:
            return jnp.where(enters, whole.at[worst].set(value), whole)

        begun = (drawn[best], 1) if problem.sizes.exact else (0.0, 0)
        prompts, counts = replace(state.prompts, new[best]), replace(counts, begun[1])
        state = Finalists(prompts, replace(averages, begun[0]), counts, state.leader)
        return state._replace(leader=prompts[leader_of(state)]), shown

    def prompt(self, state: Finalists) -> Int[Any, " prompt"]:
        return state.leader


def are_new(state: Finalists, new: Prompts) -> Bool[Array, " reader"]:
    """Which prompts, finalists and then new ones, are there and equal none before them."""
    there = jnp.concatenate([state.counts >= 0, jnp.ones(len(new), bool)])
    marked = jnp.column_stack([there.astype(jnp.int32), jnp.concatenate([state.prompts, new])])
    return there & (first_of_equals(marked) == jnp.arange(len(there)))


def leader_of(state: Finalists) -> Int[Array, ""]:
    """The finalist with the least average; who was not read again only where nobody was, and who
    is not there at all only where nobody is."""
    rank = jnp.where(state.counts > 0, state.averages, jnp.inf)
    newest = jnp.argmax(state.counts)
    return jnp.where(jnp.isfinite(jnp.min(rank)), jnp.argmin(rank), newest)


def read_again(
    state: Finalists, losses: Float[Array, " finalist"]
) -> tuple[Float[Array, " finalist"], Int[Array, " finalist"]]:
    """Averages and counts with these losses, nats per sequence, of one step's episodes."""
    leader = leader_of(state)
    hardness = losses[leader] - state.averages[leader]
    known = (state.counts[leader] > 0) & jnp.isfinite(hardness)
    others = jnp.arange(len(losses)) != leader
    losses = losses - jnp.where(known & others, hardness, 0.0)
    counts = jnp.where(state.counts < 0, -1, state.counts + 1)
    share = 1 / jnp.maximum(counts, 1)
    averages = (1 - share) * state.averages + share * losses
    return jnp.where(counts > 0, averages, 0.0), counts
