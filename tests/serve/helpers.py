"""Servers on loopback in a thread of the test, and clients for them."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from videoswin.serve.app import make_app
from videoswin.serve.models import Models
from videoswin.serve.run import _listen
from videoswin.serve.server import GracefulServer, config_of
from videoswin.serve.service import Service
from videoswin.serve.settings import ServeSettings

BOUNDARY = "frontier"
PATIENCE_S = 900  # a machine may be busy; nothing here is decided by how fast it is


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


@dataclass
class Running:
    """A server that answers."""

    service: Service
    server: GracefulServer
    port: int
    thread: threading.Thread

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(
        self, path: str, video: Path | bytes, headers: Mapping[str, str] | None = None, **fields: object
    ) -> Answer:
        content = video if isinstance(video, bytes) else video.read_bytes()
        name = "clip.mp4" if isinstance(video, bytes) else video.name
        return self.request("POST", path, form(content, name, **fields), {**form_header(), **(headers or {})})


def form_header() -> dict[str, str]:
    return {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(content: bytes, name: str = "clip.mp4", **fields: object) -> bytes:
    """A form with one video and other fields."""
    parts = [part("video", content, name), *(part(key, str(value).encode()) for key, value in fields.items())]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def part(field: str, content: bytes, name: str | None = None) -> bytes:
    file = f'; filename="{name}"' if name is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


@contextmanager
def running(models: Models, settings: ServeSettings | None = None, **limits: Any) -> Iterator[Running]:
    """A server in a thread, on a free port."""
    settings = replace(settings or ServeSettings(port=0, decoders=1), **limits)
    listening = _listen(settings)
    port = listening.getsockname()[1]
    service = Service(models, replace(settings, port=port))
    up = threading.Event()
    server = GracefulServer(config_of(make_app(service), service.settings), service, up.set)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    assert up.wait(PATIENCE_S)
    try:
        yield Running(service, server, port, thread)
    finally:
        server.drain()
        thread.join(PATIENCE_S)
        listening.close()
        assert not thread.is_alive()


def eventually(check: Callable[[], bool]) -> None:
    """Wait until something holds that is about to."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)
