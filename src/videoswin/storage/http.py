"""One attempt to transfer a file over HTTP, from where the last attempt stopped.

Standard library only. What is needed to go on stands in ``NAME.part.json``: the address, the whole length, and the
server's mark of the version (ETag or date). A server that changed the file, or cannot send a part of one, starts over:
halves of two versions are never glued together.
"""

import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any, NoReturn
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

__all__ = ["Gone", "Interruption", "Refused", "Stale", "is_allowed", "transfer"]

_TIMEOUT_S = 30.0
_BLOCK = 2**18
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


class Gone(Exception):
    """404 or 410."""


class Refused(Exception):
    """The server will not, or the address may not be used: another attempt would be in vain."""


class Interruption(Exception):
    """The transfer stopped early; another attempt may help."""


class Stale(Exception):
    """What came so far belongs to another version of the file, and was removed: start over at once."""


@dataclass(frozen=True)
class _Version:
    """Which file the bytes so far are of."""

    url: str
    total: int | None
    mark: str | None
    """A strong ETag, or else the date of the last change; what If-Range takes."""


def is_allowed(url: str) -> bool:
    """https, or http to this machine itself."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(parts.hostname or ""))


def transfer(
    url: str, part: Path, require_space: Callable[[int], None], progress: Callable[[int, int | None], None]
) -> None:
    """Complete ``part``, or raise one of this module's exceptions or an OSError.

    Args:
        require_space: called with the bytes that are still to come, before the first one is written.
    """
    state = part.with_name(f"{part.name}.json")
    version = _read(state, url)
    have = part.stat().st_size if version is not None and part.is_file() else 0
    try:
        with _open(url, have, version) as response:
            if have and response.status == 206:
                total = _total_of(response, have)
                if version is None or total != version.total:
                    _forget(part, state)
            else:  # the whole file: the first attempt, or a server that cannot, or need not, go on
                have, total = 0, _length_of(response)
                state.write_text(json.dumps(asdict(_Version(url, total, _mark_of(response)))), encoding="utf-8")
            if total is not None:
                require_space(total - have)
            _copy(response, part, have, total, progress)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have:
            if version is not None and version.total == have:
                state.unlink(missing_ok=True)
                return  # cut off between the last byte and the rename
            _forget(part, state)
        if error.code in (404, 410):
            raise Gone from None
        raise (Interruption if error.code in _TRY_AGAIN else Refused)(f"HTTP {error.code} {error.reason}") from None
    state.unlink(missing_ok=True)


def _open(url: str, have: int, version: _Version | None) -> HTTPResponse:
    headers = {"User-Agent": "videoswin", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if version is not None and version.mark is not None:
            headers["If-Range"] = version.mark
    return build_opener(_SafeRedirects).open(Request(url, headers=headers), timeout=_TIMEOUT_S)


class _SafeRedirects(HTTPRedirectHandler):
    """Follow redirects to https, or within this machine, and nowhere else."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not is_allowed(newurl):
            fp.close()
            raise Refused(f"it leads on to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _copy(
    response: HTTPResponse, part: Path, have: int, total: int | None, progress: Callable[[int, int | None], None]
) -> None:
    with part.open("ab" if have else "wb") as file:
        progress(have, total)
        while block := response.read(_BLOCK):
            file.write(block)
            have += len(block)
            progress(have, total)
    if total is not None and have < total:
        raise Interruption(f"the server stopped after {have:,} of {total:,} bytes")
    if total is not None and have > total:
        part.unlink()
        raise Interruption(f"the server sent {have:,} bytes and had announced {total:,}")


def _total_of(response: HTTPResponse, have: int) -> int | None:
    """The whole length, from the answer to a request for a part; None if it is another part than was asked for."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", "").strip())
    return int(found[2]) if found is not None and int(found[1]) == have else None


def _length_of(response: HTTPResponse) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def _mark_of(response: HTTPResponse) -> str | None:
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _read(state: Path, url: str) -> _Version | None:
    """What the last attempt noted, if it was about this address and can be trusted."""
    try:
        values: Any = json.loads(state.read_text(encoding="utf-8"))
        version = _Version(**values)
    except (OSError, ValueError, TypeError):
        return None
    # Without a length nothing could tell that the file has changed.
    return version if version.url == url and isinstance(version.total, int) else None


def _forget(part: Path, state: Path) -> NoReturn:
    part.unlink(missing_ok=True)
    state.unlink(missing_ok=True)
    raise Stale


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
