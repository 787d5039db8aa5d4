"""Instances of the arena: a prior, a target, and the loss behind every prompt by exhaustion.

A reader that knows K components with weights w reads a prompt and then T symbols of the target.
Only counts matter: with m(c) = Σ_k w_k Π_s p_ks^c_s, the expected loss behind a prompt with counts
o is

    f(o) = -Σ_c P(c) [log m(c + o) - log m(o)],    c over all counts of T symbols

This is computed here in float64 NumPy, and shares nothing with the predictor that searches ask.

With positive Dirichlet priors nearly every descent finds the optimum. Descents get stuck where a
component must be excluded before another one pays: where weights are skewed and components have
zeros. `hard_instance` draws such priors. An instance is hard (`is_hard`) where

- descent from random starts reaches the best prompt in `LEAST_SUCCESS` to `MOST_SUCCESS` of the
  runs: mostly it gets stuck, but restarts pay;
- greedy growth misses the best prompt;
- random draws do not pay: of as many as the budget allows, fewer than `MOST_LUCK` are expected to
  be nearly the best (order does not matter, so that each stands many times among all prompts);
- none of those is one symbol repeated, which methods that start there would win.

An instance is easy (`is_easy`) where descent reaches the best prompt from nearly all starts, and
greedy growth finds it. The study keeps the first seeds of each.

Of these no prompt is impossible: one component excludes nothing. In `plateau_instance` every
component has zeros, so that most random prompts rule out all of them. What is predicted behind such
a prompt is a matter of convention: promptax's predictors predict uniformly, which loses T log A. An
instance says whether such prompts may win (then it is an *open* plateau); otherwise they lose
infinitely much. Either way most prompts lose the same, so that no single swap says where to go. A
plateau is kept (`is_plateau`) where random prompts are mostly impossible, the best prompt is
possible, has more than one symbol and loses less than the uniform prediction, and where, under each
of both rules, descents and greedy growth do as on hard instances. Under both its gaps have one
unit, that of possible prompts: a plateau is the same question twice, and no easier by its unit.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import gammaln, logsumexp

from promptax.tasks import Categorical, CategoricalMixture

COMPONENTS = 4
MOSTLY = 0.75  # of random prompts, at least, are impossible on a plateau
LEAST_SUCCESS, MOST_SUCCESS = 0.2, 0.4  # of steepest descents from random starts, if it is hard
EASY_SUCCESS = 0.95  # the least, if it is easy
MOST_LUCK = 0.5  # nearly best prompts that random draws of the whole budget are expected to have
NEARLY = 0.02  # gaps below that, in random prompts' median gap, are nearly 0
TIE = 1e-6  # nats: prompts that differ by less are equally good


class Shape(NamedTuple):
    """What programs are compiled for: all instances of a shape share them."""

    symbols: int
    prompt_length: int
    length: int


class Instance(NamedTuple):
    """A prior whose exact predictor is prompted, and the target that it is prompted for."""

    prior: CategoricalMixture
    target: Categorical
    shape: Shape
    impossible_may_win: bool = False  # prompts to which all components give probability 0

    def relabelled(self, order: Int[np.ndarray, " symbol"]) -> "Instance":
        """The same with other names for the symbols, so that zeros are not at the same places."""
        rows = np.asarray(self.prior.probabilities)[:, order]
        target = np.asarray(self.target.probabilities)[order]
        return Instance(
            CategoricalMixture(rows.tolist(), self.prior.weights),  # pyright: ignore
            Categorical(target.tolist()),  # pyright: ignore[reportArgumentType]
            self.shape,
            self.impossible_may_win,
        )


def counts_of(total: int, symbols: int) -> Int[np.ndarray, "row symbol"]:
    """All vectors of counts of that total."""
    ranges = itertools.product(range(total + 1), repeat=symbols - 1)
    heads = np.array([head for head in ranges if sum(head) <= total]).reshape(-1, symbols - 1)
    return np.concatenate([heads, total - heads.sum(axis=1, keepdims=True)], axis=1)


def losses_after(
    instance: Instance, counts: Int[np.ndarray, "prompt symbol"]
) -> Float[np.ndarray, " prompt"]:
    """f(o) in nats behind prompts of these counts; +inf behind impossible ones, or T log A where
    they may win, and behind those after which the target's sequences are impossible."""
    rows = np.asarray(instance.prior.probabilities, float)
    weights = np.asarray(instance.prior.weights, float)
    read = counts_of(instance.shape.length, instance.shape.symbols)

    def log_likelihood(counts: np.ndarray) -> np.ndarray:
        """log Π_s p_ks^c_s [row, component]."""
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(counts[:, None] > 0, counts[:, None] * np.log(rows), 0.0)
        return logs.sum(axis=-1)

    target = np.asarray(instance.target.probabilities, float)
    ways = gammaln(instance.shape.length + 1) - gammaln(read + 1).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        before = np.log(weights) + log_likelihood(counts)
        chances = np.exp(ways + np.where(read > 0, read * np.log(target), 0.0).sum(axis=1))
        log_mass = np.asarray(logsumexp(before, axis=-1))
        after = np.asarray(logsumexp(before[:, None] + log_likelihood(read), axis=-1))
        terms = np.where(chances > 0, chances * (after - log_mass[:, None]), 0.0)
    losses = -terms.sum(axis=1)
    uniform = instance.shape.length * np.log(instance.shape.symbols)
    impossible = uniform if instance.impossible_may_win else np.inf
    losses = np.where(np.isneginf(log_mass), impossible, losses)
    return np.where(np.isnan(losses), np.inf, losses)


