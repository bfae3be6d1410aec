"""What people name on the command line, as one thing: an iterator of pictures with media times and due times.

A source never queues. It counts what went wrong (:class:`Health`), and says of every picture when it was due: for a file the
moment its time stamp asks for, for a live source the moment at which it should have arrived, judged by the fastest ones before
it. So a backlog in a socket or in a pipe shows as latency, and :class:`videoswin.live.session.Session` can bound it.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from torch import Tensor

from videoswin.data.decode import Limits, Video, open_video
from videoswin.data.live_address import Address
from videoswin.data.live_decode import LiveInput, open_address, open_camera, open_pipe
from videoswin.data.live_wait import MAX_BYTES_A_PICTURE, Watch
from videoswin.errors import ConfigError, Interrupted, VideoError

__all__ = ["FileSource", "Health", "LiveSource", "Picture", "PictureSource", "find_live_source"]

_CLOCK_DRIFT = 1e-3  # seconds a second: a camera's clock may run this much slower than ours
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_JUMP_S = 10.0
_HOPELESS_S = 3.0


class Picture(NamedTuple):
    """A frame of a source, before it is decided whether the model sees it."""

    time_s: float
    """Seconds since the beginning, never decreasing, across reconnects too."""
    rgb: Tensor
    """uint8 ``(H, W, 3)``, of any size, and the size may change from one to the next."""
    due: float = 0.0
    """The moment, on the clock's scale, at which it should have been there."""


@dataclass
class Health:
    """What happened to a source so far."""

    pictures: int = 0
    """Frames that arrived and decoded."""
    reconnects: int = 0
    stalls: int = 0
    """Silences that ended a connection; of a file, times that decoding fell behind."""
    resolution_changes: int = 0
    damaged: int = 0
    """Frames that did not decode."""
    late: int = 0
    """Frames passed over because they were overdue."""
    width: int = 0
    height: int = 0
    state: str = "starting"
    """starting, running, reconnecting, ended."""

    def saw(self, rgb: Tensor) -> None:
        height, width = rgb.shape[:2]
        if self.width and (width, height) != (self.width, self.height):
            self.resolution_changes += 1
        self.width, self.height = width, height
        self.pictures += 1
        self.state = "running"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class PictureSource(Protocol):
    """Where pictures come from. :meth:`open` comes first, then one iteration, in any one thread; then :meth:`close`."""

    name: str
    """As it may be shown."""
    fps: float
    """The stated rate, known once it is open; 0 if there is none."""
    live: bool
    """Whether it goes on without us, so that being slow means to lose frames."""
    health: Health
    """Kept up to date while iterating."""

    def open(self) -> None:
        """Connect, or open the file. Raises :class:`VideoError` if that fails, Interrupted after :meth:`stop`."""

    def __iter__(self) -> Iterator[Picture]: ...

    def stop(self) -> None:
        """From any thread, at any time: opening, waiting and iterating end soon."""

    def close(self) -> None:
        """Release what is open, once no thread iterates any more. May be called twice."""


