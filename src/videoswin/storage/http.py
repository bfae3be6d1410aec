"""One attempt to transfer a file over HTTP, from where the last attempt stopped.

Standard library only. What is needed to go on stands in ``NAME.part.json``: the address, the whole length, and the
server's mark of the version (ETag or date). A server that changed the file, or cannot send a part of one, starts over:
halves of two versions are never glued together. Nothing that a server says is believed: it may not send more than the
caller allows, whatever length it announces, and may not send so slowly that the transfer would never end.
"""

import ipaddress
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any, NoReturn
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

__all__ = ["Gone", "Interruption", "Limits", "Refused", "Stale", "is_allowed", "transfer"]

_TIMEOUT_S = 30.0
_BLOCK = 2**18
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_HEADERS_S = 60.0  # for all headers of one answer; the timeout alone is for each byte of them
_PACE_S, _PACE_BYTES = 60.0, 60_000  # a minute with less than 1 kB a second is a stall
_NUMBER = "[0-9]{1,18}"  # longer ones are attacks: Python takes minutes, or refuses, to read them
_now = time.monotonic


class Gone(Exception):
    """404 or 410."""


class Refused(Exception):
    """The server will not, sends what it should not, or the address may not be used: another attempt would be in vain."""


class Interruption(Exception):
    """The transfer stopped early; another attempt may help."""


class Stale(Exception):
    """What came so far belongs to another version of the file, and was removed: start over at once."""


@dataclass(frozen=True)
class Limits:
    """What one file may cost."""

    max_bytes: int
    deadline: float
    """When to give up, on the clock of ``time.monotonic``."""

    def require_size(self, size: int, part: Path) -> None:
        """Refuse a file that is larger, and remove what came of it."""
        if size > self.max_bytes:
            part.unlink(missing_ok=True)
            raise Refused(f"it has more than {self.max_bytes:,} bytes, which the file should not have")


@dataclass(frozen=True)
class _Version:
    """Which file the bytes so far are of."""

    url: str
    total: int | None
    mark: str | None
    """A strong ETag, or else the date of the last change; what If-Range takes."""


def is_allowed(url: str) -> bool:
    """https, or http to this machine itself."""
    return urlsplit(url).scheme == "https" or _is_this_machine(url)


def transfer(
    url: str,
    part: Path,
    limits: Limits,
    require_space: Callable[[int], None],
    progress: Callable[[int, int | None], None],
) -> None:
    """Complete ``part``, or raise one of this module's exceptions; an OSError is about the disk.

    Args:
        require_space: called with the bytes that are still to come, before the first one is written.
    """
    state = part.with_name(f"{part.name}.json")
    version = _read(state, url)
    have = part.stat().st_size if version is not None and part.is_file() else 0
    try:
        with _network_errors():
            response = _open(url, have, version)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have:
            if version is not None and version.total == have:
                state.unlink(missing_ok=True)
                return  # cut off between the last byte and the rename
            _forget(part, state)
        if error.code in (404, 410):
            raise Gone from error
        raise (Interruption if error.code in _TRY_AGAIN else Refused)(f"HTTP {error.code} {error.reason}") from error
    with response:
        if have and response.status == 206:
            total = _total_of(response, have)
            if version is None or total != version.total:
                _forget(part, state)
        else:  # the whole file: the first attempt, or a server that cannot, or need not, go on
            have, total = 0, _length_of(response)
            state.write_text(json.dumps(asdict(_Version(url, total, _mark_of(response)))), encoding="utf-8")
        if total is not None:
            limits.require_size(total, part)
            require_space(total - have)
        _copy(response, part, have, total, limits, progress)
    state.unlink(missing_ok=True)