class Truth(NamedTuple):
    """Losses of all prompts by their counts [row], nats, how many prompts have each, and which are
    possible: those that lose a finite number where impossible ones may not win."""

    counts: Int[np.ndarray, "row symbol"]
    losses: Float[np.ndarray, " row"]
    number: Float[np.ndarray, " row"]
    possible: Bool[np.ndarray, " row"]

    @property
    def best(self) -> float:
        """The least loss of all prompts."""
        return float(self.losses.min())

    @property
    def typical(self) -> float:
        """The median gap of a random prompt among those that are possible."""
        losses, number = self.losses[self.possible], self.number[self.possible]
        order = np.argsort(losses)
        shares = np.cumsum(number[order])
        middle = order[np.searchsorted(shares, shares[-1] / 2)]
        return float(losses[middle] - self.best)

    def of(self, prompts: Int[np.ndarray, "*run prompt"]) -> Float[np.ndarray, "*run"]:
        """The loss behind each prompt."""
        symbols, length = self.counts.shape[1], prompts.shape[-1]
        powers = (length + 1) ** np.arange(symbols)
        table = dict(zip((self.counts @ powers).tolist(), self.losses.tolist(), strict=True))
        keys = powers[prompts].sum(axis=-1)
        return np.vectorize(table.__getitem__, otypes=[float])(keys)


def truth_of(instance: Instance) -> Truth:
    """All prompts of the instance's length, by exhaustion over their counts."""
    total, symbols = instance.shape.prompt_length, instance.shape.symbols
    counts = counts_of(total, symbols)
    number = np.exp(gammaln(total + 1) - gammaln(counts + 1).sum(axis=1))
    possible = np.isfinite(losses_after(instance._replace(impossible_may_win=False), counts))
    return Truth(counts, losses_after(instance, counts), number, possible)


def hard_instance(shape: Shape, seed: int) -> Instance:
    """A prior with skewed weights and zeros, and a target, from that seed alone."""
    draw = np.random.default_rng([seed, *shape])
    rows = draw.dirichlet(np.full(shape.symbols, 0.7), COMPONENTS)
    rows = np.where(draw.random(rows.shape) < 0.3, 0.0, rows)
    rows[0] = draw.dirichlet(np.ones(shape.symbols))  # one that excludes nothing
    empty = rows.sum(axis=1) == 0
    rows[empty] = 1.0
    rows /= rows.sum(axis=1, keepdims=True)
    weights = np.exp(2.0 * draw.standard_normal(COMPONENTS))
    target = draw.dirichlet(np.ones(shape.symbols))
    return _instance(shape, rows, weights, target)


def easy_instance(shape: Shape, seed: int) -> Instance:
    """A control: no zeros, equal weights, and a target near one of the components."""
    draw = np.random.default_rng([seed, *shape])
    rows = 0.1 / shape.symbols + 0.9 * draw.dirichlet(np.ones(shape.symbols), COMPONENTS)
    return _instance(shape, rows, np.ones(COMPONENTS), rows[0])


def plateau_instance(shape: Shape, seed: int) -> Instance:
    """A prior all of whose components have zeros, and a target that lies within the first one."""
    draw = np.random.default_rng([seed, *shape])
    rows = draw.dirichlet(np.ones(shape.symbols), COMPONENTS)
    for row in rows:
        row[draw.choice(shape.symbols, draw.integers(1, shape.symbols - 1), replace=False)] = 0.0
    weights = np.exp(2.0 * draw.standard_normal(COMPONENTS))
    within = rows[0] > 0
    target = np.zeros(shape.symbols)
    target[within] = draw.dirichlet(np.ones(within.sum()))
    return _instance(shape, rows / rows.sum(axis=1, keepdims=True), weights, target)


