"""Low-rank changes as PEFT keeps them: two factors for each module of each layer."""

import math
import re
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from promptax.files import StoreError, expect
from promptax.formats import evaluating
from promptax.formats.llama import LAYER
from promptax.formats.settings import Settings, shown
from promptax.formats.weights import Config, Weights
from promptax.predictors.base import Network
from promptax.predictors.llama import LlamaLayer, LlamaTorso
from promptax.steering.weights.low_rank import LowRankDense

Changes = dict[str, tuple[Float[Array, "layer input rank"], Float[Array, "layer rank output"]]]
Factors = dict[int, dict[str, np.ndarray]]  # lora_A and lora_B by layer
Place = tuple[int, str]  # a layer, and a module of it
Places = dict[Place, str]  # with the path that PEFT's patterns are for

FACTORS = ("lora_A", "lora_B")  # the transposes of down and up
MODULES = {  # matrices alone: "self_attn.q_proj": "query"
    module: ours for ours, (_, module) in LAYER.items() if module.endswith("_proj")
}
# as PEFT saves them, of a whole model or of one without its unembedding, or by an adapter's name
TENSOR = re.compile(
    r"base_model\.model\.((?:model\.)?)layers\.(\d{1,9})\.(.+)\.(lora_[AB])(?:\.default)?\.weight"
)
# ways to start LORA that leave the model's own weights as they are
STARTS = (None, True, False, "gaussian", "eva", "orthogonal")


def changes_in(network: Network) -> Changes:
    """Low-rank changes by PEFT's names of the modules; changes of a change, side by side as one."""
    changes: Changes = {}
    layers = _layers(network)
    for module, ours in MODULES.items():
        layer, downs, ups = getattr(layers, ours), [], []
        while isinstance(layer, LowRankDense):
            downs, ups, layer = [*downs, layer.down], [*ups, layer.up], layer.base
        if downs:
            changes[module] = jnp.concatenate(downs, -1), jnp.concatenate(ups, -2)
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


def with_changes(network: Network, config: Settings, tensors: Weights) -> Network:
    """The llama with the changes that LORA tuned.

    Raises:
        StoreError: they are of another model, or not all that the adapter changes.
    """
    start = config.get("init_lora_weights")
    expect(
        start in STARTS,
        f"Expected weights of the model as they were in {config.path}; init_lora_weights={start!r} "
        "changes them. Have PEFT convert the adapter to a plain one as it saves it "
        "(path_initial_model_for_weight_conversion).",
    )
    expect(
        config.get("bias", "none") == "none",
        f"Expected no tuned biases, which a llama does not have, in {config.path}; got "
        f"bias={config.get('bias')!r}.",
    )
    layers = _layers(network)
    factors, places = _factors(layers, tensors, config.path)
    scales = _scales(config, factors, places)
    changed = {name: _changed(layers, name, pairs, scales) for name, pairs in factors.items()}

    def where(whole: Network) -> list[Any]:
        return [getattr(_layers(whole), MODULES[name]) for name in changed]

    return eqx.tree_at(where, network, list(changed.values()))


def _layers(network: Network) -> LlamaLayer:
    assert isinstance(network.torso, LlamaTorso)
    return network.torso.layers


def _factors(
    layers: LlamaLayer, tensors: Weights, place: Path
) -> tuple[dict[str, Factors], Places]:
    """The factors of each module, after a look at their names and shapes; and where they were."""
    factors: dict[str, Factors] = {}
    places: Places = {}
    depth = len(layers.before_attention)
    for name, tensor in tensors.items():
        match = TENSOR.fullmatch(name)
        root, number, module, factor = match.groups() if match else ("", "0", "", "")
        layer = int(number)
        is_factor = module in MODULES and layer < depth
        expect(
            is_factor,
            f"Expected factors lora_A and lora_B of {', '.join(MODULES)} in {depth} layers in "
            f"{place.parent}; got {shown(name)}. The adapter belongs to another model, or changes "
            "more than matrices: merge it into its model with PEFT (merge_and_unload).",
        )
        pair = factors.setdefault(module, {}).setdefault(layer, {})
        expect(
            factor not in pair,
            f"Expected each factor once in {place.parent}; got a second {shown(name)}.",
        )
        pair[factor] = tensor
        places[layer, module] = f"{root}layers.{layer}.{module}"
    expect(
        bool(factors),
        f"Expected factors lora_A and lora_B in {place.parent}; got no tensors. Save the adapter "
        "again.",
    )
    for module, by_layer in factors.items():
        inputs, outputs = getattr(layers, MODULES[module]).shape()[-2:]
        for layer, pair in by_layer.items():
            shapes = [pair[name].shape if name in pair else None for name in FACTORS]
            rank = shapes[0][0] if shapes[0] else "rank"
            expect(
                shapes == [(rank, inputs), (outputs, rank)] and rank != 0,
                f"Expected lora_A {(rank, inputs)} and lora_B {(outputs, rank)} of {module} in "
                f"layer {layer}; got {shapes[0]} and {shapes[1]} in {place.parent}. The adapter "
                "belongs to another model, or was edited.",
            )
    return factors, places


