"""Decoding in processes with limits: one that hangs, dies or takes too long is ended and replaced, and the server goes on."""

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from videoswin.data.containers import Limits
from videoswin.data.preprocessing import Preprocessing, ViewBatch, Views
from videoswin.errors import VideoError
from videoswin.predict.batches import Looked
from videoswin.serve.decode_worker import raise_from_dict, work
from videoswin.serve.processes import end_process, process_context

__all__ = ["DecodePool", "Worker"]

_log = logging.getLogger(__name__)
_MAX_HEADER = 4 * 2**20


class Worker:
    """One decoding process."""

    def __init__(self, extra_bytes: int) -> None:
        context = process_context()
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, extra_bytes), name="videoswin decoder", daemon=True)
        self.process.start()
        theirs.close()
        self._ended = False

    @property
    def alive(self) -> bool:
        return not self._ended and self.process.is_alive()

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], torch.Tensor | None]:
        """The answer and the clips. Raises EOFError or OSError when the process is gone."""
        self._connection.send_bytes(json.dumps(request).encode())
        header = json.loads(self._connection.recv_bytes(_MAX_HEADER))
        if "shape" not in header:
            return header, None
        clips = torch.empty(header["shape"], dtype=torch.float32)
        self._connection.recv_bytes_into(memoryview(clips.numpy()).cast("B"))  # type: ignore[arg-type]
        return header, clips

    def end(self) -> None:
        """Kill it; a thread that waits in :meth:`ask` gets an error."""
        self._ended = True
        end_process(self.process)
        with suppress(OSError):
            self._connection.close()


class DecodePool:
    """``size`` workers. Use within one event loop: :meth:`start`, :meth:`read`, :meth:`close`.

    Args:
        limits: what one video may cost.
        timeout_s: after which a worker is ended.
        extra_bytes: memory that a worker may take.
        replaced: called when a worker had to be replaced.
    """

    def __init__(
        self,
        size: int,
        limits: Limits,
        timeout_s: float,
        extra_bytes: int,
        replaced: Callable[[], object] = lambda: None,
    ) -> None:
        self._size, self._limits, self._timeout_s, self._extra_bytes = size, limits, timeout_s, extra_bytes
        self._replaced = replaced
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()
        self._all: set[Worker] = set()
        self._threads = ThreadPoolExecutor(2 * size + 2, thread_name_prefix="videoswin-decode")
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def alive(self) -> int:
        """How many workers live."""
        return sum(worker.alive for worker in self._all)

    @property
    def processes(self) -> list[Any]:
        """Of all workers."""
        return [worker.process for worker in self._all]

    async def start(self) -> None:
        await asyncio.gather(*(self._add() for _ in range(self._size)))

    async def read(self, path: Path, name: str, preprocessing: Preprocessing, views: Views) -> Looked:
        """The views of a video. Cancelling ends the work at once.

        Raises:
            VideoError: it cannot be read, takes too long, or brings the decoder down.
        """
        request = {
            "path": str(path),
            "name": name,
            "views": str(views),
            "preprocessing": preprocessing.to_dict(),
            "limits": asdict(self._limits),
        }
        worker = await self._take()
        whole = False
        try:
            asked = asyncio.get_running_loop().run_in_executor(self._threads, worker.ask, request)
            header, clips = await asyncio.wait_for(asked, self._timeout_s + 1)
            whole = True
        except TimeoutError:
            reason = f"decoding it took longer than {self._timeout_s:g} s"
            raise VideoError(name, reason, "Cut the video, or send a smaller one") from None
        except (EOFError, OSError, ValueError) as error:
            raise VideoError(name, "the decoder died on it", "The file is damaged; convert it first") from error
        finally:
            self._give_back(worker, whole)
        raise_from_dict(header)
        assert clips is not None
        spans, repeated = torch.tensor(header["spans"], dtype=torch.float64), torch.tensor(header["repeated"])
        batch = ViewBatch(clips, spans, spans, repeated)
        return Looked(name, header["duration_s"], batch, None, header["complete"])

    async def close(self) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self._all:
            worker.end()
        self._threads.shutdown()

    async def _take(self) -> Worker:
        while True:
            worker = await self._idle.get()
            if worker.alive:
                return worker

    def _give_back(self, worker: Worker, whole: bool) -> None:
        if whole and worker.alive:
            self._idle.put_nowait(worker)
        elif not self._closed and worker.alive:
            worker.process.kill()  # its watcher sees that and replaces it

    async def _add(self) -> None:
        loop = asyncio.get_running_loop()
        worker = await loop.run_in_executor(self._threads, Worker, self._extra_bytes)
        if self._closed:
            worker.end()
            return
        self._all.add(worker)
        self._idle.put_nowait(worker)
        task = loop.create_task(self._watch(worker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, worker: Worker) -> None:
        """Replace the worker when it ends."""
        loop, died = asyncio.get_running_loop(), asyncio.Event()
        sentinel = worker.process.sentinel
        loop.add_reader(sentinel, died.set)
        try:
            await died.wait()
        finally:
            loop.remove_reader(sentinel)
        self._all.discard(worker)
        worker.end()
        self._replaced()
        _log.warning("a decoder ended and is replaced")
        await self._add()
