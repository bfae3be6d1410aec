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
from collections.abc import Iterator
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import BinaryIO

from videoswin.errors import ConfigError, Interrupted, VideoError

__all__ = ["CONTAINERS", "Clock", "Limits", "Source", "find_source"]

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

_MOV_BOXES = {
    b"ftyp",
    b"moov",
    b"mdat",
    b"free",
    b"skip",
    b"wide",
    b"pnot",
    b"styp",
    b"sidx",
    b"moof",
    b"uuid",
    b"pdin",
}
_MOV_DATA_BOXES = {b"mdat", b"moov", b"moof"}
_SAMPLE_TABLE = re.compile(rb"(?=stsz....(....)(....)|trun....(....))", re.DOTALL)  # (bytes of each, count) or (count)
_SCAN_BYTES = 2**20
_ASF_GUID = bytes.fromhex("3026b2758e66cf11")
_EBML_MAGIC = b"\x1a\x45\xdf\xa3"
_SEGMENT_ID = b"\x18\x53\x80\x67"


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
            raise VideoError(self._name, reason, "Cut the video, or raise Limits(timeout_s=...)")


@dataclass(frozen=True)
class Source:
    """A video source that has passed the checks.

    ``name`` is what messages call it, ``demuxer`` a key of :data:`CONTAINERS`, ``content`` the bytes themselves
    or the resolved path of a regular file.
    """

    name: str
    demuxer: str
    content: Path | bytes

    def missing_bytes(self) -> int:
        """How many bytes the container declares beyond the end of the file: above 0 if it was cut off.

        MPEG program streams and wmv state no size, nor may a recording that was streamed: 0 for these.
        """
        with self.open() as file:
            size = file.seek(0, os.SEEK_END)
            return max(0, _declared_size(file, self.demuxer, size) - size)

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
            _refuse_inflated_tables(file, file.seek(0, os.SEEK_END), label)
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
    except FileNotFoundError:
        hint = _ONLY_LOCAL if ":" in path else "Check the path"
        raise VideoError(label, "the file was not found", hint) from None
    except PermissionError:
        raise VideoError(label, "no permission to read the file", "Check the file's rights (ls -l)") from None
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # too long a name, a NUL byte, a loop of links, a bad disk
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(label, f"the file cannot be read ({reason})", "Check the path") from None


def _require_regular(mode: int, label: str) -> None:
    if stat.S_ISDIR(mode):
        raise VideoError(label, "this is a folder, not a video file", "Give one file")
    if not stat.S_ISREG(mode):
        raise VideoError(label, "this is a pipe or a device, not a regular file", "Save the video to a file first")


def _container_of(head: bytes) -> str | None:
    """The demuxer for a file that starts with ``head``, or None."""
    if head[4:8] in _MOV_BOXES:
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
    if _sync_of(head):
        return "mpegts"
    return None


def _sync_of(head: bytes) -> tuple[int, int] | None:
    """(first sync byte, packet length) of a transport stream: plain, Blu-ray, or with error correction.

    A recording may start inside a packet, so the first sync byte (0x47) is looked for within one length. All
    packets of the head have to agree: text repeats a letter by chance, but not 5 times at one distance.
    """
    for length in (188, 192, 204):
        for start in range(length):
            syncs = head[start::length]
            if len(syncs) >= 5 and set(syncs) == {0x47}:
                return start, length
    return None


def _refusal(label: str, head: bytes) -> VideoError:
    if not any(head):
        return VideoError(label, "the file starts with zeros only, it holds no video", "Copy or download it again")
    if head.startswith((b"\x00\x00\x00\x01", b"\x00\x00\x01")):
        return VideoError(label, "this is a raw video stream without a container, so it has no time stamps", _CONVERT)
    if _is_text(head):
        return VideoError(label, "this is a text file (or a playlist), not a video", _ONLY_LOCAL)
    known = "; ".join(CONTAINERS.values())
    return VideoError(label, f"the content is not a video container that can be read ({known})", _CONVERT)


def _is_text(head: bytes) -> bool:
    printable = sum(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
    return b"\x00" not in head and printable >= 0.97 * len(head)


def _declared_size(file: BinaryIO, demuxer: str, size: int) -> int:
    """The size in bytes that the container's own length fields add up to; 0 where they state none."""
    if demuxer == "mov":
        return _mov_size(file, size)
    if demuxer == "flv":
        return _flv_size(file, size)
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if demuxer == "matroska":
        return _matroska_size(head)
    if demuxer == "avi":
        return 8 + int.from_bytes(head[4:8], "little")
    if demuxer == "mpegts" and (sync := _sync_of(head)):
        start, length = sync
        return size + (start - size) % length  # whole packets
    if demuxer == "gif":
        file.seek(max(0, size - _HEAD_BYTES))
        return 0 if file.read().rstrip(b"\0").endswith(b"\x3b") else size + 1  # the byte that ends every gif
    return 0


def _top_boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the top-level boxes of an mp4; the end may lie behind the end of the file."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1 and len(header) == 16:
            length = int.from_bytes(header[8:], "big")
        elif length == 0:  # up to the end of the file
            length = size - start
        if length < 8:  # nonsense; the demuxer stops here, too
            return
        yield kind, start, start + length
        start += length


def _mov_size(file: BinaryIO, size: int) -> int:
    """The end of the last box. One of an unknown kind is trailing rubbish and proves nothing."""
    return max((end for kind, _, end in _top_boxes(file, size) if kind in _MOV_DATA_BOXES), default=0)


def _refuse_inflated_tables(file: BinaryIO, size: int, label: str) -> None:
    """Refuse an mp4 that lists more samples than its bytes can hold: FFmpeg would allocate 36 bytes for each.

    Sample tables may state a size for all samples together, and then a count of any height costs the file nothing.
    The tables are looked for by name rather than by the tree of boxes, since FFmpeg takes them from odd places, too.
    """
    for kind, start, end in _top_boxes(file, size):
        if kind == b"mdat":
            continue
        for offset in range(start, min(end, size), _SCAN_BYTES):
            file.seek(offset)
            block = file.read(min(_SCAN_BYTES + 16, end - offset))  # 16: a table may straddle two blocks
            for table in _SAMPLE_TABLE.finditer(block):
                each, count, in_fragment = (int.from_bytes(part or b"", "big") for part in table.groups())
                if max(count * max(1, each), in_fragment) > size:
                    reason = f"its tables list {count or in_fragment:,} samples, more than {size:,} bytes can hold"
                    raise VideoError(label, reason, "Do not trust this file; get a sound copy")
            if b"cmov" in block:
                raise VideoError(label, "its header is compressed, which hides what it would cost", _CONVERT)


def _flv_size(file: BinaryIO, size: int) -> int:
    """The end of the last tag (its header, its body, its length once more, which some writers leave out)."""
    start = 13
    while start < size:
        file.seek(start)
        header = file.read(11)
        end = start + 11 + int.from_bytes(header[1:4], "big") + 4
        if len(header) < 11 or (end > size and end - 4 != size):
            return end
        start = end
    return 0


def _matroska_size(head: bytes) -> int:
    """The end of the segment, if stated (a live recording leaves it unknown: all bits set)."""
    segment = head.find(_SEGMENT_ID)
    if segment < 0 or segment + 5 > len(head):
        return 0
    width = 9 - head[segment + 4].bit_length()  # bytes of the length field, told by its leading zeros
    field = head[segment + 4 : segment + 4 + width]
    length = int.from_bytes(field, "big") & ((1 << 7 * width) - 1)
    unknown = length == (1 << 7 * width) - 1
    return 0 if unknown or width > 8 else segment + 4 + width + length
