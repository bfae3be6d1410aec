"""Boxes one by one: the partition as a list of boxes, each a list of tokens. Slow, and plain to see."""

from itertools import pairwise, product
from typing import NamedTuple

from videoswin.model.config import Grid
from videoswin.model.windows import clip_window

__all__ = ["Box", "boxes_one_by_one"]


class Segment(NamedTuple):
    """A run of tokens [start, stop) on one axis; ``place`` is where it sits inside its rolled window (public code)."""

    start: int
    stop: int
    place: int


class Box(NamedTuple):
    """Tokens row-major, -1 for padding; and for each pair of them the row of the bias table, or -1: not seen."""

    shape: Grid
    tokens: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]


def boxes_one_by_one(
    grid: Grid, window: Grid, shift: Grid, relative_bias: str, padding: str, causal: bool = False
) -> list[Box]:
    """All boxes of a token grid, in row-major order."""
    clipped, shift = clip_window(grid, window, shift, causal)
    paddings = ("masked" if causal else padding, padding, padding)
    axes = [segments(*axis) for axis in zip(grid, clipped, shift, paddings, strict=True)]
    sliced = relative_bias == "official" and clipped[1:] != window[1:]
    found = []
    for t, h, w in product(*axes):
        places = list(product(*(range(s.start, s.stop) for s in (t, h, w))))
        inside = [tuple(p - s.start for p, s in zip(place, (t, h, w), strict=True)) for place in places]
        tokens = tuple(flat(place, grid) if fits(place, grid) else -1 for place in places)  # type: ignore[arg-type]
        if (
            sliced
        ):  # the tokens are numbered as in the rolled clipped window, and read as the first ones of a full window
            numbers = [
                flat(tuple(i + s.place for i, s in zip(at, (t, h, w), strict=True)), clipped)  # type: ignore[arg-type]
                for at in inside
            ]
            full = list(product(*(range(n) for n in window)))
            at = [full[number] for number in numbers]
        else:
            at = inside  # type: ignore[assignment]
        rows = tuple(
            tuple(
                -1 if causal and inside[j][0] > inside[i][0] else row_of(at[i], at[j], window)  # type: ignore[arg-type]
                for j in range(len(at))
            )
            for i in range(len(at))
        )
        found.append(Box((t.stop - t.start, h.stop - h.start, w.stop - w.start), tokens, rows))
    return found


def segments(n: int, window: int, shift: int, padding: str) -> list[Segment]:
    """Cuts of one axis: 0, s, s+w, s+2w, ... (0, w, 2w, ... unshifted), up to the (padded) length."""
    end = n if padding == "masked" else -(-n // window) * window
    cuts = [0, *range(shift or window, end, window), end]
    return [Segment(start, stop, window - shift if shift and start == 0 else 0) for start, stop in pairwise(cuts)]


def flat(place: tuple[int, ...], grid: Grid) -> int:
    return (place[0] * grid[1] + place[1]) * grid[2] + place[2]


def fits(place: tuple[int, ...], grid: Grid) -> bool:
    return all(p < n for p, n in zip(place, grid, strict=True))


def row_of(query: Grid, key: Grid, window: Grid) -> int:
    """The row of the (2P-1)(2M-1)(2M-1) table for the offset of two tokens (paper, eq. 2)."""
    p, m, k = (q - j + w - 1 for q, j, w in zip(query, key, window, strict=True))
    return (p * (2 * window[1] - 1) + m) * (2 * window[2] - 1) + k
