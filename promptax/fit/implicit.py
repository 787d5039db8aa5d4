"""Derivatives of a minimum for what it depends on, by the implicit function theorem.

A point x*(λ) = argmin_x f(x, λ) has ∇_x f(x*, λ) = 0 whatever λ is. Differentiated for λ,

    H dx* + ∂²f/∂x∂λ dλ = 0,    H = ∂²f/∂x²    so that    vᵀ dx*  =  -(H⁻¹ v)ᵀ ∂²f/∂x∂λ dλ

(Blondel et al. 2022, "Efficient and Modular Implicit Differentiation", Eq. 4-5). H⁻¹v comes from
conjugate gradients on H itself, not on H², whose condition number is squared. How x* was found
does not matter, and none of it is kept: memory is that of one Hessian-vector product.

What can go wrong, and where it is seen:

- x* is not a minimum: the derivative is off by about as much. `Minimum.residual` is |∇_x f(x*)|.
- H has no inverse, or directions in which f hardly bends: `damping` adds a multiple of the identity
  to H, in the derivative alone, and biases it towards 0 there.
- Conjugate gradients stop too early: `Hypergradient.solve_residual` is |H u - v|.
- f must get all that is differentiated as `parameters`: what a closure holds counts as a constant,
  and JAX refuses to differentiate it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from promptax.axes import Tree
from promptax.checks import check_whole_numbers
from promptax.doors import door
from promptax.specs import check

Loss = Callable[[Tree, Tree], Float[Array, ""]]
"""f(x, λ): a number, from a point and from what the minimum depends on."""

BACKTRACKS = 30  # halvings of a Newton step: 2^-30 is no step any more
MOST_STEPS = 10**6  # each reads all data once or several times; 32 bits count them
SOLVER_STEPS = 100  # of conjugate gradients; as many as there are numbers in x are exact
SUFFICIENT = 1e-4  # share of the promised decrease that a step must give (Armijo)


class Minimum(NamedTuple):
    """Where a loss is smallest, and how surely.

    `point`: x*, which can be differentiated for the parameters; `residual`: |∇_x f(x*, λ)|, the
    largest of its numbers; `steps`: Newton steps that were taken. The last two have no derivative.
    """

    point: Tree
    residual: Float[Array, ""]
    steps: Int[Array, ""]


@door
def minimise(
    loss: Loss,
    start: Tree,
    parameters: Tree,
    *,
    steps: int = 50,
    tolerance: float = 1e-6,
    damping: float = 0.0,
    solver_steps: int = SOLVER_STEPS,
) -> Minimum:
    """The minimum of `loss(x, parameters)` over x, differentiable for the parameters.

    Newton steps from `start`, each solved by conjugate gradients and halved until the loss falls;
    its derivative is that of the module's docstring. For float64 and a tolerance of 1e-10, run it
    inside `jax.enable_x64(True)`.

    Args:
        loss: twice differentiable, and convex near its minimum; it gets all that is differentiated
            as `parameters`.
        start: a tree of float arrays. It gets no derivative: the minimum does not depend on it.
        steps: the most Newton steps.
        tolerance: the largest number in ∇_x f at which to stop.
        damping: what is added to the diagonal of the Hessian when the derivative is solved for.
        solver_steps: the most steps of conjugate gradients, in each Newton step and derivative.

    Raises:
        TypeError: the loss is no function, or returns more than one number.
        ValueError: steps below 1 or above 10⁶; a tolerance or a damping below 0; a start that is no
            tree of float arrays.

    A search that ends before the minimum raises nothing: look at `Minimum.residual`.

    Example, the hypergradient of ridge regression: `jax.grad(lambda log_strength: validation(
    minimise(ridge, zeros, log_strength).point))`, with `ridge(w, log_strength)`.
    """
    check_whole_numbers(steps=steps, solver_steps=solver_steps)
    check(
        1 <= steps <= MOST_STEPS and 1 <= solver_steps <= MOST_STEPS,
        f"Expected at least 1 step, and 1 of the solver, and at most {MOST_STEPS:,} of each; got "
        f"{steps} and {solver_steps}.",
    )
    check(tolerance >= 0 and damping >= 0, "Expected a tolerance and a damping of at least 0.")
    leaves = jax.tree.leaves(start)
    check(
        bool(leaves)
        and all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves),
        "Expected a start of float arrays; got a tree without any, or with whole numbers.",
    )

    fixed = held(parameters)
    point, taken = _newton(loss, held(start), fixed, steps, tolerance, solver_steps)
    residual = largest(jax.grad(loss)(point, fixed))
    point = attach(loss, point, parameters, damping=damping, solver_steps=solver_steps)
    return Minimum(point, jax.lax.stop_gradient(residual), taken)


class Hypergradient(NamedTuple):
    """The derivative of an outer loss at a minimum, and how far to trust it.

    `value`: the outer loss; `gradient`: for the parameters' floats; `minimum`: with its residual;
    `solve_residual`: the largest number in (H + damping) u - v, beside those of v = ∇_x outer.
    """

    value: Float[Array, ""]
    gradient: Tree
    minimum: Minimum
    solve_residual: Float[Array, ""]


@door
def hypergradient(
    outer: Loss, loss: Loss, start: Tree, parameters: Tree, **options: Any
) -> Hypergradient:
    """The derivative of `outer(x*, parameters)` for the parameters, x* the minimum of `loss`.

    Args:
        outer: what is made small by the parameters, such as a validation loss.
        loss: what the point makes small, as for `minimise`.
        start: where its search begins.
        parameters: what the derivative is taken for. Python floats count as arrays.
        **options: those of `minimise`.

    Raises:
        TypeError: an option that `minimise` does not have, or a loss that returns more than one
            number.
        ValueError: `outer` or `loss` is no function; and what `minimise` refuses.
    """
    check(callable(outer) and callable(loss), "Expected functions, outer and loss; got others.")
    parameters = jax.tree.map(_as_array, parameters)
    minimum = minimise(loss, start, parameters, **options)
    point, solve = minimum.point, {"damping": options.get("damping", 0.0)}
    moving, fixed = eqx.partition(parameters, eqx.is_inexact_array)

    def outer_of(point: Tree, moving: Tree) -> Array:
        return outer(point, eqx.combine(moving, fixed))

    value, (towards, direct) = jax.value_and_grad(outer_of, (0, 1))(point, moving)
    steps = options.get("solver_steps", SOLVER_STEPS)
    solved = inverse_hessian(loss, point, parameters, towards, steps=steps, **solve)
    left = jax.tree.map(
        jnp.subtract, _bent(loss, point, parameters, solved, solve["damping"]), towards
    )
    gradient = jax.tree.map(jnp.add, direct, _pulled(loss, point, moving, fixed, solved))
    return Hypergradient(value, gradient, minimum, largest(left))


def _as_array(leaf: Any) -> Any:
    return jnp.asarray(leaf) if isinstance(leaf, float) else leaf


def attach(
    loss: Loss,
    point: Tree,
    parameters: Tree,
    *,
    damping: Any = 0.0,
    solver_steps: int = SOLVER_STEPS,
) -> Tree:
    """A minimum that was found somehow, with the derivative that a minimum has.

    Args:
        point: x*, where ∇_x loss is 0; whatever led to it is not differentiated.
        parameters: what the loss gets beside x. Whole numbers among them are data.
    """
    moving, fixed = eqx.partition(parameters, eqx.is_inexact_array)

    @eqx.filter_custom_vjp
    def minimum(moving: Tree, point: Tree, fixed: Tree, damping: Any) -> Tree:
        del moving, fixed, damping
        return point

    @minimum.def_fwd
    def forward(perturbed: Any, moving: Tree, point: Tree, fixed: Tree, damping: Any) -> tuple:
        del perturbed, moving, fixed, damping
        return point, None

    @minimum.def_bwd
    def backward(kept: None, towards: Tree, perturbed: Any, moving: Tree, *others: Any) -> Tree:
        del kept, perturbed
        point, fixed, damping = others
        towards = jax.tree.map(
            lambda leaf, v: jnp.zeros_like(leaf) if v is None else v, point, towards
        )
        parameters = eqx.combine(moving, fixed)
        solved = inverse_hessian(loss, point, parameters, towards, damping, solver_steps)
        return _pulled(loss, point, moving, fixed, solved)

    return minimum(moving, jax.tree.map(jax.lax.stop_gradient, point), fixed, damping)


def _pulled(loss: Loss, point: Tree, moving: Tree, fixed: Tree, solved: Tree) -> Tree:
    """-uᵀ ∂²f/∂x∂λ, for the parameters that move."""

    def slope(moving: Tree) -> Tree:
        return jax.grad(loss)(point, eqx.combine(moving, fixed))

    _, pull = jax.vjp(slope, moving)
    return pull(jax.tree.map(jnp.negative, solved))[0]


def _bent(loss: Loss, point: Tree, parameters: Tree, vector: Tree, damping: Any) -> Tree:
    """(H + damping) times a vector."""

    def slope(point: Tree) -> Tree:
        return jax.grad(loss)(point, parameters)

    bent = jax.jvp(slope, (point,), (vector,))[1]
    return jax.tree.map(lambda a, b: a + jnp.asarray(damping, a.dtype) * b, bent, vector)


def inverse_hessian(
    loss: Loss,
    point: Tree,
    parameters: Tree,
    towards: Tree,
    damping: Any = 0.0,
    steps: int = SOLVER_STEPS,
) -> Tree:
    """(H + damping)⁻¹ v by conjugate gradients, H the Hessian of the loss at the point, which must
    be positive definite."""

    def product(vector: Tree) -> Tree:
        return _bent(loss, point, parameters, vector, damping)

    tolerance = 4 * float(jnp.finfo(jnp.result_type(*jax.tree.leaves(point))).eps)
    return jax.scipy.sparse.linalg.cg(product, towards, tol=tolerance, maxiter=steps)[0]


def held(tree: Tree) -> Tree:
    """A tree whose floats count as constants."""
    floats, others = eqx.partition(tree, eqx.is_inexact_array)
    return eqx.combine(jax.lax.stop_gradient(floats), others)


def largest(tree: Tree) -> Float[Array, ""]:
    """The largest size of a number in a tree."""
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]))


def _newton(
    loss: Loss, start: Tree, parameters: Tree, steps: int, tolerance: float, solver_steps: int
) -> tuple[Tree, Int[Array, ""]]:
    """Newton's method with backtracking: the point, and how many steps were taken."""
    first, back = ravel_pytree(start)

    def value(flat: Array) -> Array:
        return loss(back(flat), parameters)

    def is_far(carry: tuple[Array, Array, Array]) -> Array:
        _, slope, number = carry
        return (number < steps) & (jnp.max(jnp.abs(slope)) > tolerance)

    def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        flat, slope, number = carry
        solved = inverse_hessian(lambda x, _: value(x), flat, None, slope, 0.0, solver_steps)
        descends = jnp.isfinite(jnp.sum(solved)) & (solved @ slope > 0)
        direction = jnp.where(descends, solved, slope)  # where the loss is not convex: downhill
        now, gain = value(flat), direction @ slope

        def tried(power: Array) -> Array:
            return flat - direction * 0.5**power

        def is_no_better(power: Array) -> Array:
            falls = value(tried(power)) <= now - SUFFICIENT * 0.5**power * gain
            # at the last digits of the loss, its gradient decides
            closer = jnp.max(jnp.abs(jax.grad(value)(tried(power)))) < jnp.max(jnp.abs(slope))
            return (power < BACKTRACKS) & ~(falls | closer)

        power = jax.lax.while_loop(is_no_better, lambda power: power + 1.0, jnp.zeros(()))
        flat = tried(power)
        return flat, jax.grad(value)(flat), number + 1

    begun = first, jax.grad(value)(first), jnp.int32(0)
    flat, _, taken = jax.lax.while_loop(is_far, step, begun)
    return back(flat), taken
