"""What runs inside a decoding process: videos in by their paths, clips out as plain numbers.

The parent does not trust it: answers are JSON and raw floats, nothing that has to be unpickled. Its memory is bounded, it may
write no file, and it ends when its parent does.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import torch

from videoswin.data.containers import Limits
from videoswin.data.decode import open_video
from videoswin.data.ffmpeg import video_error
from videoswin.data.preprocessing import Preprocessing, Views
from videoswin.errors import ConfigError, OutOfMemoryError, TruncatedError, VideoError, VideoSwinError

__all__ = ["confine", "error_to_dict", "raise_from_dict", "work"]

_KINDS: dict[str, Callable[..., VideoSwinError]] = {
    "truncated": TruncatedError,
    "memory": OutOfMemoryError,
    "video": VideoError,
}
_FILES_AT_ONCE = 128


def work(connection: Connection, extra_bytes: int) -> None:
    """Answer requests until the parent is gone."""
    confine(extra_bytes)
    with suppress(EOFError, OSError):
        while True:
            request = json.loads(connection.recv_bytes())
            header, data = _answer(request)
            connection.send_bytes(json.dumps(header).encode())
            if data is not None:
                connection.send_bytes(data)


def confine(extra_bytes: int, may_write: bool = False) -> None:
    """Limits of this process: memory beside what it has now, open files, no files written, no core dumps."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a Ctrl-C in the terminal is the parent's to handle
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
    torch.set_num_threads(1)
    if sys.platform == "win32":
        return
    import resource

    size = 0
    with suppress(OSError), open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limits = [(resource.RLIMIT_NOFILE, _FILES_AT_ONCE), (resource.RLIMIT_CORE, 0)]
    limits += [] if may_write else [(resource.RLIMIT_FSIZE, 0)]
    limits += [(resource.RLIMIT_AS, size + extra_bytes)] if size else []
    for what, most in limits:
        with suppress(ValueError, OSError):  # a lower one is in force already
            resource.setrlimit(what, (most, most))


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], memoryview | None]:
    try:
        views = Views.parse(request["views"])
        preprocessing = Preprocessing.from_dict(request["preprocessing"])
        limits = Limits(**request["limits"])
        with open_video(request["path"], name=request["name"], limits=limits, threads=1) as video:
            batch = preprocessing.views(video, views)
            info = video.info
        clips = batch.clips.contiguous()
        header = {
            "duration_s": info.duration_s,
            "complete": info.complete,
            "shape": list(clips.shape),
            "spans": batch.spans.tolist(),
            "repeated": batch.repeated.tolist(),
        }
        return header, memoryview(clips.numpy().data).cast("B")
    except Exception as error:  # noqa: BLE001  whatever a video does is told to the client that sent it
        if isinstance(error, MemoryError) or "alloc" in str(error):
            error = OutOfMemoryError(request["name"], "it takes more memory than allowed", "Send a smaller one")
        elif not isinstance(error, VideoSwinError):
            error = video_error(request["name"], error, "it cannot be read")
        return error_to_dict(error), None


def error_to_dict(error: VideoSwinError) -> dict[str, Any]:
    """An error as plain values, for :func:`raise_from_dict` on the other side."""
    if isinstance(error, VideoError):
        kind = next(kind for kind, known in _KINDS.items() if isinstance(error, known))  # type: ignore[arg-type]
        return {"error": kind, "path": error.path, "reason": error.reason, "hint": error.hint}
    return {"error": "config", "reason": str(error)}


def raise_from_dict(values: dict[str, Any]) -> None:
    """Raise the error that ``values`` holds, if it holds one."""
    kind = values.get("error")
    if kind is None:
        return
    if kind in _KINDS:
        raise _KINDS[kind](str(values["path"]), str(values["reason"]), str(values["hint"]))
    raise ConfigError(str(values["reason"]))
