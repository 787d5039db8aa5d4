"""Tutorials: Markdown whose code runs, as a notebook, while the site is built.

A tutorial is a file of `docs/tutorials`, or any other page that draws a figure. Its Python blocks
run from top to bottom in one kernel; what they print and draw is put behind them. The same notebook
lies beside the page for Jupyter and Colab. Nothing else runs it: an error or a warning ends the
build.

A comment above a block says what its figure shows, which is its caption and its text for those
who cannot see it: `<!-- figure: Regret of every method -->`. A first line `<!-- needs: smollm2 -->`
says that the page is shown without outputs where the language model's weights are not at hand, and
that the notebook's first cell fetches them.
"""

import base64
import copy
import os
import re
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import nbclient
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from public_names import REPOSITORY

import promptax
from promptax.platforms import compile_quickly

AT_ONCE = 2  # kernels, a core each
SECONDS_FOR_A_CELL = 300
WIDTH = 88  # of what is printed, in characters: about what a page shows without scrolling
CODE = re.compile(
    r"(?:^<!-- figure: (?P<caption>.*?) -->\n)?^```python\n(?P<code>.*?)^```\n",
    re.DOTALL | re.MULTILINE,
)
FIGURE = "<!-- figure: "
NEEDS_WEIGHTS = re.compile(r"\A<!-- needs: smollm2 -->\n")
TABLE = re.compile(r'<table border="1" class="dataframe">(.*?)</table>', re.DOTALL)
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
FIRST_CELL = f"""\
# promptax is installed here if it is missing. SOURCE is a clone of the repository, or a wheel made
# in one by `python -m pip wheel --no-deps .`; in Colab, upload the wheel to the session first.
SOURCE = "promptax-{promptax.__version__}-py3-none-any.whl"

%matplotlib inline
try:
    import promptax
except ImportError:
    %pip install --quiet "{{SOURCE}}"
"""
FIRST_CELL_WITH_WEIGHTS = (
    FIRST_CELL.replace("import promptax\n", "import gguf, jinja2, promptax, tokenizers\n").replace(
        "{SOURCE}", "{SOURCE}[lm]"
    )
    + "    !promptax lm fetch\n"
)
LINK_TO_PAGE = re.compile(r"(\]\((?!\w+:)[^)#\s]*)\.md(?=[)#])")  # of Markdown, in these documents


class Figure(NamedTuple):
    """A figure that a tutorial drew: its address below `docs`, its caption, where its code is."""

    address: str
    caption: str
    page: str
    anchor: str


class Tutorial(NamedTuple):
    """A tutorial that ran: the page's Markdown, its notebook as JSON, and its figures as PNG."""

    page: str
    notebook: str
    figures: dict[Figure, bytes]


def is_tutorial(address: str, text: str) -> bool:
    """Whether the blocks of a page run while the site is built."""
    return address.startswith("tutorials/") or FIGURE in text


def run_all(sources: dict[str, str]) -> dict[str, Future]:
    """Start every tutorial, by its address below `docs`; the futures end as a `Tutorial`."""
    compiled = tempfile.TemporaryDirectory(prefix="promptax-docs-")  # goes when the build ends

    def run_there(address: str, text: str) -> Tutorial:
        return run(address, text, Path(compiled.name))

    pool = ThreadPoolExecutor(AT_ONCE, initializer=_stay_on_one_core, initargs=(iter(_cores()),))
    runs = {address: pool.submit(run_there, address, text) for address, text in sources.items()}
    pool.shutdown(wait=False)
    return runs


def _cores() -> list[int]:
    """The cores that kernels may have to themselves; none where the platform cannot say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _stay_on_one_core(cores: Iterator[int]) -> None:
    """Give a thread, and the kernels that it starts, one core: where two kernels share two cores,
    each waits for the other after every operation."""
    core = next(cores, None)
    if core is not None:
        os.sched_setaffinity(0, {core})


def run(address: str, text: str, compiled: Path) -> Tutorial:
    """Run the blocks of one tutorial, and lay out what they said.

    `compiled` is a folder of compiled programs, which all of them share.
    """
    runs_here = not NEEDS_WEIGHTS.match(text) or weights_are_here()
    notebook = notebook_of(text)
    begin = time.perf_counter()
    if runs_here:
        _execute(notebook, address, compiled)
    note = _note(address, time.perf_counter() - begin if runs_here else None)
    page, figures = _page_of(notebook, address, note)
    return Tutorial(page, written(notebook), figures)


def weights_are_here() -> bool:
    """Whether the language model was fetched (`promptax lm fetch`)."""
    named = os.environ.get("PROMPTAX_SMOLLM2")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named or cache / "promptax" / WEIGHTS).exists()


def notebook_of(text: str) -> nbformat.NotebookNode:
    """A notebook without outputs: its first cell of code sets up, the others are the page's."""
    first_cell = FIRST_CELL_WITH_WEIGHTS if NEEDS_WEIGHTS.match(text) else FIRST_CELL
    text = NEEDS_WEIGHTS.sub("", text)
    cells, place = [], 0
    for block in CODE.finditer(text):
        cells.append(new_markdown_cell(text[place : block.start()].strip()))
        cells.append(new_code_cell(block["code"].strip(), metadata={"caption": block["caption"]}))
        place = block.end()
    cells.append(new_markdown_cell(text[place:].strip()))
    setup = new_code_cell(first_cell.strip(), metadata={"tags": ["setup"]})
    cells.insert(1, setup)
    notebook = new_notebook(cells=[cell for cell in cells if cell.source])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # otherwise drawn at random
    return notebook


