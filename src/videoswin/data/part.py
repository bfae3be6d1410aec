"""Some seconds of a video, as if they were a video of their own."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event

import torch
from torch import Tensor

from videoswin.data.clips import Clip
from videoswin.data.containers import Limits
from videoswin.data.decode import DECODER_THREADS, Frames, Video, open_video
from videoswin.data.frame_folder import FrameFolder
from videoswin.errors import VideoError

__all__ = ["Part", "open_clip"]

_DEFAULT = Limits()


@contextmanager
def open_clip(
    clip: Clip, *, limits: Limits = _DEFAULT, threads: int = DECODER_THREADS, stop: Event | None = None
) -> "Iterator[Video | FrameFolder | Part]":
    """The video of a clip, or the part of it that ``clip.start`` and ``clip.end`` name. See :func:`open_video`."""
    folder = clip.path.is_dir()
    opened = (
        FrameFolder(clip.path, limits) if folder else open_video(clip.path, limits=limits, threads=threads, stop=stop)
    )
    with opened as video:
        yield Part(video, clip.start, clip.end) if clip.is_part else video


class Part:
    """The frames that are shown from ``start`` up to, but not including, ``end`` seconds; None is the end of the video.

    ``info`` and ``times`` are those of the part: its first frame is number 0, at 0 seconds. Raises :class:`VideoError` if no
    frame is shown in that time.
    """

    def __init__(self, video: Video | FrameFolder, start: float, end: float | None) -> None:
        self._video = video
        inside = video.times >= start
        if end is not None:
            inside &= video.times < end
        self._numbers = inside.nonzero().reshape(-1)
        if not len(self._numbers):
            until = "the end" if end is None else f"{end:g} s"
            reason = f"no frame is shown from {start:g} s to {until}; the video lasts {video.info.duration_s:.2f} s"
            raise VideoError(video.info.path, reason, "Correct start and end, in seconds from the first frame")
        self.offset_s = float(video.times[self._numbers[0]])
        self.times = video.times[self._numbers] - self.offset_s
        span = float(self.times[-1])
        last = span + (1 / video.info.fps if video.info.fps else 0.0)
        self.info = replace(
            video.info,
            num_frames=len(self),
            duration_s=last,
            fps=(len(self) - 1) / span if span > 0 else 0.0,
        )

    def __len__(self) -> int:
        return len(self._numbers)

    def get_frames(self, indices: Iterable[int] | Tensor, each: Callable[[Tensor], Tensor] | None = None) -> Frames:
        """As :meth:`Video.get_frames`, with numbers and times of the part."""
        numbers = torch.as_tensor(indices if isinstance(indices, Tensor) else list(indices), dtype=torch.int64)
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(self):
            reason = f"frames {int(numbers.min())} to {int(numbers.max())} were asked for, the part has {len(self)}"
            raise VideoError(self.info.path, reason, "Ask for frames inside the part")
        frames = self._video.get_frames(self._numbers[numbers.reshape(-1)], each)
        return Frames(frames.data, frames.times - self.offset_s)

    def read(self, each: Callable[[Tensor], Tensor] | None = None) -> Frames:
        """All frames of the part."""
        return self.get_frames(range(len(self)), each)
