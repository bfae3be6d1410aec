"""A training run as a person sees it: a live bar at a terminal, one line an epoch elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from videoswin.cli.output import duration, percent, say, show
from videoswin.train.metrics import EpochRow, Tally
from videoswin.train.watching import Watch

__all__ = ["part_watch", "watch_run"]


_EVERY = 60.0  # seconds between lines within an epoch, where there is no terminal


class _Lines:
    """One line an epoch, on stdout."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def step(self, epoch: int, step: int, steps: int, tally: Tally, lr: float) -> None:
        pass

    def epoch(self, row: EpochRow, best: bool) -> None:
        held_out = "" if row.val_top1 is None else f"   held out {_held_out(row)}{' *' if best else '  '}"
        show(
            f"epoch {row.epoch:>3}/{self.epochs}   loss {row.train_loss:.3f}   accuracy {percent(row.train_top1):>7}{held_out}"
            f"   {row.clips_per_s:.1f} clips/s   {row.seconds:.0f} s{self._more()}"
        )

    def _more(self) -> str:
        return ""


class _Log(_Lines):
    """The lines with the time and what is left, for a file; and within long epochs one every minute, on stderr."""

    def __init__(self, epochs: int) -> None:
        super().__init__(epochs)
        self.began = self.said = time.monotonic()
        self.first: int | None = None  # the step after which the rate is counted
        self.left = ""

    def step(self, epoch: int, step: int, steps: int, tally: Tally, lr: float) -> None:
        now, done = time.monotonic(), (epoch - 1) * steps + step
        if self.first is None:
            self.began, self.first = now, done
        if done > self.first:
            left = (now - self.began) / (done - self.first) * (self.epochs * steps - done)
            self.left = f"   {duration(left)} left"
        if now - self.said >= _EVERY:
            self.said = now
            say(
                f"{_now()}   epoch {epoch}/{self.epochs}, step {step}/{steps}   loss {tally.loss:.3f}   "
                f"accuracy {percent(tally.top1)}   lr {lr:.1e}{self.left}"
            )

    def epoch(self, row: EpochRow, best: bool) -> None:
        super().epoch(row, best)
        self.said = time.monotonic()

    def _more(self) -> str:
        return f"{self.left}   {_now()}"


def _held_out(row: EpochRow) -> str:
    if row.val_map is not None:
        return f"mAP {percent(row.val_map):>7}"
    return "" if row.val_top1 is None else f"{percent(row.val_top1):>7}"


def _now() -> str:
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")


class _Bar(_Lines):
    """The lines, and below them a bar for the run with the current epoch's figures."""

    def __init__(self, epochs: int, progress: Progress) -> None:
        super().__init__(epochs)
        self.progress = progress
        self.task = progress.add_task("", total=None, figures="")
        self.since = 0.0, 0  # when, and at how many clips of the epoch, its rate is counted from

    def step(self, epoch: int, step: int, steps: int, tally: Tally, lr: float) -> None:
        now = time.perf_counter()
        if step == 1 or self.since == (0.0, 0):  # a resumed run begins within an epoch, with clips counted already
            self.since = now, tally.clips
        began, at = self.since
        rate = f"  {(tally.clips - at) / (now - began):.1f} clips/s" if now > began else ""
        self.progress.update(
            self.task,
            description=f"epoch {epoch}/{self.epochs}",
            total=self.epochs * steps,
            completed=(epoch - 1) * steps + step,
            figures=f"loss {tally.loss:.3f}  accuracy {percent(tally.top1)}  lr {lr:.1e}{rate}",
        )


@contextmanager
def watch_run(epochs: int) -> Iterator[Watch]:
    """The watcher for this terminal."""
    if not sys.stderr.isatty():
        yield _Log(epochs)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, redirect_stdout=sys.stdout.isatty()) as progress:
        yield _Bar(epochs, progress)


class _Part(_Lines):
    """A run among several, such as a fold: a line now and then, so that a file of them can be read."""

    def __init__(self, what: str, epochs: int) -> None:
        super().__init__(epochs)
        self.what = what
        self.every = max(1, epochs // 5)

    def epoch(self, row: EpochRow, best: bool) -> None:
        if row.epoch % self.every and row.epoch != self.epochs:
            return
        held_out = "" if row.val_top1 is None else f"   held out {_held_out(row)}"
        say(
            f"{self.what}: epoch {row.epoch:>3}/{self.epochs}   loss {row.train_loss:.3f}   "
            f"accuracy {percent(row.train_top1):>7}{held_out}   {row.seconds:.0f} s an epoch"
        )


def part_watch(what: str, epochs: int) -> Watch:
    """The watcher of one of several runs; ``what`` names it."""
    return _Part(what, epochs)
