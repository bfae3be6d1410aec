"""Many videos through one model: some are read while the model looks at those before them.

Reading a video (open, decode, resize, crop) takes as long as a small model does, and neither needs the other. So a few
threads read ahead; FFmpeg and numpy let them run side by side. What was read comes out in the order that was asked for, and
goes through the model in groups, because a small model is quicker on sixteen views together than one by one. Nothing of this
changes a result: each video is read, or fails, by itself, and each view is scored by itself.

Memory is bounded: beside the group that the model looks at, the views of videos that wait or are being read take no more
than ``READ_AHEAD_BYTES``, or are those of one video if it alone takes more.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

import torch
from torch import Tensor

from videoswin.data.clips import Clip
from videoswin.data.decode import DECODER_THREADS, Frames, Limits, Video, open_video
from videoswin.data.ffmpeg import video_error
from videoswin.data.frame_folder import FrameFolder
from videoswin.data.part import Part, open_clip
from videoswin.data.preprocessing import Preprocessing, ViewBatch, Views
from videoswin.data.transforms import Resize
from videoswin.errors import VideoError, VideoSwinError
from videoswin.predict.profile import Profile, TimedVideo, timed

__all__ = [
    "READ_AHEAD_BYTES",
    "Looked",
    "VideoReader",
    "VideoSource",
    "name_of",
    "num_readers",
    "read_ahead",
    "score_in_groups",
    "views_at_once",
]

READ_AHEAD_BYTES = 512 * 2**20
_MAX_READERS = 4  # threads; more only take time from the model
_MAX_VIEWS = 16  # more in one forward pass are no quicker, and a person waits longer for the first result
# Pixels in one forward pass: one clip of 32x224x224, or as many as fit. A CPU is slower on larger ones, which leave its
# caches; other devices want several.
_PIXELS_AT_ONCE = {"cpu": 2**21}
_PIXELS_ELSEWHERE = 2**23
_FILM_BOX = (160, 288)  # height, width in pixels: readable beside the scores, 10 kB a frame

VideoSource = str | Path | bytes | Clip
"""What is read as one video: a file, the bytes of one, or a row of a list, which may be a part of a file."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Looked:
    """A video that was read: its views, normalised, and what a prediction says about it."""

    path: str
    duration_s: float
    batch: ViewBatch
    film: Frames | None
    complete: bool | None = None


@dataclass(frozen=True)
class VideoReader:
    """Reads the views of one video, and with ``film`` as many of the frames that they show, for people."""

    preprocessing: Preprocessing
    views: Views
    film: int
    limits: Limits
    profile: Profile | None = None

    def __call__(self, source: VideoSource, stop: Event | None = None) -> Looked | VideoError:
        """Whatever goes wrong with a video is a result: the others must not suffer, also from an error that nobody has thought
        of. ``stop``: beside others, see :func:`read_ahead`.
        """
        # Beside other readers one decoder thread each does the most work in all; alone, several are quicker.
        threads = 1 if stop else DECODER_THREADS
        try:
            with timed(self.profile, "open"):
                if isinstance(source, Clip):
                    opened = open_clip(source, limits=self.limits, threads=threads, stop=stop)
                else:
                    opened = open_video(source, limits=self.limits, threads=threads, stop=stop)
            with opened as video:
                return self._look(video)
        except VideoError as error:
            return error
        except VideoSwinError:  # a setting that no video would suit, or a wish to stop
            raise
        except Exception as error:  # noqa: BLE001  # becomes the result, with its cause
            failure = video_error(name_of(source), error, "it cannot be read")
            failure.__cause__ = error  # as `raise ... from` would set it
            return failure

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """``(3, T, H, W)`` of a view; a wide one is longer, how much is known when the video is."""
        return self.preprocessing.channels, self.preprocessing.clip_len, *self.preprocessing.size

    @property
    def bytes_each(self) -> int:
        """What the views of one video take in memory, about."""
        return 4 * len(self.views) * math.prod(self.clip_shape)

    def _look(self, video: Video | FrameFolder | Part) -> Looked:
        watched = TimedVideo(video, self.profile) if self.profile else video
        with timed(self.profile, "crop"):
            batch = self.preprocessing.views(watched, self.views)
        film = self._film(video) if self.film else None
        return Looked(video.info.path, video.info.duration_s, batch, film, video.info.complete)

    def _film(self, video: Video | FrameFolder | Part) -> Frames:
        """Some of the frames that the views show, evenly spread, in the video's own shape, (film, h, w, 3)."""
        seen = self.preprocessing.indices(video.times, self.views.num_clips).unique()
        chosen = seen[torch.linspace(0, len(seen) - 1, min(self.film, len(seen))).round().long()]
        height, width = video.info.height, video.info.width
        scale = min(_FILM_BOX[0] / height, _FILM_BOX[1] / width, 1.0)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        return video.get_frames(chosen, each=Resize(None, size))


