"""A search at several rates, of which a race inside the budget keeps one.

Which learning rate or temperature suits is not known beforehand, and to try them costs readings.
Here they are paid: V variants of a search, which differ in one number, run side by side. The steps
are shared by successive halving (Karnin, Koren and Somekh 2013): log2 V + 1 rounds of equal length,
in which the variants that are left take turns. At the end of a round their prompts are read on the
same episodes, and the better half goes on. The episodes are those of a step that had not chosen any
of these prompts.

A variant's schedule, such as the cooling of `Annealing`, goes over the steps that it would take if
it won. Charged: the steps of all variants, and the prompts read at the end of each round.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check, floats, members
from promptax.steering.search import Search, SearchProblem
from promptax.steering.searches.annealing import Annealing
from promptax.steering.searches.wrappers.around import Around
from promptax.tasks.base import Task


class Variants(NamedTuple):
    """`inner` [variant, ...]: their states; `ages` [variant]: the steps that each took; `standing`
    [variant]: whether it is still in the race; `leader`: whose prompt is recommended; `turns`: the
    steps of this round so far; `ended`: how many rounds are over."""

    inner: Any
    ages: Any
    standing: Any
    leader: Any
    turns: Any
    ended: Any


class RacedRates(Around):
    """Runs another search at several rates, and lets the better half of them go on, round by round.

    `loss` [repetition, step] is what the variant reports whose turn it is. Until the first round
    ends, the prompt of the middle rate is the result. Works on what the inner search works on.
    """

    search: Search = Annealing()
    """The search that is run at several rates."""
    rate: str = "start_temperature"
    """The field that is tried: one of its numbers."""
    rates: tuple[float, ...] = eqx.field(default=(0.05, 0.2, 0.8, 3.0), converter=floats)  # pyright: ignore
    """Its values; a power of two of them, at least two."""

    def __check_init__(self) -> None:
        name = type(self.search).__name__
        numbers = [
            field.name
            for field in dataclasses.fields(self.search)
            if isinstance(getattr(self.search, field.name), float)
        ]
        check(
            self.rate in numbers,
            f"Expected a number of {name} as the rate that is tried: {', '.join(numbers)}; got "
            f"{self.rate!r}.",
        )
        count = len(self.rates)
        check(
            count >= 2 and count & (count - 1) == 0,
            f"Expected 2, 4, 8 or so rates, of which half is left after each round; got {count}.",
        )
        for value in self.rates:  # each refuses what it cannot run with
            dataclasses.replace(self.search, **{self.rate: value})

    @property
    def reads_by_losses(self) -> bool:
        return True

    @classmethod
    def examples(cls) -> "tuple[RacedRates, ...]":
        return (cls(search=Annealing(length=2), rates=(0.1, 1.0)),)  # pyright: ignore

    @classmethod
    def for_budget(cls, length: int, budget: int) -> dict[str, Search]:
        """Every search that declares rates worth trying."""
        entrants = {}
        for member in members(Search).values():
            rate, rates = member.rates_to_try
            if rates:
                for label, search in member.for_budget(length, budget).items():
                    raced = cls(search=search, rate=rate, rates=rates)  # pyright: ignore
                    entrants[f"{label}, {rate} raced"] = raced
        return entrants

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        Around.check_plan(self, predictor, target, settings)
        done = self.search.run_length(target.symbols)
        check(
            done is None,
            f"Expected a search that takes as many steps as it is given; got "
            f"{type(self.search).__name__}, which is done after {done}. Run it at each rate.",
        )

    def plan(self, symbols: int) -> str:
        inner = self.search.plan(symbols)
        raced = f"{len(self.rates)} values of {self.rate} raced"
        return f"{inner}; {raced}" if inner else raced

    def inside(self, state: Variants) -> Any:
        return member_of(state.inner, state.leader)

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Variants:
        count = len(self.rates)
        starts = [
            self.variant(jnp.int32(number)).start(jax.random.fold_in(key, number), problem)
            for number in range(count)
        ]
        inner = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *starts)
        zero = jnp.int32(0)
        ages, standing = jnp.zeros(count, jnp.int32), jnp.ones(count, bool)
        return Variants(inner, ages, standing, jnp.int32(count // 2), zero, zero)

    def step(
        self, key: Key[Array, ""], state: Variants, problem: SearchProblem
    ) -> tuple[Variants, Float[Array, ""]]:
        rounds = int(math.log2(len(self.rates))) + 1
        now = whose_turn(state.standing, state.turns)
        planned = problem.steps * (2 - 1 / len(self.rates)) / rounds  # 1/V + 2/V + … + 1 of a round
        steps = jnp.maximum(state.ages[now] + 1, planned.astype(jnp.int32))
        clocked = dataclasses.replace(problem, step=state.ages[now], steps=steps)
        after, loss = self.variant(now).step(key, member_of(state.inner, now), clocked)
        inner = jax.tree.map(lambda leaf, new: leaf.at[now].set(new), state.inner, after)
        over = (problem.step + 1) * rounds >= (state.ended + 1) * problem.steps
        over = over & (state.ended < rounds - 1)
        standing, leader = self.after_round(state, over, problem)
        moved = Variants(
            inner,
            state.ages.at[now].add(1),
            standing,
            leader,
            jnp.where(over, 0, state.turns + 1),
            state.ended + over,
        )
        return moved, loss

    def after_round(
        self, state: Variants, over: Array, problem: SearchProblem
    ) -> tuple[Array, Array]:
        """Who goes on, and who leads; the prompts are read if the round is over."""
        prompts = jnp.stack(
            [
                jnp.asarray(self.search.prompt(member_of(state.inner, number)))
                for number in range(len(self.rates))
            ]
        )
        losses = problem.means(prompts, wanted=state.standing & over)
        order = jnp.lexsort((losses, ~state.standing))  # those that are out come last
        places = jnp.argsort(order)
        stay = state.standing & (places < jnp.sum(state.standing) // 2)
        return jnp.where(over, stay, state.standing), jnp.where(over, order[0], state.leader)

    def variant(self, number: Int[Array, ""]) -> Search:
        """The search at the rate of that number."""
        rate = jnp.stack([jnp.asarray(value) for value in self.rates])[number]
        return eqx.tree_at(lambda search: getattr(search, self.rate), self.search, rate)


def member_of(states: Any, number: Any) -> Any:
    """The state of one of the variants."""
    return jax.tree.map(lambda leaf: leaf[number], states)


def whose_turn(standing: Array, turns: Array) -> Int[Array, ""]:
    """The number of the variant that steps now: those that stand take turns."""
    place = turns % jnp.sum(standing)
    return jnp.argmax(jnp.cumsum(standing) == place + 1)
