"""Which frames a video holds and where decoding may start to reach one: plain numbers, no decoder."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

__all__ = ["FrameIndex", "KeyFrame", "going_on", "is_set_back", "is_shown"]

_CLOCK_LEAP = (
    2**31
)  # ticks of 1/90,000 s, 6.6 hours: FFmpeg takes an MPEG clock that was set back for one that has run over
_SEEK_GAP = 16  # packets; walking over fewer than these is cheaper than flushing the decoder


class KeyFrame(NamedTuple):
    """A packet at which decoding may start: its presentation and decoding time, its place among the packets; ``afresh``: it is known
    that nothing from there on refers to anything before it, so that a decoder may come to it from anywhere."""

    pts: int
    dts: int | None
    order: int
    afresh: bool = False


@dataclass(frozen=True)
class FrameIndex:
    """All frames of a video, numbered in display order.

    ``stamps``: int64 ``(N,)``, sorted presentation times in units of the stream's time base. ``keys``: sorted.
    ``reordered``: the packets are stored in another order than they are shown. ``counted``: the packets did not tell
    the frames, so that all were decoded once; then ``keys`` is empty and a frame is known by its place in the output.
    """

    stamps: np.ndarray
    keys: list[KeyFrame]
    reordered: bool = False
    counted: bool = False

    def __len__(self) -> int:
        return len(self.stamps)

    @classmethod
    def of_packets(cls, stamps: np.ndarray, keys: list[KeyFrame]) -> "FrameIndex | None":
        """The index that the packets tell; None if they leave a doubt.

        Doubtful are: two frames at one time, and a recording that starts inside a scene (its first packets refer to
        pictures that are not there, so they may or may not decode).
        """
        reordered = bool((np.diff(stamps) < 0).any())
        stamps, keys = np.sort(stamps), sorted(keys, key=lambda key: (key.pts, key.order))
        if not len(stamps) or not keys or not (np.diff(stamps) > 0).all():
            return None
        starts_with_key = keys[0].order == 0 and keys[0].pts <= stamps[0]
        return cls(stamps, keys, reordered) if starts_with_key else None

    def number_of(self, pts: int | None) -> int:
        """The number of the frame shown at ``pts``; -1 if no packet announced one."""
        if pts is None:
            return -1
        stamps = self.stamps.data  # plain numbers: NumPy takes longer to look at one than to search
        place = bisect_left(stamps, pts)
        return place if place < len(stamps) and stamps[place] == pts else -1

    def key_before(self, number: int) -> KeyFrame | None:
        """The nearest place where decoding may start to reach a frame; None is the beginning of the file."""
        place = self._key_before(number)
        return self.keys[place] if place >= 0 else None

    def starting_points(self, number: int) -> Iterator[KeyFrame | None]:
        """Where decoding may start to reach frame ``number``, nearest first; None is the beginning of the file."""
        nearest = self._key_before(number)
        yield from (self.keys[place] for place in (nearest, nearest - 1) if place >= 0)
        yield None

    def seek_pays(self, position: int, number: int) -> bool:
        """Whether a decoder that has taken ``position`` packets gets to frame ``number`` faster by a seek."""
        nearest = self._key_before(number)
        return nearest >= 0 and self.keys[nearest].order > position + _SEEK_GAP

    def _key_before(self, number: int) -> int:
        # By presentation time: frames shown before a key frame but stored after it need the scene before.
        return bisect_right(self.keys, int(self.stamps[number]), key=lambda key: key.pts) - 1


def is_set_back(last: int | None, now: int | None, wraps: bool) -> bool:
    """Whether the decoding times ``last`` and ``now`` of two packets, one behind the other, are of different recordings.

    ``wraps``: a clock that runs over, so that a great leap forward is a step back, too.
    """
    if last is None or now is None:
        return False
    return now < last or (wraps and now - last > _CLOCK_LEAP)


def going_on(stamps: np.ndarray, jump: int, wraps: bool) -> np.ndarray:
    """Times of frames in the order they are shown, int64 ``(N,)``, never falling.

    ``stamps``: as they were stored. Where they fall behind the start of the recording, or by more than ``jump``, another
    recording was joined: it goes on one interval after the last frame. Smaller disorder is sorted.
    """
    steps = np.diff(stamps)
    cuts, start = [0], int(stamps[0])
    for place in np.flatnonzero((steps < 0) | (wraps & (steps > _CLOCK_LEAP))):
        now = int(stamps[place + 1])
        if now <= start or steps[place] < -jump or steps[place] > 0:
            cuts.append(int(place) + 1)
            start = now
    usual = steps[steps > 0]
    interval = int(np.median(usual)) if len(usual) else 1
    parts: list[np.ndarray] = []
    for part in np.split(stamps, cuts[1:]):
        part = np.sort(part)
        parts.append(part if not parts else part - part[0] + parts[-1][-1] + interval)
    return np.concatenate(parts)


def is_shown(codec: str, data: memoryview) -> bool:
    """Whether a packet gives a frame of its own: VP8 and VP9 have packets that are only referred to.

    VP8 (RFC 6386, 9.1): bit 4 of the first byte is show_frame. VP9 (bitstream specification, 6.2): after the marker
    and the profile come show_existing_frame, frame_type and show_frame; a superframe ends with a shown frame.
    """
    if codec == "vp8":
        return bool(data[0] & 0x10)
    if codec == "vp9":
        is_superframe = data[-1] & 0xE0 == 0xC0
        spare = 1 if data[0] & 0x30 == 0x30 else 0  # profile 3 has a reserved bit
        show_existing, show = data[0] & (0x08 >> spare), data[0] & (0x02 >> spare)
        return bool(is_superframe or show_existing or show)
    return True
