"""Which frames make a clip. Numbers in, frame indices out; no video is opened here.

Every function returns int64 indices of shape ``(num_clips, clip_len)``, all in ``[0, num_frames)``. Three
ways to choose:

* ``interval``: every ``frame_interval``-th frame, clips spread over the video (Kinetics; paper section 4.1).
* ``uniform``: the whole video cut into ``clip_len`` segments, one frame of each (Something-Something v2).
* ``time``: frames nearest to instants ``1 / fps`` seconds apart. The one to use when frame rates vary, from
  file to file or within a file, because an index stride is then no span of time.

Each has a fixed form for evaluation and a ``random_`` form for training that takes a
:class:`torch.Generator`. ``interval`` and ``uniform`` follow the public code (``SampleFrames`` of the
Video-Swin-Transformer repository) bit for bit in their fixed form, and in distribution in their random form.

A video shorter than a clip is looped: ``interval`` wraps the frame number, ``time`` the time; ``uniform``
repeats frames in place. All raise :class:`~videoswin.errors.ConfigError` for counts below 1.
"""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from videoswin.errors import ConfigError

__all__ = [
    "interval_clips",
    "random_interval_clips",
    "random_time_clips",
    "random_uniform_clips",
    "time_clips",
    "uniform_clips",
]


def interval_clips(num_frames: int, clip_len: int, frame_interval: int, num_clips: int) -> Tensor:
    """Clips of every ``frame_interval``-th frame, each in the middle of its share of the video.

    >>> interval_clips(300, clip_len=32, frame_interval=2, num_clips=4)[:, 0]
    tensor([ 29,  88, 148, 207])
    """
    _require_counts(num_frames=num_frames, clip_len=clip_len, frame_interval=frame_interval, num_clips=num_clips)
    room = num_frames - clip_len * frame_interval + 1
    if room > 0:
        share = room / num_clips
        offsets = (torch.arange(num_clips, dtype=torch.float64) * share + share / 2.0).long()
    else:
        offsets = torch.zeros(num_clips, dtype=torch.int64)
    return _strided(offsets, num_frames, clip_len, frame_interval)


def random_interval_clips(
    num_frames: int, clip_len: int, frame_interval: int, num_clips: int, generator: Generator
) -> Tensor:
    """As :func:`interval_clips`, each clip starting at a random frame of its share of the video."""
    _require_counts(num_frames=num_frames, clip_len=clip_len, frame_interval=frame_interval, num_clips=num_clips)
    span = clip_len * frame_interval
    room = num_frames - span + 1
    share = room // num_clips
    if share > 0:
        offsets = torch.arange(num_clips) * share + torch.randint(share, (num_clips,), generator=generator)
    elif num_frames > max(num_clips, span):  # fewer starting frames than clips
        offsets = torch.randint(room, (num_clips,), generator=generator).sort().values
    elif share == 0:
        offsets = torch.round(torch.arange(num_clips, dtype=torch.float64) * (room / num_clips)).long()
    else:
        offsets = torch.zeros(num_clips, dtype=torch.int64)
    return _strided(offsets, num_frames, clip_len, frame_interval)


def uniform_clips(num_frames: int, clip_len: int, num_clips: int) -> Tensor:
    """One frame of each of ``clip_len`` equal segments; every clip covers the whole video.

    One clip takes the middle of each segment, as the public code does (it has no several clips). Several are
    staggered: clip ``k`` takes the frame at ``(2k + 1) / (2 num_clips)`` of each segment, so together they
    see more of the frames.

    >>> uniform_clips(41, clip_len=8, num_clips=1)
    tensor([[ 2,  7, 12, 17, 22, 27, 32, 37]])
    """
    _require_counts(num_frames=num_frames, clip_len=clip_len, num_clips=num_clips)
    start, end = _segments(num_frames, clip_len)
    odd = 2 * torch.arange(num_clips)[:, None] + 1
    return start + (end - start) * odd // (2 * num_clips)


def random_uniform_clips(num_frames: int, clip_len: int, num_clips: int, generator: Generator) -> Tensor:
    """A random frame of each of ``clip_len`` equal segments, both ends included; clips are drawn
    independently.
    """
    _require_counts(num_frames=num_frames, clip_len=clip_len, num_clips=num_clips)
    start, end = _segments(num_frames, clip_len)
    draw = torch.rand((num_clips, clip_len), dtype=torch.float64, generator=generator)
    return start + (draw * (end - start + 1)).long()


