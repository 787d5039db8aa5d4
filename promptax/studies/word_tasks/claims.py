"""What papers say of demonstrations and of tuned prompts, as numbers with bounds.

Bounds come from their sentences and are the same for every task; one run of seed 0 had been read
when they were written (docs/language_models.md), and they were not fitted to it: some of them fail
there. Names: D for demonstrations, C for calibration, P for prompts and weights that were tuned.
Losses are nats per answer on held-out inputs, over the whole alphabet.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from promptax.studies.judging import Check, Checks, Claim, ClaimList
from promptax.studies.word_tasks.conditions import (
    FEW_PAIRS,
    INSTRUCTED,
    KEY_VALUE,
    LOW_RANK,
    RANDOM_TOKENS,
    SENTIMENTS,
    SHOTS,
    SHOWN,
    SHUFFLED,
    SOFT,
    TASKS,
)
from promptax.studies.word_tasks.reading import Reader, accuracy, label_accuracy, loss, spread

MOST = SHOTS[-1]  # demonstrations
LEAST_GAIN = 1.0  # nats: the answer is e times as likely
MOST_LOST = 0.05  # of accuracy: "in the range of 0-5% absolute" (Min et al. 2022, section 4.1)
CLAIMS = ClaimList[Reader]()


def claims(results: Mapping[str, xr.DataTree]) -> tuple[Claim, ...]:
    """All claims, judged on what was measured so far."""
    return CLAIMS.claims(Reader(results))


# --- demonstrations -------------------------------------------------------------------------


@CLAIMS.enter(
    "D1",
    "Demonstrations teach the model what is asked.",
    "Brown et al. 2020, section 3: larger contexts, better answers",
)
def _demonstrations_help(reader: Reader) -> Checks:
    for task in TASKS:
        gains = reader.differences(task, (SHOWN, loss(0)), (SHOWN, loss(MOST)))
        yield Check(f"{task}: no demonstration above {MOST}, nats", gains, least=LEAST_GAIN)


@CLAIMS.enter("D2", "The first ones teach most.", "Brown et al. 2020, figure 1.2")
def _first_ones_teach_most(reader: Reader) -> Checks:
    for task in TASKS:
        first = reader.differences(task, (SHOWN, loss(0)), (SHOWN, loss(5)))
        further = reader.differences(task, (SHOWN, loss(5)), (SHOWN, loss(MOST)))
        shares = tuple(late / early for early, late in zip(first, further, strict=True))
        yield Check(f"{task}: gain from 5 to {MOST} over that from 0 to 5", shares, most=0.25)


@CLAIMS.enter(
    "D3",
    "Their answers need not be right: with each other's answers accuracy hardly falls.",
    "Min et al. 2022, section 4.1; there with random labels",
)
def _answers_need_not_be_right(reader: Reader) -> Checks:
    for task in TASKS:
        for shots in (5, MOST):
            lost = reader.differences(task, (SHOWN, accuracy(shots)), (SHUFFLED, accuracy(shots)))
            yield Check(f"{task}: accuracy lost behind {shots}", lost, most=MOST_LOST)


@CLAIMS.enter(
    "D4",
    "An instruction helps too, and less than demonstrations.",
    "Brown et al. 2020, section 2: zero-shot against few-shot",
)
def _instruction_helps_less(reader: Reader) -> Checks:
    for task in TASKS:
        gains = reader.differences(task, (SHOWN, loss(0)), (INSTRUCTED, loss(0)))
        yield Check(f"{task}: nothing above an instruction, nats", gains, least=0.0)
        ahead = reader.differences(task, (INSTRUCTED, loss(0)), (SHOWN, loss(5)))
        yield Check(f"{task}: an instruction above 5 demonstrations, nats", ahead, least=0.0)


# --- calibration ----------------------------------------------------------------------------


@CLAIMS.enter(
    "C1",
    "Divided by the chances for an input without content, more labels are right.",
    "Zhao et al. 2021, section 5",
)
def _calibration_helps(reader: Reader) -> Checks:
    for shots in SHOTS[1:]:
        gains = reader.differences(
            SENTIMENTS,
            (SHOWN, label_accuracy("content free", shots)),
            (SHOWN, label_accuracy("none", shots)),
        )
        yield Check(f"{SENTIMENTS}: accuracy gained behind {shots}", gains, least=0.0)


@CLAIMS.enter(
    "C2",
    "And it depends less on which demonstrations were drawn.",
    "Zhao et al. 2021, section 5: the variance across choices falls",
)
def _calibration_steadies(reader: Reader) -> Checks:
    differences = [
        reader.differences(
            SENTIMENTS,
            (SHOWN, spread("content free", shots)),
            (SHOWN, spread("none", shots)),
        )
        for shots in SHOTS[1:]
    ]
    means = tuple(float(np.mean(of_seed)) for of_seed in zip(*differences, strict=True))
    yield Check(f"{SENTIMENTS}: spread of accuracy between draws, gained", means, most=0.0)


# --- tuned ----------------------------------------------------------------------------------


@CLAIMS.enter(
    "P1",
    "A tuned soft prompt does what demonstrations do, and more.",
    "Lester et al. 2021, figure 1: prompt tuning against prompt design",
)
def _soft_prompt_beats_demonstrations(reader: Reader) -> Checks:
    for task in TASKS:
        for shots in (5, MOST):
            ahead = reader.differences(task, (SHOWN, loss(shots)), (SOFT, loss()))
            yield Check(f"{task}: {shots} demonstrations above it, nats", ahead, least=0.0)


@CLAIMS.enter(
    "P2",
    "On a small model tuned weights do more than a soft prompt.",
    "Lester et al. 2021, figure 1; here of low rank (Hu et al. 2021)",
)
def _weights_do_more(reader: Reader) -> Checks:
    for task in TASKS:
        ahead = reader.differences(task, (SOFT, loss()), (LOW_RANK, loss()))
        yield Check(f"{task}: soft prompt above low rank, nats", ahead, least=0.0)


@CLAIMS.enter(
    "P3",
    "So do keys and values in every layer.",
    "Li and Liang 2021, section 7.2: rows of the embedding alone do less",
)
def _keys_and_values_do_more(reader: Reader) -> Checks:
    for task in TASKS:
        ahead = reader.differences(task, (SOFT, loss()), (KEY_VALUE, loss()))
        yield Check(f"{task}: soft prompt above key/value prompt, nats", ahead, least=0.0)


@CLAIMS.enter(
    "P4",
    "A soft prompt that begins as an instruction ends no worse than one of random tokens.",
    "Lester et al. 2021, figure 3: initialisation matters for small models",
)
def _instruction_is_a_good_start(reader: Reader) -> Checks:
    for task in TASKS:
        ahead = reader.differences(task, (RANDOM_TOKENS, loss()), (SOFT, loss()))
        yield Check(f"{task}: random tokens above an instruction, nats", ahead, least=0.0)


@CLAIMS.enter(
    "P5",
    "More pairs are not the whole reason: tuned to no more than demonstrations are drawn from, a "
    "soft prompt still does more than they do.",
    "the question of P1, with equal pairs",
)
def _few_pairs_suffice(reader: Reader) -> Checks:
    for task in TASKS:
        ahead = reader.differences(task, (SHOWN, loss(MOST)), (FEW_PAIRS, loss()))
        yield Check(f"{task}: {MOST} demonstrations above it, nats", ahead, least=0.0)
