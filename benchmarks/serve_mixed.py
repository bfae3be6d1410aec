"""Good and hostile requests to a server, side by side, and what they leave behind.

    videoswin serve --port 8000 &
    python -m benchmarks.serve_mixed --port 8000 --pid PID --requests 1000

Half are good; the others are broken forms, files that are no videos, cut-off videos, wrong settings, uploads that stop, clients
that leave. Printed are the answers by kind, and of the server's processes: open files, threads, resident memory, files left in the
folder for temporary ones, before and after. A 500 is an error, and so is growth.
"""

import argparse
import http.client
import json
import os
import random
import socket
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from videoswin.classifier.bundled import sample_videos

_BOUNDARY = "frontier"
_HEADER = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


def form(content: bytes, **fields: str) -> bytes:
    """A form with a video and other fields."""
    parts = [('video"; filename="clip.mp4', content), *((name, value.encode()) for name, value in fields.items())]
    body = b"".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in parts
    )
    return body + f"--{_BOUNDARY}--\r\n".encode()


class Client:
    """Requests to one server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._clip = sample_videos()[0].read_bytes()

    def send(self, number: int) -> str:
        """One request; what it was and what came back."""
        draw = random.Random(number)
        if number % 2:
            return f"good {self._post(form(self._clip))}"
        kind = draw.choice(("text", "cut off", "noise", "setting", "no form", "half form", "stops", "leaves"))
        if kind in ("stops", "leaves"):
            return f"{kind} {self._break_off(whole=kind == 'leaves')}"
        body = {
            "text": form(b"#EXTM3U\nfile:///etc/passwd\n" * 9),
            "cut off": form(self._clip[: len(self._clip) // 2]),
            "noise": form(bytes(draw.randrange(256) for _ in range(5000))),
            "setting": form(self._clip, views="a lot"),
            "no form": b"nothing",
            "half form": form(self._clip)[:-30],
        }[kind]
        return f"{kind} {self._post(body)}"

    def _post(self, body: bytes) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            connection.request("POST", "/v1/predict", body, _HEADER)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def _break_off(self, whole: bool) -> str:
        body = form(self._clip)
        head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        head += f"Content-Type: {_HEADER['Content-Type']}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self._port), 30) as raw:
            raw.sendall(head.encode() + (body if whole else body[: len(body) // 2]))
        return "sent"


def state(pid: int) -> dict[str, Any]:
    """Of the process and all below it."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    found = Counter[str]()
    for one in family:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{one}/status").read_text().splitlines() if ":" in line
        )
        found["threads"] += int(status["Threads"])
        found["rss_mb"] += int(status.get("VmRSS", "0 kB").split()[0]) // 1024
        found["files"] += len(os.listdir(f"/proc/{one}/fd"))
    left = [path for folder in Path(tempfile.gettempdir()).glob("videoswin-serve-*") for path in folder.iterdir()]
    return {"processes": len(family), **found, "temporary_files": len(left)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    client = Client(options.port)
    answers: Counter[str] = Counter()
    with ThreadPoolExecutor(options.clients) as pool:
        list(pool.map(client.send, range(50)))  # what is loaded once is loaded
        time.sleep(1)
        before, began = state(options.pid), time.perf_counter()
        answers.update(pool.map(client.send, range(50, 50 + options.requests)))
        seconds = time.perf_counter() - began
    time.sleep(1)
    after = state(options.pid)
    print(json.dumps({"requests": options.requests, "seconds": round(seconds, 1), "before": before, "after": after}))
    print(json.dumps(dict(sorted(answers.items()))))


if __name__ == "__main__":
    main()
