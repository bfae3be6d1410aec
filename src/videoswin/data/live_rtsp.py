"""RTSP through a door of our own: FFmpeg speaks to a port of this machine, and each byte passes here on its way to the host.

FFmpeg's RTSP cannot be interrupted, follows redirects to any host, and has no bound on what it gathers. Here the connection
can be cut from any thread, a redirect ends it, and silence and size are watched. RTP comes inside the RTSP connection (TCP),
so one connection is all there is. Servers see the address of this machine's port in the request line, as they do behind a
router that forwards ports.
"""

import socket
import ssl
import threading
from contextlib import suppress

from videoswin.data.live_address import Address, Redirected
from videoswin.data.live_wait import Watch, Wire, connect
from videoswin.errors import Interrupted, VideoError

__all__ = ["RtspDoor"]

_LONGEST_HEADER = 2**16
_LONGEST_BODY = 2**20
_WAITING = 2**20  # bytes that wait for the slower side before the other one is read again


class RtspDoor:
    """A connection to an RTSP host, and a port of this machine behind which it is found.

    Raises:
        OSError, Interrupted: as :func:`videoswin.data.live_wait.connect`.
    """

    def __init__(self, address: Address, watch: Watch) -> None:
        self.failure: Exception | None = None
        self._address, self._watch = address, watch
        self._host = connect(address.host, address.port, address.tls, watch)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="videoswin rtsp", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """For FFmpeg only: it holds the password."""
        user = f"{self._address.userinfo}@" if self._address.userinfo else ""
        return f"rtsp://{user}127.0.0.1:{self._listener.getsockname()[1]}{self._address.rest}"

    def close(self) -> None:
        """May be called twice. The watch is stopped, unless the connection has ended by itself."""
        self._closing = True
        if self.failure is None:
            self._watch.stop()
        self._thread.join()

    def _work(self) -> None:
        inside: socket.socket | None = None
        try:
            with self._listener:
                self._watch.wait(self._listener.fileno())
                inside, _ = self._listener.accept()
            inside.setblocking(False)
            _Exchange(Wire(inside, self._watch), self._host, self._watch, self._address.name).run()
        except (OSError, VideoError, Interrupted) as error:
            if not self._closing:
                self.failure = error
        finally:
            for end in (inside, self._host):
                if end is not None:
                    end.close()  # FFmpeg, wherever it waits, sees the end of the connection


class _Exchange:
    """Bytes both ways until one side ends."""

    def __init__(self, inside: Wire, host: Wire, watch: Watch, name: str) -> None:
        self._inside, self._host, self._watch = inside, host, watch
        self._checker = _Checker(name)
        self._to_host, self._to_inside = bytearray(), bytearray()

    def run(self) -> None:
        inside, host = self._inside.fileno(), self._host.fileno()
        while True:
            if self._host.pending() and len(self._to_inside) < _WAITING:
                ready = {host}
            else:
                reading = [inside] if len(self._to_host) < _WAITING else []
                reading += [host] if len(self._to_inside) < _WAITING else []
                writing = [inside] if self._to_inside else []
                writing += [host] if self._to_host else []
                ready = self._watch.wait(*reading, writable=tuple(writing))
            if host in ready and len(self._to_inside) < _WAITING:
                data = self._host.try_receive()
                if data == b"":
                    self._flush()
                    return
                if data:
                    self._watch.count(len(data))
                    self._checker.feed(data)
                    self._to_inside += data
            if inside in ready and len(self._to_host) < _WAITING:
                data = self._inside.try_receive()
                if data == b"":
                    self._flush()
                    return
                self._to_host += data or b""
            self._to_inside = _sent(self._inside, self._to_inside)
            self._to_host = _sent(self._host, self._to_host)

    def _flush(self) -> None:
        """What came before the end still belongs to the other side."""
        with suppress(OSError):
            self._inside.send(bytes(self._to_inside))
            self._host.send(bytes(self._to_host))


def _sent(wire: Wire, data: bytearray) -> bytearray:
    """What is left of ``data`` after as much of it was sent as goes at once."""
    if data:
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            del data[: wire.sock.send(data)]
    return data


class _Checker:
    """Follows what the host sends, message by message, and raises :class:`VideoError` at a redirect."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._head = bytearray()
        self._skip = 0  # bytes of the message that are of no interest

    def feed(self, data: bytes) -> None:
        place = 0
        while place < len(data):
            if self._skip:
                step = min(self._skip, len(data) - place)
                self._skip -= step
                place += step
                continue
            self._head.append(data[place])
            place += 1
            if self._head[0] == 0x24:  # a "$" begins a packet of RTP: channel, length, and so many bytes
                if len(self._head) == 4:
                    self._skip = int.from_bytes(self._head[2:], "big")
                    self._head.clear()
            elif self._head.endswith(b"\n\r\n") or self._head.endswith(b"\n\n") or self._head in (b"\r\n", b"\n"):
                self._header(bytes(self._head))
                self._head.clear()
            elif len(self._head) > _LONGEST_HEADER:
                raise VideoError(self._name, "what answers there speaks no RTSP", "Check the address")

    def _header(self, text: bytes) -> None:
        first, *lines = text.split(b"\n")
        words = first.split()
        if len(words) >= 2 and words[0].startswith(b"RTSP/") and words[1].startswith(b"3"):
            fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(b":") for line in lines)}
            raise Redirected(self._name, fields.get(b"location", b"").decode("ascii", "replace"))
        for line in lines:
            key, _, value = line.partition(b":")
            if key.strip().lower() == b"content-length":
                digits = value.strip()
                if not digits.isdigit() or len(digits) > 9 or int(digits) > _LONGEST_BODY:
                    raise VideoError(self._name, "what answers there speaks no RTSP", "Check the address")
                self._skip = int(digits)
