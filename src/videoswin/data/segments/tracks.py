"""What all formats have in common: for each video, labels from when to when."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import NamedTuple

import numpy as np

__all__ = ["Mark", "Track", "distinct_names", "frame_span", "merged"]


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


def merged(tracks: Sequence[Track]) -> list[Track]:
    """One track for each video, with the marks of all that name it."""
    found: dict[str, Track] = {}
    for track in tracks:
        first = found.setdefault(track.path, track)
        if first is not track:
            found[track.path] = replace(first, marks=tuple(sorted((*first.marks, *track.marks), key=lambda m: m[:3])))
    return list(found.values())


def distinct_names(paths: Sequence[str], joint: str) -> list[str]:
    """A name for each video: the file's without suffix; where several have it, with the folders in front that tell them apart,
    and with the suffix where folders do not.

    >>> distinct_names(["nod/1.mp4", "wave/1.mp4", "wave/2.mp4"], "/")
    ['nod/1', 'wave/1', '2']
    """
    plain = [PurePath(path).parts[bool(PurePath(path).anchor) :] for path in paths]
    for parts in ([(*p[:-1], PurePath(p[-1]).stem) if p else () for p in plain], plain):
        names = [joint.join(part[-1:]) for part in parts]
        for depth in range(2, max(map(len, plain), default=0) + 1):
            count = Counter(names)
            names = [
                name if count[name] == 1 else joint.join(part[-depth:]) for name, part in zip(names, parts, strict=True)
            ]
        if len(set(names)) == len(names):
            break
    return names


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
