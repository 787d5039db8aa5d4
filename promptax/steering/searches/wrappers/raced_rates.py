"""A search at several rates, of which a race inside the budget keeps one.

Which learning rate or temperature suits is not known beforehand, and to try them costs readings.
Here they are paid: V variants of a search, which differ in one number, run side by side. The steps
are shared by successive halving (Karnin, Koren and Somekh 2013): log2 V + 1 rounds of equal length,
in which the variants that are left take turns. At the end of a round their prompts are read on the
same episodes, and the better half goes on. The episodes are those of a step that had not chosen any
of these prompts, and with `validation_steps` those of the steps that follow: variants go on taking
turns while their prompts of the round's end are read.

A variant's schedule, such as the cooling of `Annealing`, goes over the steps that it would take if
it won. Of N steps, V variants, and J steps that judge each round, these are

    N (2 - 1/V) / (log2 V + 1) - (J - 1) (1 - 1/V)

since who goes on takes more turns only after the J steps. Charged: the steps of all variants, and
the prompts read at the end of each round, for which a budget's N leaves room (`late_prompts`).
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
from promptax.specs import check, floats, later, members
from promptax.steering.search import Search, SearchProblem
from promptax.steering.searches.annealing import Annealing
from promptax.steering.searches.wrappers.around import Around
from promptax.tasks.base import Task


class Variants(NamedTuple):
    """`inner` [variant, ...]: their states; `ages` [variant]: the steps that each took; `standing`
    [variant]: whether it is still in the race; `leader`: whose prompt is recommended; `turns`: the
    steps of this round so far; `ended`: how many rounds are over. While a round is judged:
    `prompts` [variant, prompt], those of its end; `sums` [variant] of what they lost, nats;
    `looks`: in how many steps they were read."""

    inner: Any
    ages: Any
    standing: Any
    leader: Any
    turns: Any
    ended: Any
    prompts: Any
    sums: Any
    looks: Any


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
    validation_steps: int = later(1)
    """Steps whose sequences judge a round, at most half of those of a round; 8 of 32 sequences are
    256. Where losses have no noise, 1 is enough, and is what is done."""

    def __check_init__(self) -> None:
        name = type(self.search).__name__
        check(
            self.validation_steps >= 1,
            f"Expected validation_steps of at least 1; got {self.validation_steps}.",
        )
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
        annealing = Annealing(length=2)
        return (cls(search=annealing, rates=(0.1, 1.0), validation_steps=2),)  # pyright: ignore

    @classmethod
    def for_budget(cls, length: int, budget: int) -> dict[str, Search]:
        """Every search that declares rates worth trying. 8 steps of 32 sequences are 256."""
        entrants = {}
        for member in members(Search).values():
            rate, rates = member.rates_to_try
            if rates:
                for label, search in member.for_budget(length, budget).items():
                    raced = cls(search, rate, rates, validation_steps=8)  # pyright: ignore
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
        prompts, sums = self.prompts_of(inner), jnp.zeros(count)
        leader = jnp.int32(count // 2)
        return Variants(inner, ages, standing, leader, zero, zero, prompts, sums, zero)

    def step(
        self, key: Key[Array, ""], state: Variants, problem: SearchProblem
    ) -> tuple[Variants, Float[Array, ""]]:
        now = whose_turn(state.standing, state.turns)
        planned = self.turns_of_the_winner(problem).astype(jnp.int32)
        steps = jnp.maximum(state.ages[now] + 1, planned)
        clocked = dataclasses.replace(problem, step=state.ages[now], steps=steps)
        after, loss = self.variant(now).step(key, member_of(state.inner, now), clocked)
        inner = jax.tree.map(lambda leaf, new: leaf.at[now].set(new), state.inner, after)
        judged = self.after_look(state, problem)
        return judged._replace(inner=inner, ages=state.ages.at[now].add(1)), loss

    @property
    def rounds(self) -> int:
        """How many rounds there are; one variant is left in the last."""
        return int(math.log2(len(self.rates))) + 1

    def turns_of_the_winner(self, problem: SearchProblem) -> Float[Array, ""]:
        """How many steps a variant takes that wins, 1/V + 2/V + … + 1 of those of a round each;
        not rounded."""
        count, late = len(self.rates), self.looks_of_a_round(problem) - 1
        return problem.steps * (2 - 1 / count) / self.rounds - late * (1 - 1 / count)

    def late_prompts(self, settings: FitSettings) -> int:
        """Those that are read to judge: V, V/2, …, 2 of them in each step that judges."""
        looks = 1 if settings.exact else self.validation_steps
        return looks * (2 * len(self.rates) - 2) + self.search.late_prompts(settings)

    def after_look(self, state: Variants, problem: SearchProblem) -> Variants:
        """The state after a step's episodes have judged, if a round is at its end: who goes on,
        and who leads. `inner` and `ages` stay as they were before the step."""
        due = (problem.step + 1) * self.rounds >= (state.ended + 1) * problem.steps
        begins = due & (state.ended < self.rounds - 1) & (state.looks == 0)
        on = begins | (state.looks > 0)
        prompts = jnp.where(begins, self.prompts_of(state.inner), state.prompts)
        losses = problem.means(prompts, wanted=state.standing & on)
        sums = jnp.where(on, state.sums + losses, 0.0)
        looks = jnp.where(on, state.looks + 1, 0)
        over = on & (looks >= self.looks_of_a_round(problem))
        order = jnp.lexsort((sums, ~state.standing))  # those that are out come last
        stay = state.standing & (jnp.argsort(order) < jnp.sum(state.standing) // 2)
        return Variants(
            state.inner,
            state.ages,
            jnp.where(over, stay, state.standing),
            jnp.where(over, order[0], state.leader),
            jnp.where(over, 0, state.turns + 1),
            state.ended + over,
            prompts,
            jnp.where(over, 0.0, sums),
            jnp.where(over, 0, looks),
        )

    def looks_of_a_round(self, problem: SearchProblem) -> Int[Array, ""] | int:
        """In how many steps the prompts of a round are read."""
        if problem.weights is not None:  # expectations, which a second look would repeat
            return 1
        half = problem.steps // (2 * self.rounds)
        return jnp.clip(half, 1, self.validation_steps)

    def prompts_of(self, states: Any) -> Int[Array, "variant prompt"]:
        """What the variants recommend."""
        numbers = range(len(self.rates))
        prompts = [self.search.prompt(member_of(states, number)) for number in numbers]
        return jnp.stack([jnp.asarray(prompt) for prompt in prompts])

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
