"""The cores shared among many computations that are too small for all of them together."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

__all__ = ["cores_shared", "in_parallel"]

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def cores_shared(number: int) -> Iterator[None]:
    """While ``number`` threads compute beside each other PyTorch has a share of its threads for each of them.

    Where a computation is small, or others want the cores too, splitting each of its steps among them costs more than it gives.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // number))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def in_parallel(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """``function`` of each item, in their order, one thread for each of PyTorch's."""
    threads = torch.get_num_threads()
    with cores_shared(threads):
        pool = ThreadPoolExecutor(threads)
        try:
            yield from pool.map(function, items)
        finally:
            pool.shutdown(cancel_futures=True)
