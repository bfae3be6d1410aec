"""Work that takes longer than a client should wait: in a process of its own, one at a time, with progress, and ended at will.

A job is known by an unguessable name; who has it may look, fetch the result, or end it. What it wrote is gone when it has been
kept for long enough.
"""

import asyncio
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videoswin.serve.job_worker import run_job
from videoswin.serve.processes import end_process, process_context
from videoswin.serve.refusals import Refused

__all__ = ["Job", "Jobs", "file_of"]

_log = logging.getLogger(__name__)
_MAX_MESSAGE = 4 * 2**20
_KEPT = 64


@dataclass
class Job:
    """``kind``: a key of :data:`videoswin.serve.job_worker.WORK`; ``folder``: its own, with all that it reads and writes."""

    kind: str
    folder: Path
    settings: dict[str, Any]
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    state: str = "waiting"
    """waiting, running, done, failed, cancelled."""
    progress: float = 0.0
    """0 to 1."""
    stage: str = ""
    """What it is at, in words."""
    result: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    ended: float | None = None
    """Or last in use, on the monotonic clock."""

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    def to_dict(self) -> dict[str, Any]:
        """What its owner is told."""
        values = {"id": self.id, "kind": self.kind, "state": self.state, "progress": round(self.progress, 4)}
        return {**values, "stage": self.stage, "result": self.result, **({"error": self.error} if self.error else {})}


class Jobs:
    """Use within one event loop: :meth:`start`, then the rest, then :meth:`close`.

    Args:
        folder: each job gets one of its own in it.
        at_once: jobs that may wait or run.
        timeout_s: for one job.
        keep_s: for which what is over is kept.
        changed: called with the number of those that wait or run.
    """

    def __init__(
        self,
        folder: Path,
        at_once: int,
        timeout_s: float,
        keep_s: float,
        changed: Callable[[int], object] = lambda count: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._at_once, self._timeout_s, self._keep_s = folder, at_once, timeout_s, keep_s
        self._changed, self._clock = changed, clock
        self._jobs: dict[str, Job] = {}
        self._turn = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def open(self) -> int:
        """How many wait or run."""
        return sum(not job.is_over for job in self._jobs.values())

    def require_room(self) -> None:
        """Raise 503 if no job may be added."""
        if self.open >= self._at_once:
            raise Refused.busy("There are as many jobs as this server takes.", retry_s=30)

    def new_folder(self) -> Path:
        """An empty folder for a job that is being put together."""
        path = self._folder / secrets.token_hex(12)
        path.mkdir(mode=0o700)
        return path

    def add(self, kind: str, folder: Path, settings: Mapping[str, Any]) -> Job:
        """Begin a job as soon as it is its turn; its folder is its own from now on."""
        self.require_room()
        self.forget_old()
        job = Job(kind, folder, dict(settings))
        self._jobs[job.id] = job
        self._tasks[job.id] = asyncio.get_running_loop().create_task(self._run(job))
        self._changed(self.open)
        return job

    def find(self, id: str, kind: str) -> Job:
        """Raises 404."""
        self.forget_old()
        job = self._jobs.get(id)
        if job is None or job.kind != kind:
            raise Refused(404, "no_job", "There is no such job, or no more: results are kept for a while only.")
        return job

    def keep(self, job: Job) -> None:
        """What it made is in use: the time for which it is kept begins anew."""
        if job.is_over:
            job.ended = self._clock()

    async def remove(self, job: Job) -> None:
        """End it if it is not over, and forget it with all its files."""
        task = self._tasks.pop(job.id, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)
        self._changed(self.open)

    def forget_old(self) -> None:
        """Remove what has been over for long, and the oldest of too many."""
        over = sorted((job.ended, job.id) for job in self._jobs.values() if job.ended is not None)
        for number, (ended, id) in enumerate(over):
            if self._clock() - ended > self._keep_s or len(over) - number > _KEPT:
                job = self._jobs[id]
                self._jobs.pop(job.id)
                self._tasks.pop(job.id, None)
                shutil.rmtree(job.folder, ignore_errors=True)

    async def close(self) -> None:
        for job in list(self._jobs.values()):
            await self.remove(job)

    async def _run(self, job: Job) -> None:
        try:
            async with self._turn:
                job.state = "running"
                async with asyncio.timeout(self._timeout_s):
                    await self._work(job)
        except TimeoutError:
            job.state, job.error = "failed", {"code": "too_late", "message": "It took too long and was stopped."}
        except asyncio.CancelledError:
            job.state = "cancelled"
            raise
        except Exception:  # noqa: BLE001  the owner is told, whatever it is
            _log.exception("a job failed")
            job.state, job.error = (
                "failed",
                {"code": "internal", "message": "This server made a mistake. Its log says which."},
            )
        finally:
            job.ended = self._clock()
            self._changed(self.open)

    async def _work(self, job: Job) -> None:
        context = process_context()
        ours, theirs = context.Pipe()
        process = context.Process(
            target=run_job, args=(theirs, job.kind, str(job.folder), job.settings), name="videoswin job", daemon=True
        )
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, process.start)
        theirs.close()
        readable = asyncio.Event()
        loop.add_reader(ours.fileno(), readable.set)
        try:
            while not job.is_over:
                await readable.wait()
                readable.clear()
                while ours.poll():
                    self._take(job, json.loads(ours.recv_bytes(_MAX_MESSAGE)))
        except (EOFError, OSError):
            if not job.is_over:
                _log.error("the process of a job ended with code %s", process.exitcode)
                message = "The process that worked on it died. The video may be damaged, or memory ran out."
                job.state, job.error = "failed", {"code": "died", "message": message}
        finally:
            loop.remove_reader(ours.fileno())
            await asyncio.shield(loop.run_in_executor(None, end_process, process))
            with suppress(OSError):
                ours.close()

    @staticmethod
    def _take(job: Job, message: dict[str, Any]) -> None:
        if "progress" in message:
            job.progress, job.stage = float(message["progress"]), str(message.get("stage", job.stage))
        elif "error" in message:
            job.state, job.error = "failed", message["error"]
        elif "result" in message:
            job.state, job.progress, job.result = "done", 1.0, message["result"]


def file_of(job: Job, name: str) -> Path:
    """A file that a job wrote. Raises 409 while it is not done."""
    if job.state != "done":
        raise Refused(409, "not_done", f"The job is {job.state}; there is no result.")
    path = job.folder / "out" / os.path.basename(name)
    if not path.is_file():
        raise Refused(404, "no_file", "There is no such file.")
    return path