def written(notebook: nbformat.NotebookNode) -> str:
    """The notebook as JSON. Its links lead to the pages of the site, beside which it lies.

    Raises:
        nbformat.ValidationError: it is no notebook, and Jupyter would refuse or repair it.
    """
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK_TO_PAGE.sub(r"\1.html", cell.source)
    nbformat.validate(notebook)
    return nbformat.writes(notebook)


def _execute(notebook: nbformat.NotebookNode, address: str, compiled: Path) -> None:
    compile_quickly()
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "COLUMNS": str(WIDTH),
        "JAX_COMPILATION_CACHE_DIR": str(compiled),  # tutorials share programs
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",  # most of their time is compiling
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(
            notebook,
            timeout=SECONDS_FOR_A_CELL,
            startup_timeout=SECONDS_FOR_A_CELL,  # a busy machine takes its time
            extra_arguments=["--log-level=40"],  # errors; otherwise it notes that it uses TCP
            kernel_name="python3",
            coalesce_streams=True,  # what a loop prints is one output
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=environment)
    leave_out_stderr(notebook, address)


def leave_out_stderr(notebook: nbformat.NotebookNode, address: str) -> None:
    """Keep of a notebook that ran what readers should see.

    Raises:
        RuntimeError: a cell warned.
    """
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            if _complains(output):
                raise RuntimeError(f"{address} warned: {output.text}\nin\n{cell.source}")
        cell.outputs = [output for output in cell.outputs if not _on_stderr(output)]


def _on_stderr(output: nbformat.NotebookNode) -> bool:
    return output.output_type == "stream" and output.name == "stderr"


def _complains(output: nbformat.NotebookNode) -> bool:
    """Whether it is a warning; progress bars are on stderr, too, and are left out."""
    return _on_stderr(output) and "Warning" in output.text


def _note(address: str, seconds: float | None) -> str:
    file = Path(address).with_suffix(".ipynb").name
    where = (
        f"[notebook]({file}) for Jupyter and Colab, whose first cell says how to install promptax"
    )
    if seconds is None:
        return (
            '!!! warning "Not run"\n    The language model\'s weights were not here when this page '
            "was built, so that it shows code without results.\n    `promptax lm fetch` gets them "
            f"(93 MB). The page is a {where}.\n"
        )
    return (
        f'!!! note ""\n    This page is a {where}. It ran while the site was built, in '
        f"{seconds:.0f} s on CPU cores: every number and figure is real.\n"
    )


def _page_of(
    notebook: nbformat.NotebookNode, address: str, note: str
) -> tuple[str, dict[Figure, bytes]]:
    pieces, figures = [], {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            pieces.append(cell.source)
        elif "setup" not in cell.metadata.get("tags", []):
            drawn, said = {}, []
            for output in cell.outputs:
                piece, figure = _shown(output, cell, address, len(figures | drawn) + 1)
                said.append(piece)
                drawn |= figure
            # links lead to the code, not past it
            pieces += [f'<a id="{figure.anchor}"></a>' for figure in drawn]
            pieces += [f"```python\n{cell.source}\n```", *said]
            figures |= drawn
    title, _, below = "\n\n".join(pieces).partition("\n")
    return f"{title}\n\n{note}\n{below}\n", figures


def _shown(
    output: nbformat.NotebookNode, cell: nbformat.NotebookNode, address: str, number: int
) -> tuple[str, dict[Figure, bytes]]:
    """What one output looks like on the page, and its figure, if it is one."""
    if output.output_type == "stream":
        return _printed(output.text), {}
    if "image/png" in output.data:
        caption = cell.metadata.get("caption")
        if not caption:
            expected = f"{address}: expected a comment <!-- figure: … --> above"
            raise RuntimeError(f"{expected}\n{cell.source}")
        file = f"{Path(address).stem}-{number}.png"
        figure = Figure(str(Path(address).with_name(file)), caption, address, f"figure-{number}")
        picture = base64.b64decode(output.data["image/png"])
        return f"![{caption}]({file})\n\n*{caption}*", {figure: picture}
    table = TABLE.search(output.data.get("text/html", ""))
    if table:
        return f"<table>{table[1]}</table>", {}
    return _printed(output.data["text/plain"]), {}


def _printed(text: str) -> str:
    lines = "\n".join(folded(line) for line in text.rstrip().split("\n"))
    return f'<div class="output" markdown>\n\n```text\n{lines}\n```\n\n</div>'


def folded(line: str) -> str:
    """A long line of prose on several lines; one with columns, which have more than one space
    between them, as it is."""
    is_prose = "  " not in line
    return textwrap.fill(line, WIDTH, break_on_hyphens=False) if is_prose else line
