"""What happens inside a predictor while it reads, and where a prompt takes it.

A hard prompt can only bring a network to states that some data reach; soft prompts go elsewhere
(Genewein et al. 2025, Figures 2 and A7). To see it: fit principal components to the states of the
untuned network on its pretraining sequences, and draw every predictor's states in that plane.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy
import xarray as xr
from jaxtyping import Array, Bool, Float, Int

from promptax.axes import labelled
from promptax.checks import as_numbers
from promptax.doors import door
from promptax.evaluation.losses import as_rows
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import Prompted
from promptax.specs import check

PromptInternals = dict[str, Float[Array, "prompt _state"]]
Internals = dict[str, Float[Array, "sequence time _state"]]
Observed = Int[np.ndarray, "sequence time"] | Float[np.ndarray, "sequence time input"]


@door
def internal_states(predictor: Predictor, tokens: Any) -> xr.Dataset:
    """Every internal state by name [sequence, time, state] while reading tokens [sequence, time],
    or rows [sequence, time, input] where the predictor's outcome has no alphabet.

    `time` counts the tokens read, 1..N.

    A prompted predictor also has `prompt.NAME` [prompt, state], the states while it reads its
    prompt; `sequence` and `time` come after that. If names have states of different widths, their
    dimension is `state_WIDTH`.

    Raises:
        TypeError: not one predictor (repetitions: pick one).
        ValueError: tokens of another shape or alphabet, or a predictor without internal states.
    """
    tokens = _checked(predictor, tokens)
    widths_of_states(predictor, tokens)
    prompt, data = _read(as_rows(predictor), jnp.asarray(tokens))
    widths = {values.shape[-1] for values in data.values()}

    def axis(values: Array) -> str:
        return "state" if len(widths) == 1 else f"state_{values.shape[-1]}"

    variables: dict[str, Any] = {
        name: (("sequence", "time", axis(values)), np.asarray(values))
        for name, values in data.items()
    }
    if isinstance(predictor, Prompted):
        for name, values in prompt.items():
            variables[f"prompt.{name}"] = ("prompt", axis(values)), np.asarray(values)
    return labelled(variables, coords={"time": np.arange(1, tokens.shape[1] + 1)})


def widths_of_states(predictor: Predictor, tokens: Any) -> dict[str, int]:
    """The width of every internal state that it has while it reads tokens, by name. Nothing is
    read.

    Raises:
        TypeError, ValueError: as `internal_states`.
    """
    tokens = jnp.asarray(_checked(predictor, tokens))
    _, data = eqx.filter_eval_shape(_read, predictor, tokens)
    check(
        len(data) > 0,
        f"Expected a predictor with internal states; {type(predictor).__name__} has none. A "
        "network reports them: architecture.build, promptax.pretrain.",
    )
    return {name: values.shape[-1] for name, values in data.items()}


@eqx.filter_jit
def _read(predictor: Predictor, tokens: Array) -> tuple[PromptInternals, Internals]:
    """Internals [prompt, state] of the prompt, read once, and [sequence, time, state] after it."""
    prompts = _prompts(predictor)
    _, prediction = predictor.advance_batch(predictor.start(), tokens)
    return prompts, prediction.internals


def _prompts(predictor: Predictor) -> PromptInternals:
    """Internals [prompt, state] of all that is read before the data; prompts may be nested."""
    if not isinstance(predictor, Prompted):
        return {}
    prediction = predictor.reading()
    before = _prompts(predictor.predictor)
    return {
        name: jnp.concatenate([before[name], rows]) if name in before else rows
        for name, rows in prediction.internals.items()
    }


def _checked(predictor: Any, tokens: Any) -> Observed:
    if not isinstance(predictor, Predictor):
        raise TypeError(
            f"Expected one predictor; got {type(predictor).__name__}. Of repetitions pick one: "
            "predictor[0]."
        )
    tokens, outcome = np.asarray(tokens), predictor.outcome
    if outcome.alphabet is None:
        width = outcome.input_width()
        check(
            tokens.ndim == 3 and tokens.size > 0 and tokens.shape[-1] == width,
            f"Expected rows [sequence, time, {width}] of {outcome.words()}; got shape "
            f"{tokens.shape}. One sequence alone: rows[None].",
        )
        return tokens.astype(np.float32)
    check(
        tokens.ndim == 2 and tokens.size > 0 and np.issubdtype(tokens.dtype, np.integer),
        f"Expected tokens [sequence, time] (int), at least one; got shape {tokens.shape}, "
        f"{tokens.dtype}. One sequence alone: tokens[None].",
    )
    check(
        tokens.min() >= 0 and tokens.max() < predictor.symbols,
        f"Expected tokens from 0 to {predictor.symbols - 1}; got {tokens.min()} to {tokens.max()}.",
    )
    return tokens.astype(np.int32)


# --- principal components -------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class PrincipalComponents:
    """The directions of largest variance of a cloud of states.

    `mean` [state]; `directions` [component, state], of length 1; `scale` [component]: the standard
    deviation along each; `explained_variance` [component]: its share of all variance, 0 to 1.
    """

    mean: Float[np.ndarray, " state"]
    directions: Float[np.ndarray, "component state"]
    scale: Float[np.ndarray, " component"]
    explained_variance: Float[np.ndarray, " component"]

    def project(
        self, points: Float[Any, "*points state"]
    ) -> Float[np.ndarray, "*points component"]:
        """Points as coordinates along the components, in standard deviations of the cloud."""
        return (np.asarray(points, float) - self.mean) @ self.directions.T / self.scale


@door
def principal_components(
    states: Float[Any, "sample state"], components: int = 2
) -> PrincipalComponents:
    """Principal components by singular value decomposition, in float64.

    The sign of a direction is such that its largest entry is positive. A direction without any
    variance has scale 1.

    Raises:
        ValueError: too few states or coordinates, or states that are not finite.
    """
    states = np.asarray(states, float)
    check(
        states.ndim == 2 and min(states.shape) >= components >= 1,
        f"Expected states [sample, state] with at least {components} of each, and at least 1 "
        f"component; got shape {states.shape}.",
    )
    check(
        bool(np.isfinite(states).all()),
        "Expected finite states; some are not. The predictor may have diverged in training.",
    )
    mean = states.mean(axis=0)
    _, sizes, rows = np.linalg.svd(states - mean, full_matrices=False)
    variances = sizes**2 / len(states)
    directions = rows[:components]
    largest = np.abs(directions).argmax(axis=1)[:, None]
    directions = directions * np.sign(np.take_along_axis(directions, largest, axis=1))
    scale = np.sqrt(variances[:components])
    flat = scale <= 1e-12 * max(1.0, float(np.abs(mean).max()))
    return PrincipalComponents(
        mean=mean,
        directions=directions,
        scale=np.where(flat, 1.0, scale),
        explained_variance=variances[:components] / max(variances.sum(), 1e-300),
    )


# --- the map --------------------------------------------------------------------------------


@door
def state_map(
    predictors: Mapping[str, Predictor],
    reference: Predictor,
    background_tokens: Int[Any, "sequence time"],
    target_tokens: Int[Any, "target_sequence target_time"],
    name: str | None = None,
    *,
    background_steps: Any = None,
    target_steps: Any = None,
) -> xr.Dataset:
    """Two components of one internal state, for the figure of internal states.

    Args:
        predictors: what to compare, by name.
        reference: the untuned network; its states on `background_tokens` fix the components.
        background_tokens: sequences of the pretraining task.
        target_tokens: sequences of the target, read by every predictor after its prompt.
        name: which internal state; by default the first by name that every predictor has, which is
            the cell of an LSTM's first layer, the attention output of a Transformer's first block.
        background_steps: how many steps of each background sequence count [sequence], where
            sequences end before their array does; None: all.
        target_steps: the same of the target's sequences.

    Returns:
        `trajectory` [predictor, sequence, time, component], NaN past a sequence's end;
        `prompt_trajectory` [predictor, prompt, component], NaN past a prompt's end; `background`
        [sample, component]; all in standard deviations of the background. `distance` [predictor,
        time], the median over the sequences that go on until then (NaN: none does), and
        `prompt_distance` [predictor, prompt]: from the nearest state of the background, in full
        width, as multiples of what is usual within it; `ordinary_distance`: what 95 % of its own
        states stay below. `tracks` [component, quantity]: rank correlation (Spearman) of the
        background's components with the time, with the share of symbol 0 so far, and with
        Laplace's estimate of its probability. Attributes: `what`, `explained_variance`, `target`
        (empty).

    Raises:
        ValueError: no predictors, no internal state in common, states of another width, or steps
            that are not one number for each sequence, from 1 to its length.
    """
    check(len(predictors) > 0, "Expected at least one predictor to map; got none.")
    widths = {"the reference": widths_of_states(reference, background_tokens)}
    for word, predictor in predictors.items():
        widths[word] = widths_of_states(predictor, target_tokens)
    name = _common(name, widths)
    counted = _counted("background_steps", background_tokens, background_steps)
    read = _counted("target_steps", target_tokens, target_steps)
    behind = internal_states(reference, background_tokens)
    seen = {
        word: internal_states(predictor, target_tokens) for word, predictor in predictors.items()
    }
    cloud = behind[name].values[counted]
    plane = principal_components(cloud)
    prompts = [
        plane.project(states[f"prompt.{name}"].values)
        if f"prompt.{name}" in states
        else np.empty((0, 2))
        for states in seen.values()
    ]
    longest = max(len(prompt) for prompt in prompts)
    padded = [
        np.pad(prompt, ((0, longest - len(prompt)), (0, 0)), constant_values=np.nan)
        for prompt in prompts
    ]
    paths = np.stack([plane.project(states[name].values) for states in seen.values()])
    usual, ordinary = _ordinary(behind[name].values, counted)
    distances = np.stack([_nearest(states[name].values, cloud) / usual for states in seen.values()])
    distances = np.ma.array(distances, mask=np.broadcast_to(~read, distances.shape))
    from_prompt = np.full((len(seen), longest), np.nan)
    for index, states in enumerate(seen.values()):
        if f"prompt.{name}" in states:
            rows = _nearest(states[f"prompt.{name}"].values, cloud)
            from_prompt[index, : len(rows)] = rows / usual
    return labelled(
        {
            "distance": (("predictor", "time"), np.ma.median(distances, axis=1).filled(np.nan)),
            "prompt_distance": (("predictor", "prompt"), from_prompt),
            "ordinary_distance": ((), ordinary / usual),
            "tracks": (
                ("component", "quantity"),
                _tracked(plane.project(cloud), np.asarray(background_tokens), counted),
            ),
            "trajectory": (
                ("predictor", "sequence", "time", "component"),
                np.where(read[..., None], paths, np.nan),
            ),
            "prompt_trajectory": (("predictor", "prompt", "component"), np.stack(padded)),
            "background": (("sample", "component"), plane.project(cloud)),
        },
        coords={
            "predictor": list(seen),
            "time": next(iter(seen.values()))["time"].values,
            "quantity": list(QUANTITIES),
        },
        attrs={
            "explained_variance": [float(share) for share in plane.explained_variance],
            "what": _described(name),
            "target": "",
        },
    )


def _counted(argument: str, tokens: Any, steps: Any) -> Bool[np.ndarray, "sequence time"]:
    """Which steps of the sequences count."""
    count, length = np.shape(tokens)[:2]
    numbers = np.full(count, length) if steps is None else as_numbers(argument, steps)
    check(
        numbers.shape == (count,)
        and bool(((numbers >= 1) & (numbers <= length) & (numbers == np.round(numbers))).all()),
        f"Expected {argument}: for each of the {count} sequences a whole number from 1 to "
        f"{length}; got {steps!r:.60}.",
    )
    return np.arange(length) < numbers[:, None]


QUANTITIES = ("time", "share of symbol 0", "estimate of symbol 0")


def _tracked(
    points: Float[np.ndarray, "sample component"],
    tokens: Int[np.ndarray, "sequence time"],
    counted: Bool[np.ndarray, "sequence time"],
) -> Float[np.ndarray, "component quantity"]:
    """Spearman's correlation of each component with each of the quantities."""
    time = np.broadcast_to(np.arange(1, tokens.shape[1] + 1), tokens.shape)
    zeros = np.cumsum(tokens == 0, axis=1)
    quantities = (time, zeros / time, (zeros + 1) / (time + 2))
    correlations = [[scipy.stats.spearmanr(p, q[counted])[0] for q in quantities] for p in points.T]
    return np.array(correlations, float)