def _instance(shape: Shape, rows: np.ndarray, weights: np.ndarray, target: np.ndarray) -> Instance:
    """Rounded, so that JSON holds exactly what was drawn, and summing to 1."""

    def tidy(row: np.ndarray) -> list[float]:
        digits = np.round(row / row.sum(), 4)
        digits[np.argmax(digits)] += 1 - digits.sum()
        return [round(float(value), 4) for value in digits]

    prior = CategoricalMixture([tidy(row) for row in rows], tidy(weights))  # pyright: ignore
    return Instance(prior, Categorical(tidy(target)), shape)  # pyright: ignore


def descent_success(instance: Instance, truth: Truth) -> float:
    """The chance that steepest descent by single swaps ends in a best prompt, from a start that is
    uniform over all prompts. Exact: of every vector of counts it is known where it leads."""
    place = {tuple(row): index for index, row in enumerate(truth.counts.tolist())}
    symbols = instance.shape.symbols
    leads = np.arange(len(truth.counts))
    for index, row in enumerate(truth.counts.tolist()):
        neighbours = [index]
        for gone, come in itertools.permutations(range(symbols), 2):
            if row[gone]:
                moved = [n - (s == gone) + (s == come) for s, n in enumerate(row)]
                neighbours.append(place[tuple(moved)])
        leads[index] = neighbours[int(np.argmin(truth.losses[neighbours]))]
    for _ in range(instance.shape.prompt_length * symbols):
        leads = leads[leads]
    right = truth.losses[leads] <= truth.best + TIE
    return float(truth.number[right].sum() / truth.number.sum())


def greedy_finds(instance: Instance, truth: Truth) -> bool:
    """Whether a prompt that grows symbol by symbol, always by the best one, is a best prompt."""
    counts = np.zeros(instance.shape.symbols, int)
    for _ in range(instance.shape.prompt_length):
        grown = counts + np.eye(len(counts), dtype=int)
        counts = grown[int(np.argmin(losses_after(instance, grown)))]
    return bool(losses_after(instance, counts[None])[0] <= truth.best + TIE)


def is_hard(instance: Instance, budget: int) -> bool:
    """Whether descents mostly get stuck, greedy growth misses the best prompt, that many random
    prompts are not expected to have one that is nearly the best, and those have more than one
    symbol."""
    truth = truth_of(instance)
    right = truth.losses <= truth.best + NEARLY * truth.typical
    corner = (truth.counts[right].max(axis=1) == instance.shape.prompt_length).any()
    luck = budget * truth.number[right].sum() / truth.number.sum()
    if corner or luck > MOST_LUCK or truth.typical < 0.05:
        return False
    success = descent_success(instance, truth)
    return LEAST_SUCCESS <= success <= MOST_SUCCESS and not greedy_finds(instance, truth)


def is_plateau(instance: Instance) -> bool:
    """Whether random prompts are mostly impossible, and under each rule descents mostly get stuck,
    and neither greedy growth nor one symbol repeated nor the uniform prediction is the best."""
    return all(
        _is_plateau_by_its_rule(instance._replace(impossible_may_win=rule))
        for rule in (False, True)
    )


def _is_plateau_by_its_rule(instance: Instance) -> bool:
    """The same under the rule that the instance has."""
    truth, shape = truth_of(instance), instance.shape
    rows = np.asarray(instance.prior.probabilities)
    excluded = ((truth.counts[:, None] > 0) & (rows == 0)).any(axis=2).all(axis=1)
    impossible = truth.number[excluded].sum() / truth.number.sum()
    right = truth.losses <= truth.best + NEARLY * truth.typical
    corner = (truth.counts[right].max(axis=1) == shape.prompt_length).any()
    below = truth.best < shape.length * np.log(shape.symbols)
    if impossible < MOSTLY or not below or corner or truth.typical < 0.05:
        return False
    success = descent_success(instance, truth)
    return LEAST_SUCCESS <= success <= MOST_SUCCESS and not greedy_finds(instance, truth)


def is_easy(instance: Instance) -> bool:
    """Whether descents and greedy growth find the best prompt."""
    truth = truth_of(instance)
    return descent_success(instance, truth) >= EASY_SUCCESS and greedy_finds(instance, truth)
