"""The body of one HTTP answer, as a file that FFmpeg reads.

Our own client and not FFmpeg's, which would follow redirects to any host, believe any length, and wait where nothing
reaches it. This one speaks to the host that was named and to no other.
"""

import base64
import http.client
import io
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from urllib.request import AbstractDigestAuthHandler, Request, parse_http_list, parse_keqv_list

from videoswin.data.live_address import Address, Redirected
from videoswin.data.live_wait import Watch, Wire, connect
from videoswin.errors import Interrupted, VideoError

__all__ = ["HttpBody"]

_REDIRECTS = 5
_ATTEMPTS = 3
_HEAD = 4096
_SKIPPED = 2**18  # bytes: rather read over than asked for anew
_SAFE = "/?&=:;@!$'()*+,~%[]|"


class HttpBody:
    """What an address sends. :meth:`read` and :meth:`seek` never raise once it is open, since PyAV would print what it cannot
    pass on; the ``failure`` is kept, and reading ends.

    Raises:
        VideoError: the host refuses, or sends elsewhere.
        OSError, Interrupted: as :func:`videoswin.data.live_wait.connect`.
    """

    def __init__(self, address: Address, watch: Watch) -> None:
        self.failure: Exception | None = None
        self.finished = False
        """All that was announced has come: this was a file, or the sender said that it ended."""
        self.head = b""
        """Its first bytes."""
        self._address, self._watch = address, watch
        self._wire: Wire | None = None
        self._authorization: str | None = None
        self._at = self._wanted = 0  # the next byte that comes; the one that is asked for
        try:
            self._response = self._open(0)
        except BaseException:
            if self._wire:
                self._wire.close()
            raise
        length = self._response.getheader("Content-Length", "")
        known = self._response.status == 200 and not self._response.chunked
        self.length = int(length) if known and length.isascii() and length.isdigit() and len(length) < 19 else None
        self.content_type = self._response.getheader("Content-Type", "")
        ranges = self._response.getheader("Accept-Ranges", "").lower() == "bytes"
        self._seekable = ranges and self.length is not None
        self._version = self._response.getheader("ETag") or self._response.getheader("Last-Modified") or ""

    def close(self) -> None:
        if self._wire:
            self._wire.close()
        self._response.close()

    # The file -----------------------------------------------------------------------------------------------------

    def seekable(self) -> bool:
        return self._seekable

    def tell(self) -> int:
        return self._wanted

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._wanted, io.SEEK_END: self.length or 0}[whence]
        self._wanted = max(0, start + offset)
        return self._wanted

    def read(self, size: int) -> bytes:
        """At least one byte, or nothing at the end."""
        if self.failure is not None:
            return b""
        for attempt in range(_ATTEMPTS):
            try:
                return self._read(size)
            except (OSError, http.client.HTTPException) as error:
                self.failure = error
                if not self._seekable or isinstance(error, TimeoutError) or attempt == _ATTEMPTS - 1:
                    return b""
                self._at = -1  # the next attempt asks for the rest
                self.failure = None
            except (VideoError, Interrupted) as error:
                self.failure = error
                return b""
        return b""

    def _read(self, size: int) -> bytes:
        if self.length is not None and self._wanted >= self.length:
            return b""
        if not 0 <= self._wanted - self._at <= _SKIPPED or self._at < 0:
            self._reopen(self._wanted)
        while self._at < self._wanted:
            if not self._next(self._wanted - self._at):
                return b""
        data = self._next(size)
        self._wanted = self._at
        return data

    def _next(self, size: int) -> bytes:
        data = self._response.read1(size)
        self._watch.count(len(data))
        if len(self.head) < _HEAD and self._at == len(self.head):
            self.head += data[: _HEAD - len(self.head)]
        self._at += len(data)
        if self.length is not None:
            if not data and self._at < self.length:
                raise OSError(f"the connection broke after {self._at:,} of {self.length:,} bytes")
            self.finished = self.finished or self._at >= self.length
        elif not data:
            self.finished = self._response.chunked  # read1 raises where the last chunk did not come
        return data

    def _reopen(self, offset: int) -> None:
        if not self._seekable:
            raise OSError("the sender cannot go back")
        self._response.close()
        self._response = self._open(offset)
        stated = self._response.getheader("Content-Range", "")
        right = stated.replace(" ", "").startswith(f"bytes{offset}-") if offset else self._response.status == 200
        if not right:
            raise VideoError(self._address.name, "it changed while it was read", "Try again")
        self._at = offset

    # The request ------------------------------------------------------------------------------------------------------

    def _open(self, offset: int) -> http.client.HTTPResponse:
        """The answer to a request for all bytes from ``offset`` on, after redirects on the same host and authorization."""
        target, name = self._address.rest, self._address.name
        answered = False
        for _ in range(_REDIRECTS + 2):
            response = self._request(target, offset)
            status = response.status
            if status in (200, 206):
                return response
            where, asked = response.getheader("Location"), response.headers.get_all("WWW-Authenticate") or []
            response.close()
            if status in (301, 302, 303, 307, 308) and where:
                moved = replace(self._address, rest=target).moved(where)
                if moved is None:
                    raise Redirected(name, where)
                target = moved.rest
            elif status == 401 and not answered and self._authorize(asked, target):
                answered = True
            elif status == 401:
                hint = "Write user name and password into the address: http://USER:PASSWORD@HOST/..."
                raise VideoError(name, "it wants a user name and a password, or others than these", hint)
            else:
                reason = f"the server answers {status} {response.reason[:80]}".strip()
                raise VideoError(name, f"it cannot be read ({reason})", "Check the address")
        raise VideoError(name, "it redirects in a circle", "Check the address")

    def _request(self, target: str, offset: int) -> http.client.HTTPResponse:
        address = self._address
        if self._wire:
            self._wire.close()
        self._wire = connect(address.host, address.port, address.tls, self._watch)
        kind = http.client.HTTPSConnection if address.tls else http.client.HTTPConnection
        connection = kind(address.host, address.port)
        connection.sock = _AsSocket(self._wire)
        headers = {"User-Agent": "videoswin", "Accept": "*/*", "Connection": "close"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            headers |= {"If-Range": self._version} if self._version and not self._version.startswith("W/") else {}
        if self._authorization:  # a digest serves one request
            headers["Authorization"], self._authorization = self._authorization, None
        elif address.user:
            headers["Authorization"] = _basic(*address.user)
        connection.request("GET", quote(target, safe=_SAFE), headers=headers)
        return connection.getresponse()

    def _authorize(self, asked: list[str], target: str) -> bool:
        """Whether there is an answer to a demand for digest authorization; the basic one was sent unasked."""
        digest = next((text for text in asked if text.lower().startswith("digest ")), None)
        if digest is None or self._address.user is None:
            return False
        with suppress(Exception):
            challenge = parse_keqv_list([part for part in parse_http_list(digest.partition(" ")[2]) if part])
            handler = AbstractDigestAuthHandler(_Passwords(self._address.user))  # type: ignore[arg-type]
            request = Request(f"http://{self._address.host}{quote(target, safe=_SAFE)}")
            answer = handler.get_authorization(request, challenge)  # type: ignore[attr-defined]
            if answer:
                self._authorization = f"Digest {answer}"
                return True
        return False


class _Passwords:
    """What urllib asks for the user."""

    def __init__(self, user: tuple[str, str] | None) -> None:
        self._user = user

    def add_password(self, *_: object) -> None:
        pass

    def find_user_password(self, *_: object) -> tuple[str, str] | tuple[None, None]:
        return self._user or (None, None)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class _AsSocket:
    """A :class:`Wire` with the three methods that http.client asks a socket for."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def sendall(self, data: bytes) -> None:
        self._wire.send(data)

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self._wire))

    def close(self) -> None:  # the body that comes is still to be read
        pass


class _Raw(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._wire.receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)
