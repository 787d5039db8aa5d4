"""The figure of attention heads: what each one does, layer by layer."""

import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from promptax.report.figures import canvas, style

_MEASURES = {
    "previous_token": "row before",
    "prefix_matching": "prefix matching",
    "copying": "copying",
}
_COLORS = "Blues"


def attention_heads(heads: xr.Dataset) -> Figure:
    """Previous token, prefix matching and copying of each head [layer, head], from
    `promptax.analysis.induction_heads`; darker is more, from 0 to 1.

    Raises:
        KeyError: a Dataset that is not from `induction_heads`.
    """
    left, gap, top = 0.6, 0.25, 0.85
    side = (style.WIDTH - left - 2 * gap - 0.2) / len(_MEASURES)
    tall = min(max(0.5, side * heads.sizes["layer"] / heads.sizes["head"]), 2 * side)
    change = float(heads["repetition_effect"])
    notes = canvas.wrapped_note(
        "A head that attends to all rows alike: "
        + ", ".join(
            f"{words} {float(heads[f'uniform_{name}']):.2f}" for name, words in _MEASURES.items()
        )
        + f". Loss of the second half minus the first: {change:+.3f} nats."
    )
    bottom = 1.15 + 0.175 * len(notes)
    height = top + tall + bottom
    norm = Normalize(0, 1)
    with style.house_style():
        figure = Figure(figsize=(style.WIDTH, height))
        canvas.figure_title(figure, "Attention heads on random tokens that come twice")
        canvas.footnotes(figure, notes)
        for index, (name, words) in enumerate(_MEASURES.items()):
            start = left + index * (side + gap)
            box = start / style.WIDTH, bottom / height, side / style.WIDTH, tall / height
            panel = figure.add_axes(box)
            values = heads[name].transpose("layer", "head").values
            panel.imshow(values, cmap=_COLORS, norm=norm, aspect="auto", origin="lower")
            panel.set_title(words)
            panel.grid(False)
            panel.set_xlabel("head")
            panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            if index == 0:
                panel.set_ylabel("layer")
            else:
                panel.set_yticklabels([])
        bar = figure.add_axes((0.3, (bottom - 0.75) / height, 0.4, 0.1 / height))
        figure.colorbar(ScalarMappable(norm, _COLORS), cax=bar, orientation="horizontal")
        bar.tick_params(labelsize=style.NOTE, length=0)
        bar.grid(False)
    return figure
