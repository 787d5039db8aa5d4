"""What a prompt can make of a belief: its variance, its peaks, its entropy, its candidates.

Appendix E of Genewein et al. 2025, claim by claim. k of n symbols read are symbol 0, whose
probability is θ. Each function takes what its claim is about, so that another prior can be judged
by the same checks. Nothing is sampled, except for the random log-concave priors.
"""

import itertools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp, rel_entr, xlogy

from promptax.evaluation.exact import enumeration
from promptax.evaluation.exact.expectations import Expectations
from promptax.studies.judging import Check, Claim
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical, Task

ROUNDING = 1e-12
LONGEST = 200  # symbols in a prompt, where a claim says "for every n"
UNIFORM = DirichletCategorical()
GRID = (np.arange(3000) + 0.5) / 3000
"""Values of θ [node]: middles of cells, none of which crosses a third."""


def exact(
    what: str,
    number: float | int | np.number,
    least: float = -math.inf,
    most: float = math.inf,
    printed: float | None = None,
) -> Check:
    """A check of a number that was computed, not measured."""
    return Check(what, (float(number),), least, most, exact=True, printed=printed)


def equals(what: str, number: float | int | np.number, expected: float, tolerance: float) -> Check:
    """A check that a computed number is the expected one."""
    return exact(what, number, expected - tolerance, expected + tolerance, printed=expected)


# --- variance -------------------------------------------------------------------------------


def posterior_variance(
    prior: Task, counts: Int[np.ndarray, "row symbol"]
) -> Float[np.ndarray, " row"]:
    """Variance of θ after each row of counts: P(0, 0) - P(0)^2, from the predictor alone."""
    first = enumeration.log_probs_after(prior.bayes(), counts)[:, 0]
    second = enumeration.log_probs_after(prior.bayes(), counts + np.array([1, 0]))[:, 0]
    return np.exp(first + second) - np.exp(2 * first)


def variance_vanishes(prior: Task = UNIFORM) -> Claim:
    """T02, with the bound that holds."""
    counts = np.concatenate([enumeration.compositions(n, 2) for n in range(LONGEST + 1)])
    scaled = posterior_variance(prior, counts) * 4
    worst = float(np.max(scaled * (counts.sum(axis=1) + 3)))
    return Claim(
        "T02",
        "Whatever n symbols say, they leave a belief that began uniform a variance of at most "
        "1/(4(n + 3)): every long prompt collapses it.",
        "Appendix E, the bound corrected",
        (exact(f"largest variance times 4(n + 3), n up to {LONGEST}", worst, most=1 + 1e-9),),
    )


def variance_as_printed(prior: Task = UNIFORM) -> Claim:
    """T02, with the chain of bounds that is printed."""
    layers = [enumeration.compositions(n, 2) for n in range(1, LONGEST + 1)]
    counts = np.concatenate(layers)
    k, n = counts[:, 0], counts.sum(axis=1)
    beyond = posterior_variance(prior, counts) - k * (n - k) / n**3

    def at(zeros: int) -> float:
        return float(beyond[(n == 10) & (k == zeros)][0])

    return Claim(
        "T02 printed",
        "The variance of a belief that began uniform is at most k(n - k)/n³, and that is at most "
        "1/(4n). The second bound is right; the first is not, where less than a sixth or so of the "
        "symbols is of one kind. What is concluded needs neither: see T02.",
        "Appendix E, as printed",
        (
            exact("variance minus k(n - k)/n³ at k = 0, n = 10", at(0), most=0.0),
            exact("variance minus k(n - k)/n³ at k = 1, n = 10", at(1), most=0.0),
            exact(f"pairs k, n above it, n up to {LONGEST}", np.sum(beyond > ROUNDING), most=0.0),
            exact("largest k(n - k)/n³ times 4n", np.max(4 * k * (n - k) / n**2), most=1.0),
        ),
    )


# --- peaks ----------------------------------------------------------------------------------


def peaks(log_density: Float[np.ndarray, " node"]) -> int:
    """How many separate peaks a density has; neighbours of equal height are one."""
    heights = np.concatenate([[-np.inf], log_density, [-np.inf]])
    heights = heights[np.append(True, heights[1:] != heights[:-1])]
    rises = heights[1:] > heights[:-1]
    return int(np.sum(rises[:-1] & ~rises[1:]))


def log_likelihood(zeros: int, ones: int) -> Float[np.ndarray, " node"]:
    """log P(k zeros and n - k ones | θ) on the grid, nats, without a constant."""
    return zeros * np.log(GRID) + ones * np.log1p(-GRID)


