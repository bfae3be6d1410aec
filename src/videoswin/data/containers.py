"""What may be opened as a video, and what it may cost.

Untrusted files are judged here, before FFmpeg sees them. A decoder library left to itself picks the demuxer that
likes the content best, and some demuxers are playlists that open *other* files and addresses (HLS, DASH, SDP,
ffconcat). So the container is recognised by its magic bytes, and :mod:`videoswin.data.decode` allows FFmpeg that one
demuxer only. Anything else is refused after its first 4 kB were read, and never followed.
"""

import os
import re
import stat
import time
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import BinaryIO

from videoswin.data.boxes import MOV_BOXES, refuse_inflated_tables
from videoswin.data.extent import Extent, extent_of
from videoswin.data.transport_stream import packet_grid
from videoswin.errors import ConfigError, Interrupted, VideoError, nearest

__all__ = ["CONTAINERS", "Clock", "Limits", "Source", "find_source", "raise_limit"]

CONTAINERS = {
    "mov": "mp4, mov, 3gp",
    "matroska": "mkv, webm",
    "avi": "avi",
    "flv": "flv",
    "mpeg": "mpg (MPEG program stream)",
    "mpegts": "ts (MPEG transport stream)",
    "asf": "wmv",
    "gif": "gif",
}
"""FFmpeg's demuxer names, and the files that people know them by."""

_HEAD_BYTES = 4096
_CONVERT = "Convert it to mp4 first, for example: ffmpeg -i INPUT -c:v libx264 output.mp4"
_ONLY_LOCAL = "Give a local video file; addresses and playlists are not opened"

_ASF_GUID = bytes.fromhex("3026b2758e66cf11")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(concat|concatf|subfile|data|pipe|fd|file|crypto|cache|async)[:,]")
_EBML_MAGIC = b"\x1a\x45\xdf\xa3"


@dataclass(frozen=True)
class Limits:
    """What one untrusted file may cost. Raise a limit for files you trust; ``float("inf")`` switches one off.

    ``max_pixels``: width x height of a frame (default: 8K UHD), checked in the header and again by the decoder.
    ``max_frames``, ``max_bytes``: what one ``get_frames`` or ``read`` may return (36,000 frames, 4 GiB).
    ``max_seconds``: from the first frame to the last (12 hours).
    ``timeout_s``: wall-clock seconds for opening, for one call, for one step of an iteration (60). It is looked at
    between packets; FFmpeg cannot be interrupted inside one, so a service runs decoders in a process it can end.
    """

    max_pixels: float = 7680 * 4320
    max_frames: float = 36_000
    max_bytes: float = 4 * 2**30
    max_seconds: float = 12 * 3600.0
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, int | float) and value > 0):
                hint = "Leave it out for the default."
                raise ConfigError(f"Limits.{field.name} must be a number above 0, not {value!r}. {hint}")

    @classmethod
    def parse(cls, text: str) -> "Limits":
        """What ``--limits`` takes: ``none``, or some of them: ``seconds=50000,timeout=600``; ``frames=none`` lifts one.

        Raises:
            ConfigError: an unknown name, or a value that is no number above 0.

        >>> Limits.parse("seconds=50000").max_seconds
        50000.0
        """
        names = {field.name.removeprefix("max_").removesuffix("_s"): field.name for field in fields(cls)}
        if text.strip().lower() == "none":
            return cls(**dict.fromkeys(names.values(), float("inf")))
        values: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, separator, value = (piece.strip() for piece in part.partition("="))
            if name not in names or not separator:
                hint = "none, or limits such as seconds=50000,timeout=600"
                raise ConfigError(f'The limits "{text}" are not understood. Write {hint}. {nearest(name, names)}')
            try:
                values[names[name]] = float("inf") if value.lower() == "none" else float(value.replace("_", ""))
            except ValueError as error:
                raise ConfigError(f'The limit "{part}" needs a number above 0, or none.') from error
        return cls(**values)


def raise_limit(name: str, otherwise: str) -> str:
    """The hint about a limit that was hit, for the command line and for Python."""
    field = "timeout_s" if name == "timeout" else f"max_{name}"
    return f"{otherwise}, or if you trust the file raise the limit: --limits {name}=N, in Python Limits({field}=N)"


class Clock:
    """The wall-clock budget of one operation on the file ``name``, and whether somebody has called it off (``stop``)."""

    def __init__(self, name: str, limits: Limits, stop: Event | None = None) -> None:
        self._name = name
        self._budget_s = limits.timeout_s
        self._stop = stop
        self.restart()

    def restart(self) -> None:
        self._deadline = time.monotonic() + self._budget_s

    def check(self, doing: str) -> None:
        """Raise :class:`VideoError` when the budget is spent, :class:`Interrupted` when it was called off."""
        if self._stop is not None and self._stop.is_set():
            raise Interrupted(f"{self._name}: stopped while {doing}.")
        if time.monotonic() > self._deadline:
            reason = f"{doing} took longer than {self._budget_s:g} s"
            raise VideoError(self._name, reason, raise_limit("timeout", "Cut the video"))


