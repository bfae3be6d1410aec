"""Which frames of a running video a model sees: the one nearest to each instant, ``1 / fps`` seconds apart.

A clip of a whole file is chosen with the end in sight (:mod:`videoswin.data.sampling`). A stream has no end, so its rate is
settled beforehand by :func:`stream_fps`, and each frame is decided when the next one arrives: by presentation time, so a
stream whose frame rate wanders is seen at the model's own pace.
"""

from typing import Generic, TypeVar

from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError

__all__ = ["Sampler", "stream_fps"]

T = TypeVar("T")
MAX_GAP_S = 1.0
"""Seconds without a frame after which a stream starts afresh: what was before and after is no motion."""
_MAX_FPS = 1000.0


def stream_fps(preprocessing: Preprocessing, source_fps: float = 0.0, clip_seconds: float | None = None) -> float:
    """Frames per second at which this preprocessing looks at a stream.

    ``clip_seconds``: what one clip shall span; overrules the checkpoint. Otherwise ``sampling="time"`` has a rate of its
    own, and ``"interval"`` takes every ``frame_interval``-th frame of a source with ``source_fps`` frames per second (the
    stated rate; 0 if there is none). ``"uniform"`` spreads a clip over a whole video however long it is, and a stream has
    no whole: its checkpoint does not say how long an action takes, so the user has to.

    Raises:
        ConfigError: the rate follows from nothing that is known, or makes no sense.
    """
    if clip_seconds is not None:
        fps = preprocessing.clip_len / clip_seconds if clip_seconds > 0 else 0.0
        if not 0 < fps <= _MAX_FPS:
            raise ConfigError(f"clip_seconds is {clip_seconds!r}. Give the seconds that one clip spans, such as 3.")
        return fps
    if preprocessing.sampling == "uniform":
        raise ConfigError(
            "This checkpoint spreads each clip over a whole video, and a stream has no end. "
            "Say how many seconds an action takes: --clip-seconds 3, for example (in Python: Pace(clip_seconds=3))."
        )
    if preprocessing.sampling == "time":
        return preprocessing.fps or 0.0
    if not source_fps > 0:
        raise ConfigError(
            f"This checkpoint samples one frame in {preprocessing.frame_interval}, and the source states no frame rate. "
            "Say how many seconds a clip spans: --clip-seconds 2, for example."
        )
    return min(source_fps / preprocessing.frame_interval, _MAX_FPS)


class Sampler(Generic[T]):
    """Picks frames ``1 / fps`` seconds apart from frames with rising times.

    The grid of instants begins at the first frame. Of the two frames around an instant the nearer one is taken, the
    earlier of two equally near, as :func:`videoswin.data.sampling.time_clips` does. A slow source repeats frames, a fast
    one skips some. A gap of more than ``max_gap_s``, or a time that jumps back, starts a new grid.

    ``began``: whether the last frame that was fed begins a grid, so that nothing before it belongs to it.
    """

    def __init__(self, fps: float, max_gap_s: float = MAX_GAP_S) -> None:
        self.fps = fps
        self._max_gap_s = max(max_gap_s, 2 / fps)  # a model that looks once a second must not see only gaps
        self._origin_s = 0.0
        self._count = 0
        self._last: tuple[float, T] | None = None
        self.began = False

    def restart(self) -> None:
        """The next frame begins a new grid."""
        self._last = None

    def feed(self, time_s: float, frame: T) -> list[T]:
        """The frames that are certain now that this one is here, in order; most often none or one."""
        self.began = self._last is None or not 0 <= time_s - self._last[0] <= self._max_gap_s
        if self._last is None or self.began:
            self._origin_s, self._count, self._last = time_s, 1, (time_s, frame)
            return [frame]
        before_s, before = self._last
        chosen = []
        while (instant := self._origin_s + self._count / self.fps) <= time_s:
            nearer_before = instant - before_s <= time_s - instant
            chosen.append(before if nearer_before else frame)
            self._count += 1
        self._last = time_s, frame
        return chosen

    def state(self) -> dict[str, float]:
        """Where the grid stands, for :meth:`restore`."""
        return {"origin_s": self._origin_s, "count": self._count}

    def restore(self, state: dict[str, float], time_s: float, frame: T) -> None:
        """Go on from :meth:`state`; ``frame`` is the last one that was fed before, shown at ``time_s``."""
        self._origin_s, self._count = float(state["origin_s"]), int(state["count"])
        self._last = time_s, frame