def name_of(source: VideoSource) -> str:
    """What messages call a video."""
    if isinstance(source, bytes):
        return "video in memory"
    return str(source.path if isinstance(source, Clip) else source)


def read_ahead(
    read: Callable[[Item, Event | None], Result], items: Sequence[Item], bytes_each: int, group: int = 1
) -> Generator[Result, None, None]:
    """``read(item, stop)`` of all items, in their order, by a few threads that run ahead of the caller.

    ``bytes_each``: what one result takes; ``group``: how many the caller takes together. A single item is read in the caller's
    own thread, with ``stop`` None; the threads see the caller's context variables. When the caller is interrupted or closes the
    iterator, ``stop`` is set, which ``read`` should obey soon, and no other item is begun.
    """
    if len(items) < 2:
        yield from (read(item, None) for item in items)
        return
    ahead = _ahead(bytes_each, group)
    stop, waiting = Event(), deque[Future[Result]]()
    pool = ThreadPoolExecutor(num_readers(bytes_each, group), thread_name_prefix="videoswin-read")
    try:
        for item in items:
            waiting.append(pool.submit(copy_context().run, read, item, stop))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def num_readers(bytes_each: int, group: int = 1) -> int:
    """How many threads :func:`read_ahead` has for several items."""
    return min(_MAX_READERS, _ahead(bytes_each, group), os.cpu_count() or 1)


def _ahead(bytes_each: int, group: int) -> int:
    return max(1, min(READ_AHEAD_BYTES // bytes_each, group + _MAX_READERS))


def score_in_groups(
    results: Iterable[Looked | VideoError], score: Callable[[Tensor], Tensor], max_views: int
) -> Iterator[tuple[Looked, Tensor] | VideoError]:
    """Each video with the scores of its views, ``(V, num_classes)``; errors pass through, and the order stays.

    Videos are gathered while their views are of one shape and no more than ``max_views``; each group is scored in one call.
    """
    group: list[Looked | VideoError] = []
    for result in results:
        if isinstance(result, Looked) and not _fits(group, result, max_views):
            yield from _scored(group, score)
            group = []
        group.append(result)
    yield from _scored(group, score)


def _fits(group: Sequence[Looked | VideoError], new: Looked, max_views: int) -> bool:
    batches = [result.batch for result in group if isinstance(result, Looked)]
    same_shape = all(batch.clips.shape[1:] == new.batch.clips.shape[1:] for batch in batches[:1])
    return same_shape and sum(map(len, batches)) + len(new.batch) <= max(max_views, len(new.batch))


def _scored(
    group: Sequence[Looked | VideoError], score: Callable[[Tensor], Tensor]
) -> Iterator[tuple[Looked, Tensor] | VideoError]:
    clips = [result.batch.clips for result in group if isinstance(result, Looked)]
    scores = iter(
        score(torch.cat(clips) if len(clips) > 1 else clips[0]).split([len(c) for c in clips]) if clips else ()
    )
    for result in group:
        yield result if isinstance(result, VideoError) else (result, next(scores))


def views_at_once(clip: Sequence[int], device: torch.device) -> int:
    """How many views of shape ``(3, T, H, W)`` should go through the model together."""
    frames, height, width = clip[-3:]
    return max(1, min(_MAX_VIEWS, _PIXELS_AT_ONCE.get(device.type, _PIXELS_ELSEWHERE) // (frames * height * width)))
