"""What a search returns is checked in words, with its name; nothing here is compiled."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax.steering import search_checks

KEY, PROMPT = jax.random.key(0), jnp.array([0, 2, 1])
LOSS = jnp.float32(1.0)
REFUSED = {
    "a typed key": (
        lambda: search_checks.check_state("Mine", (PROMPT, KEY)),
        "Mine.start; got key",
    ),
    "a word": (lambda: search_checks.check_state("Mine", "a"), "Mine.start; got a str"),
    "no loss": (
        lambda: search_checks.check_step("Mine", PROMPT, PROMPT),
        "(state, loss) from Mine.st",
    ),
    "many losses": (lambda: step(PROMPT, LOSS[None]), "as the loss from Mine.step; got float32[1]"),
    "a state that grows": (lambda: step(jnp.zeros(6, int), LOSS), "int32[3] became int32[6]"),
    "a state of fractions": (lambda: step(PROMPT * 0.5, LOSS), "int32[3] became float32[3]"),
    "a state with more": (lambda: step((PROMPT, LOSS), LOSS), "the same parts from Mine.step"),
    "nothing read": (lambda: search_checks.check_reads("Mine", 0), "Mine.step to read something"),
    "a long prompt": (
        lambda: recommend(jnp.zeros(6, int)),
        "3 symbols from Mine.prompt, whole num",
    ),
    "a prompt of fractions": (lambda: recommend(jnp.zeros(3)), "got float32[3]"),
    "a list": (lambda: search_checks.check_prompts([[0]]), "as an array; got a list"),
    "one prompt": (lambda: search_checks.check_prompts(PROMPT), "Give one prompt as prompt[None]"),
    "fractions": (
        lambda: search_checks.check_prompts(jnp.zeros((1, 3))),
        "whole numbers; got float32",
    ),
    "several prompts": (lambda: search_checks.check_prompt(PROMPT[None]), "got the shape (1, 3)"),
    "a symbol that is none": (
        lambda: symbols([[0, 1], [3, 2]]),
        "symbols 0 to 2 from Mine.prompt; got [3, 2]",
    ),
    "a symbol below 0": (lambda: symbols([[0, -1]]), "from Mine.prompt; got [0, -1]"),
}


def step(state, loss):
    search_checks.check_step("Mine", PROMPT, (state, loss))


def recommend(prompt):
    search_checks.check_recommended("Mine", jax.eval_shape(lambda: prompt), 3)


def symbols(prompts):
    search_checks.check_symbols("Mine", np.array(prompts), 3)


@pytest.mark.parametrize(("wrong", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.usefixtures("as_users_see_it")
def test_what_cannot_be_meant_is_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        wrong()


def test_what_is_right_passes():
    search_checks.check_state("Mine", (PROMPT, 1, None))
    step(PROMPT + 1, LOSS)
    recommend(PROMPT)
    symbols([[0, 2], [1, 1]])
    search_checks.check_prompts(PROMPT[None])
    search_checks.check_prompt(np.asarray(PROMPT))
