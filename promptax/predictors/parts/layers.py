"""The parts that networks are made of: dense layers, layer norm, GELU, sine-cosine positions.

The elementwise pieces have derivatives of their own, which save one array each instead of the chain
of intermediates, and stay safe under `vmap` because no weights are inside them. So has the product
of a single row with a matrix of a stack, whose rule under `vmap` is its own, too.
"""

import abc
import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Int, Key

from promptax import platforms
from promptax.specs import Record, check

MOST_LAYERS = 1000  # each is made by itself, and a part of the program
CACHED_OUTPUTS = 16, 97  # range of rows of a matrix that are copied into a cache at a time
MOST_HEADS_SHOWN = 256  # a width of billions has too many divisors to look for


class Stack(Record):
    """Weights of one layer, or of several: then every array has a leading `layer` axis."""

    def in_stack(self, number: Int[Array, ""]) -> Any:
        """The layer of that number, where this is a stack. To override where single rows can be
        multiplied without a copy of a matrix."""

        def of_layer(part: Any) -> Any:
            return part.in_stack(number) if isinstance(part, Stack) else part[number]

        return jax.tree.map(of_layer, self, is_leaf=self._is_part)

    def _is_part(self, node: Any) -> bool:
        return isinstance(node, Stack) and node is not self


class Layer(Stack):
    """A linear map with a matrix: what a low-rank tuner can replace. Stacked layers, for a scan,
    have a leading `layer` axis in every leaf. `bias` [output]: what is added; None: nothing."""

    if TYPE_CHECKING:  # a field or a property, at the member's choice

        @property
        def bias(self) -> Array | None: ...
    else:
        bias: eqx.AbstractVar[Float[Array, "*layer output"] | None]

    @abc.abstractmethod
    def matrix(self) -> Float[Array, "*layer input output"]:
        """The matrix that the layer multiplies with."""

    @abc.abstractmethod
    def __call__(self, rows: Float[Array, "*rows input"]) -> Float[Array, "*rows output"]:
        """Compute rows @ matrix + bias."""

    def part(self, outputs: Int[Array, " output"]) -> "Layer":
        """The layer of some of its outputs alone. To override where the whole matrix is not at
        hand."""
        return Dense(self.matrix()[:, outputs], None if self.bias is None else self.bias[outputs])

    def block(self, first: Int[Array, ""], count: int) -> "Layer":
        """The layer of so many of its outputs, one beside the other. To override where a slice is
        all that it takes."""
        return self.part(first + jnp.arange(count))

    def shape(self) -> tuple[int, ...]:
        """The shape [input, output] of the matrix."""
        return jax.eval_shape(self.matrix).shape


class Dense(Layer):
    """A dense layer: rows @ `weight` + `bias`, where there is one."""

    weight: Float[Array, "*layer input output"]
    bias: Float[Array, "*layer output"] | None = None

    def matrix(self) -> Float[Array, "*layer input output"]:
        return self.weight

    def block(self, first: Int[Array, ""], count: int) -> "Dense":
        weight = jax.lax.dynamic_slice_in_dim(self.weight, first, count, axis=-1)
        return Dense(weight, _slice(self.bias, first, count))

    def __call__(self, rows: Float[Array, "*rows input"]) -> Float[Array, "*rows output"]:
        return _plus(rows_times(rows, self.weight), self.bias)


class Transposed(Layer):
    """rows @ weight.T + bias. Trained models come like this; and a CPU multiplies a single row by
    such a matrix where it lies in a stack (`in_stack`)."""

    weight: Float[Array, "*layer output input"]
    bias: Float[Array, "*layer output"] | None = None

    def matrix(self) -> Float[Array, "*layer input output"]:
        return jnp.swapaxes(self.weight, -1, -2)

    def in_stack(self, number: Int[Array, ""]) -> "InStack":
        return InStack(self.weight, number, None if self.bias is None else self.bias[number])

    def part(self, outputs: Int[Array, " output"]) -> "Transposed":
        return Transposed(self.weight[outputs], None if self.bias is None else self.bias[outputs])

    def block(self, first: Int[Array, ""], count: int) -> "Transposed":
        return Transposed(_slice(self.weight, first, count), _slice(self.bias, first, count))

    def __call__(self, rows: Float[Array, "*rows input"]) -> Float[Array, "*rows output"]:
        return _plus(_rows_times_transposed(rows, self.weight), self.bias)


