"""A running stream as a person sees it: label bars, how late, how fast, what was lost."""

from collections import deque

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from videoswin.cli.output import bar, counted, percent, printable
from videoswin.live.decisions import DecisionSettings, Standing
from videoswin.live.session import SessionStats
from videoswin.live.sources import Health
from videoswin.live.tracker import Tracker, Update

__all__ = ["LiveView"]

_EVENTS = 6


class LiveView:
    """Use in a ``with`` block; :meth:`show` after every update."""

    def __init__(
        self,
        title: str,
        labels: tuple[str, ...],
        top_k: int,
        decisions: DecisionSettings,
        console: Console | None = None,
    ) -> None:
        self._title, self._labels, self._top_k, self._decisions = title, labels, top_k, decisions
        self._events: deque[tuple[str, str]] = deque(maxlen=_EVENTS)
        self._scores: list[float] = []
        self._standing = Standing(None)
        self._time_s = 0.0
        console = console or Console(stderr=True)
        self._live = Live(console=console, refresh_per_second=8, transient=False, redirect_stdout=False)

    def __enter__(self) -> "LiveView":
        self._live.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._live.__exit__(None, None, None)

    def add(self, update: Update) -> None:
        self._time_s, self._standing = update.time_s, update.standing
        self._scores = update.scores or self._scores
        for event in update.events:
            self._events.append((f"{event.time_s:8.2f} s", f"{event.kind:<5}  {self._labels[event.label]}"))

    def show(self, stats: SessionStats, health: Health, tracker: Tracker, cuts: int) -> None:
        self._live.update(Panel(self.content(stats, health, tracker, cuts), title=Text(printable(self._title))))

    def content(self, stats: SessionStats, health: Health, tracker: Tracker, cuts: int) -> Group:
        label = self._standing.label
        name = "none" if label is None else self._labels[label]
        head = Text.assemble((printable(name), "bold"), f"   at {self._time_s:.1f} s   ", (health.state, "dim"))
        why = [Text(printable(self._why_none()), style="dim")] if label is None else []
        parts = [head, *why, self._bars(), Text(self._figures(stats, health, tracker, cuts), style="dim")]
        if trouble := self._trouble(stats, health):
            parts.append(Text(trouble, style="yellow"))
        parts += [Text(f"{when}  {printable(what)}", style="dim") for when, what in self._events]
        return Group(*parts)

    def _why_none(self) -> str:
        """What has to happen before a label holds."""
        standing, decisions = self._standing, self._decisions
        if standing.best is None:
            return "waiting for the first answer"
        best = f"{self._labels[standing.best]} {percent(standing.score)}"
        if standing.waiting_s is None:
            return f"best is {best}; a label needs {percent(decisions.enter)}"
        return f"{best} has held for {standing.waiting_s:.1f} of {decisions.min_duration_s:.1f} s"

    def _bars(self) -> Table:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        best = sorted(range(len(self._scores)), key=self._scores.__getitem__, reverse=True)[: self._top_k]
        for index in best:
            style = "bold cyan" if index == self._standing.label else ""
            score = self._scores[index]
            table.add_row(
                Text(printable(self._labels[index]), style=style),
                Text(f"{100 * score:5.1f} %"),
                Text(bar(score), "cyan"),
            )
        return table

    def _figures(self, stats: SessionStats, health: Health, tracker: Tracker, cuts: int) -> str:
        skipped = f"   {100 * tracker.skipped / tracker.samples:.0f} % of runs skipped" if tracker.skipped else ""
        return (
            f"latency {1000 * stats.latency_s:.0f} ms   {stats.fps:.1f} fps in   {stats.answers_per_s:.1f} answers/s   "
            f"{health.width}x{health.height}   {counted(cuts, 'cut')}{skipped}"
        )

    def _trouble(self, stats: SessionStats, health: Health) -> str:
        counts = {
            "dropped": stats.dropped,
            "late": health.late,
            "damaged": health.damaged,
            "stalls": health.stalls,
            "reconnects": health.reconnects,
            "resolution changes": health.resolution_changes,
        }
        return "   ".join(f"{name} {count:,}" for name, count in counts.items() if count)
