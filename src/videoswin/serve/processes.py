"""How processes of their own are started: cleanly, without this one's threads, and quickly where the system allows it."""

import multiprocessing
from contextlib import suppress
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

__all__ = ["end_process", "process_context"]

_PRELOAD = (
    "videoswin.serve.decode_worker", "videoswin.serve.stream_worker", "videoswin.serve.job_worker",
    "videoswin.export.runtime", "videoswin.live.timeline_files",
)  # fmt: skip


@cache
def process_context() -> ForkServerContext | SpawnContext:
    """A fork server has PyTorch and the decoder imported once; each process is then there in milliseconds."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOAD))
    forkserver.ensure_running()
    return context


def end_process(process: BaseProcess) -> None:
    """Kill it, and give back at once what the system holds for it; the garbage collector would do so some time."""
    process.kill()
    process.join(5)
    with suppress(ValueError):  # it cannot be killed just now
        process.close()
