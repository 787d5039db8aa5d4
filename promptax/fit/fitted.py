"""What a fit returns, and where it keeps its state."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float

from promptax.axes import NATS, Tree, labelled
from promptax.checks import kind_of
from promptax.fit.cost import Cost
from promptax.fit.probes import Probe
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated
from promptax.specs import Record, check, check_kind, later

if TYPE_CHECKING:
    import xarray as xr  # takes long to import; annotations alone need it here


class Fitted(Record):
    """A trained or tuned predictor, its losses, and what they cost.

    `predictor`: a `Predictor`, or `Repeated` if there are several repetitions.
    `loss` [repetition, step]: training loss in nats per sequence, before that step's update.
    `diverged` [repetition]: the step whose loss or gradient was not finite (that repetition keeps
    its weights from before it), -1 if none was.
    `scores` [repetition, candidate]: for searches, every candidate's loss in nats per sequence.
    `probed`: what probes saw, as it is stored; `probes` shows it.
    `cost`: what was spent up to each step [repetition, step]; None in results from before costs
        were counted.
    `recommended` [repetition, step, prompt]: of searches, the prompt that each would have returned
        after that step; None where nobody recorded it.
    """

    predictor: Predictor | Repeated
    loss: Float[np.ndarray, "repetition step"]
    diverged: Any
    scores: Any = None
    probed: Any = later(None)  # {"step": [look], "numbers": {name: [repetition, look]}}
    cost: Cost | None = later(None)
    recommended: Any = later(None)

    @property
    def prompt(self) -> Array:
        """The prompt that was found, if the predictor has one."""
        return self.predictor.prompt  # pyright: ignore

    @property
    def losses(self) -> "xr.DataArray":
        """Training loss [repetition, step], nats per sequence."""
        import xarray as xr

        steps = np.arange(1, self.loss.shape[1] + 1)
        coords = {"repetition": np.arange(len(self.loss)), "step": steps}
        return xr.DataArray(
            np.asarray(self.loss), coords, ("repetition", "step"), attrs={"unit": NATS}
        )

    @property
    def probes(self) -> "xr.Dataset":
        """What the probes of the fit measured, by name [repetition, step]; `step` counts the
        updates before the look. NaN where a probe was not due; empty without probes."""
        probed = self.probed or {"step": np.zeros(0, int), "numbers": {}}
        coords = {"repetition": np.arange(len(self.loss)), "step": np.asarray(probed["step"])}
        numbers = {
            name: (("repetition", "step"), np.asarray(values))
            for name, values in probed["numbers"].items()
        }
        return labelled(numbers, coords)

    @property
    def costs(self) -> "xr.Dataset":
        """What was spent up to each step [repetition, step]: sequences, tokens_forward,
        tokens_backward, operations, updates (`promptax.fit.Cost`)."""
        check(
            self.cost is not None,
            "Expected a fit that counted its cost; this one was kept before costs were counted. "
            "Fit again.",
        )
        assert self.cost is not None
        return self.cost.labelled()

    @property
    def history(self) -> "xr.Dataset":
        """Loss and cost of every step [repetition, step], for a file of results."""
        loss = self.losses.to_dataset(name="loss")
        return loss if self.cost is None else loss.assign(self.cost.labelled().data_vars)


@runtime_checkable
class Checkpoint(Protocol):
    """Where a fit keeps its state: `promptax.Checkpoint(path)`."""

    def restore(self, identity: str, like: Tree) -> Tree | None:
        """The state that was saved last, as a tree like `like`; None if none was. A state of
        another run than `identity` is refused."""
        ...

    def save(self, identity: str, state: Tree) -> None:
        """Keep the state of the run that is described by `identity`."""
        ...

    def due(self) -> bool:
        """Whether it is time to save."""
        ...


def check_keeping(checkpoint: Any, callbacks: Any, probes: Any) -> None:
    """Complain about a checkpoint that keeps nothing, callbacks that cannot be called, and what is
    no probe, before a fit has something to keep, to tell and to look at."""
    if not isinstance(probes, Sequence) or isinstance(probes, str | bytes):
        raise TypeError(f"Expected probes, a sequence of Probe; got {kind_of(probes)}.")
    for probe in probes:
        check_kind(probe, Probe, "Probe(100, look)")
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise TypeError(
            "Expected a checkpoint, such as promptax.Checkpoint('state.safetensors'), or None; got "
            f"{kind_of(checkpoint)}."
        )
    is_sequence = isinstance(callbacks, Sequence) and not isinstance(callbacks, str | bytes)
    if callbacks is not None and not (is_sequence and all(map(callable, callbacks))):
        raise TypeError(
            "Expected callbacks, a sequence of functions of (done, total, note), or None for a "
            f"bar; got {kind_of(callbacks)}."
        )
