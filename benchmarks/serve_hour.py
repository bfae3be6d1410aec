"""Memory of a server over a simulated hour of several streams.

    videoswin serve --weights swin3d_micro_gestures_causal --port 8000 &
    python -m benchmarks.serve_hour --port 8000 --pid PID --streams 4 --minutes 60

Each stream sends pictures of the bundled clips, one clip after the other, with times of their own (``replay=true``: nothing is
dropped, and nobody waits for a clock). Every fifth simulated minute all streams pause, and the server's processes are looked at.
Printed as JSON are the answers, and of each look resident memory, open files, threads, temporary files; the exit code is 1 if the
memory of any look after the first is more than 2 % from that of the first, or a stream ended early.
"""

import argparse
import json
import os
import struct
import sys
import threading
import time
from collections import Counter
from typing import Any

from benchmarks.serve_mixed import jpegs, state
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from videoswin.classifier.bundled import sample_videos

_FPS = 4
_LOOK_EVERY = 5  # simulated minutes
_MEMORY = 0.02


class Stream:
    """One client, in two threads: one sends, one counts what comes back. ``pause``: waited for before and after a look."""

    def __init__(self, port: int, pictures: list[bytes], minutes: int, pause: threading.Barrier) -> None:
        self.answers = Counter[str]()
        self._pictures, self._minutes, self._pause = pictures, minutes, pause
        self._address = f"ws://127.0.0.1:{port}/v1/stream?clip_seconds=4&fps={_FPS}&replay=true"

    def run(self) -> None:
        """Ends the pauses of all streams if the server ends this one."""
        try:
            # A ping would lie behind the pictures that wait.
            with connect(self._address, proxy=None, open_timeout=300, ping_interval=None) as socket:
                receiving = threading.Thread(target=self._receive, args=[socket])
                receiving.start()
                for number in range(self._minutes * 60 * _FPS):
                    if number % (_LOOK_EVERY * 60 * _FPS) == 0:
                        self._pause.wait()
                        self._pause.wait()
                    socket.send(struct.pack("<d", number / _FPS) + self._pictures[number % len(self._pictures)])
                self._pause.wait()
                self._pause.wait()
                socket.send(json.dumps({"type": "stop"}))
                receiving.join()
        except (ConnectionClosed, threading.BrokenBarrierError):
            self.answers["ended early"] += 1
            self._pause.abort()

    def _receive(self, socket: ClientConnection) -> None:
        try:
            while True:
                self.answers[json.loads(socket.recv(timeout=600))["type"]] += 1
        except ConnectionClosed:
            pass


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--minutes", type=int, default=60)
    options = parser.parse_args()
    if options.minutes % _LOOK_EVERY:
        parser.error(f"--minutes has to be a multiple of {_LOOK_EVERY}")
    pictures = [picture for path in sample_videos() for picture in jpegs(path)]
    pause = threading.Barrier(options.streams + 1)
    streams = [Stream(options.port, pictures, options.minutes, pause) for _ in range(options.streams)]
    threads = [threading.Thread(target=stream.run) for stream in streams]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    looks: list[dict[str, Any]] = []
    try:
        for minute in range(0, options.minutes + 1, _LOOK_EVERY):
            pause.wait()
            time.sleep(2)  # what was sent last is answered
            if minute:  # at the beginning nothing has been loaded yet
                looks.append({"minute": minute, **state(options.pid)})
                print(json.dumps(looks[-1]), file=sys.stderr, flush=True)
            pause.wait()
    except threading.BrokenBarrierError:
        print("a stream ended early", file=sys.stderr)
    for thread in threads:
        thread.join()
    early = any(stream.answers["ended early"] for stream in streams)
    memory = [look["rss_mb"] for look in looks]
    farthest = max((abs(one / memory[0] - 1) for one in memory), default=0.0)
    print(
        json.dumps(
            {
                "streams": options.streams,
                "minutes": options.minutes,
                "pictures_each": options.minutes * 60 * _FPS,
                "seconds": round(time.perf_counter() - began, 1),
                "load": [round(load, 2) for load in os.getloadavg()],
                "answers": [dict(stream.answers) for stream in streams],
                "looks": looks,
                "farthest_from_first": round(farthest, 4),
            },
            indent=2,
        )
    )
    return 1 if early or farthest > _MEMORY else 0


if __name__ == "__main__":
    sys.exit(main())
