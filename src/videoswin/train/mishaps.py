"""What can befall a run from outside, in one line: a worker that is killed, memory that runs out."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch

from videoswin.errors import TrainingError, VideoSwinError

__all__ = ["as_one_line"]

_GO_ON = "Go on from what was saved last with --resume and the same --out"
_WORKER = re.compile(r"DataLoader (worker|timed out)")
_KILLED_BY = re.compile(r"killed by signal: (\w+)")
_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|out of memory|bad_alloc|unable to (mmap|allocate)|not enough memory",
    re.IGNORECASE,
)
_SHARED = re.compile(r"shared memory|shm|/torch_\d", re.IGNORECASE)


@contextmanager
def as_one_line(where: Callable[[], str]) -> Iterator[None]:
    """Errors of the machine become a :class:`TrainingError`; ``where`` says how far the run had come."""
    try:
        yield
    except VideoSwinError:
        raise
    except (RuntimeError, OSError, MemoryError) as error:
        if (line := _line(error, where)) is None:
            raise
        raise TrainingError(line) from error


def _line(error: Exception, where: Callable[[], str]) -> str | None:
    text = str(error)
    if isinstance(error, RuntimeError) and _WORKER.search(text) and "timed out" not in text:
        found = _KILLED_BY.search(text)
        how = f"was ended by {_name(found[1])}" if found else "ended unexpectedly"
        hint = "The system kills processes when memory runs out: fewer --workers need less. " if "Kill" in text else ""
        return f"A process that prepares clips {how} {where()}. {hint}{_GO_ON}."
    if isinstance(error, RuntimeError) and _WORKER.search(text):
        return (
            f"A process that prepares clips gave nothing for minutes {where()}; it hangs, or the disk does. {_GO_ON}."
        )
    if isinstance(error, RuntimeError | OSError) and _SHARED.search(text) and not isinstance(error, MemoryError):
        return (
            f"The shared memory of the machine (/dev/shm) ran out {where()}. Use --workers 0, or enlarge it. {_GO_ON}."
        )
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or _MEMORY.search(text):
        return (
            f"Memory ran out {where()}. A smaller --batch-size (with --accumulate for the same step), --checkpointing, "
            f"fewer --workers or smaller clips need less. {_GO_ON}."
        )
    return None


def _name(text: str) -> str:
    """``Killed`` -> SIGKILL, as torch words it."""
    with suppress(ValueError):
        for number in signal.Signals:
            if signal.strsignal(number) == text:
                return number.name
    return text
