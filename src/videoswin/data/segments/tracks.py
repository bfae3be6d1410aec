"""What all formats have in common: for each video, labels from when to when."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

__all__ = ["Mark", "Track", "frame_span"]


class Mark(NamedTuple):
    """From ``start_s`` to ``end_s`` seconds since the first frame, a video shows ``label``. ``score``: None of a person's."""

    start_s: float
    end_s: float
    label: str
    score: float | None = None


@dataclass(frozen=True)
class Track:
    """The marks of one video, in order."""

    path: str
    """As the file of annotations names it."""
    marks: tuple[Mark, ...] = ()
    duration_s: float | None = None
    fps: float | None = None
    times: Sequence[float] | None = field(default=None, repr=False)
    """When each frame is shown, where that is known: frame numbers are then exact, also at a varying rate."""
    split: str = ""


def frame_span(mark: Mark, track: Track) -> tuple[int, int] | None:
    """First and last frame that are shown within a mark, from 0; None if neither times nor a rate are known.

    >>> frame_span(Mark(0.1, 0.5, "x"), Track("v.mp4", fps=10))
    (1, 4)
    """
    if track.times is not None:
        times = np.asarray(track.times, np.float64)
        # A millisecond is what files keep, so a frame that is nearer to the border than that lies on it.
        first, behind = np.searchsorted(times, [mark.start_s - 5e-4, mark.end_s - 5e-4])
    elif track.fps:
        first, behind = (int(-(-round(s * track.fps, 3) // 1)) for s in (mark.start_s, mark.end_s))
    else:
        return None
    return int(first), max(int(first), int(behind) - 1)
