"""How the commands talk: results to stdout, everything else to stderr, and progress only to a person."""

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "DONE", "FAILED", "INTERRUPTED", "SOME_UNREADABLE",
    "add_row", "bar", "counted", "duration", "percent", "printable", "progress", "quiet", "say", "say_error", "set_debug", "show", "steps",
    "table", "waiting",
]  # fmt: skip

DONE, SOME_UNREADABLE, FAILED, INTERRUPTED = 0, 1, 2, 130

_PIPED_WIDTH = 10_000  # a file has no right edge: nothing is folded or cut
_BAR_CELLS = 24

T = TypeVar("T")


def say(message: str) -> None:
    """Something for people, on stderr."""
    if _QUIET[0]:
        return
    text = "\n".join(printable(line) for line in message.split("\n"))
    print(f"videoswin: {text}", file=sys.stderr, flush=True)


_DEBUG = [False]
_QUIET = [False]


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the block nothing is said. For the other ones of several processes that do one thing; an error of theirs that
    leaves the block is said."""
    _QUIET[0] = True
    try:
        yield
    finally:
        _QUIET[0] = False


def duration(seconds: float) -> str:
    """``40 s``, ``5 min``, ``3.2 h``, ``2.5 days``."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length or (unit != "days" and seconds >= length):
            return f"{seconds / length:.2g} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def set_debug(on: bool) -> None:
    """Whether errors are shown with their causes and the places they come from (``--debug``)."""
    _DEBUG[0] = on


def say_error(error: Exception) -> None:
    """The line of an error, and with ``--debug`` its traceback."""
    say(str(error))
    if _DEBUG[0]:
        traceback.print_exception(error, file=sys.stderr)


def show(item: Table | str = "") -> None:
    """Print a result on stdout; colours and folding are for terminals only."""
    if isinstance(item, str):
        print(printable(item), flush=True)
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    with console.capture() as captured:  # and then print: a live progress bar makes room for print() only
        console.print(item)
    for line in captured.get().splitlines():
        print(line.rstrip(), flush=True)


def table(*columns: str, right: Iterable[str] = (), header: bool = True) -> Table:
    """An empty table in the house style; columns in ``right`` hold numbers."""
    result = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold", show_header=header)
    for name in columns:
        result.add_column(Text(name), justify="right" if name in right else "left", overflow="fold")
    return result


def add_row(to: Table, *cells: str) -> None:
    """Cells are plain text, never markup: a label may hold brackets."""
    to.add_row(*(Text(printable(cell)) for cell in cells))


def bar(score: float) -> str:
    """A score from 0 to 1 as a bar, in eighths of a character."""
    eighths = round(score * _BAR_CELLS * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def counted(count: int, noun: str) -> str:
    """``1 video``, ``2 videos``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def printable(text: str) -> str:
    """Text with control characters spelled out: a file's name must not move the cursor or recolour the screen."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items themselves; a person at a terminal sees a progress bar on stderr meanwhile."""
    with steps(total, what) as step:
        for item in items:
            yield item
            step()


@contextmanager
def steps(total: int, what: str) -> Iterator[Callable[[], None]]:
    """A function to call after each of ``total`` steps; a person at a terminal sees a progress bar on stderr."""
    if total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    # rich would send what is printed meanwhile to its own stream, which is wrong for a stdout that goes to a file.
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as shown:
        task = shown.add_task(what, total=total)
        yield lambda: shown.advance(task)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A person at a terminal sees on stderr that it goes on, and since when."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as shown:
        shown.add_task(what, total=None)
        yield
