"""The prompt arena: what its tables, its claims and its page say of made-up results."""

import numpy as np
import pytest
import xarray as xr

from promptax.steering import Annealing
from promptax.studies.prompt_arena import page
from promptax.studies.prompt_arena.claims import claims
from promptax.studies.prompt_arena.contest import GROUP
from promptax.studies.prompt_arena.reading import (
    Reader,
    choose_label,
    front,
    judge_label,
    leaderboard,
    table,
)


def made_up(gaps, budgets=(1.0, 2.0, 4.0), said=0.0):
    """Results of a contest: gaps [run, budget] in nats, where the median prompt has 2."""
    gaps = np.array(gaps)
    variables = {
        "gap": (("repetition", "budget"), gaps),
        "typical": ((), 2.0),
        "elapsed": ((), 3.0),
        "spent": ("repetition", np.full(len(gaps), budgets[-1])),
        "tokens_forward": ("repetition", np.arange(len(gaps))),
        "tokens_backward": ("repetition", np.zeros(len(gaps))),
        "said": ("repetition", np.full(len(gaps), said)),
    }
    dataset = xr.Dataset(variables, {"budget": list(budgets)})
    return xr.DataTree.from_dict({GROUP: dataset})


GOOD = [[2.0, 0.2, 0.0]] * 5  # solved at a cost of 4
BAD = [[2.0, 2.0, 1.0]] * 5
RESULTS = {
    "exact · hard 4^7 seed 1 · Good": made_up(GOOD),
    "exact · hard 4^7 seed 1 · Bad": made_up(BAD),
    "exact · hard 4^7 seed 1 · Same": made_up(BAD),
    "exact · hard 4^7 seed 1 · hindsight: Bad, rate 2": made_up(GOOD),
    "exact · easy 4^7 seed 0 · Good": made_up(GOOD),
    "exact · easy 4^7 seed 0 · Bad": made_up(GOOD),
    "exact · easy 4^7 seed 0 · Same": made_up(GOOD),
    "exact · easy 4^7 seed 0 · hindsight: Bad, rate 2": made_up(GOOD),
    "sampled · hard 4^7 seed 1 · Good": made_up(BAD),
    "sampled · hard 4^7 seed 1 · beside: Soft, learning rate 1": made_up([[2.0, 1.0, -0.4]] * 5),
}


def test_the_table_ranks_what_is_told_apart_and_prints_ties():
    rows = table(Reader(RESULTS), "exact")
    assert [(row.search, row.place) for row in rows] == [("Good", 1), ("Bad", 2), ("Same", 2)]
    good, bad, _ = rows
    assert good.gap == 0 and (good.solved["hard"], good.solved["easy"]) == (1.0, 1.0)
    assert np.isnan(good.solved["plateau"]), "there is none"
    assert (good.running_time, good.reached, good.instances) == (4.0, 2, 2)
    assert (good.wins, bad.wins) == (0.75, 0.375), "always, on one of two instances; else a tie"
    assert (bad.solved["hard"], bad.solved["easy"]) == (0.0, 1.0)
    assert (bad.running_time, bad.reached) == (4.0, 1), "on the easy instance; never on the other"
    assert bad.gap == pytest.approx(0.25), "half of the middle half is 0.5, half of it 0"
    assert bad.behind_first == 0.75, "always on one instance, a tie on the other"
    assert bad.hindsight == 0.0
    assert np.isnan(good.hindsight)


def test_tracks_are_never_mixed_and_what_is_beside_is_not_ranked():
    rows = leaderboard(Reader(RESULTS))
    assert [(row["track"], row["search"]) for row in rows] == [
        *(("exact", name) for name in ("Good", "Bad", "Same")),
        ("sampled", "Good"),
    ]
    sampled = {name: tree for name, tree in RESULTS.items() if name.startswith("sampled")}
    whole = page.parts(sampled)
    assert [part.heading for part in whole] == [
        "What this is",
        "Sampled track",
        "Beside the sampled track: what gradients tune",
        "What each search does",
    ]
    assert whole[2].table == [
        {"what": "Soft", "learning rate": "1", "gap": "-0.200", "95 %": "-0.20 to -0.20"},
        {"what": "Good (search)", "learning rate": "–", "gap": "0.500", "95 %": "0.50 to 0.50"},
    ]


