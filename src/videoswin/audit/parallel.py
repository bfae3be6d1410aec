"""Many small computations on all cores."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["in_parallel"]

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """``function`` of each item, in their order, one thread for each of PyTorch's.

    While it runs PyTorch has one thread for each of them: pictures of a search are so small that sharing one among cores costs
    more than it gives, on a busy machine many times as much.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads)
    torch.set_num_threads(1)
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