def _changed(
    layers: LlamaLayer, module: str, factors: Factors, scales: dict[Place, float]
) -> LowRankDense:
    """The module's stacked layers with their changes; zeros where a layer has none, and where its
    rank is less than that of another one."""
    base = getattr(layers, MODULES[module])
    depth, inputs, outputs = base.shape()
    rank = max(len(pair["lora_A"]) for pair in factors.values())
    down = np.zeros((depth, inputs, rank), np.float32)
    up = np.zeros((depth, rank, outputs), np.float32)
    for layer, pair in factors.items():
        rows = len(pair["lora_A"])
        down[layer, :, :rows] = pair["lora_A"].T
        up[layer, :rows] = scales[layer, module] * pair["lora_B"].T.astype(np.float32)
    dtype = jax.eval_shape(base.matrix).dtype
    return LowRankDense(base, jnp.asarray(down, dtype), jnp.asarray(up, dtype))


def _scales(config: Settings, factors: dict[str, Factors], places: Places) -> dict[Place, float]:
    """The factor by which PEFT multiplies the change of each module of each layer, after a look
    that the settings speak of these factors: PEFT passes over tensors of others."""
    ranks = {
        (layer, module): len(pair["lora_A"])
        for module, by_layer in factors.items()
        for layer, pair in by_layer.items()
    }
    _expect_targets(config, places)
    alphas = _by_pattern(config, "alpha_pattern", places, config.get("lora_alpha"))
    expected = _by_pattern(config, "rank_pattern", places, config.get("r"))
    scales = {}
    for at, rank in ranks.items():
        alpha = alphas[at]
        expect(
            type(alpha) in (int, float) and math.isfinite(alpha),
            f"Expected a number lora_alpha in {config.path}; got {shown(alpha)}.",
        )
        expect(
            expected[at] in (None, rank),
            f"Expected factors of rank {shown(expected[at])} of {places[at]}, as {config.path} "
            f"says; got {rank}. The adapter was edited: copy the folder again.",
        )
        scales[at] = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return scales


def _by_pattern(config: Settings, key: str, places: Places, default: Any) -> dict[Place, Any]:
    """What a setting says of each place: the first of its patterns that fits counts.

    Patterns are regular expressions for a path's end. They are foreign, so that another process
    matches them.
    """
    patterns = config.get(key) or {}
    expect(
        isinstance(patterns, dict),
        f"Expected numbers by pattern in {key} of {config.path}; got {shown(patterns)}.",
    )
    fits = _fits(config, key, [*patterns], places) if patterns else []

    def of(column: int) -> Any:
        chosen = (value for value, row in zip(patterns.values(), fits, strict=True) if row[column])
        return next(chosen, default)

    return {at: of(column) for column, at in enumerate(places)}


def _expect_targets(config: Settings, places: Places) -> None:
    """Complain about factors of places that, by the settings, were not adapted."""
    wanted = _named(config, "target_modules", places)
    left_out = _named(config, "exclude_modules", places)
    layers = config.get("layers_to_transform")
    layers = layers if isinstance(layers, list) else [layers] * (layers is not None)
    expect(
        all(type(layer) is int for layer in layers),
        f"Expected numbers of layers as layers_to_transform of {config.path}; got {shown(layers)}.",
    )
    for at, path in places.items():
        is_wanted = wanted is None or at in wanted
        is_wanted = is_wanted and (left_out is None or at not in left_out)
        by_whole_path = path in (config.get("target_modules") or [])  # whatever the layer
        expect(
            is_wanted and (not layers or at[0] in layers or by_whole_path),
            f"Expected factors of what target_modules, exclude_modules and layers_to_transform of "
            f"{config.path} name; got some of {path}, which PEFT would pass over. The adapter was "
            "edited: copy the folder again.",
        )


def _named(config: Settings, key: str, places: Places) -> set[Place] | None:
    """The places that a setting names: a list of ends of paths, or one regular expression for whole
    paths; None: it names none, or all."""
    named = config.get(key)
    if not named or named == "all-linear":
        return None
    if isinstance(named, str):
        fits = _fits(config, key, [named], places, whole=True)[0]
        return {at for at, is_fit in zip(places, fits, strict=True) if is_fit}
    expect(
        isinstance(named, list) and all(isinstance(end, str) for end in named),
        f"Expected names of modules as {key} of {config.path}; got {shown(named)}.",
    )
    ends = tuple(f".{end}" for end in named)
    return {at for at, path in places.items() if f".{path}".endswith(ends)}


def _fits(
    config: Settings, key: str, patterns: list[str], places: Places, whole: bool = False
) -> list[list[bool]]:
    """Whether each pattern fits each path [pattern][path], the whole of it, or its end."""
    try:
        return evaluating.match(patterns, [*places.values()], whole=whole)
    except evaluating.ForeignProblem as error:
        raise StoreError(
            f"Expected regular expressions in {key} of {config.path}; got {error}."
        ) from error
