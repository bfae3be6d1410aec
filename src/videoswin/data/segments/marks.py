"""One segment as a file states it, checked."""

import math
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
    if score is None:
        return Mark(first, last, label.strip())
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise wrong(path, f"a segment at {first:g} s has the score {str(score)[:40]!r}, which is no number")
    return Mark(first, last, label.strip(), float(score))