def _open(url: str, have: int, version: _Version | None) -> HTTPResponse:
    headers = {"User-Agent": "videoswin", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if version is not None and version.mark is not None:
            headers["If-Range"] = version.mark
    return build_opener(_SafeRedirects, _HTTP, _HTTPS).open(Request(url, headers=headers), timeout=_TIMEOUT_S)


class _Response(HTTPResponse):
    """Whose headers have to be there in time."""

    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self._socket = sock

    def begin(self) -> None:
        late = threading.Event()

        def hang_up() -> None:
            late.set()
            self._socket.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(_HEADERS_S, hang_up)
        timer.daemon = True
        timer.start()
        try:
            super().begin()
        finally:
            timer.cancel()
            if late.is_set():
                raise TimeoutError("its headers take too long")


class _HTTP(HTTPHandler):
    def do_open(self, http_class: Any, req: Request, **arguments: Any) -> HTTPResponse:
        return super().do_open(_watched(http_class), req, **arguments)


class _HTTPS(HTTPSHandler):
    def do_open(self, http_class: Any, req: Request, **arguments: Any) -> HTTPResponse:
        return super().do_open(_watched(http_class), req, **arguments)


def _watched(http_class: Any) -> Any:
    return type(http_class.__name__, (http_class,), {"response_class": _Response})


class _SafeRedirects(HTTPRedirectHandler):
    """Follow redirects to https; to http on this machine only from this machine; and nowhere else."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        is_local = _is_this_machine(newurl) and _is_this_machine(req.full_url)
        if urlsplit(newurl).scheme != "https" and not is_local:
            fp.close()
            raise Refused(f"it leads on to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _copy(
    response: HTTPResponse,
    part: Path,
    have: int,
    total: int | None,
    limits: Limits,
    progress: Callable[[int, int | None], None],
) -> None:
    minute, at_minute = _now(), have
    with part.open("ab" if have else "wb") as file:
        progress(have, total)
        while True:
            with _network_errors():
                block = response.read1(_BLOCK)  # what is there: read() would wait for a whole block, however long
            if not block:
                break
            file.write(block)
            have += len(block)
            progress(have, total)
            limits.require_size(have, part)
            if _now() > limits.deadline:
                raise Interruption("it takes too long")
            if _now() - minute >= _PACE_S:
                if have - at_minute < _PACE_BYTES:
                    raise Interruption(f"the server sent {have - at_minute:,} bytes in a minute")
                minute, at_minute = _now(), have
    if total is not None and have < total:
        raise Interruption(f"the server stopped after {have:,} of {total:,} bytes")
    if total is not None and have > total:
        part.unlink()
        raise Interruption(f"the server sent {have:,} bytes and had announced {total:,}")


@contextmanager
def _network_errors() -> Iterator[None]:
    """Whatever sockets and the HTTP library raise is an interruption; statuses pass."""
    try:
        yield
    except HTTPError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        words = str(getattr(reason, "strerror", None) or reason or type(error).__name__).rstrip(".")
        raise Interruption(words) from error


def _total_of(response: HTTPResponse, have: int) -> int | None:
    """The whole length, from the answer to a request for a part; None if it is another part than was asked for."""
    given = response.headers.get("Content-Range", "").strip()
    found = re.fullmatch(rf"bytes ({_NUMBER})-{_NUMBER}/({_NUMBER})", given)
    return int(found[2]) if found is not None and int(found[1]) == have else None


def _length_of(response: HTTPResponse) -> int | None:
    length = response.headers.get("Content-Length", "").strip()
    if not length:
        return None
    if not re.fullmatch(_NUMBER, length):
        raise Refused(f"it announces a length of {length[:20]}{'...' if len(length) > 20 else ''} bytes")
    return int(length)


def _mark_of(response: HTTPResponse) -> str | None:
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _read(state: Path, url: str) -> _Version | None:
    """What the last attempt noted, if it was about this address and can be trusted."""
    try:
        values: Any = json.loads(state.read_text(encoding="utf-8"))
        version = _Version(**values)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    # Without a length nothing could tell that the file has changed. The mark goes into a header.
    mark_is_sane = version.mark is None or (isinstance(version.mark, str) and re.fullmatch(r"[ -~]+", version.mark))
    return version if version.url == url and isinstance(version.total, int) and mark_is_sane else None


def _forget(part: Path, state: Path) -> NoReturn:
    part.unlink(missing_ok=True)
    state.unlink(missing_ok=True)
    raise Stale


def _is_this_machine(url: str) -> bool:
    """Whether it is an http address of the loopback interface."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    try:
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
