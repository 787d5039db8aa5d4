"""The figures of a network that is trained: which curves are shown, and what is said of others."""

import numpy as np
import xarray as xr

from promptax.report.figures import learning


def final(**ends):
    """Regret that grows evenly to these ends."""
    regret = np.array([np.linspace(0, end, 5) for end in ends.values()])
    coords = {"predictor": list(ends), "time": np.arange(1, 6)}
    return xr.Dataset({"regret": (("predictor", "time"), regret)}, coords, {"target": "coins"})


def test_bayes_stays_beside_a_network_that_equals_it():
    equal = final(network=2.0, oracle=0.0, bayes=2.0)
    assert "network 2.00" in learning.regret_reading(equal)
    assert "bayes 2.00" in learning.regret_reading(equal)
    named = final(network=2.0, counting=2.0, bayes=2.0, oracle=0.0)
    assert "bayes" not in learning.regret_reading(named)  # it stands there as counting
    assert "bayes" in learning.regret_reading(final(network=2.0, counting=3.0, bayes=2.0))


def draw(panels, log_up=True):
    figure = learning.lines("title", panels, "across", "up", "Its note.", log_up=log_up)
    return figure, " ".join(text.get_text() for text in figure.texts)


def test_curves_that_a_logarithmic_axis_cannot_show_are_named():
    shown, zero = ([1, 2], [0.1, 0.2]), ([1, 2], [0.0, 0.0])
    figure, said = draw({"": {"some": shown, "nothing": zero}, "second": {"nothing": zero}})
    assert "Not shown, since there is no finite value above 0: nothing, nothing (second)." in said
    assert [len(panel.get_lines()) > 0 for panel in figure.axes] == [True, False]
    assert [panel.get_yscale() for panel in figure.axes] == ["log", "linear"]
    assert "Not shown" not in draw({"": {"some": shown, "nothing": zero}}, log_up=False)[1]
    undefined = [1, 2], [np.nan, np.inf]
    said = draw({"": {"some": shown, "diverged": undefined}}, log_up=False)[1]
    assert "Not shown, since there is no finite value: diverged." in said
