"""A running stream as a person sees it: label bars, how late, how fast, what was lost."""

from collections import deque

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from videoswin.cli.output import bar, counted, printable
from videoswin.live.decisions import Event
from videoswin.live.session import Report
from videoswin.live.sources import Health
from videoswin.live.tracker import Engine

__all__ = ["LiveView"]

_EVENTS = 6


class LiveView:
    """Use in a ``with`` block; :meth:`show` after every update."""

    def __init__(self, title: str, labels: tuple[str, ...], top_k: int, console: Console | None = None) -> None:
        self._title, self._labels, self._top_k = title, labels, top_k
        self._events: deque[tuple[str, str]] = deque(maxlen=_EVENTS)
        self._scores: list[float] = []
        self._label: int | None = None
        self._time_s = 0.0
        console = console or Console(stderr=True)
        self._live = Live(console=console, refresh_per_second=8, transient=False, redirect_stdout=False)

    def __enter__(self) -> "LiveView":
        self._live.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._live.__exit__(None, None, None)

    def add(self, time_s: float, scores: list[float], label: int | None, events: list[Event]) -> None:
        """What an update said."""
        self._time_s, self._label = time_s, label
        self._scores = scores or self._scores
        for event in events:
            self._events.append((f"{event.time_s:8.2f} s", f"{event.kind:<5}  {self._labels[event.label]}"))

    def show(self, report: Report, health: Health, engine: Engine, cuts: int) -> None:
        self._live.update(Panel(self.content(report, health, engine, cuts), title=Text(printable(self._title))))

    def content(self, report: Report, health: Health, engine: Engine, cuts: int) -> Group:
        label = "none" if self._label is None else self._labels[self._label]
        head = Text.assemble((printable(label), "bold"), f"   at {self._time_s:.1f} s   ", (health.state, "dim"))
        parts = [head, self._bars(), Text(self._figures(report, health, engine, cuts), style="dim")]
        if trouble := self._trouble(report, health):
            parts.append(Text(trouble, style="yellow"))
        parts += [Text(f"{when}  {printable(what)}", style="dim") for when, what in self._events]
        return Group(*parts)

    def _bars(self) -> Table:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        best = sorted(range(len(self._scores)), key=self._scores.__getitem__, reverse=True)[: self._top_k]
        for index in best:
            style = "bold cyan" if index == self._label else ""
            score = self._scores[index]
            table.add_row(
                Text(printable(self._labels[index]), style=style),
                Text(f"{100 * score:5.1f} %"),
                Text(bar(score), "cyan"),
            )
        return table

    def _figures(self, report: Report, health: Health, engine: Engine, cuts: int) -> str:
        spared = f"   spared {100 * engine.skipped / engine.samples:.0f} %" if engine.skipped else ""
        return (
            f"latency {1000 * report.latency_s:.0f} ms   {report.fps:.1f} fps in   {report.answers_per_s:.1f} answers/s   "
            f"{health.width}x{health.height}   {counted(cuts, 'cut')}{spared}"
        )

    def _trouble(self, report: Report, health: Health) -> str:
        counts = {
            "dropped": report.dropped,
            "late": health.late,
            "damaged": health.damaged,
            "stalls": health.stalls,
            "reconnects": health.reconnects,
            "resolution changes": health.resolution_changes,
        }
        return "   ".join(f"{name} {count:,}" for name, count in counts.items() if count)
