"""What stands between the instructions of a pickle: numbers, texts and bytes, read with an eye on what they announce."""

import re
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from videoswin.weights.containers.pickle_objects import Blob
from videoswin.weights.containers.unreadable import UNTRUSTED, Unreadable

__all__ = ["PickleTape", "parsed"]

_LONG = 64 * 1024
_LINE = 64 * 1024
_MAX_INTEGER_BYTES = 1024


class PickleTape:
    """One pickle in a file, from where the file stands.

    Texts and bytes longer than ``_LONG`` are not read: a :class:`Blob` says where they stand in the file.

    Args:
        file: buffered, since instructions are read byte by byte.
        stop: the place in the file that the pickle must not pass.
    """

    def __init__(self, file: BinaryIO, stop: int) -> None:
        self.file = file
        self.stop = stop

    def read(self, count: int) -> bytes:
        data = self.file.read(count)
        if len(data) != count:
            raise Unreadable("its pickle is cut off")
        return data

    def line(self) -> bytes:
        line = self.file.readline(_LINE)
        if line[-1:] != b"\n":
            raise Unreadable("its pickle has a line without an end")
        return line[:-1]

    def number(self, form: str) -> int:
        return struct.unpack(form, self.read(struct.calcsize(form)))[0]

    def blob(self, count: int, encoded: bool) -> Blob:
        """Skip a long text or bytes."""
        start = self.file.tell()
        if not 0 <= count <= self.stop - start:
            raise Unreadable(
                f"its pickle announces {count:,} bytes and has {max(self.stop - start, 0):,} left", UNTRUSTED
            )
        self.file.seek(count, 1)
        return Blob(start, count, encoded)

    def text(self, count: int) -> Any:
        if count > _LONG:
            return self.blob(count, encoded=True)
        try:
            return self.read(count).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise Unreadable(f"its pickle has a text that is none ({error.reason})") from error

    def old_text(self, count: int) -> Any:
        """A ``str`` of Python 2: text or bytes, who knows. Latin-1 keeps both."""
        if not 0 <= count <= _LONG:
            return self.blob(count, encoded=False)
        return self.read(count).decode("latin-1")

    def data(self, count: int) -> Any:
        return self.blob(count, encoded=False) if count > _LONG else self.read(count)

    def integer(self, count: int) -> int:
        if not 0 <= count <= _MAX_INTEGER_BYTES:
            raise Unreadable(f"its pickle has a number of {count:,} bytes", UNTRUSTED)
        return int.from_bytes(self.read(count), "little", signed=True)

    def written_integer(self) -> int | bool:
        line = self.line()
        if line in (b"00", b"01"):
            return line == b"01"
        return parsed(int, line.removesuffix(b"L"))

    def quoted(self) -> str:
        """A text in quotation marks, as Python 2 wrote it."""
        line = self.line().strip()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise Unreadable("its pickle has a text without quotation marks")
        return _ESCAPE.sub(_unescaped, line[1:-1].decode("latin-1"))

    def raw_unicode(self) -> str:
        try:
            return self.line().decode("raw-unicode-escape")
        except UnicodeDecodeError as error:
            raise Unreadable("its pickle has a text that is none") from error


def parsed(kind: Callable[[str], Any], line: bytes) -> Any:
    try:
        return kind(line.decode("ascii"))
    except ValueError as error:
        raise Unreadable("its pickle has a number that is none") from error


_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.|$)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}


def _unescaped(match: re.Match[str]) -> str:
    what = match[1]
    if what[:1] == "x" and len(what) == 3:
        return chr(int(what[1:], 16))
    if what not in _ESCAPED:
        raise Unreadable("its pickle has a text that is none")
    return _ESCAPED[what]
