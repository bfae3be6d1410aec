"""Good and hostile requests to a server, side by side, and what they leave behind.

    videoswin serve --port 8000 &
    python -m benchmarks.serve_mixed --port 8000 --pid PID --requests 1000

Half are good: videos, several views, raw scores, timelines, streams. The others are broken forms, files that are no videos,
cut-off videos, wrong settings, pages of other sites, uploads that stop, clients that leave, streams of rubbish. Each kind has the
answers that it may get. Printed as JSON are the answers by kind, and of the server's processes: open files, threads, resident
memory, files left in the folder for temporary ones, before and after. The exit code is 1 if an answer is none of those, if files,
threads, processes or temporary files have grown, or if memory has changed by more than a tenth.
"""

import argparse
import http.client
import io
import json
import os
import random
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from videoswin.classifier.bundled import sample_videos
from videoswin.data.decode import open_video

_BOUNDARY = "frontier"
_HEADER = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
_WARM_UP = 250
_SETTLE_S = 60
_FPS = 12
_MEMORY = 0.1
_SENT = "sent"
"""In place of an answer: of clients that do not wait for one."""


def form(content: bytes, **fields: str) -> bytes:
    """A form with a video and other fields."""
    parts = [('video"; filename="clip.mp4', content), *((name, value.encode()) for name, value in fields.items())]
    body = b"".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in parts
    )
    return body + f"--{_BOUNDARY}--\r\n".encode()


