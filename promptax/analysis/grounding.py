"""Does an answer follow the context, or what the weights know?

All facts are asked, so that nothing is sampled: every subject behind an empty context, behind every
value that a context may give it, and behind every fact of another subject.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from promptax import platforms
from promptax.doors import door
from promptax.protocol.predictor import Predictor
from promptax.specs import check, check_kind
from promptax.steering.base import check_one
from promptax.tasks.facts.context_facts import ROWS, ContextFacts


class Grounding(NamedTuple):
    """Shares of questions, each from 0 to 1; an answer is the likeliest value."""

    own: float
    """Behind an empty context: answered as the table of the task has it."""
    relevant: float
    """Behind a context that says the table's value: answered so."""
    controllability: float
    """Behind a context that says another value: answered as the context says (Li et al. 2022)."""
    robustness: float
    """Behind a context about another subject: answered as the table has it (Li et al. 2022)."""


@door
def own_answers(predictor: Predictor, task: ContextFacts) -> tuple[int, ...]:
    """What a predictor says of each subject without a context: the labels for contexts that should
    change nothing. To be asked before tuning.

    Raises:
        TypeError: no single predictor, or no `ContextFacts`.
        ValueError: the predictor has another alphabet than the task, or NaN among its numbers; or
            all contexts of all questions do not fit into memory.
    """
    _check_fit(predictor, task)
    subjects = np.arange(task.subjects)
    blanks = np.full(task.subjects, task.blank)
    return tuple(_answers(predictor, task, blanks, blanks, subjects).tolist())


@door
def grounding(predictor: Predictor, task: ContextFacts) -> Grounding:
    """Ask all facts, each behind every context.

    Args:
        predictor: over the task's symbols.
        task: whose `table` is what the model should say by itself; `shares` play no part.

    Raises:
        TypeError: no single predictor, or no `ContextFacts`.
        ValueError: the predictor has another alphabet than the task, or NaN among its numbers; or
            all contexts of all questions do not fit into memory.

    Example: `grounding(network, ContextFacts(answers=own_answers(before, ContextFacts())))`.
    """
    _check_fit(predictor, task)
    asked, spoken_of, said = np.meshgrid(
        np.arange(task.subjects), np.arange(task.subjects), np.arange(task.values), indexing="ij"
    )
    answers = _answers(predictor, task, task.values + spoken_of, said, asked)
    table = task.table[asked]
    of_the_subject, agrees = spoken_of == asked, said == table
    own = np.array(own_answers(predictor, task)) == task.table
    return Grounding(
        own=float(own.mean()),
        relevant=float((answers == table)[of_the_subject & agrees].mean()),
        controllability=float((answers == said)[of_the_subject & ~agrees].mean()),
        robustness=float((answers == table)[~of_the_subject].mean()),
    )


def _check_fit(predictor: Predictor, task: ContextFacts) -> None:
    """Complain about a predictor that cannot be asked for the task's facts."""
    check_one(predictor)
    check_kind(task, ContextFacts, "ContextFacts()")
    check(
        predictor.outcome.alphabet == task.symbols,
        f"Expected a predictor over the task's {task.symbols} symbols; got one of "
        f"{predictor.outcome.words()}.",
    )
    platforms.expect_numbers(
        ROWS * task.subjects**2 * task.values,
        "all contexts of all questions",
        "Ask for fewer subjects or values.",
    )


def _answers(
    predictor: Predictor,
    task: ContextFacts,
    first: np.ndarray,
    second: np.ndarray,
    asked: np.ndarray,
) -> Int[np.ndarray, "..."]:
    """The likeliest value behind each context and question."""
    rows = np.stack([first, second, task.values + asked, 0 * asked], axis=-1)
    tokens = jnp.asarray(rows.reshape(-1, rows.shape[-1]), jnp.int32)
    likeliest = np.asarray(_likeliest(predictor, tokens, task.values))
    return likeliest.reshape(asked.shape)


@eqx.filter_jit
def _likeliest(
    predictor: Predictor, tokens: Int[Array, "sequence time"], values: int
) -> Int[Array, " sequence"]:
    _, prediction = predictor.advance_batch(predictor.start(), tokens)
    return jnp.argmax(prediction.log_probs[:, -1, :values], axis=-1)
