"""What people name on the command line, as one thing: an iterator of pictures with media times and due times.

A source never queues. It counts what went wrong (:class:`Health`), and says of every picture when it was due: for a file the
moment its time stamp asks for, for a live source the moment at which it should have arrived, judged by the fastest ones before
it. So a backlog in a socket or in a pipe shows as latency, and :class:`videoswin.live.session.Session` can bound it.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from torch import Tensor

from videoswin.data.decode import Limits, open_video
from videoswin.data.live_decode import LiveInput, open_address, open_camera, open_pipe, without_password
from videoswin.errors import ConfigError, VideoError

__all__ = ["FileSource", "Health", "LiveSource", "Seen", "Source", "find_live_source"]

_CLOCK_DRIFT = 1e-3  # seconds a second: a camera's clock may run this much slower than ours
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_JUMP_S = 10.0
_HOPELESS_S = 3.0


class Seen(NamedTuple):
    """A picture: ``time_s`` since the beginning, never decreasing across reconnects; ``due`` on the clock's scale; ``rgb``
    uint8 ``(H, W, 3)``."""

    time_s: float
    due: float
    rgb: Tensor


@dataclass
class Health:
    """What happened so far. ``stalls``: silences that ended a connection. ``resolution_changes``: of the pictures' size.
    ``damaged``: frames that did not decode. ``late``: pictures passed over because they were overdue."""

    pictures: int = 0
    reconnects: int = 0
    stalls: int = 0
    resolution_changes: int = 0
    damaged: int = 0
    late: int = 0
    width: int = 0
    height: int = 0
    state: str = "starting"

    def saw(self, rgb: Tensor) -> None:
        height, width = rgb.shape[:2]
        if self.width and (width, height) != (self.width, self.height):
            self.resolution_changes += 1
        self.width, self.height = width, height
        self.pictures += 1
        self.state = "running"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Source(Protocol):
    """``fps``: the stated rate, 0 if there is none. ``health``: kept up to date while iterating. ``live``: whether it goes on
    without us, so that being slow means to lose pictures."""

    name: str
    fps: float
    live: bool
    health: Health

    def __iter__(self) -> Iterator[Seen]: ...


class FileSource:
    """A video file, paced by its time stamps; ``fast``: as quickly as it can be looked at, every frame. Where decoding alone
    falls 3 seconds behind, the pace slows down, counted as a stall."""

    def __init__(
        self,
        path: str | Path,
        fast: bool = False,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path, self._fast, self._limits = path, fast, limits or Limits()
        self._clock, self._sleep = clock, sleep
        self.live = not fast
        self.health = Health()
        with open_video(path, limits=self._limits) as video:
            self.name, self.fps = video.info.path, video.info.fps

    def __iter__(self) -> Iterator[Seen]:
        with open_video(self._path, limits=self._limits) as video:
            start = self._clock()
            for time_s, rgb in video:
                due = self._clock() if self._fast else start + time_s
                if (early := due - self._clock()) > 0:
                    self._sleep(early)
                elif early < -_HOPELESS_S:  # decoding alone is too slow for real time: slow down instead
                    start -= early
                    self.health.stalls += 1
                self.health.saw(rgb)
                yield Seen(time_s, due, rgb)
        self.health.state = "ended"


class LiveSource:
    """A camera, an address or a pipe. ``reconnect``: after a failure or a silence, try again, waiting twice as long each time,
    up to half a minute, until ``give_up_s`` have passed without a picture. The end of a source is an end where ``reconnect`` is off.
    """

    live = True

    def __init__(
        self,
        connect: Callable[[], LiveInput],
        name: str,
        reconnect: bool,
        *,
        give_up_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect, self.name, self._reconnect, self._give_up_s = connect, name, reconnect, give_up_s
        self._clock, self._sleep = clock, sleep
        self.health = Health()
        self._input: LiveInput | None = connect()  # the first failure is the user's to see
        self.fps = self._input.fps

    def __iter__(self) -> Iterator[Seen]:
        start = last_picture = self._clock()
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                timing = _Timing(start, self._clock)
                for seen in self._pictures(timing):
                    last_picture, wait_s = self._clock(), _FIRST_WAIT_S
                    yield seen
                if not self._reconnect:
                    self.health.state = "ended"
                    return
                failure = VideoError(self.name, "it ended", "Check the source")
            except VideoError as error:
                if not self._reconnect:
                    raise
                failure = error
            self.health.stalls += 1
            if self._clock() - last_picture > self._give_up_s:
                raise failure
            self.health.state = "reconnecting"
            self._sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _pictures(self, timing: "_Timing") -> Iterator[Seen]:
        if self._input is None:
            self._input = self._connect()
            self.health.reconnects += 1
        connection, self._input = self._input, None
        damaged = self.health.damaged
        try:
            for picture in connection:
                self.health.damaged = damaged + connection.damaged
                self.health.saw(picture.rgb)
                yield Seen(*timing.of(picture.time_s), picture.rgb)
        finally:
            connection.close()


class _Timing:
    """Media time and due time of the pictures of one connection.

    Media time runs along the source's stamps from the moment of the first one on; without stamps, along arrival. A stamp
    that jumps starts a new anchor. A picture is due where the most punctual one so far would put it.
    """

    def __init__(self, start: float, clock: Callable[[], float]) -> None:
        self._start, self._clock = start, clock
        self._offset: float | None = None  # due = stamp + offset
        self._shift = self._last_stamp = self._last_time = 0.0

    def of(self, stamp: float | None) -> tuple[float, float]:
        now = self._clock()
        if stamp is None:
            self._last_time = max(self._last_time, now - self._start)
            return self._last_time, now
        if self._offset is None or not -_JUMP_S < stamp - self._last_stamp < _JUMP_S:
            self._offset = now - stamp
            self._shift = now - self._start - stamp
        else:
            drift = _CLOCK_DRIFT * max(0.0, stamp - self._last_stamp)
            self._offset = min(self._offset + drift, now - stamp)
        self._last_stamp = stamp
        self._last_time = max(self._last_time, stamp + self._shift)
        return self._last_time, stamp + self._offset


def find_live_source(
    text: str,
    *,
    fast: bool = False,
    size: tuple[int, int] | None = None,
    rate: float | None = None,
    timeout_s: float = 10.0,
    pipe: BinaryIO | None = None,
) -> Source:
    """What ``text`` names: ``-`` is standard input, a number a camera, something with ``://`` an address, else a file.

    Raises:
        VideoError: it is not there. ConfigError: options that do not fit it.
    """
    if (size or rate) and text != "-":
        raise ConfigError("--size and --rate describe raw video from a pipe. Leave them out, or give - as the source.")
    if text == "-":
        return LiveSource(lambda: open_pipe(pipe or sys.stdin.buffer, size, rate), "the pipe", reconnect=False)
    if text.isascii() and text.isdigit() and not Path(text).exists():
        return LiveSource(lambda: open_camera(int(text), sys.platform, timeout_s), f"camera {text}", reconnect=True)
    if "://" in text:
        return LiveSource(lambda: open_address(text, timeout_s), without_password(text), reconnect=True)
    return FileSource(text, fast)
