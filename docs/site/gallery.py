"""The gallery: every figure of the tutorials as a card that leads to the code which made it."""

from notebooks import Figure

ADDRESS = "gallery.md"
PLACE = "<!-- gallery -->"  # where the cards go
KEPT_FIGURES = (  # figures that took long, and the page that says how each was made
    Figure(
        "demo.png",
        "Every method on one coin and on two coins: what the demo draws.",
        "how_to/demo.md",
        "draw-its-figures-again",
    ),
    Figure(
        "word_task_past_tenses.png",
        "Past tenses: a soft prompt against ten demonstrations, on SmolLM2-135M.",
        "language_models.md",
        "past-tenses-update-by-update",
    ),
)


def with_cards(page: str, figures: list[Figure]) -> str:
    """The gallery's page with a card for each figure."""
    cards = [card(figure) for figure in (*KEPT_FIGURES, *figures) if figure.page != ADDRESS]
    grid = '<div class="gallery" markdown>\n\n' + "\n\n".join(cards) + "\n\n</div>"
    return page.replace(PLACE, grid)


def card(figure: Figure) -> str:
    """A figure and its caption, both links to the code."""
    code = figure.page + (f"#{figure.anchor}" if figure.anchor else "")
    return (
        '<div class="card" markdown>\n\n'
        f"[![{figure.caption}]({figure.address})]({code})\n\n"
        f"[{figure.caption}]({code})\n\n</div>"
    )