@dataclass(frozen=True)
class Source:
    """A video source that has passed the checks.

    ``name`` is what messages call it, ``demuxer`` a key of :data:`CONTAINERS`, ``content`` the bytes themselves
    or the resolved path of a regular file.
    """

    name: str
    demuxer: str
    content: Path | bytes

    def extent(self) -> Extent:
        """Where the container says that it ends, compared with the end of the file."""
        with self.open() as file:
            return extent_of(file, self.demuxer)

    def open(self) -> BinaryIO:
        """The content as a binary file."""
        return BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")


def find_source(source: str | Path | bytes, name: str | None = None) -> Source:
    """Check that ``source`` is a regular local file, or bytes, that starts like one of :data:`CONTAINERS`.

    A string is always a path, never an address or an FFmpeg expression. Raises :class:`VideoError` for everything
    else, without reading more than the first 4 kB, and for an mp4 whose tables are inflated.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        content: Path | bytes = bytes(source)
        label, head = name or "video in memory", content[:_HEAD_BYTES]
    else:
        label = name or os.fspath(source)
        content, head = _read_head(os.fspath(source), label)
    if not head:
        raise VideoError(label, "the file is empty (0 bytes)", "Copy or download it again")
    demuxer = _container_of(head)
    if demuxer is None:
        raise _refusal(label, head)
    found = Source(label, demuxer, content)
    if demuxer == "mov":
        with found.open() as file:
            refuse_inflated_tables(file, file.seek(0, os.SEEK_END), label)
    return found


def _read_head(path: str, label: str) -> tuple[Path, bytes]:
    """The resolved path of a regular file and its first bytes."""
    try:
        resolved = Path(path).resolve(strict=True)
        # Opening a FIFO blocks until somebody writes to it, so the kind is asked before it is opened; the open
        # itself does not block either, in case the file is swapped in between.
        _require_regular(resolved.stat().st_mode, label)
        descriptor = os.open(resolved, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            _require_regular(os.fstat(descriptor).st_mode, label)
            return resolved, file.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        raise VideoError(label, "the file was not found", _hint_about(path)) from error
    except PermissionError as error:
        raise VideoError(label, "no permission to read the file", "Check the file's rights (ls -l)") from error
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # too long a name, a NUL byte, a loop of links, a bad disk
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(label, f"the file cannot be read ({reason})", "Check the path") from error


def _hint_about(path: str) -> str:
    """Why there may be no such file: what people write in place of a path."""
    if _ADDRESS.match(path):
        return _ONLY_LOCAL
    if any(mark in path for mark in "*?["):
        return "No file matches this pattern; check the folder, or name the files"
    return "Check the path"


def _require_regular(mode: int, label: str) -> None:
    if stat.S_ISDIR(mode):
        raise VideoError(label, "this is a folder, not a video file", "Give one file")
    if not stat.S_ISREG(mode):
        raise VideoError(label, "this is a pipe or a device, not a regular file", "Save the video to a file first")


def _container_of(head: bytes) -> str | None:
    """The demuxer for a file that starts with ``head``, or None."""
    if head[4:8] in MOV_BOXES:
        return "mov"
    if head.startswith(_EBML_MAGIC):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:11] == b"AVI":
        return "avi"
    if head.startswith(b"FLV\x01"):
        return "flv"
    if head.startswith(b"\x00\x00\x01\xba"):
        return "mpeg"
    if head.startswith(_ASF_GUID):
        return "asf"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if packet_grid(head):
        return "mpegts"
    return None


def _refusal(label: str, head: bytes) -> VideoError:
    if not any(head):
        return VideoError(label, "the file starts with zeros only, it holds no video", "Copy or download it again")
    if head.startswith((b"\x00\x00\x00\x01", b"\x00\x00\x01")):
        return VideoError(label, "this is a raw video stream without a container, so it has no time stamps", _CONVERT)
    if head.startswith(b"OggS"):
        return VideoError(label, "this is an Ogg file, which is not read", _CONVERT)
    if _is_text(head):
        return VideoError(label, "this is a text file (or a playlist), not a video", _ONLY_LOCAL)
    known = "; ".join(CONTAINERS.values())
    return VideoError(label, f"the content is not a video container that can be read ({known})", _CONVERT)


def _is_text(head: bytes) -> bool:
    printable = sum(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
    return b"\x00" not in head and printable >= 0.97 * len(head)
