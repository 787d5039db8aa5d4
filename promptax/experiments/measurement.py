"""What a condition measures. An open set: one class, wherever it lies.

A sweep, a study, the executors and the pages know conditions, and a condition holds a measurement
and a seed. What is measured is the measurement's own affair: `Experiment` pretrains a network and
steers it to targets, `Demonstrations` shows word pairs to a language model. None of the shared code
asks which one it has.
"""

import abc
from collections.abc import Callable, Iterator, Sequence

import xarray as xr

from promptax.fit.fitted import Checkpoint
from promptax.progress import Callback
from promptax.specs import Spec

Announce = Callable[[str], Sequence[Callback]]
"""What begins now, in words → who hears how far it is."""
Keep = Callable[[str], Checkpoint | None]
"""The name of a fit → where its state is kept, None: nowhere."""
Stage = tuple[str, xr.Dataset]
"""The name of a group of results, and the results."""


def silent(what: str) -> Sequence[Callback]:
    """No progress."""
    del what
    return ()


def keep_nothing(name: str) -> None:
    """No checkpoints."""
    del name


class Measurement(Spec, open_as="measurement", default="Experiment"):
    """Something that can be measured with a seed, described by plain fields.

    To implement one:

    - its fields: numbers, words, tuples and other specs. Their JSON is the measurement's identity:
      results are found by it, also on other machines. A field that is added once results are stored
      is `specs.later(default)`.
    - `stages`: measures, and yields labelled results as they come.
    - `work`: its cost, to say how long a sweep still takes.
    - `examples`: small ones, for the contract tests.

    Optional:

    - `verify`: refuses before any compute where something is missing, such as a model's weights.
    - `shared`: the part that other measurements begin with too. It is then measured once.
    - `numbers`: what goes into the table of a study.
    """

    @abc.abstractmethod
    def stages(
        self, seed: int, announce: Announce = silent, keep: Keep = keep_nothing
    ) -> Iterator[Stage]:
        """Measure stage by stage; yields the name and the results of each.

        The same seed gives the same numbers. Names differ from each other and are names of groups
        in a netCDF file: letters, digits, "-" and ".". Results have the axes of `promptax.axes` and
        units in attributes.

        Args:
            seed: everything random comes from it.
            announce: called with what begins; its callbacks are to be told the progress. Logs
                among them (`promptax.fit.Log`) write down every fit that they are given to.
            keep: where the state of the fit of that name is kept, so that a measurement that was
                killed goes on where it was. Names of files.
        """

    @abc.abstractmethod
    def work(self) -> float:
        """A rough cost, above 0. It is compared with that of others: numbers that are touched, such
        as the size of a network times the tokens that it reads."""

    def verify(self) -> None:
        """Refuse what cannot be measured here.

        Raises:
            ValueError, FileNotFoundError: something is missing; the message says how to get it.
        """

    def shared(self) -> "Measurement | None":
        """The part that it has in common with others, None: nothing.

        It is the first stage, with the same seed, and keeps one fit. Conditions whose shared parts
        are equal keep that fit in one place; whoever comes second waits for it, and reads it.
        """
        return None

    def numbers(self, results: xr.DataTree) -> list[dict[str, object]]:
        """Rows of a table, from the results of all stages: one for whatever was repeated."""
        del results
        return []
