"""Where the time of a prediction goes, stage by stage. Nothing is measured unless a :class:`Profile` is given."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock, get_ident
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from videoswin.data.decode import Frames, Video, VideoInfo
from videoswin.data.frame_folder import FrameFolder
from videoswin.data.part import Part

__all__ = ["MAIN", "READING", "Profile", "Stage", "TimedVideo", "running", "timed", "waited"]

READING = ("open", "decode", "resize", "crop")
"""Stages of reading a video; several videos may be in them at one time."""
MAIN = ("model", "waiting", "rest")
"""What the thread does that runs the model; together, all of the time."""

T = TypeVar("T")


class Stage(NamedTuple):
    """``seconds`` in all, ``ms`` for one video, ``share`` of the wall-clock time."""

    name: str
    seconds: float
    ms: float
    share: float


class Profile:
    """Seconds spent in each stage, added up over all threads.

    ``open``: opening, reading all packets, the first frame; ``decode``: frames to RGB; ``resize``; ``crop``: cropping and
    normalising. ``model``: the forward passes; ``waiting``: for a video to be read; ``rest``: everything else, such as printing.
    ``videos``: those that were asked for, unreadable ones included; ``wall_s``: seconds from the first to the last of them.
    """

    def __init__(self) -> None:
        self.videos = 0
        self.wall_s = 0.0
        self._seconds: dict[str, float] = dict.fromkeys((*READING, *MAIN), 0.0)
        self._by_thread: dict[int, float] = {}
        self._lock = Lock()

    def add(self, stage: str, seconds: float) -> None:
        """Any thread may call this."""
        with self._lock:
            self._seconds[stage] += seconds
            self._by_thread[get_ident()] = self._by_thread.get(get_ident(), 0.0) + seconds

    def spent_here(self) -> float:
        """Seconds of any stage that this thread has spent."""
        return self._by_thread.get(get_ident(), 0.0)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """The seconds of a ``with`` block, less those that other stages inside it have taken."""
        start, inside = time.perf_counter(), self.spent_here()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start - (self.spent_here() - inside))

    @property
    def readers(self) -> int:
        """Threads that read videos beside the one with the model; 0 if that one read them itself."""
        return max(0, len(self._by_thread) - 1)

    @contextmanager
    def running(self, videos: int) -> Iterator[None]:
        """Around all of the work on ``videos``, in the thread of the model."""
        start, before = time.perf_counter(), self.spent_here()
        try:
            yield
        finally:
            wall_s = time.perf_counter() - start
            self.videos += videos
            self.wall_s += wall_s
            self.add("rest", max(0.0, wall_s - (self.spent_here() - before)))

    def stages(self) -> list[Stage]:
        """In the order of the work."""
        per_video, of_all = 1000 / max(1, self.videos), 1 / self.wall_s if self.wall_s else 0.0
        return [Stage(name, s, s * per_video, s * of_all) for name, s in self._seconds.items()]

    def to_dict(self) -> dict[str, Any]:
        """What ``--profile --json`` prints."""
        return {
            "videos": self.videos,
            "wall_s": round(self.wall_s, 4),
            "videos_per_s": round(self.videos / self.wall_s, 3) if self.wall_s else 0.0,
            "readers": self.readers,
            "stages": {s.name: {"ms": round(s.ms, 3), "share": round(s.share, 4)} for s in self.stages()},
        }


def timed(profile: Profile | None, stage: str) -> AbstractContextManager[None]:
    """A ``with`` block whose time is added to a stage; nothing at all without a profile."""
    return profile.timed(stage) if profile else nullcontext()


def running(profile: Profile | None, videos: int) -> AbstractContextManager[None]:
    """A ``with`` block around all of the work; nothing at all without a profile."""
    return profile.running(videos) if profile else nullcontext()


def waited(profile: Profile | None, items: Iterable[T]) -> Iterable[T]:
    """The items; the time until each of them is there counts as waiting."""
    return _waited(profile, items) if profile else items


def _waited(profile: Profile, items: Iterable[T]) -> Iterator[T]:
    iterator, end = iter(items), object()
    while True:
        with profile.timed("waiting"):
            item = next(iterator, end)
        if item is end:
            return
        yield item  # type: ignore[misc]


class TimedVideo:
    """An open video that notes how long its frames took to decode, and how long what was done with each of them."""

    def __init__(self, video: Video | FrameFolder | Part, profile: Profile) -> None:
        self._video = video
        self._profile = profile

    @property
    def info(self) -> VideoInfo:
        return self._video.info

    @property
    def times(self) -> Tensor:
        return self._video.times

    def get_frames(self, indices: Tensor, each: Callable[[Tensor], Tensor] | None = None) -> Frames:
        """As :meth:`videoswin.data.decode.Video.get_frames`; ``each`` counts as resizing."""

        def resize(frame: Tensor) -> Tensor:
            with self._profile.timed("resize"):
                return each(frame) if each else frame

        with self._profile.timed("decode"):
            return self._video.get_frames(indices, each=resize)
