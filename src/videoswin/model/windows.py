"""Windows are boxes: the (shifted) window partition of paper section 3.2 as a list of boxes.

The public code rolls the token grid, cuts it into equal windows and masks the pairs that the roll brought together.
What is left after the mask is simply a set of boxes that tile the grid. Along one axis of 8 tokens, window 4:

    regular       |. . . .|. . . .|          2 segments
    shifted by 2  |. .|. . . .|. .|          3 segments

and the boxes are the product of the three axes' segments: 2x2x2 regular, 3x3x3 shifted, as Figure 3 draws them. A token
attends exactly to its own box. So: read the tokens box by box (`order`), attend inside each group of equal boxes, and
put every token back where it was (`inverse`). No roll, no mask, no products that a mask throws away.

A causal partition differs on the time axis alone. Its cuts stand where they stand whatever the length of the video: no
clip rule, no padding, the last box as short as it is. And each box says which pairs look back (-1 in `bias_index`: not).
"""

from collections.abc import Iterator
from itertools import pairwise, product
from typing import NamedTuple

import torch
from torch import Tensor

from videoswin.kernels import Partition
from videoswin.kernels.boxes import SERIAL_VALUES
from videoswin.kernels.kept import Kept, constant_when_traced
from videoswin.model.config import Grid, Padding, RelativeBias

__all__ = ["KEPT", "bias_index", "box_shapes", "clip_window", "partition"]

KEPT: Kept[Partition] = Kept(max_bytes=128 * 2**20)  # fourteen clip sizes of Swin-T, at 32 frames of about 224 pixels


def clip_window(grid: Grid, window: Grid, shift: Grid, causal: bool = False) -> tuple[Grid, Grid]:
    """Window and shift after the public code's rule: an axis no longer than the window is one window, unshifted.

    Not so time in a causal model: the cuts would move as the video goes on.
    """
    fits = [n <= w for n, w in zip(grid, window, strict=True)]
    fits[0] &= not causal
    clipped = tuple(n if fit else w for n, w, fit in zip(grid, window, fits, strict=True))
    shifted = tuple(0 if fit else s for s, fit in zip(shift, fits, strict=True))
    return clipped, shifted  # type: ignore[return-value]


@constant_when_traced
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

    Kept, since a video model sees few grids; up to a number of bytes, since the index tensors live on the device.
    """
    return KEPT.get(_cut, grid, window, shift, relative_bias, padding, device, causal)


def box_shapes(grid: Grid, window: Grid, shift: Grid, padding: Padding, causal: bool = False) -> list[tuple[int, Grid]]:
    """How many boxes of which shape a token grid has; without the indices, so for grids of any size."""
    axes = _axes(grid, window, shift, padding, causal)
    return [(_boxes(runs), _grid(run.length for run in runs)) for runs in product(*axes)]


class _Run(NamedTuple):
    """Equal segments of one axis: where each starts, how long they are, and where they sit inside their rolled window."""

    starts: list[int]
    length: int
    place: int


def _cut(
    grid: Grid,
    window: Grid,
    shift: Grid,
    relative_bias: RelativeBias,
    padding: Padding,
    device: torch.device,
    causal: bool,
) -> Partition:
    """Boxes are the product of the axes' segments; so groups of equal boxes are the product of runs of equal segments."""
    # Only a window clipped in space reads other bias rows in the public code; clipped in time the slice is exact.
    clipped, _ = clip_window(grid, window, shift, causal)
    by_place = relative_bias == "official" and clipped[1:] != window[1:]
    axes = _axes(grid, window, shift, padding, causal, by_place)
    shapes, tokens, entries = [], [], []
    for runs in product(*axes):
        shape, place = _grid(run.length for run in runs), _grid(run.place for run in runs)
        tokens += _token_indices(runs, grid)
        pieces = [_sliced_index(shape, place, clipped, window)] if by_place else _bias_rows(shape, window)
        entries += [torch.cat(pieces).where(_looking_back(shape), -1)] if causal else pieces
        shapes.append((_boxes(runs), shape))
    order, index = (torch.cat([piece.flatten() for piece in pieces]) for pieces in (tokens, entries))
    return Partition.of(order.to(device), index.to(device), shapes, grid[0] * grid[1] * grid[2], causal)