def test_a_rate_is_chosen_by_some_runs_and_judged_by_the_others():
    """At rate 2 the runs that choose are lucky, and nobody profits from it."""
    runs = [[2.0, 1.0, gap] for gap in (-2.0, 1.0, -2.0, 1.0)]
    results = RESULTS | {
        "sampled · hard 4^7 seed 1 · beside: Soft, learning rate 2": made_up(runs),
    }
    reader = Reader(results)
    label = choose_label(reader, "sampled", reader.tuners("sampled")["Soft"])
    assert label == "beside: Soft, learning rate 2"
    assert judge_label(reader, "sampled", label) == (0.5, (0.5, 0.5))


def test_labels_stand_beside_the_class_that_they_are():
    names = ("Annealing", "Hill climbing", "Raced GradientSearch by UCB")
    results = {f"exact · hard 4^7 seed 1 · {name}": made_up(GOOD) for name in names}
    text = page.parts(results)[-1].text
    assert "Annealing (in the tables: Hill climbing): Searches a hard prompt" in text
    assert "Raced (in the tables: Raced GradientSearch by UCB): Another search" in text


def test_rates_stand_beside_each_other():
    """A search at its default, raced, and in hindsight; what has no rate stays out."""
    raced = {
        f"{name} · Bad, rate raced": made_up(GOOD)
        for name in ("exact · hard 4^7 seed 1", "exact · easy 4^7 seed 0")
    }
    parts = page.parts(RESULTS | raced)
    (rates,) = (part for part in parts if part.heading == "Rates in the exact track")
    assert rates.table == [
        {
            "search": "Bad",
            "rate": "rate",
            "default": "0.250",
            "raced": "0.000",
            "hindsight": "0.000",
        }
    ]


def test_what_a_search_does_is_the_first_sentence_of_its_class():
    assert page.first_sentence(Annealing).startswith("Searches a hard prompt by random changes")
    assert page.first_sentence(Annealing).endswith("worse ones while it is hot.")


def test_the_leaderboard_says_what_was_spent():
    easy = {name: tree for name, tree in RESULTS.items() if "Good" in name and "exact" in name}
    (good,) = leaderboard(Reader(easy))
    names = ("spent", "tokens_forward", "tokens_backward", "seconds")
    assert [good[name] for name in names] == [4.0, 2.0, 0.0, 6.0], "means of runs; seconds of all"


def test_what_differs_by_rounding_is_a_tie():
    """Gaps that differ by 1e-15 are one gap, and one below the last target is none."""
    near = RESULTS | {
        "exact · hard 4^7 seed 1 · Same": made_up([[2.0, 2.0, 1.0 + 1e-15]] * 5),
        "exact · easy 4^7 seed 0 · Same": made_up([[2.0, 0.2, 1e-9]] * 5),
    }
    assert [row.place for row in table(Reader(near), "exact")] == [1, 2, 2]


def test_a_search_that_wins_although_its_mean_is_larger_shares_no_place():
    """Intervals are read on both sides: of 40 runs 26 are a little better, and 14 much worse, so
    that the interquartile mean is the larger one."""
    flat, spread = [[2.0, 1.0]] * 40, [[2.0, 0.9]] * 26 + [[2.0, 1.9]] * 14
    names = [f"exact · hard 4^7 seed {seed}" for seed in range(3)]
    results = {
        f"{name} · {label}": made_up(runs, (1.0, 2.0))
        for name in names
        for label, runs in (("Flat", flat), ("Spread", spread))
    }
    rows = table(Reader(results), "exact")
    assert [(row.search, row.place) for row in rows] == [("Spread", 1), ("Flat", 2)]
    assert rows[0].gap > rows[1].gap


def test_those_that_lead_together_are_named_together():
    leading = front(Reader(RESULTS), "exact")
    assert [(names, cost) for names, cost, _ in leading] == [
        (["Good", "Bad", "Same"], 1.0),
        (["Good"], 2.0),
        (["Good"], 4.0),
    ]


