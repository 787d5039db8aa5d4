"""Low-rank adaptation (Hu et al. 2021) of a network's dense layers."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.checks import as_tuple
from promptax.predictors.parts.layers import Layer, rows_times
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.base import Mask
from promptax.steering.gradient import WeightTuner, network_of, replace_network


class LowRank(WeightTuner):
    """Adds down @ up of a small rank to weight matrices and tunes only that.

    "LoRAWT" of Genewein et al. 2025: rank 4 on queries, keys, values and attention output. Works
    for every architecture with dense layers: in an LSTM it adapts both matrices.
    """

    language_rate: ClassVar[float] = 2e-3

    rank: int = 4
    """Rank of the change."""
    layers: tuple[str, ...] = eqx.field(default=(), converter=as_tuple)
    """Names of the dense layers to adapt; by default those the architecture names."""
    learning_rate: float | None = None
    """Adam's learning rate where the fit settings give none (None: 5e-3, on language models
    2e-3)."""

    def __check_init__(self) -> None:
        check(self.rank >= 1, f"Expected a rank of at least 1; got {self.rank}.")

    @classmethod
    def examples(cls) -> "tuple[LowRank, ...]":
        return (cls(rank=2),)

    def suits(self, predictor: Predictor) -> None:
        network = network_of(predictor, self)
        names = _names(network.torso)
        wanted = self.layers or network.torso.low_rank_layers()
        missing = [name for name in wanted if name not in names]
        if missing or not wanted:
            raise TypeError(
                f"Expected dense layers named {wanted or 'anything'} to adapt; "
                f"{type(network.architecture).__name__} has {sorted(names) or 'none'}."
            )

    def steer(self, key: Key[Array, ""], predictor: Predictor) -> Predictor:
        network = network_of(predictor, self)
        wanted = self.layers or network.torso.low_rank_layers()
        paths = [path for path, layer in _layers(network.torso) if _name(path) in wanted]
        keys = dict(zip(map(str, paths), jax.random.split(key, len(paths)), strict=True))

        def adapt(path: Any, layer: Any) -> Any:
            return _adapted(keys[str(path)], layer, self.rank) if str(path) in keys else layer

        torso = jax.tree_util.tree_map_with_path(adapt, network.torso, is_leaf=_is_layer)
        return replace_network(predictor, eqx.tree_at(lambda n: n.torso, network, torso))

    def where(self, steered: Predictor) -> Mask:
        def added(node: Any) -> Any:
            nothing = jax.tree.map(lambda _: False, node)
            if not isinstance(node, LowRankDense):
                return nothing
            return eqx.tree_at(lambda layer: (layer.down, layer.up), nothing, (True, True))

        return jax.tree.map(added, steered, is_leaf=_is_layer)


class LowRankDense(Layer):
    """rows @ (matrix + down @ up) + bias, with the matrix and the bias of another layer.

    The change may have more digits than the layer: it is computed in its own, and added in the
    layer's.
    """

    base: Layer
    down: Float[Array, "*batch input rank"]
    up: Float[Array, "*batch rank output"]

    @property
    def bias(self) -> Array | None:
        return self.base.bias

    def matrix(self) -> Float[Array, "*layer input output"]:
        matrix = self.base.matrix()
        return matrix + (self.down @ self.up).astype(matrix.dtype)

    def __call__(self, rows: Float[Array, "*rows input"]) -> Float[Array, "*rows output"]:
        outputs = self.base(rows)
        change = rows_times(rows_times(rows, self.down), self.up)
        return outputs + change.astype(outputs.dtype)


def _adapted(key: Key[Array, ""], layer: Layer, rank: int) -> LowRankDense:
    """The layer with a change that is zero: down is random, up is zero (Hu et al. 2021)."""
    *stacked, inputs, outputs = layer.shape()
    initial = jax.nn.initializers.lecun_normal(batch_axis=range(len(stacked)))
    dtype = jnp.promote_types(jax.eval_shape(layer.matrix).dtype, jnp.float32)  # for small steps
    down = initial(key, (*stacked, inputs, rank), dtype)
    return LowRankDense(layer, down, jnp.zeros((*stacked, rank, outputs), dtype))


def _is_layer(node: Any) -> bool:
    return isinstance(node, Layer)


def _layers(torso: Any) -> list[tuple[Any, Any]]:
    pairs = jax.tree_util.tree_leaves_with_path(torso, is_leaf=_is_layer)
    return [(path, node) for path, node in pairs if isinstance(node, Layer)]


def _name(path: Any) -> str:
    return path[-1].name


def _names(torso: Any) -> set[str]:
    return {_name(path) for path, _ in _layers(torso)}
