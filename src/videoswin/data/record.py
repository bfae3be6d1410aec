"""Frames into an mp4 while they come, in a thread of its own, so that encoding holds nobody up."""

import queue
import threading
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.error import FFmpegError
from av.video.stream import VideoStream

from videoswin.errors import VideoError

__all__ = ["Recorder"]

_TICKS = 90_000
_WAITING = 8  # frames


class Recorder:
    """Write frames with their times; the size is that of the first one, others are scaled to it.

    When encoding is too slow, frames are left out (``dropped``); times stay right, so the recording never runs fast.
    Raises :class:`VideoError` from :meth:`close` if writing failed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        self._queue: queue.Queue[tuple[float, np.ndarray] | None] = queue.Queue(_WAITING)
        self._failure: Exception | None = None
        if path.is_dir() or not path.absolute().parent.is_dir():  # FFmpeg would say so with the first frame only
            raise VideoError(str(path), "it cannot be written there", "Give a file name in an existing folder")
        try:
            self._container = av.open(str(path), "w", format="mp4")
        except (FFmpegError, OSError) as error:
            raise VideoError(str(path), f"it cannot be written ({error.strerror})", "Check the folder") from error
        self._thread = threading.Thread(target=self._work, name="videoswin recorder", daemon=True)
        self._thread.start()

    def add(self, time_s: float, rgb: np.ndarray) -> None:
        """``rgb``: uint8 ``(H, W, 3)``; not to be changed afterwards."""
        try:
            self._queue.put_nowait((time_s, rgb))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._failure:
            raise VideoError(str(self.path), f"the recording stopped ({self._failure})", "Check the space on the disk")

    def _work(self) -> None:
        try:
            self._encode()
        except (FFmpegError, OSError, ValueError) as error:
            self._failure = error
            while self._queue.get() is not None:  # nobody may wait for us
                pass

    def _encode(self) -> None:
        stream: VideoStream | None = None
        last = -1
        while (item := self._queue.get()) is not None:
            time_s, rgb = item
            if stream is None:
                stream = cast(VideoStream, self._container.add_stream("libx264", rate=30))
                stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
                stream.height, stream.width = (side // 2 * 2 for side in rgb.shape[:2])
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = Fraction(1, _TICKS)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            frame = frame.reformat(width=stream.width, height=stream.height, format="yuv420p")
            frame.pts = last = max(last + 1, round(time_s * _TICKS))
            frame.time_base = Fraction(1, _TICKS)
            self._container.mux(stream.encode(frame))
        if stream is not None:
            self._container.mux(stream.encode(None))
        self._container.close()
