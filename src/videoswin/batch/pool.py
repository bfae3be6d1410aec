"""The local engine: a pool of processes that take parts until none is left, and that may die at any moment.

A worker that dies gives its part back; another process takes it. A file that kills whoever reads it must not do so for ever:
after two deaths over a part its files are first read one by one, each announced before it is begun, and one that kills the
process again and again becomes a row with an error. Results are the same as without any death, since a part is computed
afresh and as a whole. When the driver dies, its workers end within a moment.
"""

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from videoswin.batch.parts import write_part
from videoswin.batch.work import Files, Work
from videoswin.errors import VideoSwinError

__all__ = ["PartDone", "run_parts"]

_DEATHS_OF_A_PART = 2  # after so many, its files are read one by one first
_DEATHS_OF_A_FILE = 5  # that many in a row over one file are not chance
_DEATHS_BEFORE_WORK = 5  # of workers that have not even loaded the checkpoint
_KILLS = "the process that reads it dies each time ({} times)"


@dataclass(frozen=True)
class PartDone:
    """One part is on the disk."""

    number: int
    files: int
    errors: tuple[str, ...]
    """A line for each file that failed."""


Part = tuple[int, Files]


class _Worker:
    """One process, and what it is busy with."""

    def __init__(self, context: Any, work: Work, folder: Path) -> None:
        here, there = context.Pipe()
        self.pipe: Connection = here
        self.process = context.Process(target=_serve, args=(there, work, folder), daemon=True)
        self.process.start()
        there.close()  # so that the end of the process is the end of the pipe
        self.part: Part | None = None
        self.file: str | None = None
        self.ready = False

    def give(self, part: Part, blamed: set[str], careful: bool) -> None:
        self.part, self.file = part, None
        with suppress(OSError):  # it is dead, which its pipe will say
            self.pipe.send((part, blamed & {path for _, path in part[1]}, careful))

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_parts(
    parts: Iterator[Part],
    work: Work,
    folder: Path,
    workers: int,
    notice: Callable[[str], object] = lambda line: None,
) -> Iterator[PartDone]:
    """Do all parts, in any order; each is written to ``folder`` before it is yielded.

    Raises:
        VideoSwinError: what every worker would run into, such as a checkpoint that cannot be loaded.
    """
    context = multiprocessing.get_context("spawn")
    pool: list[_Worker] = []
    again: deque[Part] = deque()
    deaths: Counter[int] = Counter()
    killers: Counter[str] = Counter()
    blamed: set[str] = set()
    early_deaths = 0

    def next_part() -> Part | None:
        return again.popleft() if again else next(parts, None)

    def employ(worker: _Worker) -> bool:
        part = next_part()
        if part is not None:
            worker.give(part, blamed, careful=deaths[part[0]] >= _DEATHS_OF_A_PART)
        return part is not None

    def replace(worker: _Worker) -> None:
        nonlocal early_deaths
        pool.remove(worker)
        worker.end()
        code = worker.process.exitcode
        early_deaths = 0 if worker.ready else early_deaths + 1
        if early_deaths >= _DEATHS_BEFORE_WORK:
            raise VideoSwinError(
                f"the processes of the batch end before they begin (exit code {code}). Is there memory?"
            )
        if worker.part is None:
            return
        again.appendleft(worker.part)
        deaths[worker.part[0]] += worker.ready
        if worker.file is not None:
            killers[worker.file] += 1
            if killers[worker.file] >= _DEATHS_OF_A_FILE:
                blamed.add(worker.file)
        notice(f"a process of the batch died (exit code {code}); part {worker.part[0]} is done again.")

    try:
        while True:
            while len(pool) < workers:
                worker = _Worker(context, work, folder)
                pool.append(worker)
                if not employ(worker):
                    pool.remove(worker)
                    worker.end()
                    break
            if not pool:
                return
            for pipe in wait([worker.pipe for worker in pool]):
                worker = next(worker for worker in pool if worker.pipe is pipe)
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    replace(worker)
                    continue
                if isinstance(message, VideoSwinError):
                    raise message
                if isinstance(message, PartDone):
                    worker.part = worker.file = None
                    deaths.pop(message.number, None)
                    yield message
                    if not employ(worker):
                        pool.remove(worker)
                        worker.end()
                elif message == "ready":
                    worker.ready = True
                else:
                    if worker.file is not None:
                        killers.pop(worker.file, None)  # it did not kill
                    worker.file = message[1]
    finally:
        for worker in pool:
            worker.end()


def _serve(pipe: Connection, work: Work, folder: Path) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's, which ends its workers
    _end_with_the_driver()
    try:
        reader = work.open()
        pipe.send("ready")
        while True:
            (number, files), blamed, careful = pipe.recv()
            pipe.send(_part(pipe, reader, work, folder, number, files, blamed, careful))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except VideoSwinError as error:
        pipe.send(error)


def _part(
    pipe: Connection, reader: Any, work: Work, folder: Path, number: int, files: Files, blamed: set[str], careful: bool
) -> PartDone:
    if careful:
        for path in (path for _, path in files if path not in blamed):
            pipe.send(("file", path))
            reader.try_one(path)
        pipe.send(("file", None))
    good = [file for file in files if file[1] not in blamed]
    found = {row["row"]: row for row in reader.rows(good)}
    for row, path in files:
        if path in blamed:
            text = f"{path}: {_KILLS.format(_DEATHS_OF_A_FILE)}. Check the file, or the memory of the machine"
            found[row] = {"row": row, "path": path, "error": text}
    rows: Sequence[dict[str, Any]] = [found[row] for row, _ in files]
    write_part(folder, number, rows, work.features, work.timeline)
    return PartDone(number, len(rows), tuple(row["error"] for row in rows if row["error"] is not None))


def _end_with_the_driver() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="videoswin-driver", daemon=True).start()
