"""Prompts that gradients tune, beside those of symbols: what is gained where a row may be anything.

Their rows are weights over symbols, of which a prompt of symbols is the special case, so that their
gap may be below 0. They are ranked with nothing. An exact predictor has no embedding and no weights
to tune: tuners of those stay out.
"""

import time
from collections.abc import Callable, Iterator, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from promptax.analysis.anytime import gaps_at_budgets
from promptax.axes import NATS, labelled
from promptax.evaluation.exact.all_sequences import all_sequences
from promptax.experiments.measurement import (
    Announce,
    Keep,
    Measurement,
    Stage,
    keep_nothing,
    silent,
)
from promptax.fit.fitted import Fitted
from promptax.fit.probes import Probe
from promptax.fit.settings import FitSettings
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering import SimplexPrompt, Tuner
from promptax.studies.prompt_arena.contest import (
    FIRST,
    GROUP,
    budgets_up_to,
    final_gaps,
    tokens,
)
from promptax.studies.prompt_arena.instances import Instance, Shape, truth_of
from promptax.tasks import Categorical, CategoricalMixture


class Beside(Measurement):
    """A tuner under a budget of tokens, on one prior and target, judged like a search."""

    tuner: Tuner = SimplexPrompt()
    """The tuner, by gradients."""
    learning_rate: float = 0.02
    """Adam's learning rate."""
    prompt_length: int = 7
    """Symbols of the prompts that it stands beside."""
    prior: CategoricalMixture = CategoricalMixture()
    """Whose exact predictor is steered."""
    target: Categorical = Categorical()
    """What it is steered to."""
    length: int = 8
    """Steps of the target's sequences."""
    budget: int = 2**18
    """Tokens; one with a derivative is three."""
    batch: int = 32
    """Sequences of a batch."""
    repetitions: int = 5
    """Number of runs."""

    def __check_init__(self) -> None:
        expect_sizes(
            self.tokens_of_an_update,
            self.budget,
            {"length": self.length, "repetitions": self.repetitions, "batch": self.batch},
        )

    @classmethod
    def examples(cls) -> "tuple[Beside, ...]":
        tuner = SimplexPrompt(length=2)
        return (cls(tuner=tuner, prompt_length=2, length=3, budget=1000, batch=4, repetitions=2),)

    @property
    def tokens_of_an_update(self) -> int:
        """Tokens of an update of one prompt; tuners with several read more."""
        return tokens_of_a_derivative(self.prompt_length, self.batch, self.length)

    @property
    def settings(self) -> FitSettings:
        """How it is tuned: as many updates as the budget has room for, if it tunes one prompt."""
        return FitSettings(
            steps=self.budget // self.tokens_of_an_update,
            batch=self.batch,
            length=self.length,
            repetitions=self.repetitions,
            learning_rate=self.learning_rate,
        )

    def verify(self) -> None:
        self.tuner.verify(self.prior.bayes(), self.target, self.settings)

    def work(self) -> float:
        return 3.0 * self.budget * self.repetitions

    def stages(
        self, seed: int, announce: Announce = silent, keep: Keep = keep_nothing
    ) -> Iterator[Stage]:
        """The gaps [repetition, budget] at powers of two."""
        began, every = time.monotonic(), max(1, FIRST // self.tokens_of_an_update)
        fitted = self.tuner.tune(
            jax.random.key(seed),
            self.prior.bayes(),
            self.target,
            self.settings,
            probes=(Probe(every, self.look()),),
            checkpoint=keep("tuning"),
            callbacks=announce("tuning"),
        )
        assert fitted.cost is not None
        shape = Shape(self.target.symbols, self.prompt_length, self.length)
        truth = truth_of(Instance(self.prior, self.target, shape))
        budgets, spent = budgets_up_to(self.budget), tokens(fitted.cost)
        gaps = find_gaps_of_looks(fitted, truth.best, budgets)
        results = labelled(
            {
                "gap": (("repetition", "budget"), gaps, {"unit": NATS}),
                "spent": ("repetition", spent[:, -1], {"unit": "tokens"}),
                "typical": ((), truth.typical, {"unit": NATS}),
                "best": ((), truth.best, {"unit": NATS}),
                "elapsed": ((), time.monotonic() - began, {"unit": "seconds"}),
            },
            {"repetition": np.arange(len(gaps)), "budget": budgets},
        )
        yield GROUP, results

    def look(self) -> Callable[[Predictor], Mapping[str, float]]:
        """What says how much is lost behind a prompt, over all sequences."""
        read, probabilities = all_sequences(self.target, self.prior.bayes(), self.length)
        episodes = Episode(jnp.asarray(read))
        chances = jnp.asarray(probabilities, jnp.float32)

        def judge(steered: Predictor) -> Mapping[str, float]:
            return {"loss": float(expected_loss(steered, episodes, chances))}

        return judge

    def numbers(self, results: xr.DataTree) -> list[dict[str, object]]:
        """The final gap of every run."""
        return final_gaps(results)


def tokens_of_a_derivative(rows: int, batch: int, length: int) -> int:
    """Tokens of an update: a batch of sequences behind so many rows of prompts, three for each that
    a derivative goes through."""
    return 3 * (rows + batch * length)


def expect_sizes(tokens_of_an_update: int, budget: int, sizes: Mapping[str, int]) -> None:
    """Raise ValueError where a size is below 1, or the budget has no room for an update."""
    for name, value in sizes.items():
        check(value >= 1, f"Expected {name} of at least 1; got {value}.")
    check(
        budget >= tokens_of_an_update,
        f"Expected a budget of at least {tokens_of_an_update:,} tokens, which an update reads; got "
        f"{budget:,}.",
    )


def find_gaps_of_looks(
    fitted: Fitted, best: float, budgets: Float[np.ndarray, " budget"]
) -> Float[np.ndarray, "repetition budget"]:
    """The gap of what a probe saw last when so much had been spent, in nats; the first look is
    before the first update. Before any look it is infinite."""
    assert fitted.cost is not None and fitted.probes is not None
    loss, spent = fitted.probes["loss"], tokens(fitted.cost)
    before = np.concatenate([np.zeros((len(spent), 1)), spent], axis=1)
    paid = before[:, np.asarray(loss["step"], int)]
    return gaps_at_budgets(np.asarray(loss) - best, paid, budgets, np.full(len(spent), np.inf))


@eqx.filter_jit
def expected_loss(
    steered: Predictor, episodes: Episode, chances: Float[Array, " sequence"]
) -> Float[Array, ""]:
    """The loss over all sequences with their probabilities, nats per sequence."""
    _, prediction = steered.advance_batch(steered.start(), episodes.inputs)
    losses = jnp.sum(steered.outcome.log_loss(prediction, episodes), axis=-1)
    return jnp.sum(jnp.where(chances > 0, chances * losses, 0.0))  # not 0 · ∞
