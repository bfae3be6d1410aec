"""Windows are boxes: the (shifted) window partition of paper section 3.2 as a list of boxes.

The public code rolls the token grid, cuts it into equal windows and masks the pairs that the roll brought together.
What is left after the mask is simply a set of boxes that tile the grid. Along one axis of 8 tokens, window 4:

    regular       |. . . .|. . . .|          2 segments
    shifted by 2  |. .|. . . .|. .|          3 segments

and the boxes are the product of the three axes' segments: 2x2x2 regular, 3x3x3 shifted, as Figure 3 draws them. A token
attends exactly to its own box. So: read the tokens box by box (`order`), attend inside each group of equal boxes, and
put every token back where it was (`inverse`). No roll, no mask, no products that a mask throws away.

A causal partition differs on the time axis alone. Its cuts stand where they stand whatever the length of the video: no
clip rule, no padding, the last box as short as it is. And each box says which pairs look back (`visible`).
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise, product
from typing import NamedTuple

import torch
from torch import Tensor

from videoswin.kernels.boxes import BoxGroup, Partition
from videoswin.model.config import Grid, Padding, RelativeBias

__all__ = ["bias_index", "clip_window", "partition"]


class Segment(NamedTuple):
    """A run of tokens [start, stop) on one axis; ``place`` is where it sits inside its rolled window (public code)."""

    start: int
    stop: int
    place: int

    @property
    def length(self) -> int:
        return self.stop - self.start


def clip_window(grid: Grid, window: Grid, shift: Grid, causal: bool = False) -> tuple[Grid, Grid]:
    """Window and shift after the public code's rule: an axis no longer than the window is one window, unshifted.

    Not so time in a causal model: the cuts would move as the video goes on.
    """
    fits = [n <= w for n, w in zip(grid, window, strict=True)]
    fits[0] &= not causal
    clipped = tuple(n if fit else w for n, w, fit in zip(grid, window, fits, strict=True))
    shifted = tuple(0 if fit else s for s, fit in zip(shift, fits, strict=True))
    return clipped, shifted  # type: ignore[return-value]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # the cached indices serve training too, whoever asked first
def partition(
    grid: Grid,
    window: Grid,
    shift: Grid,
    relative_bias: RelativeBias,
    padding: Padding,
    device: torch.device,
    causal: bool = False,
) -> Partition:
    """The boxes of a token grid (T', H', W'). Sizes in tokens.

    Cached, since a video model sees few grids; bounded, since the index tensors live on the device.
    """
    clipped, shift = clip_window(grid, window, shift, causal)
    paddings: tuple[Padding, ...] = ("masked" if causal else padding, padding, padding)
    axes = [_segments(*axis) for axis in zip(grid, clipped, shift, paddings, strict=True)]
    # Only a window clipped in space reads other bias rows in the public code; clipped in time the slice is exact.
    by_place = relative_bias == "official" and clipped[1:] != window[1:]

    num_tokens = grid[0] * grid[1] * grid[2]
    boxes: dict[tuple[Grid, Grid], list[Tensor]] = {}
    for box in product(*axes):
        shape, place = _grid(s.length for s in box), _grid(s.place for s in box)
        boxes.setdefault((shape, place if by_place else (0, 0, 0)), []).append(_token_indices(box, grid, num_tokens))

    groups = []
    for (shape, place), members in boxes.items():
        index = _sliced_index(shape, place, clipped, window) if by_place else bias_index(shape, window)
        visible = _looking_back(shape).to(device) if causal and shape[0] > 1 else None
        groups.append(BoxGroup(len(members), shape, index.to(device), visible))
    order = torch.cat([tokens for members in boxes.values() for tokens in members])
    real = order < num_tokens
    inverse = torch.empty(num_tokens, dtype=torch.long)
    inverse[order[real]] = torch.arange(len(order))[real]
    return Partition(order.to(device), inverse.to(device), tuple(groups), padded=not bool(real.all()))


def _segments(n: int, window: int, shift: int, padding: Padding) -> list[Segment]:
    """Cuts of one axis: 0, s, s+w, s+2w, ... (0, w, 2w, ... unshifted), up to the (padded) length."""
    end = n if padding == "masked" else -(-n // window) * window
    cuts = [0, *range(shift or window, end, window), end]
    # Rolled by -shift, the first `shift` tokens of a shifted axis come to sit last in the last window.
    return [Segment(start, stop, window - shift if shift and start == 0 else 0) for start, stop in pairwise(cuts)]


def _token_indices(box: tuple[Segment, ...], grid: Grid, pad_index: int) -> Tensor:
    """Flat indices of a box's tokens, row-major; tokens outside the grid are padding and get ``pad_index``."""
    t, h, w = torch.meshgrid(*(torch.arange(s.start, s.stop) for s in box), indexing="ij")
    index = (t * grid[1] + h) * grid[2] + w
    inside = (t < grid[0]) & (h < grid[1]) & (w < grid[2])
    return torch.where(inside, index, pad_index).flatten()


def bias_index(shape: Grid, window: Grid) -> Tensor:
    """(n, n) rows of the (2P-1)(2M-1)(2M-1) table for all token pairs of a box, by true offsets (paper, eq. 2)."""
    coords = torch.stack(torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")).flatten(1)  # (3, n)
    offset = coords[:, :, None] - coords[:, None, :]  # (3, n, n)
    p, m, k = (o + w - 1 for o, w in zip(offset, window, strict=True))
    return (p * (2 * window[1] - 1) + m) * (2 * window[2] - 1) + k


def _sliced_index(shape: Grid, place: Grid, clipped: Grid, window: Grid) -> Tensor:
    """The public code's ``relative_position_index[:N, :N]``: the clipped window's tokens are read as if they were the
    first N of a full window. The slice is not translation invariant, so a box takes the rows at its own place."""
    t, h, w = torch.meshgrid(*(torch.arange(p, p + n) for p, n in zip(place, shape, strict=True)), indexing="ij")
    rows = ((t * clipped[1] + h) * clipped[2] + w).flatten()
    return bias_index(window, window)[rows[:, None], rows[None, :]]


def _looking_back(shape: Grid) -> Tensor:
    """(n, n) whether the column's token is no later than the row's."""
    time = torch.arange(shape[0]).repeat_interleave(shape[1] * shape[2])
    return time[None, :] <= time[:, None]


def _grid(sizes: Iterator[int]) -> Grid:
    t, h, w = sizes
    return t, h, w
