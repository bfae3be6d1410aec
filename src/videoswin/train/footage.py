"""What the clips of a list are like, from their headers: how many, how long, how many frames a second."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from videoswin.data.annotations import Clip
from videoswin.data.part import open_clip
from videoswin.errors import VideoError

__all__ = ["Footage", "look_at"]

_LOOKED_AT = 60


@dataclass(frozen=True)
class Footage:
    """``seconds``: median length; ``longest``: of nine clips in ten; ``fps``: median rate. 0 where no clip could be read."""

    clips: int
    classes: int
    groups: int
    """0: no groups are given."""
    seconds: float
    longest: float
    fps: float

    def __str__(self) -> str:
        groups = f" in {self.groups} groups" if self.groups else ", no groups given"
        length = f"; {self.seconds:.1f} s at {self.fps:.0f} frames a second, nine in ten up to {self.longest:.1f} s"
        return f"{self.clips} clips of {self.classes} classes{groups}" + (length if self.seconds else "")


def look_at(rows: Sequence[Clip]) -> Footage:
    """Opens some of the clips, evenly picked. Those that cannot be read are left to the preparation, which names them."""
    picked = rows[:: -(-len(rows) // _LOOKED_AT)]
    seconds, rates = [], []
    for row in picked:
        try:
            with open_clip(replace(row, start=0.0, end=None)) as video:
                length = float(video.times[-1] - video.times[0])
                frames = len(video)
        except VideoError:
            continue
        if frames > 1 and length > 0:
            end = length * frames / (frames - 1) if row.end is None else row.end
            seconds.append(end - row.start)
            rates.append((frames - 1) / length)
    return Footage(
        clips=len(rows),
        classes=len({name for row in rows for name in row.classes}),
        groups=len({row.group for row in rows if row.group}),
        seconds=statistics.median(seconds) if seconds else 0.0,
        longest=sorted(seconds)[int(0.9 * (len(seconds) - 1))] if seconds else 0.0,
        fps=statistics.median(rates) if rates else 0.0,
    )