def log_concave(generator: np.random.Generator) -> Float[np.ndarray, " node"]:
    """A random log-concave density: the lowest of up to five straight lines, without a constant."""
    lines = generator.integers(1, 6)
    slopes, heights = generator.normal(scale=(20.0, 3.0), size=(lines, 2)).T
    return np.min(slopes[:, None] * GRID + heights[:, None], axis=0)


def one_peak(
    prior: Callable[[np.random.Generator], np.ndarray] = log_concave, draws: int = 1000
) -> Claim:
    """T03; `prior` draws one of many priors from a random generator."""
    generator = np.random.default_rng(0)
    counterexamples = []
    for _ in range(draws):
        n = int(generator.integers(1, LONGEST + 1))
        k = int(generator.integers(0, n + 1))
        counterexamples.append(peaks(prior(generator) + log_likelihood(k, n - k)))
    return Claim(
        "T03",
        "A prior whose logarithm is concave keeps one peak behind every prompt: it never becomes "
        "the belief in one of two coins.",
        "Appendix E",
        (
            exact(
                f"most peaks of {draws} posteriors, drawn at random", max(counterexamples), 1.0, 1.0
            ),
        ),
    )


def mirrored_coins_stay(
    coins: CategoricalMixture = CategoricalMixture(((1 / 3, 2 / 3), (2 / 3, 1 / 3))),
) -> Claim:
    """T04: two coins, and prompts with as many symbols of either kind."""
    pairs = np.arange(LONGEST // 2 + 1)[:, None].repeat(2, axis=1)
    moved = np.abs(posterior(coins, pairs) - coins.weights)
    predicted = np.exp(enumeration.log_probs_after(coins.bayes(), pairs))
    prompts = np.array([[0, 0], [3, 3]])
    regrets = Expectations(coins, 50).regrets_after_counts(coins.bayes(), prompts)
    return Claim(
        "T04",
        "A belief in two coins that mirror each other is what it was after as many symbols of "
        "either kind: from this prior a prompt does reach a mixture of two.",
        "Appendix E, first exception",
        (
            exact("largest change of the posterior, k = n/2", moved.max(), most=ROUNDING),
            exact(
                "largest change of the predictor, k = n/2",
                np.abs(predicted - predicted[0]).max(),
                most=ROUNDING,
            ),
            exact(
                "regret after 3 and 3 symbols minus before, two coins, 50 steps",
                abs(regrets[1] - regrets[0]),
                most=1e-9,
            ),
        ),
    )


def gap_stays(gap: tuple[float, float] = (1 / 3, 2 / 3)) -> Claim:
    """T05: uniform outside of a gap, and prompts with as many symbols of either kind."""
    theta, (low, high) = GRID, gap
    kept = (theta <= low) | (theta >= high)
    coins = np.stack([theta, 1 - theta], axis=1)[kept]
    prior = CategoricalMixture(coins, np.full(len(coins), 1 / len(coins)))
    pairs = np.arange(1, LONGEST // 2 + 1)[:, None].repeat(2, axis=1)
    belief = np.zeros((len(pairs), len(GRID)))
    belief[:, kept] = posterior(prior, pairs)
    peak_counts = [peaks(row) for row in belief]
    lightest = np.minimum(
        belief[:, theta < 1 / 2].sum(axis=1), belief[:, theta > 1 / 2].sum(axis=1)
    )
    return Claim(
        "T05",
        "A uniform prior that leaves out the middle third keeps a peak on either side, of equal "
        "weight, after as many symbols of either kind.",
        "Appendix E, second exception",
        (
            exact(f"fewest peaks, n = 2 to {LONGEST}", min(peak_counts), 2.0, 2.0),
            exact(f"most peaks, n = 2 to {LONGEST}", max(peak_counts), 2.0, 2.0),
            exact("least mass on one side of the gap", lightest.min(), least=0.5 - ROUNDING),
        ),
    )


# --- entropy --------------------------------------------------------------------------------


def posterior(
    task: CategoricalMixture, counts: Int[np.ndarray, "row symbol"]
) -> Float[np.ndarray, "row component"]:
    """Posterior of each component after each row of counts, by the exact predictor's joint."""
    with enumeration.double_precision():
        rows = jnp.asarray(counts, float)
        joint = np.asarray(jax.jit(jax.vmap(task.bayes().log_joint))(rows))
    return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))


def entropy_of_belief(
    task: CategoricalMixture, counts: Int[np.ndarray, "row symbol"]
) -> Float[np.ndarray, " row"]:
    """Entropy of the posterior over components after each row of counts, nats."""
    belief = posterior(task, counts)
    return -xlogy(belief, belief).sum(axis=1)