def time_clips(times: Tensor, clip_len: int, fps: float, num_clips: int) -> Tensor:
    """Clips whose frames are ``1 / fps`` seconds apart, each in the middle of its share of the video.

    ``times``: float64 ``(N,)`` presentation times in seconds, never decreasing. A clip starts at a presented
    frame and takes the frame nearest to each instant (the earlier one of two equally near). At a constant
    rate of ``fps * n`` the result is that of :func:`interval_clips` with ``frame_interval=n``. The last frame
    is taken to last the median gap, so a video that is too short loops with that period.
    """
    timeline = _timeline(times, clip_len, fps, num_clips)
    shares = (torch.arange(num_clips, dtype=torch.float64) + 0.5) / num_clips
    return _timed(timeline, shares, clip_len, fps)


def random_time_clips(times: Tensor, clip_len: int, fps: float, num_clips: int, generator: Generator) -> Tensor:
    """As :func:`time_clips`, each clip starting at a random time of its share of the video."""
    timeline = _timeline(times, clip_len, fps, num_clips)
    draw = torch.rand(num_clips, dtype=torch.float64, generator=generator)
    shares = (torch.arange(num_clips, dtype=torch.float64) + draw) / num_clips
    return _timed(timeline, shares, clip_len, fps)


def _strided(offsets: Tensor, num_frames: int, clip_len: int, frame_interval: int) -> Tensor:
    return (offsets[:, None] + torch.arange(clip_len) * frame_interval) % num_frames


def _segments(num_frames: int, clip_len: int) -> tuple[Tensor, Tensor]:
    """First and last frame of each segment; neighbours share an edge, and halves are rounded to even as in
    numpy.
    """
    size = (num_frames - 1) / clip_len
    edges = torch.round(torch.arange(clip_len + 1, dtype=torch.float64) * size).long()
    return edges[:-1], edges[1:]


class _Timeline(NamedTuple):
    """``times``: from 0; ``gap``: seconds a frame usually lasts; ``period``: seconds after which the video
    repeats.
    """

    times: Tensor
    gap: float
    period: float


def _timeline(times: Tensor, clip_len: int, fps: float, num_clips: int) -> _Timeline:
    _require_counts(num_frames=len(times), clip_len=clip_len, num_clips=num_clips)
    if not (math.isfinite(fps) and fps > 0):
        raise ConfigError(
            f"fps is {fps!r}, a clip needs a rate above 0 frames per second. Use 15 for about 32 frames in 2 s."
        )
    times = times.double() - times[0].double()
    if not bool(torch.isfinite(times).all()) or bool((times.diff() < 0).any()):
        raise ConfigError("The frame times are not finite and rising. Take them from Video.times.")
    gaps = times.diff()
    gaps = gaps[gaps > 0]
    gap = float(gaps.median()) if len(gaps) else 1.0 / fps
    return _Timeline(times, gap, float(times[-1]) + gap)


def _timed(timeline: _Timeline, shares: Tensor, clip_len: int, fps: float) -> Tensor:
    """``shares``: float64 ``(num_clips,)`` in [0, 1), where in the range of possible starts each clip
    begins.
    """
    times, _, period = timeline
    starts = times[_first_frames(timeline, shares, clip_len, fps)]
    instants = (starts[:, None] + torch.arange(clip_len, dtype=torch.float64) / fps) % period
    # The frame after the last is the first one, a period later: instants near the seam belong to it.
    presented = torch.cat([times, times.new_tensor([period])])
    halfway = (presented[1:] + presented[:-1]) / 2
    return torch.searchsorted(halfway, instants) % len(times)


def _first_frames(timeline: _Timeline, shares: Tensor, clip_len: int, fps: float) -> Tensor:
    """The presented frame at or before each start: instants between two frames would round to uneven
    strides.
    """
    times, gap, period = timeline
    rounding = gap * 1e-3  # times are sums of fractions; a start may fall short of its frame by the last bit
    room = period - clip_len / fps + gap
    latest = int(torch.searchsorted(times, times[-1] - (clip_len - 1) / fps + rounding, right=True)) - 1
    if room <= rounding or latest < 0:
        return torch.zeros(len(shares), dtype=torch.int64)
    frames = torch.searchsorted(times, shares * room + rounding, right=True) - 1
    return frames.clamp(max=latest)


def _require_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name} is {count}, sampling needs at least 1. Use a whole number of 1 or more.")