class Client:
    """Requests to one server. ``good`` and ``hostile``: of each kind what it does, the answers it may get, and how often it is
    drawn."""

    def __init__(self, port: int) -> None:
        self._port = port
        path = sample_videos()[0]
        self._clip = path.read_bytes()
        self._pictures = list(jpegs(path))
        noise = random.Random(0).randbytes(5000)
        clip = self._clip
        twice = form(clip).removesuffix(f"--{_BOUNDARY}--\r\n".encode()) + form(clip)
        self.good: dict[str, tuple[Callable[[], int | str], set[int | str], int]] = {
            "video": (lambda: self._predict(form(clip)), {200}, 36),
            "several views": (lambda: self._predict(form(clip, views="2x3", top_k="2")), {200}, 4),
            "raw scores": (lambda: self._predict(form(clip, raw="true")), {200}, 4),
            "timeline": (self._timeline, {200}, 2),
            "stream": (lambda: self._stream(self._pictures), {"answered"}, 2),
            "metrics": (lambda: self._ask("GET", "/metrics"), {200}, 2),
        }
        self.hostile: dict[str, tuple[Callable[[], int | str], set[int | str], int]] = {
            "text": (lambda: self._predict(form(b"#EXTM3U\nfile:///etc/passwd\n" * 9)), {422}, 3),
            "cut off": (lambda: self._predict(form(clip[: len(clip) // 2])), {422}, 3),
            "scrambled": (lambda: self._predict(form(clip[:2000] + noise + clip[7000:])), {200, 422}, 3),
            "noise": (lambda: self._predict(form(noise)), {422}, 3),
            "nothing": (lambda: self._predict(form(b"")), {422}, 3),
            "setting": (lambda: self._predict(form(clip, views="a lot")), {422}, 3),
            "too many views": (lambda: self._predict(form(clip, views="999999x3")), {422}, 3),
            "other field": (lambda: self._predict(form(clip, url="http://127.0.0.1/")), {422}, 3),
            "other model": (lambda: self._predict(form(clip, model="../../etc/passwd")), {404, 422}, 3),
            "two videos": (lambda: self._predict(twice), {400, 422}, 3),
            "no form": (lambda: self._predict(b"nothing"), {400}, 3),
            "half form": (lambda: self._predict(form(clip)[:-30]), {400}, 3),
            "other site": (lambda: self._predict(form(clip), Origin="http://example.com"), {403}, 3),
            "other host": (lambda: self._predict(form(clip), Host="example.com"), {421}, 3),
            "too large": (self._too_large, {413}, 3),
            "path": (lambda: self._ask("GET", "/page/..%2f..%2f..%2fetc/passwd"), {404}, 3),
            "method": (lambda: self._ask("DELETE", "/v1/predict"), {405}, 3),
            "no HTTP": (self._no_http, {400}, 3),
            "stops": (lambda: self._break_off(whole=False), {_SENT}, 3),
            "leaves": (lambda: self._break_off(whole=True), {_SENT}, 3),
            "timeline of noise": (lambda: self._timeline(noise), {409}, 1),
            "lesson of noise": (lambda: self._lesson(noise), {422}, 1),
            "stream of noise": (lambda: self._stream([noise] * 5), {"refused"}, 1),
            "leaves a stream": (self._leave_stream, {_SENT}, 1),
        }

    def send(self, number: int) -> tuple[str, int | str, bool]:
        """One request: its kind, what came back, and whether that is right."""
        kinds = self.good if number % 2 else self.hostile
        draw = random.Random(number)
        kind = draw.choices(list(kinds), [often for _, _, often in kinds.values()])[0]
        do, allowed, _ = kinds[kind]
        try:
            answer = do()
        except (OSError, http.client.HTTPException, KeyError, ValueError) as error:
            answer = type(error).__name__
        return kind, answer, answer in allowed

    def _predict(self, body: bytes, **headers: str) -> int:
        return self._ask("POST", "/v1/predict", body, {**_HEADER, **headers})

    def _ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> int:
        return self._answer(method, path, body, headers)[0]

    def _answer(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _timeline(self, content: bytes | None = None) -> int:
        """A job from its beginning to its removal; the status of its table."""
        status, body = self._answer("POST", "/v1/timeline", form(content or self._clip), _HEADER)
        if status != 202:
            return status
        job = f"/v1/timeline/{json.loads(body)['id']}"
        while json.loads(self._answer("GET", job)[1])["state"] in ("waiting", "running"):
            time.sleep(0.1)
        table = self._ask("GET", f"{job}/csv")
        removed = self._ask("DELETE", job)
        return table if removed < 300 else removed

    def _lesson(self, content: bytes) -> int:
        """A clip that is none, and the end of the lesson."""
        status, body = self._answer("POST", "/v1/teach")
        if status >= 300:
            return status
        lesson = f"/v1/teach/{json.loads(body)['id']}"
        status = self._ask("POST", f"{lesson}/clips", form(content, label="wink"), _HEADER)
        removed = self._ask("DELETE", lesson)
        return status if removed < 300 else removed

    @contextmanager
    def _connected(self) -> Iterator[ClientConnection]:
        address = f"ws://127.0.0.1:{self._port}/v1/stream?clip_seconds=1&fps={_FPS}&replay=true"
        with connect(address, proxy=None, open_timeout=300) as stream:
            yield stream

    def _stream(self, pictures: list[bytes]) -> str:
        found: list[str] = []
        with self._connected() as stream:
            try:
                for number, picture in enumerate(pictures):
                    stream.send(struct.pack("<d", number / _FPS) + picture)
                stream.send(json.dumps({"type": "stop"}))
                while True:
                    found.append(json.loads(stream.recv(timeout=300))["type"])
            except ConnectionClosed:
                pass
        return "refused" if "error" in found else "answered" if "scores" in found else "silent"

    def _leave_stream(self) -> str:
        with self._connected() as stream:
            stream.send(struct.pack("<d", 0.0) + self._pictures[0])
            stream.socket.shutdown(socket.SHUT_RDWR)
        return _SENT

    def _raw(self, data: bytes, answer: bool) -> int | str:
        with socket.create_connection(("127.0.0.1", self._port), 60) as raw:
            raw.sendall(data)
            return int(raw.recv(4096).split(b" ", 2)[1]) if answer else _SENT

    def _no_http(self) -> int | str:
        return self._raw(b"\x16\x03\x01 hello\r\n\r\n", answer=True)

    def _too_large(self) -> int | str:
        return self._raw(self._head(2**40) + b"--frontier\r\n", answer=True)

    def _break_off(self, whole: bool) -> int | str:
        body = form(self._clip)
        return self._raw(self._head(len(body)) + (body if whole else body[: len(body) // 2]), answer=False)

    def _head(self, length: int) -> bytes:
        head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n"
        return (head + f"Content-Type: {_HEADER['Content-Type']}\r\n\r\n").encode()


def state(pid: int) -> dict[str, int]:
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
        try:
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{one}/status").read_text().splitlines() if ":" in line
            )
            files = len(os.listdir(f"/proc/{one}/fd"))
        except OSError:  # it has ended meanwhile
            continue
        found["processes"] += 1
        found["threads"] += int(status["Threads"])
        found["files"] += files
        resident = int(status.get("VmRSS", "0 kB").split()[0]) // 1024
        found["rss_mb"] += resident
        if one == pid:
            found["rss_mb_of_the_server"] = resident
    folders = Path(tempfile.gettempdir()).glob("videoswin-serve-*")
    found["temporary_files"] = sum(len(names) for folder in folders for _, _, names in os.walk(folder))
    return dict(found)


def settled(pid: int, decoders: Callable[[], int]) -> dict[str, int]:
    """The state once nothing changes any more: clients have left, and decoders that ended are replaced."""
    deadline = time.monotonic() + _SETTLE_S
    last = None
    while time.monotonic() < deadline:
        time.sleep(2)
        now = state(pid)
        if decoders() == 200 and last is not None and _countable(now) == _countable(last):
            return now
        last = now
    return state(pid)


def complaints(before: dict[str, int], after: dict[str, int], wrong: Counter[str]) -> list[str]:
    """What must not be."""
    found = [f"{count} x {kind}" for kind, count in sorted(wrong.items())]
    found += [f"{what}: {before[what]} -> {after[what]}" for what in _countable(before) if after[what] > before[what]]
    if abs(after["rss_mb"] - before["rss_mb"]) > _MEMORY * before["rss_mb"]:
        found.append(f"memory: {before['rss_mb']} -> {after['rss_mb']} MB")
    return found


def _countable(found: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in found.items() if not name.startswith("rss")}


def _load() -> list[float]:
    return [round(load, 2) for load in os.getloadavg()]


def jpegs(path: Path) -> list[bytes]:
    found = []
    with open_video(path) as video:
        for _, rgb in video:
            file = io.BytesIO()
            Image.fromarray(rgb.numpy()).save(file, "JPEG", quality=85)
            found.append(file.getvalue())
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    client = Client(options.port)

    def ready() -> int:
        return client._ask("GET", "/readyz")

    answers, wrong = Counter[str](), Counter[str]()
    load = [_load()]
    with ThreadPoolExecutor(options.clients) as pool:
        list(pool.map(client.send, range(_WARM_UP)))  # what is loaded once is loaded
        before, began = settled(options.pid, ready), time.perf_counter()
        for kind, answer, right in pool.map(client.send, range(_WARM_UP, _WARM_UP + options.requests)):
            answers[f"{kind}: {answer}"] += 1
            if not right:
                wrong[f"{kind}: {answer}"] += 1
        seconds = time.perf_counter() - began
    after = settled(options.pid, ready)
    load.append(_load())
    bad = complaints(before, after, wrong)
    found: dict[str, Any] = {
        "requests": options.requests,
        "clients": options.clients,
        "warm_up": _WARM_UP,
        "seconds": round(seconds, 1),
        "load_before_and_after": load,
        "before": before,
        "after": after,
        "answers": dict(sorted(answers.items())),
        "complaints": bad,
    }
    print(json.dumps(found, indent=2))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