class FileSource:
    """A video file, paced by its time stamps.

    Args:
        fast: as quickly as it can be looked at, every frame. Otherwise, where decoding alone falls 3 seconds behind, the pace
            slows down, counted as a stall.
        sleep: waits so many seconds; by default until :meth:`stop`.
    """

    def __init__(
        self,
        path: str | Path,
        fast: bool = False,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._path, self._fast, self._limits = path, fast, limits or Limits()
        self._stopped = threading.Event()
        self._clock, self._sleep = clock, sleep or self._stopped.wait
        self._video: Video | None = None
        self.name, self.fps = os.fspath(path), 0.0
        self.live = not fast
        self.health = Health()

    def open(self) -> None:
        if self._video is None:
            self._video = open_video(self._path, limits=self._limits, stop=self._stopped)
            self.fps = self._video.info.fps

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        if self._video is not None:
            self._video.close()

    def __iter__(self) -> Iterator[Picture]:
        self.open()
        assert self._video is not None
        start = self._clock()
        try:
            for time_s, rgb in self._video:
                due = self._clock() if self._fast else start + time_s
                if (early := due - self._clock()) > 0:
                    self._sleep(early)
                elif early < -_HOPELESS_S:  # decoding alone is too slow for real time: slow down instead
                    start -= early
                    self.health.stalls += 1
                if self._stopped.is_set():
                    return
                self.health.saw(rgb)
                yield Picture(time_s, rgb, due)
        except Interrupted:  # by stop()
            return
        self.health.state = "ended"


class LiveSource:
    """A camera, an address or a pipe.

    Args:
        connect: opens one connection, which waits by the given watch.
        reconnect: after a failure or a silence, try again, waiting twice as long each time, up to half a minute, until
            ``give_up_s`` have passed without a picture. The end of a source is an end where this is off, where the source
            says that it is one, and where a file had a stated length.
        timeout_s: seconds of silence that end a connection; None for no limit.
        max_bytes: that may come without a picture in them.
        fast: nothing is dropped, and the sender waits for us, if it can.
        sleep: waits so many seconds; by default until :meth:`stop`.
    """

    def __init__(
        self,
        connect: Callable[[Watch], LiveInput],
        name: str,
        reconnect: bool,
        *,
        timeout_s: float | None = None,
        max_bytes: float = MAX_BYTES_A_PICTURE,
        fast: bool = False,
        give_up_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._connect, self.name, self._reconnect, self._give_up_s = connect, name, reconnect, give_up_s
        self._timeout_s, self._max_bytes = timeout_s, max_bytes
        self._stopped = threading.Event()
        self._clock, self._sleep = clock, sleep or self._stopped.wait
        self._watch: Watch | None = None
        self._input: LiveInput | None = None
        self._head = b""
        self.live = not fast
        self.health = Health()
        self.fps = 0.0

    def open(self) -> None:
        if self._input is None:
            self._watch = Watch(self.name, self._timeout_s, self._max_bytes)
            if self._stopped.is_set():  # before there was a watch to tell
                self._watch.close()
                raise Interrupted(f"{self.name}: stopped.")
            try:
                self._input = self._connect(self._watch)
            except BaseException:
                self._watch.close()
                raise
            self.fps = self._input.fps

    def stop(self) -> None:
        self._stopped.set()
        if self._watch is not None:
            self._watch.stop()

    def close(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None
        if self._watch is not None:
            self._watch.close()

    def __iter__(self) -> Iterator[Picture]:
        self.open()  # the first failure is the user's to see
        start = last_picture = self._clock()
        wait_s = _FIRST_WAIT_S
        timing = _Timing(start, self._clock)
        while not self._stopped.is_set():
            try:
                for picture in self._pictures(timing):
                    last_picture, wait_s = self._clock(), _FIRST_WAIT_S
                    yield picture
                if self._ended:
                    self.health.state = "ended"
                    return
                failure = VideoError(self.name, "it ended", "Check the source")
            except Interrupted:  # by stop()
                return
            except VideoError as error:
                if self._ended:
                    raise
                failure = error
            self.health.stalls += 1
            if self._clock() - last_picture > self._give_up_s:
                raise failure
            self.health.state = "reconnecting"
            self._sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _pictures(self, timing: "_Timing") -> Iterator[Picture]:
        self._ended = not self._reconnect
        if self._input is None:
            self.open()
            self.health.reconnects += 1
        connection = self._input
        assert connection is not None
        if connection.head and connection.head == self._head:  # not a stream that goes on, but a file that begins again
            self._ended = True
            self.close()
            return
        timing.connected()
        damaged = self.health.damaged
        try:
            for stamp, rgb in connection:
                self.health.damaged = damaged + connection.damaged
                if self._stopped.is_set():
                    return
                if connection.is_file and stamp is not None and (early := timing.early(stamp)) > 0:
                    self._sleep(early)
                self.health.saw(rgb)
                time_s, due = timing.of(stamp)
                yield Picture(time_s, rgb, due)
            self._head = connection.head  # it ended well
        finally:
            self._ended = self._ended or connection.is_file or connection.finished
            self.close()


class _Timing:
    """Media time and due time of pictures, across connections.

    Media time runs along the source's stamps from the moment of the first one on; without stamps, along arrival. A stamp
    that jumps starts a new anchor. A picture is due where the most punctual one so far would put it.
    """

    def __init__(self, start: float, clock: Callable[[], float]) -> None:
        self._start, self._clock = start, clock
        self._last_time = 0.0
        self.connected()

    def connected(self) -> None:
        """The next picture is the first one of a connection."""
        self._offset: float | None = None  # due = stamp + offset
        self._shift = self._last_stamp = 0.0

    def early(self, stamp: float) -> float:
        """Seconds until the picture with this stamp is due, if the first one of the connection was on time."""
        return 0.0 if self._offset is None else stamp + self._offset - self._clock()

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
    limits: Limits | None = None,
    pipe: BinaryIO | None = None,
) -> PictureSource:
    """What ``text`` names: ``-`` is standard input, a number a camera, something with ``://`` an address, else a file.
    Nothing is opened yet.

    Args:
        size: height and width of raw pictures in the pipe, pixels.
        rate: of raw pictures in the pipe, frames per second.
        limits: what a file may cost.
        pipe: in place of standard input.

    Raises:
        ConfigError: options that do not fit it, or an address of another kind.
        VideoError: standard input is closed, or a terminal.
    """
    if (size or rate) and text != "-":
        raise ConfigError(
            "--pipe-size and --pipe-fps describe raw video from a pipe. Leave them out, or give - as the source."
        )
    if text == "-":
        stdin = pipe or _standard_input()
        connect = lambda watch: open_pipe(stdin, size, rate, watch=watch)  # noqa: E731
        return LiveSource(connect, "the pipe", reconnect=False, max_bytes=float("inf"), fast=fast)
    if text.isascii() and text.isdigit() and not Path(text).exists():
        connect = lambda watch: open_camera(int(text), sys.platform, timeout_s, watch=watch)  # noqa: E731
        return LiveSource(connect, f"camera {text}", reconnect=True, timeout_s=timeout_s)
    if "://" in text:
        address = Address.parse(text)
        connect = lambda watch: open_address(text, timeout_s, watch=watch)  # noqa: E731
        waits = fast and address.scheme.startswith("http")
        return LiveSource(connect, address.name, reconnect=True, timeout_s=timeout_s, fast=waits)
    return FileSource(text, fast, limits=limits)


def _standard_input() -> BinaryIO:
    pipe = sys.stdin.buffer if sys.stdin else None
    if pipe is None or pipe.closed:
        raise VideoError("the pipe", "standard input is closed", "Pipe a video in: ... | videoswin stream -")
    if pipe.isatty():
        raise VideoError("the pipe", "nothing is piped in", "Pipe a video in: ... | videoswin stream -")
    return pipe
