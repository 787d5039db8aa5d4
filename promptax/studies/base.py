"""Studies: one file for each paper; its conditions as data."""

import abc
from typing import ClassVar

from promptax.specs import Spec
from promptax.sweeps import Condition


class Study(Spec):
    """To implement one: `conditions`, by name, for each of the scales."""

    scales: ClassVar[tuple[str, ...]] = ("smoke", "small", "paper")

    @abc.abstractmethod
    def conditions(self, scale: str) -> dict[str, Condition]:
        """What is measured at that scale, by name; "smoke" takes seconds."""