class InStack(Layer):
    """The layer `number` of a stack of `Transposed`, whose matrix stays where it is: a scan over a
    stack copies it first, which takes a CPU as long as its product with a few rows."""

    weight: Float[Array, "layer output input"]
    number: Int[Array, ""]
    bias: Float[Array, " output"] | None = None

    def matrix(self) -> Float[Array, "input output"]:
        return self.weight[self.number].T

    def __call__(self, rows: Float[Array, "*rows input"]) -> Float[Array, "*rows output"]:
        if math.prod(rows.shape[:-1]) == 1:
            product = _row_times(rows.reshape(-1), self.weight, self.number)
            product = product.reshape(*rows.shape[:-1], -1)
        else:
            product = _rows_times_transposed(rows, self.weight[self.number])
        return _plus(product, self.bias)


def _slice(array: Array | None, first: Array, count: int) -> Any:
    return None if array is None else jax.lax.dynamic_slice_in_dim(array, first, count)


def _plus(product: Array, bias: Array | None) -> Array:
    return product if bias is None else product + bias


def rows_times(
    rows: Float[Array, "*rows input"], matrix: Float[Array, "input output"]
) -> Float[Array, "*rows output"]:
    """rows @ matrix, as a product of two matrices: the derivative of a product with more axes
    would copy its rows into another order."""
    flat = rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1]) @ matrix
    return flat.reshape(*rows.shape[:-1], matrix.shape[-1])


def _rows_times_transposed(
    rows: Float[Array, "*rows input"], matrix: Float[Array, "output input"]
) -> Float[Array, "*rows output"]:
    """rows @ matrix.T, without a transpose that a scan's derivative would keep for every layer."""
    flat = rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1])
    product = jax.lax.dot_general(flat, matrix, (((1,), (1,)), ((), ())))
    return product.reshape(*rows.shape[:-1], matrix.shape[0])


def _row_times(
    row: Float[Array, " input"], stack: Float[Array, "layer output input"], number: Int[Array, ""]
) -> Float[Array, " output"]:
    """row @ stack[number].T, in the precision of products that holds here."""
    precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    return _row_product(precision)(row, stack, number)


@functools.cache
def _row_product(precision: str | None) -> Callable[[Array, Array, Array], Array]:
    """What multiplies a row by a matrix of a stack. Rules of transformations are traced later,
    where another precision may hold: they all keep the given one."""

    def times(rows: Array, matrix: Array) -> Array:
        return jnp.matmul(rows, matrix.T, precision=precision)

    @jax.custom_batching.custom_vmap
    def multiply_row(row: Array, stack: Array, number: Array) -> Array:
        # slice, transpose and product, written like this, are one loop of XLA, for all cores
        return times(row, stack[number])

    @multiply_row.def_vmap
    def multiply_rows(
        size: int, batched: list[bool], row: Array, stack: Array, number: Array
    ) -> tuple[Float[Array, "row output"], bool]:
        # what several rows are multiplied by, XLA copies: on a CPU so little at a time that the
        # copy stays in a core's cache, which takes half of the time
        if batched != [True, False, False] or not platforms.on_cpu():
            axes = [0 if mapped else None for mapped in batched]

            def multiply(row: Array, stack: Array, number: Array) -> Array:
                return times(row, stack[number])

            return jax.vmap(multiply, axes)(row, stack, number), True
        outputs, inputs = stack.shape[1:]
        fitting = (count for count in range(*CACHED_OUTPUTS) if outputs % count == 0)
        count = max(fitting, default=outputs)

        def multiply_block(_: None, first: Array) -> tuple[None, Array]:
            block = jax.lax.dynamic_slice(stack, (number, first, 0), (1, count, inputs))[0]
            return None, times(row, block)

        _, products = jax.lax.scan(multiply_block, None, jnp.arange(0, outputs, count))
        return jnp.swapaxes(products, 0, 1).reshape(size, outputs), True

    @jax.custom_jvp
    def product(row: Array, stack: Array, number: Array) -> Array:
        return multiply_row(row, stack, number)

    def derivative(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        (row, stack, number), (change, stack_change, _) = primals, tangents
        changed = jnp.zeros(stack.shape[1], jnp.result_type(row, stack))
        if not isinstance(change, SymbolicZero):
            changed = changed + times(change, stack[number])
        if not isinstance(stack_change, SymbolicZero):
            changed = changed + times(row, stack_change[number])
        return product(row, stack, number), changed

    product.defjvp(derivative, symbolic_zeros=True)
    return product


def dense(
    key: Key[Array, ""], inputs: int, outputs: int, *, bias: bool, init: Initializer | None = None
) -> Dense:
    """A dense layer with lecun-normal weights and a zero bias."""
    init = init or jax.nn.initializers.lecun_normal()
    return Dense(init(key, (inputs, outputs)), jnp.zeros(outputs) if bias else None)


def check_heads(width: int, heads: int) -> None:
    """Complain unless the heads have equal shares of the width."""
    most = min(width, MOST_HEADS_SHOWN)
    fitting = [number for number in range(1, most + 1) if width % number == 0]
    check(
        width % heads == 0,
        f"Expected heads that divide the width {width}: one of {fitting}; got {heads}.",
    )


def check_depth(depth: int) -> None:
    """Complain about more layers than can be compiled."""
    check(depth <= MOST_LAYERS, f"Expected a depth of at most {MOST_LAYERS:,} layers; got {depth}.")


class LayerNorm(Record):
    """(rows - mean) / sqrt(variance + 1e-6) * scale + bias, over the last axis."""

    scale: Float[Array, " width"]
    bias: Float[Array, " width"] | None = None

    def __call__(self, rows: Float[Array, "*rows width"]) -> Float[Array, "*rows width"]:
        scaled = standardised(rows) * self.scale
        return scaled if self.bias is None else scaled + self.bias


def layer_norm(width: int, *, bias: bool) -> LayerNorm:
    """A layer norm that starts with scale 1 and bias 0."""
    return LayerNorm(jnp.ones(width), jnp.zeros(width) if bias else None)


@jax.custom_jvp
def standardised(rows: Float[Array, "*rows width"]) -> Float[Array, "*rows width"]:
    """Rows with mean 0 and variance 1 over the last axis (ε = 1e-6)."""
    return _standardise(rows)[0]


def _standardise(rows: Array) -> tuple[Array, Array]:
    centred = rows - jnp.mean(rows, axis=-1, keepdims=True)
    inverse = jax.lax.rsqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + 1e-6)
    return centred * inverse, inverse


