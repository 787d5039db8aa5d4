"""Made-up results and internal states, close to what the main paper prints, for tests to draw."""

import math
from collections.abc import Callable

import numpy as np
import xarray as xr

# After 50 | 200 tokens, in nats: close to what the main paper prints.
VALUES = {
    "single coin": {
        "prompts": {
            "hard prompt": (0.59, 1.36),
            "real prompt": (0.27, 1.0),
            "soft prompt": (0.01, 0.23),
        },
        "weights": {"full weights": (0.0, 0.02), "unembedding": (0.05, 0.26)},
        "baselines": {
            "untuned": (1.55, 2.39),
            "target bayes": (0.0, 0.0),
            "prior bayes": (1.47, 2.14),
        },
    },
    "two coins": {
        "prompts": {
            "hard prompt": (1.83, 2.74),
            "real prompt": (1.5, 2.43),
            "soft prompt": (1.2, 2.27),
        },
        "weights": {"full weights": (0.71, 0.76), "unembedding": (1.07, 14.48)},
        "baselines": {
            "untuned": (1.48, 2.49),
            "target bayes": (0.69, 0.69),
            "prior bayes": (1.47, 2.15),
        },
    },
}
Rows = dict[str, dict[str, tuple[float, float]]]


def some_results(
    target: str = "single coin",
    rows: Rows | None = None,
    repetitions: int = 4,
    error: float = 0.01,
    jitter: float = 0.002,
) -> xr.Dataset:
    """Results with these regrets after 50 and 200 tokens; straight lines between."""
    rows = VALUES[target] if rows is None else rows
    flat = [(name, group, ends) for group, some in rows.items() for name, ends in some.items()]
    time, step = np.arange(1, 201), np.arange(1, 301)
    generator = np.random.default_rng(7)
    lines = np.stack([np.interp(time, [0, 50, 200], [0, *ends]) for _, _, ends in flat])
    shifts = (
        jitter * np.linspace(-1, 1, repetitions)[:, None] if repetitions > 1 else np.zeros((1, 1))
    )
    regret = lines[:, None] + shifts
    tuned = np.array([group != "baselines" for _, group, _ in flat])
    final = 25.0 + np.array([ends[0] for _, _, ends in flat])
    loss = (
        final[:, None, None]
        + 20 * np.exp(-step / 20)
        + generator.normal(0, 0.3, (len(flat), repetitions, 300))
    )
    loss[~tuned] = np.nan
    along = ("predictor", "repetition", "time")
    return xr.Dataset(
        {
            "regret": (along, regret),
            "standard_error": (along, np.full(regret.shape, error)),
            "plain": (along, regret),
            "plain_standard_error": (along, np.full(regret.shape, error)),
            "tuning_loss": (("predictor", "repetition", "step"), loss),
            "diverged": (("predictor", "repetition"), np.full(regret.shape[:2], -1)),
            "target_entropy": 25.0,
        },
        coords={
            "predictor": [name for name, _, _ in flat],
            "repetition": np.arange(repetitions),
            "time": time,
            "step": step,
            "group": ("predictor", [group for _, group, _ in flat]),
        },
        attrs={
            "target": target,
            "tuning_length": 50,
            "training_length": 100,
            "network": "Transformer",
            "reference": "oracle",
            "pretraining": "random coins",
        },
    )


def some_states(target: str = "single coin", reach: dict[str, float] | None = None) -> xr.Dataset:
    """Internal states whose prompts lie so many units away from a unit cloud; None: no prompt."""
    reach = (
        {"untuned": math.nan, "hard prompt": 0.0, "soft prompt": 6.0} if reach is None else reach
    )
    generator = np.random.default_rng(3)
    paths = np.cumsum(generator.normal(0, 0.1, (len(reach), 5, 21, 2)), axis=2)
    prompts = np.stack(
        [np.full((6, 2), far) + [[0.02 * n, 0] for n in range(6)] for far in reach.values()]
    )
    return xr.Dataset(
        {
            "trajectory": (("predictor", "sequence", "time", "component"), paths),
            "prompt_trajectory": (("predictor", "prompt", "component"), prompts),
            "background": (("sample", "component"), generator.normal(0, 1, (400, 2))),
            "prompt_distance": (
                ("predictor", "prompt"),
                np.array([np.full(6, 1 + far) for far in reach.values()]),
            ),
            "distance": (("predictor", "time"), np.ones((len(reach), 21))),
            "ordinary_distance": 2.0,
            "tracks": (
                ("component", "quantity"),
                np.array([[0.9, 0.1, 0.2], [-0.1, -0.95, 0.9]]),
            ),
        },
        coords={"predictor": list(reach), "time": np.arange(1, 22)},
        attrs={
            "explained_variance": [0.6, 0.3],
            "what": "attention output of block 0",
            "target": target,
        },
    )


def one_diverged(everything: bool = False) -> xr.Dataset:
    results = some_results()
    for repetition in range(4 if everything else 1):
        where = {"predictor": 2, "repetition": repetition}
        results["diverged"][where] = 17
        results["regret"][where] = math.nan
        results["standard_error"][where] = math.nan
        results["tuning_loss"][{**where, "step": slice(17, None)}] = math.nan
    return results


def many(count: int, values: Callable[[int], float]) -> xr.Dataset:
    rows: Rows = {"prompts": {}, "weights": {}, "baselines": {}}
    for index in range(count):
        group = list(rows)[index % 3]
        rows[group][f"{group} number {index} of several"] = (values(index), 2 * values(index))
    return some_results(rows=rows)
