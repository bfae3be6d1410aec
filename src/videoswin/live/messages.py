"""What a stream says to programs: plain values for JSON, the same on the command line, over a web socket and to a broker."""

from collections.abc import Sequence
from typing import Any

from videoswin.live.decisions import Event
from videoswin.live.tracker import Update

__all__ = ["event_message", "scores_message", "stream_message"]


def stream_message(kind: str, time_s: float | None, **fields: Any) -> dict[str, Any]:
    """``type`` and ``time_s`` come first, whatever else belongs to the kind after them."""
    return {"type": kind, "time_s": None if time_s is None else round(time_s, 3), **fields}


def event_message(event: Event, labels: Sequence[str]) -> dict[str, Any]:
    """A label began ("start") or ended ("end")."""
    return stream_message(event.kind, event.time_s, label=labels[event.label], score=round(event.score, 4))


def scores_message(update: Update, labels: Sequence[str], latency_s: float) -> dict[str, Any]:
    """An answer of the model: the label that holds, and all scores."""
    return stream_message(
        "scores",
        update.time_s,
        label=None if update.label is None else labels[update.label],
        scores={label: round(score, 4) for label, score in zip(labels, update.scores, strict=True)},
        latency_ms=round(1000 * latency_s),
        skipped=update.skipped,
    )
