"""How to fit: steps, batches, learning rate, clipping, repetitions."""

import dataclasses
import functools
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from promptax.specs import Spec, check, floats, later

MOST_REPETITIONS = 10_000  # each is made by itself, at a thousandth of a second or more
MOST_STEPS = 2**31 - 1  # what JAX counts with
MOST_LOSSES = 2**26  # one is kept of each update and repetition, and copied now and then


USUAL_LENGTH = 100
"""Steps of a sequence that a network is pretrained on, unless somebody says otherwise."""


class FitSettings(Spec):
    """How long and how fast a network is trained or tuned: updates, batches, learning rate.

    None leaves a choice to what is fitted: pretraining is at learning rate 1e-3, tuning at the
    tuner's own, and how many steps of time are read depends on the sequences (`length`).
    """

    steps: int = 1000
    """Number of updates."""
    batch: int = 256
    """Sequences per update."""
    length: int | None = None
    """Steps of time per sequence (None: those of the longest sequence, where sequences end, up
    to 2,048; where they go on, 100 for pretraining and 50 for tuning)."""
    learning_rate: float | tuple[float, ...] | None = eqx.field(default=None, converter=floats)
    """Adam's learning rate (None: 1e-3 for pretraining, the tuner's own for tuning). Several: one
    for each repetition, in the same compiled program."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls to zero over the steps (optax)."""
    warmup: int = 0
    """Steps over which the learning rate first rises linearly from zero."""
    clip: float | None = 1.0
    """Largest global norm of a gradient (None: no clipping)."""
    clip_over: Literal["tuned", "all"] = "tuned"
    """What the norm covers. "all": also the frozen weights, whenever weights are tuned, as in the
    code of Genewein et al. 2025."""
    repetitions: int = 1
    """Independent repetitions: own initial values, own data."""
    micro_batch: int | None = None
    """Sequences to differentiate at a time (None: measured choice for the platform)."""
    precision: Literal["float32", "tensorfloat32", "bfloat16"] = "float32"
    """What accelerators round the factors of a matrix product to while fitting. CPUs always compute
    in float32, and so does every evaluation."""
    budget: int | None = later(None)
    """Searches over prompts: the tokens that each repetition may read; the last step that fits is
    the last one (None: no limit but the steps). A token through which a derivative is taken counts
    3. With `exact`, evaluations of a prompt instead of tokens."""
    exact: bool = later(False)
    """Searches over prompts: read all sequences of the target, each weighted with its probability,
    in place of drawn ones. A loss is then an expectation, without noise; `batch` does not apply."""
    impossible_may_win: bool = later(True)
    """Searches over prompts: whether a prompt may win to which the predictor gives probability 0.
    Exact predictors predict uniformly behind it. Otherwise it loses infinitely much."""

    def __check_init__(self) -> None:
        for name, least in {"steps": 0, "batch": 1, "repetitions": 1, "warmup": 0}.items():
            value = getattr(self, name)
            check(value >= least, f"Expected {name} of at least {least}; got {value}.")
        check(
            self.repetitions <= MOST_REPETITIONS and self.steps * self.repetitions <= MOST_LOSSES,
            f"Expected at most {MOST_REPETITIONS:,} repetitions, and {MOST_LOSSES:,} updates of "
            f"all repetitions together; got {self.repetitions:,} of {self.steps:,} steps each. Fit "
            "several times, with other keys.",
        )
        for name in ("batch", "length"):
            value = getattr(self, name)
            check(
                value is None or value <= MOST_STEPS,
                f"Expected {name} of at most {MOST_STEPS:,}; got {value}.",
            )
        for name in ("length", "micro_batch", "learning_rate", "clip"):
            value = getattr(self, name)
            least = min(value, default=0) if isinstance(value, tuple) else value
            fine = least is None or least > 0
            check(fine, f"Expected {name} above zero or None; got {value}.")
        check(
            self.warmup <= self.steps,
            f"Expected a warmup of at most the {self.steps} steps; got {self.warmup}, after which "
            "the learning rate would still be rising. Take fewer steps of warmup, or more steps.",
        )
        check(
            self.budget is None or self.budget >= 1,
            f"Expected a budget of at least 1, or None; got {self.budget}.",
        )
        rates = self.learning_rate
        check(
            not isinstance(rates, tuple) or len(rates) == self.repetitions,
            f"Expected one learning rate, or one for each of {self.repetitions} repetitions; got "
            f"{rates}.",
        )
        check(
            self.micro_batch is None or self.batch % self.micro_batch == 0,
            f"Expected a micro_batch that divides the batch {self.batch}; got {self.micro_batch}.",
        )

    @classmethod
    def as_published(cls, **changes: Any) -> "FitSettings":
        """Tuning as the authors of Genewein et al. 2025 did it: one update more than the 1000
        they print, and clipping over all weights whenever weights are tuned."""
        return cls(**{"steps": 1001, "clip_over": "all", **changes})

    def refuse_search(self) -> None:
        """Raise ValueError where something is set that speaks of searches over prompts alone."""
        given = {
            "budget": self.budget is not None,
            "exact": self.exact,
            "impossible_may_win": not self.impossible_may_win,
        }
        for name, is_set in given.items():
            check(
                not is_set,
                f"Expected no {name}, which is for searches over prompts; got "
                f"{getattr(self, name)}, and updates follow gradients. Leave it out, or search: "
                "Annealing, GradientSearch.",
            )

    def filled(self, *, length: int, learning_rate: float) -> "FitSettings":
        """The same settings with its open choices made."""
        names = [field.name for field in dataclasses.fields(self)]
        fields = {name: getattr(self, name) for name in names}
        fields["length"] = self.length or length
        fields["learning_rate"] = self.learning_rate or learning_rate
        return FitSettings(**fields)

    def rates(self) -> Float[np.ndarray, "repetition step"]:
        """The learning rate of every repetition and step."""
        assert self.learning_rate is not None
        falls = np.asarray(_falls(self.schedule, self.steps, self.warmup), np.float32)
        rates = np.broadcast_to(np.asarray(self.learning_rate, np.float32), self.repetitions)
        return rates[:, None] * falls


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _falls(schedule: str, steps: int, warmup: int) -> Float[Array, " step"]:
    """The share of the learning rate at every step."""
    import optax  # takes long to import

    falling = max(1, steps - warmup)
    decay = {
        "constant": optax.constant_schedule(1.0),
        "linear": optax.linear_schedule(1.0, 0.0, falling),
        "cosine": optax.cosine_decay_schedule(1.0, falling),
    }[schedule]
    rise = optax.linear_schedule(0.0, 1.0, max(1, warmup))
    factor = optax.join_schedules([rise, decay], [warmup])
    return jax.vmap(factor)(np.arange(steps))  # pyright: ignore[reportReturnType]