def average_entropy(task: CategoricalMixture, lengths: int) -> Float[np.ndarray, " length"]:
    """Expected entropy of the belief after 0, 1, ... symbols, over all sequences, nats."""
    table = enumeration.count_table(task.bayes(), lengths)
    chance = table.joint.sum(axis=1)
    possible = chance > 0
    entropies = np.zeros(len(chance))
    entropies[possible] = entropy_of_belief(task, table.counts[possible])
    return np.bincount(table.length, weights=chance * entropies)


def entropy_falls_on_average(doubt: float = 0.05) -> Claim:
    """T06: a fair coin, and with probability `doubt` one that always shows symbol 0."""
    suspect = CategoricalMixture(((1.0, 0.0), (0.5, 0.5)), (doubt, 1 - doubt))
    others = (CategoricalMixture(), CategoricalMixture(((0.3, 0.7), (0.4, 0.6)), (0.9, 0.1)))
    rises = [np.diff(average_entropy(task, 20)).max() for task in (suspect, *others)]
    streaks = np.stack([np.arange(7), np.zeros(7, int)], axis=1)
    golden = (0.199, 0.314, 0.462, 0.608, 0.689, 0.660, 0.538)
    return Claim(
        "T06",
        "A prompt takes entropy from the belief on average, but one that is unlike the prior can "
        "add some: a streak of one symbol makes a fair coin suspect.",
        "Appendix E",
        (
            exact("largest rise from n to n + 1 symbols, on average", max(rises), most=ROUNDING),
            *(
                equals(f"entropy after {n} symbols 0, nats", value, expected, 1e-3)
                for n, (value, expected) in enumerate(
                    zip(entropy_of_belief(suspect, streaks), golden, strict=True)
                )
            ),
        ),
    )


# --- a universal mixture --------------------------------------------------------------------

Code = Mapping[tuple[int, ...], Task]
CODE: Code = {
    (0,): UNIFORM,
    (1, 0): DirichletCategorical((0.5, 0.5)),
    (1, 1, 0): Categorical(),
    (1, 1, 1): CategoricalMixture(),
}
"""Candidates, each with its word; no word is the beginning of another."""


def sequence_probabilities(
    task: Task, tokens: Int[np.ndarray, "sequence time"]
) -> Float[np.ndarray, " sequence"]:
    """ζ(x): the probability of each sequence, step by step, from the task's exact predictor."""
    one_hot = np.eye(task.symbols, dtype=int)[tokens]
    before = (np.cumsum(one_hot, axis=1) - one_hot).reshape(-1, task.symbols)
    rows = enumeration.log_probs_after(task.bayes(), before).reshape(one_hot.shape)
    return np.exp(np.sum(rows * one_hot, axis=(1, 2)))


def universal(
    code: Code, tokens: Int[np.ndarray, "sequence time"]
) -> Float[np.ndarray, " sequence"]:
    """ξ(x) = Σ_w 2^-|w| P(x | first the word w, then its candidate)."""
    total = np.zeros(len(tokens))
    for word, task in code.items():
        spelled = tokens[:, : len(word)]
        fits = np.all(spelled == np.array(word)[: spelled.shape[1]], axis=1)
        remainder = sequence_probabilities(task, tokens[:, len(word) :])
        total += 0.5 ** len(word) * fits * remainder
    return total


def every_candidate_is_promptable(code: Code = CODE, length: int = 6) -> Claim:
    """T07: a finite version of the countable mixture."""
    sequences = np.array(list(itertools.product(range(2), repeat=length)))
    apart, unprompted = [], []
    unspelled = universal(code, sequences)
    for word, task in code.items():
        target_probabilities = sequence_probabilities(task, sequences)
        spelled = np.tile(word, (len(sequences), 1))
        joint = universal(code, np.concatenate([spelled, sequences], axis=1))
        after = joint / universal(code, np.array([word]))
        apart.append(np.abs(after - target_probabilities).max())
        unprompted.append(rel_entr(target_probabilities, unspelled).sum())
    return Claim(
        "T07",
        "A mixture of many priors, each behind a word of its own, becomes any of them after its "
        "word: every candidate can be prompted for, the mixture of two coins too.",
        "Appendix E, for finitely many candidates",
        (
            exact(f"largest |ξ(x | word) - ζ(x)|, {length} symbols", max(apart), most=ROUNDING),
            exact(
                "least divergence from a candidate to ξ without its word, nats",
                min(unprompted),
                least=0.1,
            ),
            equals("probability of all sequences under ξ", unspelled.sum(), 1.0, ROUNDING),
        ),
    )
