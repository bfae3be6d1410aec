"""Clips of one place, by what stands still in them: for lists that name no groups."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["joined", "same_place"]

_SIDE = 16
_BLUR = 7
_ALIKE = 0.93  # correlation of the outlines of what stands still, pixel by pixel: a camera that was not moved


def same_place(films: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Pairs of films, uint8 (T, SIDE, SIDE), whose still part agrees without any shift."""
    if not films:
        return []
    still = torch.stack([film[:: max(1, len(film) // 12)].float().median(0).values for film in films])
    small = F.adaptive_avg_pool2d(still[None], _SIDE)[0]
    outlines = small - F.avg_pool2d(small, _BLUR, 1, _BLUR // 2, count_include_pad=False)
    rows = F.normalize(outlines.flatten(1), dim=1)
    alike = (rows @ rows.T).triu(1)
    return [(int(i), int(j)) for i, j in (alike > _ALIKE).nonzero()]


def joined(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """For each of ``count`` items the number of its cluster, which is that of its first member."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        a, b = sorted((root(i), root(j)))
        parent[b] = a
    return [root(i) for i in range(count)]
