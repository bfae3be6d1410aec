"""Which tokens of a video attend to each other: the grid cut into groups along time, height and width.

Every factorised video transformer is one of these cuts, or a few in a row. Along an axis, tokens are together ("all"), apart
("none"), together in each half ("halves"), or with every second one ("phases").
"""

from typing import Literal

from torch import Tensor

from videoswin.errors import ConfigError
from videoswin.model.config import Grid
from videoswin.zoo.base import AXES

__all__ = ["GROUPS", "Axes", "check_groups", "count_groups", "grouped", "ungrouped"]

Cut = Literal["all", "none", "halves", "phases"]
Axes = Literal["joint", "space", "time", "width", "height", "local", "global"]

GROUPS: dict[Axes, tuple[Cut, Cut, Cut]] = {
    "joint": ("all", "all", "all"),
    "space": ("none", "all", "all"),
    "time": ("all", "none", "none"),
    "width": ("none", "none", "all"),
    "height": ("none", "all", "none"),
    "local": ("all", "halves", "halves"),
    "global": ("phases", "phases", "phases"),
}


def grouped(x: Tensor, axes: Axes) -> Tensor:
    """(B, T, H, W, C) -> (B * groups, tokens, C)."""
    grid = (x.shape[1], x.shape[2], x.shape[3])
    cut = x.reshape(x.shape[0], *_sizes(grid, axes), x.shape[4]).permute(_order(axes))
    return cut.reshape(x.shape[0] * count_groups(axes, grid), -1, x.shape[4])


def ungrouped(rows: Tensor, axes: Axes, grid: Grid) -> Tensor:
    """The inverse of :func:`grouped`: (B * groups, tokens, C) -> (B, T, H, W, C)."""
    order = _order(axes)
    sizes = (-1, *_sizes(grid, axes), rows.shape[-1])
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return rows.reshape([sizes[i] for i in order]).permute(inverse).reshape(-1, *grid, rows.shape[-1])


def count_groups(axes: Axes, grid: Grid) -> int:
    """How many groups a clip has."""
    factors = {"all": lambda n: 1, "none": lambda n: n, "halves": lambda n: 2, "phases": lambda n: 2}
    t, h, w = (factors[cut](n) for cut, n in zip(GROUPS[axes], grid, strict=True))
    return t * h * w


def check_groups(axes: Axes, grid: Grid) -> None:
    """A :class:`ConfigError` that names the axis of the token grid that cannot be cut in two."""
    for cut, n, axis in zip(GROUPS[axes], grid, AXES, strict=True):
        if cut in ("halves", "phases") and n % 2:
            raise ConfigError(f"Axis {axis} is {n} tokens long; {axes} attention halves it and needs an even number.")


def _sizes(grid: Grid, axes: Axes) -> tuple[int, ...]:
    """Every axis as two: halves are 2 x n/2, phases n/2 x 2, all others n x 1."""
    pairs = {"halves": lambda n: (2, n // 2), "phases": lambda n: (n // 2, 2)}
    return tuple(k for cut, n in zip(GROUPS[axes], grid, strict=True) for k in pairs.get(cut, lambda n: (n, 1))(n))


def _order(axes: Axes) -> list[int]:
    """Batch, then what tells groups apart, then what lies inside them, then channels."""
    groups, inside = [], []
    for axis, cut in enumerate(GROUPS[axes]):
        outer, inner = 1 + 2 * axis, 2 + 2 * axis
        groups += {"none": [outer], "halves": [outer], "phases": [inner]}.get(cut, [])
        inside += {"all": [outer, inner], "none": [inner], "halves": [inner], "phases": [outer]}[cut]
    return [0, *groups, *inside, 7]
