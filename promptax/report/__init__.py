"""How is it shown? Figures, sentences, tables and one self-contained page.

Knows datasets only: no predictor, no task, no disk.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptax.report import figures, readings
    from promptax.report.pages.run import page
    from promptax.report.tables import table, to_csv

__all__ = ["figures", "page", "readings", "table", "to_csv"]

_PLACES = {"page": "pages.run", "table": "tables", "to_csv": "tables"}


def __getattr__(name: str) -> Any:
    """What `__all__` names, imported when asked for: whoever draws nothing need not wait for
    matplotlib."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_PLACES.get(name, name)}")
    thing = vars(module)[name] if name in _PLACES else module
    globals()[name] = thing  # the next time, Python finds it without asking
    return thing


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
