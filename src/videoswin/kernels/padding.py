"""Padding that costs nothing where there is nothing to pad."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

__all__ = ["padded"]


def padded(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """``F.pad(x, sizes)`` with zeros. ``F.pad`` copies all of ``x`` even if every size is 0; this gives ``x`` itself.

    Tracers' stand-ins for sizes are not looked at: they stay in the program.
    """
    if all(type(size) is int and size == 0 for size in sizes):
        return x
    return F.pad(x, list(sizes))