def _axes(
    grid: Grid, window: Grid, shift: Grid, padding: Padding, causal: bool, by_place: bool = False
) -> list[list[_Run]]:
    """The runs of the three axes. ``by_place``: segments of equal length at other places of their window are another run."""
    clipped, shift = clip_window(grid, window, shift, causal)
    paddings: tuple[Padding, ...] = ("masked" if causal else padding, padding, padding)
    return [_runs(*axis, by_place) for axis in zip(grid, clipped, shift, paddings, strict=True)]


def _runs(n: int, window: int, shift: int, padding: Padding, by_place: bool) -> list[_Run]:
    """Cuts of one axis: 0, s, s+w, s+2w, ... (0, w, 2w, ... unshifted), up to the (padded) length."""
    end = n if padding == "masked" else -(-n // window) * window
    cuts = [0, *range(shift or window, end, window), end]
    runs: dict[tuple[int, int], list[int]] = {}
    for start, stop in pairwise(cuts):
        # Rolled by -shift, the first `shift` tokens of a shifted axis come to sit last in the last window.
        place = window - shift if by_place and shift and start == 0 else 0
        runs.setdefault((stop - start, place), []).append(start)
    return [_Run(starts, *run) for run, starts in runs.items()]


def _count(n: int) -> Tensor:
    """0, 1, ... n - 1, int32."""
    return torch.arange(n, dtype=torch.int32, device="cpu")


def _token_indices(runs: tuple[_Run, ...], grid: Grid) -> list[Tensor]:
    """(boxes, n) flat indices of the tokens of all boxes of a group, row-major; tokens outside the grid are padding and get
    the index one past the last token. In pieces: one layer of boxes after the other."""
    starts = (torch.tensor(run.starts, dtype=torch.int32, device="cpu")[:, None] for run in runs)
    t, h, w = (start + _count(run.length) for start, run in zip(starts, runs, strict=True))  # (starts, length) each
    h, w = h[:, None, None, :, None], w[:, None, None, :]
    inside, plane = (h < grid[1]) & (w < grid[2]), h * grid[2] + w
    outside = grid[0] * grid[1] * grid[2]
    layers = t.view(*t.shape, 1, 1).unbind(0)
    return [(at * (grid[1] * grid[2]) + plane).where(inside & (at < grid[0]), outside) for at in layers]


def _boxes(runs: tuple[_Run, ...]) -> int:
    return len(runs[0].starts) * len(runs[1].starts) * len(runs[2].starts)


def bias_index(shape: Grid, window: Grid) -> Tensor:
    """(n, n) rows of the (2P-1)(2M-1)(2M-1) table for all token pairs of a box, by true offsets (paper, eq. 2)."""
    return torch.cat(_bias_rows(shape, window)).long()


def _bias_rows(shape: Grid, window: Grid) -> list[Tensor]:
    """The same as int32, in pieces of some rows."""
    # The row of an offset is linear in it. So it is a number of the row's token, less the same of the column's, plus the
    # row of no offset at all.
    strides = (2 * window[1] - 1) * (2 * window[2] - 1), 2 * window[2] - 1, 1
    steps = [_count(n) * stride for n, stride in zip(shape, strides, strict=True)]
    number = (steps[0][:, None, None] + steps[1][:, None] + steps[2]).flatten()
    middle = sum((w - 1) * stride for w, stride in zip(window, strides, strict=True))
    some = (number + middle).split(max(1, SERIAL_VALUES // len(number)))
    return [rows[:, None] - number for rows in some]


def _sliced_index(shape: Grid, place: Grid, clipped: Grid, window: Grid) -> Tensor:
    """The public code's ``relative_position_index[:N, :N]``: the clipped window's tokens are read as if they were the
    first N of a full window. The slice is not translation invariant, so a box takes the rows at its own place."""
    t, h, w = (_count(n) + p for p, n in zip(place, shape, strict=True))
    rows = ((t[:, None, None] * clipped[1] + h[:, None]) * clipped[2] + w).flatten().long()
    return torch.cat(_bias_rows(window, window))[rows[:, None], rows]


def _looking_back(shape: Grid) -> Tensor:
    """(n, n) whether the column's token is no later than the row's."""
    time = _count(shape[0]).repeat_interleave(shape[1] * shape[2])
    return time[None, :] <= time[:, None]


def _grid(sizes: Iterator[int]) -> Grid:
    t, h, w = sizes
    return t, h, w
