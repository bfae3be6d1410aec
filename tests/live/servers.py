"""Servers on this machine that behave as badly as a test asks: HTTP byte by byte, and RTSP that carries a transport stream."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Answer = Callable[[socket.socket, str], None]
"""What is done with a connection, given the text of its first request."""


@contextmanager
def server(answer: Answer) -> Iterator[int]:
    """The port of a server that gives each connection to ``answer`` in a thread of its own, and ends with the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            answer(connection, request_of(connection))

    def work() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threads.append(threading.Thread(target=serve, args=[connection], daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=work, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(10)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)


def request_of(connection: socket.socket) -> str:
    """One request, up to its empty line."""
    data = b""
    while not data.endswith(b"\r\n\r\n") and (more := connection.recv(1)):
        data += more
    return data.decode("latin-1")


def until_closed(connection: socket.socket) -> None:
    """Say nothing, until the other side goes."""
    while connection.recv(65536):
        pass


def http(body: bytes, *headers: str, status: str = "200 OK") -> Answer:
    """Always this answer."""
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1")
    return lambda connection, _: connection.sendall(head + body)


def http_file(path: Path, ranges: bool = True, breaks_after: int | None = None) -> Answer:
    """A file, with ranges; the first answer breaks off after so many bytes."""
    data = path.read_bytes()
    first = [True]

    def answer(connection: socket.socket, request: str) -> None:
        start = 0
        for line in request.split("\r\n"):
            if ranges and line.lower().startswith("range: bytes="):
                start = int(line.partition("=")[2].rstrip("-"))
        head = ["HTTP/1.1 206 Partial Content" if start else "HTTP/1.1 200 OK", f"Content-Length: {len(data) - start}"]
        head += ["Accept-Ranges: bytes"] if ranges else []
        head += [f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}"] if start else []
        body = data[start:]
        if first and breaks_after is not None:
            first.clear()
            body = body[:breaks_after]
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)

    return answer


_SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=test
t=0 0
{range}m=video 0 RTP/AVP 33
a=rtpmap:33 MP2T/90000
a=control:track1
""".replace("\n", "\r\n")


def rtsp(stream: bytes, then: str = "end", redirect: str | None = None, seconds: float | None = None) -> Answer:
    """RTSP over TCP that plays a transport stream.

    Args:
        then: what follows the last packet: ``end``, ``silence``, or ``hang`` before the first.
        redirect: DESCRIBE is answered by this address.
        seconds: length that is stated.
    """

    def answer(connection: socket.socket, request: str) -> None:
        while request:
            method = request.split(" ", 1)[0]
            fields = dict(line.split(": ", 1) for line in request.split("\r\n")[1:] if ": " in line)
            cseq = f"CSeq: {fields.get('CSeq', '1')}"
            extra, body = [], ""
            if method == "DESCRIBE" and redirect:
                connection.sendall(f"RTSP/1.0 302 Moved\r\n{cseq}\r\nLocation: {redirect}\r\n\r\n".encode())
                until_closed(connection)
                return
            if method == "DESCRIBE" and then == "hang":
                until_closed(connection)
                return
            if method == "DESCRIBE":
                body = _SDP.format(range="" if seconds is None else f"a=range:npt=0-{seconds}\r\n")
                extra = ["Content-Type: application/sdp"]
            elif method == "SETUP":
                extra = ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
            elif method == "OPTIONS":
                extra = ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]
            lines = ["RTSP/1.0 200 OK", cseq, *extra, f"Content-Length: {len(body)}", "", body]
            connection.sendall("\r\n".join(lines).encode())
            if method == "PLAY":
                play(connection, stream)
                if then == "silence":
                    until_closed(connection)
                return
            request = request_of(connection)

    return answer


def play(connection: socket.socket, stream: bytes) -> None:
    for number, at in enumerate(range(0, len(stream), 7 * 188)):
        header = bytes([0x80, 33]) + number.to_bytes(2, "big") + (number * 90).to_bytes(4, "big") + b"\0\0\0\1"
        packet = header + stream[at : at + 7 * 188]
        connection.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)
