"""A form with one video, read while it comes: into a file of our own naming, under limits, and refused as soon as one is hit."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from videoswin.errors import nearest
from videoswin.serve.refusals import Refused
from videoswin.serve.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["Form", "read_form"]

_MAX_FIELD = 1024  # bytes of a value that is no video
_MAX_PARTS = 24
_OVERHEAD = 64 * 1024  # what a form may take beside its video
_MAX_NAME = 120


@dataclass
class Form:
    """``path``: where the video is; ``name``: what the client calls it, for messages only; ``fields``: the other values."""

    path: Path
    name: str = "video"
    fields: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def read_form(
    request: "Request", folder: Path, known: Collection[str], settings: ServeSettings
) -> AsyncIterator[Form]:
    """The form of a request; its file is removed at the end of the block.

    Args:
        folder: where the file is put.
        known: names that fields may have, beside ``video``.

    Raises:
        Refused: 400 no proper form; 408 too slow; 413 too large; 415 no form at all; 422 not one video, an unknown field,
            or settings in the address.
    """
    for name in request.query_params:
        message = f'"{name[:40]}" stands in the address, where it would not be read. Send it as a field of the form.'
        raise Refused(422, "bad_setting", message)
    limit = settings.max_upload_bytes
    parts = _Parts(_boundary(request.headers.get("content-type", "")), known, limit)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit + _OVERHEAD:
        raise _too_large(limit)
    descriptor, path = tempfile.mkstemp(dir=folder, prefix="upload-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            parts.file = file
            await _read(request, parts, settings)
        yield Form(Path(path), parts.file_name, parts.whole_fields())
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)


async def _read(request: "Request", parts: "_Parts", settings: ServeSettings) -> None:
    deadline = asyncio.get_running_loop().time() + settings.upload_timeout_s
    stream = request.stream()
    total = 0
    try:
        while True:
            async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + settings.idle_timeout_s)):
                chunk = await anext(stream, None)
            if chunk is None:
                break
            total += len(chunk)
            if total > settings.max_upload_bytes + _OVERHEAD:
                raise _too_large(settings.max_upload_bytes)
            if chunk:
                parts.write(chunk)
    except TimeoutError:
        raise Refused(408, "too_slow", "The upload took too long. Send a smaller file, or try a better line.") from None
    parts.end()


def _too_large(limit: int) -> Refused:
    return Refused(
        413, "too_large", f"The upload is larger than {limit / 2**20:.0f} MiB. Send a smaller or shorter video."
    )


def _boundary(content_type: str) -> bytes:
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise Refused(
            415,
            "no_form",
            "Send a form (multipart/form-data) with the file as field video: curl -F video=@clip.mp4 ...",
        )
    if not options.get(b"boundary"):
        raise Refused(400, "bad_form", "The form names no boundary.")
    return options[b"boundary"]


class _Parts:
    """What the parser finds. ``file``: where the video is written."""

    file: BinaryIO

    def __init__(self, boundary: bytes, known: Collection[str], limit: int) -> None:
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser

        self._known, self._limit, self._errors = known, limit, FormParserError
        self.file_name = ""
        self._values: dict[str, bytearray] = {}
        self._videos = self._parts = self._written = 0
        self._name: str | None = None
        self._ended = False
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_part_data": self._data,
                    "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise Refused(400, "bad_form", f"The form cannot be read: {error}.") from None

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except self._errors as error:
            raise Refused(400, "bad_form", f"The form cannot be read: {error}.") from None

    def end(self) -> None:
        """All has come."""
        if not self._ended:
            raise Refused(400, "bad_form", "The form ends before its closing boundary.")
        if self._videos != 1:
            raise Refused(422, "no_video", "Send exactly one file, as the field video.")

    def whole_fields(self) -> dict[str, str]:
        try:
            return {name: value.decode("utf-8").strip() for name, value in self._values.items()}
        except UnicodeDecodeError:
            raise Refused(422, "bad_setting", "A field is not UTF-8.") from None

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise Refused(422, "bad_form", "The form has too many fields.")
        self._disposition = b""

    def _header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition.decode("latin-1"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self._name = name
        if name == "video":
            self._videos += 1
            if self._videos > 1:
                raise Refused(422, "no_video", "Send exactly one file, as the field video.")
            self.file_name = _shown_name(options.get(b"filename", b"").decode("utf-8", "replace"))
        elif name not in self._known:
            raise Refused(
                422, "bad_setting", f'There is no field "{name[:40]}". {nearest(name[:40], ["video", *self._known])}'
            )
        elif name in self._values:
            raise Refused(422, "bad_setting", f"The field {name} is there twice.")
        else:
            self._values[name] = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == "video":
            self._written += end - start
            if self._written > self._limit:
                raise _too_large(self._limit)
            self.file.write(data[start:end])
            return
        value = self._values[self._name or ""]
        value.extend(data[start:end])
        if len(value) > _MAX_FIELD:
            raise Refused(413, "too_large", f"The field {self._name} is too long.")

    def _end(self) -> None:
        self._ended = True


def _shown_name(name: str) -> str:
    """The last part of what a client calls its file: it names nothing here and is only ever shown."""
    last = name.replace("\\", "/").rpartition("/")[2]
    last = "".join(c for c in last if c.isprintable())[:_MAX_NAME]
    return last or "video"
