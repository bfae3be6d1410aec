"""uvicorn, with what it lacks: a bound on open connections, on the time that headers may take, and an end that drains."""

import asyncio
import contextlib
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from videoswin.serve.service import Service
from videoswin.serve.settings import ServeSettings
from videoswin.serve.stream_route import MAX_MESSAGE

__all__ = ["GracefulServer", "config_of"]

_LOOK_EVERY_S = 0.05


def config_of(app: Any, settings: ServeSettings) -> uvicorn.Config:
    """How uvicorn serves the application."""

    class Protocol(H11Protocol):
        """A connection that has to say within a time what it wants, and is one of a bounded number."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            if len(self.connections) >= settings.connections:
                transport.abort()
                return
            super().connection_made(transport)
            self._timer = self.loop.call_later(settings.idle_timeout_s, self._require_request)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:  # else it was refused
                self._timer.cancel()
                super().connection_lost(exc)

        def handle_websocket_upgrade(self, event: Any) -> None:
            if self._timer is not None:  # what follows is another protocol's, which has a limit of its own
                self._timer.cancel()
            super().handle_websocket_upgrade(event)

        def _require_request(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=Protocol,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,
        # A client that has to wait has its pongs queued behind its pictures; one that has gone falls silent, which ends its stream.
        ws_ping_timeout=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=int(max(1, settings.drain_s)),
        lifespan="on",
    )


class GracefulServer(uvicorn.Server):
    """On the first signal new requests are refused, and it ends when those that run have ended, or after ``drain_s``; on the
    second one it ends at once.

    Args:
        started: called once requests are answered.
    """

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._service, self._ready = service, ready
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: Any = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._service.draining:
            self.should_exit = self.force_exit = True
        else:
            self.drain()

    def drain(self) -> None:
        """From any thread, or a signal's handler."""
        self._service.draining = True
        loop = self._loop
        if loop is None:
            self.should_exit = True
            return
        with contextlib.suppress(RuntimeError):  # it has ended already
            loop.call_soon_threadsafe(lambda: loop.create_task(self._wait_and_exit()))

    async def _wait_and_exit(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._service.settings.drain_s):
                while self._service.in_flight:
                    await asyncio.sleep(_LOOK_EVERY_S)
        self.should_exit = True
