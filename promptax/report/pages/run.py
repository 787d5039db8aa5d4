"""The page of an experiment: for each target a table, figures, and what they say."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import xarray as xr

from promptax.report import figures, readings, summaries, wording
from promptax.report.pages import html
from promptax.report.pages.pointer import pointer
from promptax.report.tables import table

Target = tuple[xr.Dataset, xr.Dataset | None]
"""The results on one target, and the internal states there, None: not shown."""

_INTRODUCTION = """\
A *sequence predictor* reads tokens one by one and gives a probability to each possible next one; \
its loss is minus the logarithm of the probability it gave to what then came, in nats. *Regret* \
is the part of this loss that knowledge could have saved: the loss minus that of the *oracle*, \
which is told which source produces the tokens (which coin is being tossed, say), added up over \
the tokens read. Less is better; each nat means that the sequence was given a probability 2.7 \
times smaller than the oracle gave it.

Rows called *bayes* are the exact optimum for a predictor that is not told the source but \
knows which sources the target consists of: for a single source it equals the oracle, for a \
mixture it must first find out which one it faces, and no predictor does better on average. \
Rows called *prior bayes* are the ideal of a network before tuning, which expects what it met in \
pretraining, with or without the most helpful text read first. *Prompts* leave the network as it \
is and change only what it reads first; *weight methods* change the network itself."""


def page(title: str, summary: str, targets: Sequence[Target], details: Mapping[str, str]) -> str:
    """The whole report as one HTML document.

    - `summary`: plain text; an empty line begins a paragraph.
    - `targets`: per target its results, and its internal states or None (see `figures`).
    - `details`: name → text (versions, seeds, command, durations), folded at the end of the page.

    All text is escaped; nothing in it can become markup.

    Raises:
        KeyError: a target's results lack regrets, as what `evaluate` returns does: take
            `promptax.regret` of it.
    """
    anchors = [f"target-{index + 1}" for index in range(len(targets))]
    names = [summaries.target_name(results) for results, _ in targets]
    links = dict(zip(anchors, names, strict=True)) | {"details": "details"}
    sections = [_section(anchor, *target) for anchor, target in zip(anchors, targets, strict=True)]
    introduction = html.emphasised(html.paragraphs(_INTRODUCTION))
    reading = html.section("reading", "How to read this page", introduction)
    compared = pointer([results for results, _ in targets]) if targets else ""
    body = "\n".join([reading, compared, *sections, html.details(details)])
    return html.document(title, summary, links, body)


def _section(anchor: str, results: xr.Dataset, states: xr.Dataset | None) -> str:
    name = summaries.target_name(results)
    shown = [
        (
            "Regret after tuning",
            figures.regret_bars(results),
            readings.regret_bars(results),
            f"Bar chart of cumulative regret in nats on {name}, one bar per predictor.",
        ),
        (
            "Regret over time",
            figures.regret_over_time(results),
            readings.regret_over_time(results),
            f"Line chart of cumulative regret in nats over tokens on {name}, a line per predictor.",
        ),
        (
            "Tuning loss",
            figures.tuning_curves(results),
            readings.tuning_curves(results),
            f"Line chart of training loss in nats over tuning steps on {name}.",
        ),
    ]
    if states is not None:
        shown.append(
            (
                "Internal states",
                figures.internal_states(states),
                readings.internal_states(states),
                f"Small scatter plots of internal states on {name}, one panel per predictor.",
            )
        )
    drawn = "\n".join(
        f"<h3>{heading}</h3>\n<figure>{html.image(figure, alternative)}\n"
        f"<figcaption>{escape(reading)}</figcaption></figure>"
        for heading, figure, reading, alternative in shown
    )
    body = f"""{_setting(results)}
<p class="headline">{escape(readings.headline(results))}</p>
<h3>Table of regret</h3>
{_table(results)}
{drawn}"""
    return html.section(anchor, f"Target: {name}", body)


def _setting(results: xr.Dataset) -> str:
    """One line on what was pretrained and tuned, from the attributes that are there."""
    facts = results.attrs
    parts = [
        f"network: {facts['network']}" if "network" in facts else "",
        f"pretrained on {facts['pretraining']}" if "pretraining" in facts else "",
        f"in sequences of {facts['training_length']} tokens" if "training_length" in facts else "",
        f"tuned on {facts['tuning_length']} tokens" if "tuning_length" in facts else "",
        f"evaluated on {results.sizes['time']} tokens",
    ]
    text = wording.sentence(", ".join(part for part in parts if part))
    return f'<p class="note">{escape(text)}</p>'


def _table(results: xr.Dataset) -> str:
    """The rows by group, a wide table scrolling in its own frame."""
    lengths = summaries.evaluated_lengths(results)
    rows = {str(row["predictor"]): row for row in table(results)}
    diverged = any(row["diverged"] for row in rows.values())
    has_prompts = any(row.get("found") for row in rows.values())
    extra = ["diverged"] * diverged + ["prompts"] * has_prompts
    heads = "".join(
        f'<th scope="col">{wording.count(length, "token")}</th><th scope="col">quartiles</th>'
        for length in lengths
    )
    heads += "".join(f'<th scope="col">{text}</th>' for text in extra)
    bodies = "".join(
        f'<tbody><tr><th scope="rowgroup" colspan="{1 + 2 * len(lengths) + len(extra)}">'
        f"{escape(group)}</th></tr>"
        + "".join(_row(rows[name], lengths, diverged, has_prompts) for name in members)
        + "</tbody>\n"
        for group, members in summaries.groups(results).items()
    )
    label = escape(f"Regret on {summaries.target_name(results)}", quote=True)
    return f"""<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table>
<thead><tr><th scope="col">predictor</th>{heads}</tr></thead>
{bodies}</table></div>
<p class="note">Cumulative regret in nats: the median over repetitions ± the standard error that
comes from the finite number of sequences, and the quartiles over repetitions (two standard errors
either side where there is only one).</p>"""


def _row(
    row: Mapping[str, object], lengths: Iterable[int], diverged: bool, has_prompts: bool
) -> str:
    cells = [f'<th scope="row">{escape(str(row["predictor"]))}</th>']
    for length in lengths:
        regret, deviation, low, high = (
            float(str(row[f"{part}_{length}"]))
            for part in ("regret", "standard_error", "low", "high")
        )
        if regret != regret:
            cells.append('<td class="main">–</td><td class="more">–</td>')
            continue
        error = f'<span class="more"> ± {wording.nats(deviation)}</span>'
        cells.append(f'<td class="main">{wording.nats(regret)}{error}</td>')
        cells.append(f'<td class="more">{wording.nats(low)} to {wording.nats(high)}</td>')
    if diverged:
        count = f"{row['diverged']} of {row['repetitions']}" if row["diverged"] else ""
        cells.append(f"<td>{count}</td>")
    if has_prompts:
        cells.append(f'<td class="found">{_prompts(str(row.get("found", "")))}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _prompts(prompts: str) -> str:
    """Each prompt that was found once, and how often; symbols of one character without spaces."""
    lines = []
    for prompt, times in Counter(prompts.split(" · ") if prompts else ()).items():
        symbols = prompt.split(" ")
        text = escape("".join(symbols) if all(len(symbol) == 1 for symbol in symbols) else prompt)
        lines.append(f"<code>{text}</code>" + (f" × {times}" if times > 1 else ""))
    return "<br>".join(lines)
