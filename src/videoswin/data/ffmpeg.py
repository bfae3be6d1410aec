"""What all users of PyAV (FFmpeg's libraries) share: how it is opened, what its errors mean, and which way up a frame is.

PyAV changes its interface with every major version. This file is the only one that knows which one is installed; the
floor stands in pyproject.toml, and ``make test-versions`` runs the tests of this room with the oldest and the newest.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame

from videoswin.errors import OutOfMemoryError, VideoError, VideoSwinError

__all__ = ["DAMAGED", "Orientation", "as_video_error", "open_input", "orientation_of", "reason_of", "video_error"]

DAMAGED = "Get an undamaged copy, or repair it with: ffmpeg -i INPUT repaired.mp4"
"""What to do about a file that does not decode."""

_REPORT = "Run it with --debug (or VIDEOSWIN_DEBUG=1) to see where this comes from, and please report it"
_KNOWN_ERRORS = (FFmpegError, UnicodeDecodeError, EOFError, OSError)  # what PyAV raises about files
_NO_MEMORY = ("not enough memory", "can't allocate memory")  # PyTorch says it in a RuntimeError
_PROBE_BYTES = 2**28  # more than a frame at the default limit of pixels takes
# Titles in another encoding are no reason to refuse a video. Before 19 PyAV had to be asked to see it that way.
_LENIENT: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}


def open_input(
    file: Any, *, form: str | None = None, options: dict[str, str] | None = None, timeout_s: float | None = None
) -> InputContainer:
    """``av.open`` for reading. ``file``: a name, or an object with ``read``; ``form``: the one demuxer to use; ``timeout_s``: of each blocking call inside FFmpeg."""
    container = av.open(file, mode="r", format=form, options=options, timeout=timeout_s, **_LENIENT)
    return cast(InputContainer, container)


@contextmanager
def as_video_error(name: str, doing: str = "FFmpeg cannot read it", hint: str = DAMAGED) -> Iterator[None]:
    """Whatever goes wrong inside becomes a :class:`VideoError` about ``name``, with its cause attached.

    That is meant for errors nobody has thought of as well (PyAV raises TypeError and IndexError on some damaged files): one
    bad file must never end the work on all the others.
    """
    try:
        yield
    except VideoSwinError:
        raise
    except Exception as error:
        raise video_error(name, error, doing, hint) from error


def video_error(name: str, error: Exception, doing: str = "FFmpeg cannot read it", hint: str = DAMAGED) -> VideoError:
    """The error about ``name`` that ``error`` stands for. Too little memory is no fault of the file, and is called so."""
    if _is_memory(error):
        return OutOfMemoryError(name, "there is not enough memory to read it", "Free some, or ask for less at once")
    known = isinstance(error, (*_KNOWN_ERRORS, MemoryError))
    return VideoError(name, f"{doing} ({reason_of(error)})", hint if known else f"{hint}. {_REPORT}")


def reason_of(error: Exception) -> str:
    """An error in the words of the library, or by its type where it has none."""
    if words := getattr(error, "strerror", None):
        return words
    kind = type(error).__name__
    return kind if isinstance(error, (*_KNOWN_ERRORS, MemoryError)) else f"unexpected {kind}: {error}"


def _is_memory(error: Exception) -> bool:
    if isinstance(error, RuntimeError):
        return any(words in str(error) for words in _NO_MEMORY)
    if not isinstance(error, MemoryError):
        return False
    # FFmpeg says "no memory" to any request above 2 GiB, which only a damaged file makes. So it is tried what there is.
    return not isinstance(error, FFmpegError) or not _memory_is_left()


def _memory_is_left() -> bool:
    try:
        return len(bytearray(_PROBE_BYTES)) > 0
    except MemoryError:
        return False


class Orientation(NamedTuple):
    """How stored frames become upright: mirrored left to right first, then turned.

    ``turns``: quarter turns counter-clockwise, 0 to 3.
    """

    turns: int
    mirrored: bool

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """``(H, W, ...)`` as stored -> upright, contiguous."""
        pixels = pixels[:, ::-1] if self.mirrored else pixels
        return np.ascontiguousarray(np.rot90(pixels, k=self.turns))


def orientation_of(frame: VideoFrame) -> Orientation:
    """The display matrix of a frame, in the nearest of the eight ways a picture can lie.

    The matrix (ISO/IEC 14496-12, 6.2.2) maps stored pixels (x to the right, y down) to x' = a x + c y, y' = b x + d y.
    """
    data = frame.side_data.get("DISPLAYMATRIX")  # pyright: ignore[reportCallIssue, reportArgumentType]
    if data is None:
        return Orientation(0, False)
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(np.float64)  # in this machine's order of bytes
    mirrored = bool(a * d - b * c < 0)
    if mirrored:  # undone before the turn, by x -> -x
        a, b = -a, -b
    if a == b == 0:
        return Orientation(0, mirrored)
    # Turned clockwise by the angle of (a, b), as y points down; the nearest quarter.
    return Orientation(-round(float(np.degrees(np.arctan2(b, a))) / 90) % 4, mirrored)
