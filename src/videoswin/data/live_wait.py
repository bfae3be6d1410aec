"""Waiting for bytes of a live source so that it can always be called off.

FFmpeg waits inside its own code, where neither a thread nor the end of the program reaches it. So it never waits for a
network or a pipe here: our code does, for bytes *or* for a word from another thread, and hands FFmpeg what came.
"""

import math
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from videoswin.errors import Interrupted, VideoError

__all__ = ["PipeReader", "Watch", "Wire", "connect"]

_CHUNK = 2**16
MAX_BYTES_A_PICTURE = 64 * 2**20
"""Bytes that a source may send without a picture in them. A frame of 8K in the worst JPEG takes half of that."""


class Watch:
    """Over one connection: how long it may be silent, how much it may send for one picture, and whether to stop.

    Args:
        name: what messages call the source.
        timeout_s: seconds without a picture after which waiting raises TimeoutError; None for no limit.
        max_bytes: that may come without a picture.
    """

    def __init__(
        self,
        name: str,
        timeout_s: float | None,
        max_bytes: float = MAX_BYTES_A_PICTURE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.stopped = False
        self._timeout_s, self._max_bytes, self._clock = timeout_s, max_bytes, clock
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self.restart()

    def restart(self) -> None:
        """A picture came: time and bytes count from here."""
        self._bytes = 0
        self._deadline = math.inf if self._timeout_s is None else self._clock() + self._timeout_s

    def count(self, size: int) -> None:
        """Raise :class:`VideoError` when ``size`` more bytes are too many for one picture."""
        self._bytes += size
        if self._bytes > self._max_bytes:
            reason = f"it sent {self._bytes / 2**20:.0f} MB without a picture in them"
            raise VideoError(self.name, reason, "Check that this is a video source")

    def stop(self) -> None:
        """From any thread: whatever waits, or is going to, raises :class:`Interrupted`."""
        self.stopped = True
        with suppress(OSError):  # closed already, or woken more often than needed
            self._waker.send(b"x")

    def close(self) -> None:
        self._wake.close()
        self._waker.close()

    def wait(self, *readable: int, writable: tuple[int, ...] = ()) -> set[int]:
        """The file descriptors of ``readable`` and ``writable`` that are ready, at least one.

        Raises:
            TimeoutError: the source has been silent for too long.
            Interrupted: :meth:`stop` was called.
        """
        while True:
            if self.stopped:
                raise Interrupted(f"{self.name}: stopped.")
            left = self._deadline - self._clock()
            if left <= 0:
                raise TimeoutError("nothing came within the timeout")
            ready = _select({*readable, self._wake.fileno()}, set(writable), left)
            if ready and not self.stopped:
                return ready


def _select(readable: set[int], writable: set[int], timeout_s: float) -> set[int]:
    if not hasattr(select, "poll"):  # Windows; its select() takes sockets only
        limit = None if math.isinf(timeout_s) else timeout_s
        reading, writing, failed = select.select(readable, writable, readable | writable, limit)
        return {*reading, *writing, *failed}
    poll = select.poll()
    for number in readable | writable:
        wanted = (select.POLLIN if number in readable else 0) | (select.POLLOUT if number in writable else 0)
        poll.register(number, wanted)
    return {number for number, _ in poll.poll(None if math.isinf(timeout_s) else math.ceil(1000 * timeout_s))}


class PipeReader:
    """A pipe as FFmpeg reads it: the bytes that were looked at come first. :meth:`read` never raises, since
    PyAV would print what it cannot pass on; it keeps the ``failure`` and says that this is the end.
    """

    def __init__(self, pipe: BinaryIO, watch: Watch) -> None:
        self.failure: Exception | None = None
        self.total = 0  # bytes that came
        self.head = b""
        """What :meth:`first_bytes` gave."""
        self._left = b""
        self._watch = watch
        self._pipe = pipe
        try:
            self._descriptor = pipe.fileno() if os.name != "nt" else None
        except OSError:  # no pipe of the system, but an object in memory
            self._descriptor = None

    def first_bytes(self, count: int) -> bytes:
        """The first ``count`` bytes, fewer at the end. They stay to be read."""
        while len(self.head) < count and (more := self._next(count - len(self.head))):
            self.head += more
        self._left = self.head
        return self.head

    def read(self, size: int) -> bytes:
        if self._left:
            part, self._left = self._left[:size], self._left[size:]
            return part
        if self.failure is not None:
            return b""
        try:
            return self._next(size)
        except (OSError, VideoError, Interrupted) as error:
            self.failure = error
            return b""

    def _next(self, size: int) -> bytes:
        """What is there, at least one byte, or nothing at the end: a full buffer would be waited for otherwise."""
        if self._descriptor is not None:
            self._watch.wait(self._descriptor)
            data = os.read(self._descriptor, min(size, _CHUNK))
        else:
            read1 = getattr(self._pipe, "read1", None)
            data = (read1(size) if read1 else self._pipe.read(size)) or b""
        self.total += len(data)
        return data


class Wire:
    """A connected socket, with or without TLS, that waits by a :class:`Watch`."""

    def __init__(self, sock: socket.socket, watch: Watch) -> None:
        self.sock, self._watch = sock, watch

    def fileno(self) -> int:
        return self.sock.fileno()

    def pending(self) -> bool:
        """Whether bytes are there already, unpacked by TLS, that no system call would tell of."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def try_receive(self, size: int = _CHUNK) -> bytes | None:
        """What is there; None if that is nothing yet; empty at the end."""
        try:
            return self.sock.recv(size)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def receive(self, size: int = _CHUNK) -> bytes:
        """At least one byte, or nothing at the end."""
        while (data := self.try_receive(size)) is None:
            self._watch.wait(self.fileno())
        return data

    def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.sock.send(rest) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._watch.wait(writable=(self.fileno(),))
            except ssl.SSLWantReadError:
                self._watch.wait(self.fileno())

    def close(self) -> None:
        self.sock.close()


def connect(host: str, port: int, tls: bool, watch: Watch) -> Wire:
    """Connect to a host, trying all its addresses.

    Raises:
        OSError: nobody answers, or not in time; with TLS, its certificate is not trusted.
        Interrupted: the watch was stopped.
    """
    failure: OSError | None = None
    for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            _connect(sock, place, watch)
            return Wire(_secured(sock, host, watch) if tls else sock, watch)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure or OSError(f"{host} has no address")


def _connect(sock: socket.socket, place: tuple, watch: Watch) -> None:
    try:
        sock.connect(place)
    except BlockingIOError:
        watch.wait(writable=(sock.fileno(),))
        if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, os.strerror(number)) from None


def _secured(sock: socket.socket, host: str, watch: Watch) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    secured = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        while True:
            try:
                secured.do_handshake()
                return secured
            except ssl.SSLWantReadError:
                watch.wait(secured.fileno())
            except ssl.SSLWantWriteError:
                watch.wait(writable=(secured.fileno(),))
    except BaseException:
        secured.close()
        raise