@standardised.defjvp
def _standardised_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (rows,), (change,) = primals, tangents
    out, inverse = _standardise(rows)
    mean = jnp.mean(change, axis=-1, keepdims=True)
    along = jnp.mean(out * change, axis=-1, keepdims=True)
    return out, (change - mean - out * along) * inverse


@jax.custom_jvp
def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The Gaussian error linear unit in its tanh form (Hendrycks and Gimpel 2016)."""
    return _gelu(x)[0]


def _gelu(x: Array) -> tuple[Array, Array]:
    scale, cubic = 0.7978845608028654, 0.044715  # sqrt(2 / π), Hendrycks and Gimpel 2016
    square = x * x
    bend = jnp.tanh(scale * x * (1 + cubic * square))
    slope = 0.5 * (1 + bend) + 0.5 * x * (1 - bend * bend) * scale * (1 + 3 * cubic * square)
    return 0.5 * x * (1 + bend), slope


@gelu.defjvp
def _gelu_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    out, slope = _gelu(primals[0])
    return out, slope * tangents[0]


def positions(first: int | Array, rows: int, width: int) -> Float[Array, "rows width"]:
    """Sine-cosine encodings of positions first, first + 1, … (Vaswani et al. 2017)."""
    half = (width + 1) // 2
    rates = 1e4 ** (-2 * jnp.arange(half) / width)
    angles = (first + jnp.arange(rows))[:, None] * rates
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)[:, :width]


def choose(
    table: Float[Array, "symbol *between width"], tokens: Int[Array, "*batch time"]
) -> Float[Array, "*rows width"]:
    """The row of each token, from rows [symbol, width], or [symbol, ..., time, width] for rows
    that also differ by time, to [*batch, ..., time, width]. For few symbols: products and sums,
    because CPUs are slow to gather, and slower to add up the derivatives of a gather."""
    one_hot = jax.nn.one_hot(tokens, len(table))
    if table.ndim == 2:
        return rows_times(one_hot, table)
    between = tuple(range(1 - table.ndim, -2))
    weights = (jnp.expand_dims(one_hot[..., symbol, None], between) for symbol in range(len(table)))
    return sum((a * b for a, b in zip(weights, table, strict=True)), jnp.zeros(()))


def rms_norm(
    rows: Float[Array, "*batch width"], scale: Float[Array, " width"], epsilon: float
) -> Float[Array, "*batch width"]:
    """Rows over the root of their mean square, times `scale` (Zhang and Sennrich 2019)."""
    wide = rows.astype(jnp.promote_types(rows.dtype, jnp.float32))
    inverse = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + epsilon)
    return (wide * inverse).astype(rows.dtype) * scale
