"""Frames into an mp4 while they come, in a thread of its own, so that encoding never makes the stream wait."""

import math
import queue
import threading
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from videoswin.errors import VideoError

__all__ = ["Recorder"]

_TICKS = 90_000
_WAITING = 8  # frames
_KEY_FRAME_EVERY = 60  # frames
_LONGEST_S = 1e9  # 31 years
_LONGEST_GAP_S = 86_400.0
_CLOSING_S = 30.0
_OPTIONS = {
    # Fragments of a second while it grows, so that what a killed process leaves can be played; a plain mp4 at the end.
    "movflags": "hybrid_fragmented",
    "frag_duration": "1000000",
    "flush_packets": "1",
}


class Recorder:
    """Write frames with their times; the size is that of the first one, others are scaled to it.

    When encoding is too slow, frames are left out (``dropped``); times stay right, so the recording never runs fast.

    Raises:
        VideoError: the file cannot be written; from :meth:`add` and :meth:`close`, once the encoder has failed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        self.frames = 0
        """Written, so far."""
        self._queue: queue.Queue[tuple[float, np.ndarray] | None] = queue.Queue(_WAITING)
        self._failure: BaseException | None = None
        self._last_s: float | None = None
        if path.is_dir() or not path.absolute().parent.is_dir():  # FFmpeg would say so with the first frame only
            raise VideoError(str(path), "it cannot be written there", "Give a file name in an existing folder")
        try:
            self._container = cast(OutputContainer, av.open(str(path), "w", format="mp4", options=dict(_OPTIONS)))
        except (FFmpegError, OSError) as error:
            raise VideoError(str(path), f"it cannot be written ({error.strerror})", "Check the folder") from error
        self._container.metadata["comment"] = "videoswin"
        self._thread = threading.Thread(target=self._work, name="videoswin recorder", daemon=True)
        self._thread.start()

    def add(self, time_s: float, rgb: np.ndarray) -> None:
        """``rgb``: uint8 ``(H, W, 3)``; not to be changed afterwards. Raises :class:`VideoError` once the encoder has failed,
        and for a time that cannot be: no number, below 0, or a day and more after the last one.
        """
        self._raise_failure()
        last_s = time_s if self._last_s is None else self._last_s
        if not (math.isfinite(time_s) and 0 <= time_s <= _LONGEST_S and time_s - last_s < _LONGEST_GAP_S):
            reason = f"a frame at {time_s:g} seconds, after one at {last_s:g}, cannot be recorded"
            raise VideoError(str(self.path), reason, "Check the time stamps of the source")
        self._last_s = time_s
        try:
            self._queue.put_nowait((time_s, rgb))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Finish the file. Raises :class:`VideoError` if that, or anything before, failed; never waits for long."""
        until = time.monotonic() + _CLOSING_S
        while self._thread.is_alive() and time.monotonic() < until:  # dead or stuck, it leaves the queue full
            with suppress(queue.Full):
                self._queue.put(None, timeout=0.2)
                break
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            reason = f"the encoder has not ended within {_CLOSING_S:g} seconds"
            raise VideoError(str(self.path), reason, "Check the disk")
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            reason = getattr(self._failure, "strerror", None) or str(self._failure) or type(self._failure).__name__
            hint = "Check the space on the disk"
            raise VideoError(str(self.path), f"the recording stopped ({reason})", hint) from self._failure

    def _work(self) -> None:
        try:
            self._encode()
            self._container.close()
        except BaseException as error:  # noqa: BLE001  it belongs to the thread that adds, and is raised there
            self._failure = error
            with suppress(FFmpegError, OSError, ValueError):
                self._container.close()

    def _encode(self) -> None:
        stream: VideoStream | None = None
        last = -1
        while (item := self._queue.get()) is not None:
            time_s, rgb = item
            if stream is None:
                stream = cast(VideoStream, self._container.add_stream("libx264", rate=30))
                stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(_KEY_FRAME_EVERY)}
                stream.height, stream.width = (max(2, side // 2 * 2) for side in rgb.shape[:2])
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = Fraction(1, _TICKS)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            frame = frame.reformat(width=stream.width, height=stream.height, format="yuv420p")
            frame.pts = last = max(last + 1, round(time_s * _TICKS))
            frame.time_base = Fraction(1, _TICKS)
            self._container.mux(stream.encode(frame))
            self.frames += 1
        if stream is not None:
            self._container.mux(stream.encode(None))
