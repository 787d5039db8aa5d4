"""The skeleton of a page: one self-contained HTML document, text, tables and figures inside.

Figures are inline images, SVG unless dense, so they are crisp at any size. A page is whole without
scripts: the browser's own elements do the folding, scrolling and printing, and what answers the
pointer (`pointer`) comes on top. All text is escaped, but for what a caller passes as markup.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np
from matplotlib.figure import Figure
from PIL import Image  # comes with matplotlib

from promptax.report.figures import style
from promptax.report.pages.style_sheet import CSS

_LARGE = 500_000  # bytes; an SVG above this has thousands of marks
_MARK = 100  # bytes, of which a mark in an SVG has more


def document(title: str, summary: str, links: Mapping[str, str], body: str) -> str:
    """A whole page.

    - `summary`: plain text; an empty line begins a paragraph.
    - `links`: anchors of the body and what they are called.
    - `body`: markup.
    """
    listed = "".join(
        f'<li><a href="#{anchor}">{escape(name)}</a></li>' for anchor, name in links.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="promptax">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<div class="summary">{paragraphs(summary)}</div>
</header>
<nav aria-label="Contents"><ul>{listed}</ul></nav>
<main>
{body}
</main>
<footer>Made by promptax. The page is a single file and loads nothing.</footer>
</body>
</html>
"""


def section(anchor: str, heading: str, body: str) -> str:
    """A part of the page with a heading that links lead to; `body`: markup."""
    return f'''<section aria-labelledby="{anchor}">
<h2 id="{anchor}">{escape(heading)}</h2>
{body}
</section>'''


def scrolling_table(
    label: str, headings: Sequence[str], rows: Iterable[Sequence[str]], kind: str = ""
) -> str:
    """A table that scrolls in its own frame; a row's first cell is its heading. Plain text.

    `kind`: a class of the style sheet.
    """
    top = "".join(f'<th scope="col">{escape(text)}</th>' for text in headings)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>\n"
        for first, *cells in rows
    )
    name = escape(label, quote=True)
    return f'''<div class="scroll" role="region" tabindex="0" aria-label="{name}">''' + (
        f'<table class="{kind}"><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>'
    )


def details(details: Mapping[str, str]) -> str:
    """A folded list of what is needed to make the same page again."""
    entries = "".join(
        f"<dt>{escape(str(name))}</dt><dd>{escape(str(text))}</dd>"
        for name, text in details.items()
    )
    return f"""<details id="details"><summary>How this was made</summary>
<dl>{entries}</dl>
</details>"""


def image(figure: Figure, alternative: str) -> str:
    """A figure as an inline image: SVG, or a PNG of 256 colours where that is much smaller."""
    with style.house_style():
        data = _svg(figure) if _marks(figure) * _MARK <= _LARGE else b""
        kind = "svg+xml" if 0 < len(data) <= _LARGE else "png"
        data = data if kind == "svg+xml" else _png(figure)
    width, height = (round(100 * inches) for inches in figure.get_size_inches())
    encoded = base64.b64encode(data).decode("ascii")
    return (
        f'<img src="data:image/{kind};base64,{encoded}" width="{width}" height="{height}" '
        f'alt="{escape(alternative, quote=True)}">'
    )


def _marks(figure: Figure) -> int:
    """How many marks its clouds of points have."""
    clouds = [cloud for axes in figure.axes for cloud in axes.collections]
    return sum(len(np.asarray(cloud.get_offsets())) for cloud in clouds)


def _svg(figure: Figure) -> bytes:
    """The same figure, the same bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": "promptax"})
    return drawn.getvalue()


def _png(figure: Figure) -> bytes:
    """Nearly two dots per pixel of the page, in few colours: no figure has many."""
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", dpi=200)
    full.seek(0)
    few = Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(small, format="png", optimize=True)
    return small.getvalue()


def paragraphs(text: str) -> str:
    """Plain text as paragraphs; an empty line begins a new one."""
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    return "".join(f"<p>{escape(part)}</p>" for part in parts)


def emphasised(markup: str) -> str:
    """Words between asterisks, emphasised; for text of this library only."""
    pieces = markup.split("*")
    return "".join(f"<em>{piece}</em>" if i % 2 else piece for i, piece in enumerate(pieces))
