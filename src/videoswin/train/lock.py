"""One run, one process that writes it: two into one folder would destroy each other's checkpoints.

The lock belongs to the process, ends with it however it ends, and is not handed on to the workers that prepare clips. So a
run that was killed can be resumed at once, and a file that a killed process left locks nothing.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videoswin.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["LOCK_FILE", "locked_run"]

LOCK_FILE = ".lock"
_HELD: dict[Path, int] = {}  # how often, by this process; a file's lock is the whole process's


@contextmanager
def locked_run(out: Path) -> Iterator[None]:
    """Inside the block no other process can write the run in ``out``, which is made if it is not there. Blocks can be nested.

    Raises:
        OutputError: another process writes it, or nothing can be written there.
    """
    path = Path(os.path.realpath(out)) / LOCK_FILE
    if path in _HELD:
        _HELD[path] += 1
        try:
            yield
        finally:
            _HELD[path] -= 1
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise OutputError(out, f"nothing can be written there ({error.strerror})", "Give another --out") from error
    try:
        _lock(descriptor, out)
        _HELD[path] = 1
        yield
    finally:
        _HELD.pop(path, None)
        os.close(descriptor)


def _lock(descriptor: int, out: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock(), whose locks children inherit
    except (BlockingIOError, PermissionError):
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
        reason = f"{holder} is writing this run"
        raise OutputError(out, reason, "Wait for its end, stop it, or give another --out") from None
    except OSError:  # a file system without locks
        return
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except OSError:  # a full disk; the name of the holder is a help, not the lock
        return
