"""Low-rank changes as PEFT keeps them: two factors for each module of each layer."""

import math
import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from promptax.formats.llama import LAYER
from promptax.formats.weights import ADAPTER_CONFIG, Config, Weights
from promptax.predictors.base import Network
from promptax.predictors.llama import LlamaLayer, LlamaTorso
from promptax.specs import check
from promptax.steering.weights.low_rank import LowRankDense

Changes = dict[str, tuple[Float[Array, "layer input rank"], Float[Array, "layer rank output"]]]
Factors = dict[int, dict[str, np.ndarray]]  # lora_A and lora_B by layer

FACTORS = ("lora_A", "lora_B")  # the transposes of down and up
MODULES = {theirs: ours for ours, (_, theirs) in LAYER.items()}  # "self_attn.q_proj": "query"
TENSOR = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.(.+)\.(lora_[AB])\.weight")
# ways to start LORA that leave the model's own weights as they are
STARTS = (None, True, False, "gaussian", "eva", "orthogonal")


def changes_in(network: Network) -> Changes:
    """Low-rank changes by PEFT's names of the modules; changes of a change, side by side as one."""
    changes: Changes = {}
    layers = _layers(network)
    for theirs, ours in MODULES.items():
        layer, downs, ups = getattr(layers, ours), [], []
        while isinstance(layer, LowRankDense):
            downs, ups, layer = [*downs, layer.down], [*ups, layer.up], layer.base
        if downs:
            changes[theirs] = jnp.concatenate(downs, -1), jnp.concatenate(ups, -2)
    return changes


def describe(changes: Changes) -> tuple[Config, dict[str, Array]]:
    """PEFT's settings and tensors for low-rank changes of a llama."""
    ranks = {name.split(".")[-1]: down.shape[-1] for name, (down, _) in changes.items()}
    rank = max(ranks.values())
    others = {name: other for name, other in ranks.items() if other != rank}
    config: Config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "target_modules": sorted(ranks),
        "rank_pattern": others,
        "alpha_pattern": others,
        "lora_dropout": 0.0,
        "bias": "none",
    }
    tensors = {
        f"base_model.model.model.layers.{layer}.{module}.{name}.weight": factor.T
        for module, (downs, ups) in changes.items()
        for layer, pair in enumerate(zip(downs, ups, strict=True))
        for name, factor in zip(FACTORS, pair, strict=True)
    }
    return config, tensors


def with_changes(network: Network, config: Config, tensors: Weights) -> Network:
    """The llama with the changes that LORA tuned.

    Raises:
        ValueError: they are of another model, or not all that the adapter changes.
    """
    start = config.get("init_lora_weights")
    check(
        start in STARTS,
        f"Expected weights of the model as they were; init_lora_weights={start!r} changes them. "
        "Have PEFT convert the adapter to a plain one as it saves it "
        "(path_initial_model_for_weight_conversion).",
    )
    check(
        config.get("bias", "none") == "none",
        f"Expected no tuned biases, which a llama does not have; got bias={config['bias']!r}.",
    )
    layers = _layers(network)
    factors = _factors(layers, tensors)
    changed = {name: _changed(layers, name, config, pairs) for name, pairs in factors.items()}

    def where(whole: Network) -> list[Any]:
        return [getattr(_layers(whole), MODULES[name]) for name in changed]

    return eqx.tree_at(where, network, list(changed.values()))


def _layers(network: Network) -> LlamaLayer:
    assert isinstance(network.torso, LlamaTorso)
    return network.torso.layers


def _factors(layers: LlamaLayer, tensors: Weights) -> dict[str, Factors]:
    """The factors of each module, after a look at their names and shapes."""
    factors: dict[str, Factors] = {}
    depth = len(layers.before_attention)
    for name, tensor in tensors.items():
        match = TENSOR.fullmatch(name)
        is_known = match is not None and match[2] in MODULES and int(match[1]) < depth
        check(
            is_known,
            f"Expected factors lora_A and lora_B of {', '.join(MODULES)} in {depth} layers; got "
            f"{name!r}. The adapter belongs to another model, or changes more than matrices.",
        )
        assert match is not None
        factors.setdefault(match[2], {}).setdefault(int(match[1]), {})[match[3]] = tensor
    check(
        bool(factors), "Expected factors lora_A and lora_B; got no tensors. Save the adapter again."
    )
    for module, by_layer in factors.items():
        inputs, outputs = getattr(layers, MODULES[module]).shape()[-2:]
        for layer, pair in by_layer.items():
            shapes = [pair[name].shape if name in pair else None for name in FACTORS]
            rank = shapes[0][0] if shapes[0] else "rank"
            check(
                shapes == [(rank, inputs), (outputs, rank)],
                f"Expected lora_A {(rank, inputs)} and lora_B {(outputs, rank)} of {module} in "
                f"layer {layer}; got {shapes[0]} and {shapes[1]}. The adapter belongs to another "
                "model, or was edited.",
            )
    return factors


def _changed(layers: LlamaLayer, module: str, config: Config, factors: Factors) -> LowRankDense:
    """The module's stacked layers with their changes; zeros where a layer has none, and where its
    rank is less than that of another one."""
    base = getattr(layers, MODULES[module])
    depth, inputs, outputs = base.shape()
    rank = max(len(pair["lora_A"]) for pair in factors.values())
    down = np.zeros((depth, inputs, rank), np.float32)
    up = np.zeros((depth, rank, outputs), np.float32)
    for layer, pair in factors.items():
        rank_here = len(pair["lora_A"])
        scale = _scale(config, f"model.layers.{layer}.{module}", rank_here)
        down[layer, :, :rank_here] = pair["lora_A"].T
        up[layer, :rank_here] = scale * pair["lora_B"].T.astype(np.float32)
    dtype = jax.eval_shape(base.matrix).dtype
    return LowRankDense(base, jnp.asarray(down, dtype), jnp.asarray(up, dtype))


def _scale(config: Config, path: str, rank: int) -> float:
    """The factor by which PEFT multiplies a change. Its patterns are regular
    expressions for a path's end."""
    patterns = config.get("alpha_pattern") or {}
    try:
        fits = [value for end, value in patterns.items() if re.fullmatch(rf"(.*\.)?({end})", path)]
    except re.error as error:
        raise ValueError(
            f"Expected regular expressions in alpha_pattern of {ADAPTER_CONFIG}; got {error}."
        ) from error
    alpha = fits[0] if fits else config.get("lora_alpha")
    if not isinstance(alpha, int | float):
        raise ValueError(f"Expected a number lora_alpha in {ADAPTER_CONFIG}; got {alpha!r}.")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
