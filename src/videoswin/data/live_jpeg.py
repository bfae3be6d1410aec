"""Motion JPEG over HTTP: ``multipart/x-mixed-replace``, one picture a part.

Taken apart here and not by FFmpeg, which sets aside as many bytes as a part claims to have, and knows no time of arrival.
"""

import re
from collections.abc import Callable, Iterator

from videoswin.errors import VideoError

__all__ = ["JpegParts"]

_LONGEST_PICTURE = 32 * 2**20  # bytes: 8K at the worst quality setting
_LONGEST_HEADER = 2**14
_CHUNK = 2**16


class JpegParts:
    """Iterate for the bytes of each picture.

    Args:
        read: gives at least one byte, or nothing at the end.
        content_type: of the answer, with the boundary.

    Raises:
        VideoError: while iterating: no multipart, or a part that is too long.
    """

    def __init__(self, read: Callable[[int], bytes], content_type: str, name: str) -> None:
        self._read, self._name = read, name
        found = re.search(r'boundary="?([^";]{1,200})"?', content_type, re.IGNORECASE)
        # Cameras state the boundary with its dashes or without, and some state none.
        self._delimiter = b"--" + found[1].strip().lstrip("-").encode("latin-1", "replace") if found else b"--"
        self._buffer = bytearray()

    def __iter__(self) -> Iterator[bytes]:
        while (header := self._until(b"\r\n\r\n", _LONGEST_HEADER)) is not None:
            stated = re.search(rb"(?im)^content-length:\s*(\d{1,18})\s*$", header)
            kind = re.search(rb"(?im)^content-type:\s*([^\s;]+)", header)
            if kind and not kind[1].lower().startswith(b"image/j"):
                self._fail(f"its parts are {kind[1].decode('latin-1')[:40]} and no JPEG pictures")
            if stated is None:
                picture = self._until(b"\n" + self._delimiter, _LONGEST_PICTURE)
            elif int(stated[1]) > _LONGEST_PICTURE:
                self._fail(f"a picture is said to have {int(stated[1]):,} bytes, the limit is {_LONGEST_PICTURE:,}")
            else:
                picture = self._exactly(int(stated[1]))
            if picture is None:
                return
            if picture:
                yield picture

    def _until(self, mark: bytes, limit: int) -> bytes | None:
        """All up to ``mark``, which is left out; None at the end."""
        searched = 0
        while (place := self._buffer.find(mark, searched)) < 0:
            if len(self._buffer) > limit:
                self._fail(f"a part goes on for more than {limit:,} bytes")
            searched = max(0, len(self._buffer) - len(mark))
            if not (more := self._read(_CHUNK)):
                return None
            self._buffer += more
        found = bytes(self._buffer[:place])
        del self._buffer[: place + len(mark)]
        return found

    def _exactly(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            if not (more := self._read(min(size - len(self._buffer), _CHUNK))):
                return None
            self._buffer += more
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def _fail(self, reason: str) -> None:
        raise VideoError(self._name, reason, "Check the address")
