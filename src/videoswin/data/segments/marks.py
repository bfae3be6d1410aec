"""One segment as a file states it, checked."""

from pathlib import Path

from videoswin.data.segments.safe import number, wrong
from videoswin.data.segments.tracks import Mark

__all__ = ["mark_of"]


def mark_of(path: Path, start: object, end: object, label: object, score: object = None) -> Mark:
    """Checked. Raises ConfigError."""
    first, last = number(path, start, "a start"), number(path, end, "an end")
    if last < first:
        raise wrong(path, f"a segment ends at {last:g} s, before it begins at {first:g} s")
    if not isinstance(label, str) or not label.strip():
        raise wrong(path, f"a segment at {first:g} s has no label")
    return Mark(first, last, label.strip(), None if score is None else float(score))  # type: ignore[arg-type]
