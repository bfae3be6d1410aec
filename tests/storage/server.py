"""A file server on this machine, with the faults that real ones have."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server does; tests change it between requests."""

    content: bytes
    etag: str | None = '"v1"'
    ranges: bool = True
    """Whether it can send a part of a file."""
    length: bool = True
    """Whether it says how long the file is."""
    cut_after: list[int] = field(default_factory=list)
    """The next answers break off after so many bytes."""
    statuses: list[int] = field(default_factory=list)
    """The next answers are these errors."""
    redirect: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent in place of its own."""
    endless_body: bool = False
    endless_headers: bool = False
    wrong_part: bool = False
    requests: list[str] = field(default_factory=list)
    """The Range header of every request so far, "" for the whole file."""
    url: str = ""


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """The site at ``site.url``, on a free port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            site.requests.append(asked)
            if site.endless_headers:
                with suppress(OSError):
                    self.wfile.write(b"HTTP/1.0 200 OK\r\n")
                    while True:
                        self.wfile.write(b"X")
                        time.sleep(0.001)
                return
            if site.redirect:
                self.send_response(302)
                self.send_header("Location", site.redirect)
                self.end_headers()
                return
            if site.statuses:
                self.send_error(site.statuses.pop(0))
                return
            start = self._start(asked)
            if start is None:
                self.send_response(416)
                self.end_headers()
                return
            self._send(start, bool(asked) and site.ranges and self._same())

        def _same(self) -> bool:
            condition = self.headers.get("If-Range")
            return condition is None or condition == site.etag

        def _start(self, asked: str) -> int | None:
            if not asked or not site.ranges or not self._same():
                return 0
            found = re.fullmatch(r"bytes=(\d+)-", asked)
            assert found, asked
            return int(found[1]) if int(found[1]) < len(site.content) else None

        def _send(self, start: int, part: bool) -> None:
            body = site.content[start:]
            self.send_response(206 if part else 200)
            if part:
                first = start + 1 if site.wrong_part else start
                self.send_header("Content-Range", f"bytes {first}-{len(site.content) - 1}/{len(site.content)}")
            for name, value in site.headers.items():
                self.send_header(name, value)
            if site.length and "Content-Length" not in site.headers:
                self.send_header("Content-Length", str(len(body)))
            if site.etag:
                self.send_header("ETag", site.etag)
            self.end_headers()
            with suppress(ConnectionError):  # a client that had enough
                body = body[: site.cut_after.pop(0)] if site.cut_after else body
                self.wfile.write(body)
                while site.endless_body:
                    self.wfile.write(b"x")
                    time.sleep(0.001)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}/weights.pth"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
