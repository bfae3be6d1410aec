"""The local engine: a pool of processes that take parts until none is left, and that may die at any moment. When the driver
dies, its workers end within a moment."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from videoswin.batch.orders import Order, Orders, PartDone, do_part
from videoswin.batch.place import Place
from videoswin.batch.work import Files, Work
from videoswin.errors import VideoSwinError

__all__ = ["run_parts"]


class _Worker:
    """One process, and what it is busy with."""

    def __init__(self, context: Any, work: Work, place: Place) -> None:
        here, there = context.Pipe()
        self.pipe: Connection = here
        self.process = context.Process(target=_serve, args=(there, work, place), daemon=True)
        self.process.start()
        there.close()  # so that the end of the process is the end of the pipe
        self.order: Order | None = None
        self.file: str | None = None
        self.ready = False

    def give(self, order: Order) -> None:
        self.order, self.file = order, None
        with suppress(OSError):  # it is dead, which its pipe will say
            self.pipe.send(order)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_parts(
    parts: Iterator[tuple[int, Files]],
    count: int,
    work: Work,
    place: Place,
    workers: int | None = None,
    notice: Callable[[str], object] = lambda line: None,
) -> Iterator[PartDone]:
    """Do all parts, in any order; each is at its place before it is yielded.

    Args:
        count: how many parts there are.
        workers: processes; None is one for each core.
        notice: told of deaths.

    Raises:
        VideoSwinError: what every worker would run into, such as a checkpoint that cannot be loaded.
    """
    workers = min(workers or os.cpu_count() or 1, count)
    context = multiprocessing.get_context("spawn")
    pool: list[_Worker] = []
    orders = Orders(parts)

    def employ(worker: _Worker) -> bool:
        order = orders.next()
        if order is not None:
            worker.give(order)
        return order is not None

    def dismiss(worker: _Worker) -> None:
        pool.remove(worker)
        worker.end()

    def bury(worker: _Worker) -> None:
        dismiss(worker)
        line = orders.died(worker.order, worker.file, worker.ready, f"exit code {worker.process.exitcode}")
        if line:
            notice(line)

    try:
        while True:
            while len(pool) < workers:
                worker = _Worker(context, work, place)
                pool.append(worker)
                if not employ(worker):
                    dismiss(worker)
                    break
            if not pool:
                return
            for pipe in wait([worker.pipe for worker in pool]):
                worker = next(worker for worker in pool if worker.pipe is pipe)
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    bury(worker)
                    continue
                if isinstance(message, VideoSwinError):
                    raise message
                if isinstance(message, PartDone):
                    worker.order = worker.file = None
                    orders.done(message.number)
                    yield message
                    if not employ(worker):
                        dismiss(worker)
                elif message == "ready":
                    worker.ready = True
                else:
                    if worker.file is not None:
                        orders.survived(worker.file)
                    worker.file = message[1]
    finally:
        for worker in pool:
            worker.end()


def _serve(pipe: Connection, work: Work, place: Place) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's, which ends its workers
    _end_with_the_driver()
    try:
        reader = work.open()
        pipe.send("ready")
        while True:
            order: Order = pipe.recv()
            for path in order.to_try:
                pipe.send(("file", path))
                reader.try_one(path)
            if order.careful:
                pipe.send(("file", None))
            pipe.send(do_part(reader, work, place, order))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except VideoSwinError as error:
        pipe.send(error)


def _end_with_the_driver() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="videoswin-driver", daemon=True).start()