def test_what_was_not_run_everywhere_is_left_out_by_name():
    part = RESULTS | {"exact · hard 4^7 seed 2 · Good": made_up(BAD)}
    assert Reader(part).incomplete("exact") == ["hard 4^7 seed 2"]
    assert Reader(part).instances("exact") == Reader(RESULTS).instances("exact")
    assert len(Reader(part).gaps("exact", "Good")) == 2
    assert not Reader(part).incomplete("sampled")


def verdict(name, results):
    return next(claim for claim in claims(results) if claim.name == name).verdict


def test_a_search_that_reports_less_than_the_minimum_is_caught():
    assert verdict("A1", RESULTS) == "holds"
    wrong = {"exact · hard 4^7 seed 1 · hindsight: Bad, rate 2": made_up(GOOD, said=-0.01)}
    assert verdict("A1", RESULTS | wrong) == "fails"
    assert verdict("A1", {}) == "not run"


def test_easy_controls_are_those_that_every_search_solves():
    assert verdict("E1", RESULTS) == "holds"
    once = {"exact · easy 4^7 seed 0 · Same": made_up([*GOOD[:4], BAD[0]])}
    (check,) = next(c for c in claims(RESULTS | once) if c.name == "E1").checks
    assert (check.verdict, check.values) == ("fails", (0.8,))
    assert check.what.endswith("below it: Same")


def test_only_restarts_solve_hard_instances_and_each_of_them():
    """One instance where nothing is solved is not hidden by others."""
    budgets = (512.0, 1024.0, 2048.0)
    good, bad = (made_up(runs, budgets) for runs in (GOOD, BAD))
    one = {"exact · hard 4^7 seed 1 · Restarted X": good, "exact · hard 4^7 seed 1 · Y": bad}
    assert verdict("H1", one) == "holds"
    (check,) = next(claim for claim in claims(one) if claim.name == "H1").checks
    assert "Restarted X" in check.what
    two = {"exact · hard 4^7 seed 2 · Restarted X": bad, "exact · hard 4^7 seed 2 · Y": good}
    assert verdict("H1", one | two) == "fails", "Y solves the second, but is not begun anew"
    assert verdict("H1", RESULTS) == "not run", "its budget is no bound for restarts"


def test_plateaus_are_left_by_few():
    plateau = {
        f"exact · plateau 4^7 seed 1 · {name}": made_up(runs)
        for name, runs in (("Good", GOOD), ("Bad", BAD), ("Same", BAD))
    }
    assert verdict("P1", RESULTS) == "not run"
    assert verdict("P1", plateau) == "holds"
    assert verdict("P1", plateau | {"exact · plateau 4^7 seed 1 · Good": made_up(BAD)}) == "fails"
    assert verdict("P1", plateau | {"exact · plateau 4^7 seed 1 · Bad": made_up(GOOD)}) == "fails"
    opened = {
        name.replace("plateau", "open plateau"): made_up(BAD if name.endswith("Good") else GOOD)
        for name in plateau
    }
    assert verdict("P1", plateau | opened) == "holds", "the other rule is another kind"
    assert verdict("P1", opened) == "not run"
    good = next(row for row in table(Reader(plateau | opened), "exact") if row.search == "Good")
    assert (good.solved["plateau"], good.solved["open"]) == (1.0, 0.0)


def test_soft_rows_are_held_against_the_best_prompt_of_symbols():
    name = "network · network 4^6 seed 1"
    network = {f"{name} · beside: SoftPrompt, learning rate 1": made_up([[2.0, 1.0, -0.4]] * 5)}
    assert verdict("N1", RESULTS) == "not run"
    assert verdict("N1", network) == "holds"
    for gaps in (BAD, GOOD):
        worse = {f"{name} · beside: SoftPrompt, learning rate 1": made_up(gaps)}
        assert verdict("N1", worse) == "fails", "as good as the best prompt is not below it"


def test_hard_instances_are_hard_if_half_of_the_searches_say_so():
    assert verdict("H2", RESULTS) == "holds"
    solved = {"exact · hard 4^7 seed 1 · Same": made_up([*GOOD[:3], *BAD[:2]])}
    assert verdict("H2", RESULTS | solved) == "fails", "the median search solves 3 of 5 runs"
