"""What a stream says while it runs: JSON lines for programs, lines for files and pipes, a live view for people."""

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, Self

from videoswin.cli.output import counted, percent, say, show
from videoswin.live.decisions import DecisionSettings, Event
from videoswin.live.messages import event_message, scores_message, stream_message
from videoswin.live.session import Session
from videoswin.live.tracker import Update
from videoswin.predict.plain_text import json_text

__all__ = ["StreamOutput", "WithEvents", "open_output"]


class StreamOutput(Protocol):
    """Use in a ``with`` block."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *details: object) -> None: ...

    def take(self, update: Update | None, session: Session) -> None:
        """The next update, or None where there is none and a view may look whether anything else has changed."""

    def end(self, events: list[Event], session: Session) -> None:
        """Nothing follows; ``events`` are what the end itself brought."""


def open_output(
    json_lines: bool, labels: tuple[str, ...], title: str, top_k: int, decisions: DecisionSettings
) -> StreamOutput:
    """JSON lines where they are asked for, the live view at a terminal, plain lines elsewhere."""
    if json_lines:
        return _JsonLines(labels)
    return _Screen(labels, title, top_k, decisions) if sys.stdout.isatty() else _PlainLines(labels)


class WithEvents:
    """An output beside which a function is given the messages of all events, such as one that sends them to a broker."""

    def __init__(self, output: StreamOutput, labels: tuple[str, ...], tell: Callable[[dict[str, Any]], object]) -> None:
        self._output, self._labels, self._tell = output, labels, tell

    def __enter__(self) -> Self:
        self._output.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._output.__exit__(*details)

    def take(self, update: Update | None, session: Session) -> None:
        self._output.take(update, session)
        self._events(update.events if update else [])

    def end(self, events: list[Event], session: Session) -> None:
        self._output.end(events, session)
        self._events(events)

    def _events(self, events: list[Event]) -> None:
        for event in events:
            self._tell(event_message(event, self._labels))


class _Lines:
    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _JsonLines(_Lines):
    """``scores`` for each answer, ``event`` for starts and ends, ``status`` about every second and at the end."""

    _last_status = 0.0

    def take(self, update: Update | None, session: Session) -> None:
        if update:
            self._events(update.events)
            if update.scores:
                self._print(scores_message(update, self._labels, session.stats().latency_s))
        if time.monotonic() - self._last_status >= 1:
            self._last_status = time.monotonic()
            self._status(session)

    def end(self, events: list[Event], session: Session) -> None:
        self._events(events)
        self._status(session)

    def _events(self, events: list[Event]) -> None:
        for event in events:
            self._print(event_message(event, self._labels))

    def _status(self, session: Session) -> None:
        stats, health = session.stats(), session.source.health
        message = stream_message(
            "status",
            None,
            **health.to_dict(),
            fps=round(stats.fps, 2),
            answers_per_s=round(stats.answers_per_s, 2),
            latency_ms=round(1000 * stats.latency_s),
            dropped=stats.dropped,
            cuts=session.selector.cuts,
            samples=session.tracker.samples,
            skipped=session.tracker.skipped,
        )
        self._print(message)

    def _print(self, message: dict[str, Any]) -> None:
        print(json_text(message), flush=True)


class _PlainLines(_Lines):
    """One line an event, and a summary."""

    def take(self, update: Update | None, session: Session) -> None:
        if update:
            self._events(update.events)

    def end(self, events: list[Event], session: Session) -> None:
        self._events(events)
        stats, health = session.stats(), session.source.health
        skipped = session.tracker.skipped / max(1, session.tracker.samples)
        say(
            f"{counted(health.pictures, 'frame')}, {counted(session.selector.cuts, 'cut')}, "
            f"{stats.dropped + health.late:,} dropped, {counted(health.reconnects, 'reconnect')}, "
            f"{percent(skipped)} of model runs skipped (nothing moved)"
        )

    def _events(self, events: list[Event]) -> None:
        for event in events:
            show(f"{event.time_s:9.2f} s  {event.kind:<5}  {self._labels[event.label]}  {percent(event.score)}")


class _Screen:
    """The live view."""

    def __init__(self, labels: tuple[str, ...], title: str, top_k: int, decisions: DecisionSettings) -> None:
        from rich.console import Console

        from videoswin.cli.live_view import LiveView

        self._view = LiveView(title, labels, top_k, decisions, Console())

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._view.__exit__()

    def take(self, update: Update | None, session: Session) -> None:
        if update:
            self._view.add(update)
        self._show(session)

    def end(self, events: list[Event], session: Session) -> None:
        self._show(session)

    def _show(self, session: Session) -> None:
        self._view.show(session.stats(), session.source.health, session.tracker, session.selector.cuts)
