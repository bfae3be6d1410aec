"""Ctrl-C and SIGTERM: as a wish to stop that is granted between two steps, or at once, with everything half done removed."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from videoswin.errors import Interrupted

__all__ = ["Interruption", "signals_as_interrupt"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AGAIN_S = 0.05


class Interruption:
    """Inside the ``with`` block the first signal only sets ``asked``; a second one ends the process as usual."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        while self._before:  # a second signal may come in the middle, and restores the rest
            number, handler = self._before.popitem()
            signal.signal(number, handler)


@contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise :class:`KeyboardInterrupt`, and nothing else comes out of the block then.

    At SIGTERM Python would end the process on the spot, and what is half written would stay. PyTorch's import takes no exception
    from outside (it swallows it and fails later for what it lacks, or aborts the process), so it is waited for; and whatever else
    fails after a signal is an interruption too. Outside of the main thread, where Python allows no handlers, nothing changes, nor
    where somebody else handles these signals.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    here = threading.current_thread() is threading.main_thread()
    ours = [number for number in usual if here and signal.getsignal(number) == usual[number]]
    came = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        if _torch_is_being_imported():
            again = threading.Timer(_AGAIN_S, signal.raise_signal, [number])
            again.daemon = True
            again.start()
            return
        raise KeyboardInterrupt

    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        if came:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number in ours:
            signal.signal(number, usual[number])


def _torch_is_being_imported() -> bool:
    spec = getattr(sys.modules.get("torch"), "__spec__", None)
    return getattr(spec, "_initializing", False)
