"""Tensors that are made once and serve every later call, whoever asks for them first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Generic, Protocol, TypeVar

__all__ = ["Kept", "constant_when_traced"]


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


_T = TypeVar("_T", bound=_Sized)
_Function = TypeVar("_Function", bound=Callable[..., object])


class Kept(Generic[_T]):
    """The latest results, up to a number of bytes; the newest one whatever its size."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._results: OrderedDict[Hashable, _T] = OrderedDict()
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        return sum(result.nbytes for result in self._results.values())

    def get(self, make: Callable[..., _T], *arguments: Hashable) -> _T:
        """``make(*arguments)``, made now or before."""
        with self._lock:
            if arguments in self._results:
                self._results.move_to_end(arguments)
                return self._results[arguments]
        # In a thread of its own: tracers, inference mode, default devices and transforms hold for the thread that asks, and
        # must not reach what others will use.
        with ThreadPoolExecutor(1) as aside:
            made = aside.submit(make, *arguments).result()
        with self._lock:
            self._results[arguments] = made
            while len(self._results) > 1 and self.nbytes > self.max_bytes:
                self._results.popitem(last=False)
        return made

    def clear(self) -> None:
        with self._lock:
            self._results.clear()


def constant_when_traced(function: _Function) -> _Function:
    """To torch.compile and torch.export, what ``function`` gives for these arguments is a constant, not to be looked into.

    As ``torch.compiler.assume_constant_result``, which would import the compiler (a second) to set this one attribute.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