def _nearest(
    points: Float[np.ndarray, "*points state"], cloud: Float[np.ndarray, "sample state"]
) -> Float[np.ndarray, "*points"]:
    """The Euclidean distance of each point from the nearest of the cloud."""
    flat, cloud = points.reshape(-1, points.shape[-1]).astype(float), cloud.astype(float)
    lengths = np.sum(cloud**2, axis=1)
    distances = np.empty(len(flat))
    for first in range(0, len(flat), 1000):
        rows = flat[first : first + 1000]
        squares = np.sum(rows**2, axis=1)[:, None] + lengths - 2 * rows @ cloud.T
        distances[first : first + 1000] = np.sqrt(np.maximum(squares.min(axis=1), 0.0))
    return distances.reshape(points.shape[:-1])


def _ordinary(
    states: Float[np.ndarray, "sequence time state"], counted: Bool[np.ndarray, "sequence time"]
) -> tuple[float, float]:
    """How far states are from the nearest one of other sequences: median and 95 % quantile.

    A tenth of the sequences, at least one, is compared with the others.
    """
    count = max(1, len(states) // 10)
    others = slice(count, None) if len(states) > count else slice(None)
    distances = _nearest(states[:count][counted[:count]], states[others][counted[others]])
    usual = float(np.median(distances))
    return usual if usual > 0 else 1.0, float(np.quantile(distances, 0.95))


def _common(name: str | None, widths: Mapping[str, Mapping[str, int]]) -> str:
    """The internal state to map, which all have with the width of the reference.

    `widths`: of whom, and of which internal state, how wide it is.
    """
    shared = sorted(set.intersection(*map(set, widths.values())))
    listed = "; ".join(f"{word}: {', '.join(sorted(names))}" for word, names in widths.items())
    check(
        len(shared) > 0 if name is None else name in shared,
        f"Expected {'an internal state' if name is None else repr(name)} that every predictor has; "
        f"got {listed}. Compare networks of one architecture, or give another name=.",
    )
    name = name or shared[0]
    of_name = {word: states[name] for word, states in widths.items()}
    check(
        len(set(of_name.values())) == 1,
        f"Expected states {name!r} of one width; got {of_name}. Compare networks of one size.",
    )
    return name


def _described(name: str) -> str:
    """The name in words: "attention output of block 0" for "block0.attention"."""
    place, _, part = name.rpartition(".")
    part = {"attention": "attention output", "cell": "cell state", "hidden": "hidden state"}.get(
        part, part
    )
    kind, number = place.rstrip("0123456789"), place[len(place.rstrip("0123456789")) :]
    return f"{part} of {kind} {number}".strip() if place else part
