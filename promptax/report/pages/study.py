"""The page of a study: what is claimed and what was found, figure by figure.

Printed values stand beside ours.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from matplotlib.figure import Figure

from promptax.report import wording
from promptax.report.pages import html, panels, pointer

Row = Mapping[str, object]


class Part(NamedTuple):
    """The `figures` under one `heading`, each with the sentence that says what it shows; `text`,
    which stands above them; and a table."""

    heading: str
    text: str
    figures: Sequence[tuple[str, Figure]]
    table: Sequence[Mapping[str, str]] = ()
    """Rows with the same columns, shown above the figures."""


JUDGED = (
    "A claim about networks is judged by the median over networks that were pretrained from "
    "different seeds; one whose repetitions all diverged counts as outside the bounds. Where the "
    "median lies outside its bounds, five seeds and two standard errors are needed to say that the "
    "claim fails; until then it is undecided, as is a difference of exactly 0 where its sign is "
    "claimed. Where it lies inside, the claim holds: tentatively, "
    "while there are fewer than five seeds or two standard errors reach a bound. Bounds were set "
    "beforehand: from the printed values, or from what the paper shows or says without numbers."
)


def study_page(
    title: str,
    summary: str,
    claims: Sequence[Row],
    comparison: Sequence[Row],
    parts: Sequence[Part],
    details: Mapping[str, str],
    judged: str = JUDGED,
) -> str:
    """The whole page as one HTML document.

    - `claims`: rows with `claim`, `text`, `source`, `verdict`, `tentative`, and `checks`: rows with
      `what`, `number`, `expected`, `printed`, `verdict`, `seeds`.
    - `comparison`: rows with `what`, `steps`, `printed`, `ours`, `between_repetitions`,
      `between_pretrainings`, `pretrainings`, `diverged`, `tolerance`, `agrees`.
    - `details`: name → text, folded at the end of the page.
    - `judged`: how claims are judged, in words.
    """
    sections = [html.section("claims", "Claims", _claims(claims, judged))]
    links = {"claims": "claims"}
    for index, part in enumerate(parts):
        anchor = f"part-{index + 1}"
        links[anchor] = part.heading.split(":")[0]
        sections.append(html.section(anchor, part.heading, _part(part)))
    if comparison:
        links["printed"] = "printed numbers"
        sections.append(html.section("printed", "Printed numbers", _comparison(comparison)))
    links["details"] = "details"
    figures = [figure for part in parts for _, figure in part.figures]
    library = pointer.library() if any(map(panels.has_curves, figures)) else ""
    body = [*sections, html.details(details), library]
    return html.document(title, summary, links, "\n".join(body))


def tally(claims: Sequence[Row]) -> str:
    """How many claims have which verdict, in words."""
    counts = Counter(str(row["verdict"]) for row in claims)
    order = ("holds", "fails", "undecided", "not run")
    plural = {
        "holds": "hold",
        "fails": "fail",
        "undecided": "are undecided",
        "not run": "were not run",
    }
    singular = {
        "holds": "holds",
        "fails": "fails",
        "undecided": "is undecided",
        "not run": "was not run",
    }
    tentative = sum(bool(row["tentative"]) for row in claims)
    note = {"holds": f" ({tentative} tentatively)" if tentative else ""}
    parts = [
        f"{counts[verdict]} {(singular if counts[verdict] == 1 else plural)[verdict]}"
        f"{note.get(verdict, '')}"
        for verdict in order
        if counts[verdict]
    ]
    named = ""
    for verdict, heading in {"fails": "Failing", "undecided": "Undecided"}.items():
        if counts[verdict]:
            names = (str(row["claim"]) for row in claims if row["verdict"] == verdict)
            named += f" {heading}: {', '.join(names)}."
    return (
        f"Of {wording.count(len(claims), 'claim')} {wording.listed(parts)}.{named}" if parts else ""
    )


def _claims(claims: Sequence[Row], judged: str) -> str:
    """One line for each claim; its numbers unfold below it."""
    rows = "\n".join(_claim(row) for row in claims)
    return f"""<p class="note">{escape(judged)}</p>
<div class="claims">{rows}</div>"""


def _claim(row: Row) -> str:
    verdict = str(row["verdict"])
    checks = row["checks"]
    assert isinstance(checks, Sequence)
    cells = [
        (
            str(check["what"]),
            str(check["number"]),
            str(check["expected"]),
            str(check["printed"]),
            str(check["seeds"]),
            str(check["verdict"]),
        )
        for check in checks
    ]
    headings = ("number", "found", "expected", "printed or exact", "seeds", "verdict")
    inside = html.scrolling_table(f"Numbers of {row['claim']}", headings, cells, "numbers")
    mark = verdict.replace(" ", "-")
    return f"""<details class="claim"><summary><span class="name">{escape(str(row["claim"]))}</span>
<span class="verdict {mark}">{escape(verdict)}{", tentatively" if row["tentative"] else ""}</span>
<span class="text">{escape(str(row["text"]))} <span class="note">{escape(str(row["source"]))}</span>
</span></summary>
{inside}</details>"""


def _part(part: Part) -> str:
    drawn = "\n".join(
        f"<figure>{html.image(figure, reading)}\n"
        f"<figcaption>{escape(reading)}</figcaption></figure>\n{pointer.beneath(figure)}"
        for reading, figure in part.figures
    )
    if part.table:
        rows = [list(row.values()) for row in part.table]
        drawn = html.scrolling_table(part.heading, list(part.table[0]), rows, "numbers") + drawn
    return f"{html.paragraphs(part.text)}\n{drawn}"


AGREEMENT = {
    "exact": "are computed, not measured, and agree",
    "close": "lie within 0.1 nats or a fifth of the printed number",
    "within the spread": "only within the spread between pretrained networks",
    "no": "do not agree",
}
"""What a compared number's `agrees` means, in words."""


def agreement(rows: Sequence[Row]) -> str:
    """How many compared numbers agree, and why, in words."""
    counts = Counter(str(row["agrees"]) for row in rows)
    within = len(rows) - counts["no"]
    parts = [f"{counts[kind]} {text}" for kind, text in AGREEMENT.items() if counts[kind]]
    share = f"{within} of {len(rows)} printed numbers ({within / len(rows):.0%}) are met"
    met, measured = within - counts["exact"], len(rows) - counts["exact"]
    measured_share = (
        f"; of the {measured} that are measured, {met} ({met / max(1, measured):.0%}) are met"
    )
    return f"{share}: {wording.listed(parts)}{measured_share if 0 < measured < len(rows) else ''}."


def _comparison(rows: Sequence[Row]) -> str:
    cells = [
        (
            str(row["what"]),
            str(row["steps"]),
            wording.nats(float(str(row["printed"]))),
            wording.nats(float(str(row["ours"]))),
            wording.nats(float(str(row["between_repetitions"]))),
            wording.nats(float(str(row["between_pretrainings"])))
            if row["pretrainings"] != 1
            else "–",
            wording.nats(float(str(row["tolerance"]))),
            str(row["agrees"]),
        )
        for row in rows
    ]
    headings = (
        *("", "steps", "printed", "ours", "± repetitions", "± pretrainings", "tolerance"),
        "agrees",
    )
    return (
        f"<p>{escape(agreement(rows))} The tolerance is the largest of 0.1 nats, a fifth of the "
        "printed number, and the spread (most minus least) between pretrained networks. ± are "
        "standard deviations: between repetitions on one network, and between networks.</p>"
        + html.scrolling_table("Printed numbers", headings, cells)
    )
