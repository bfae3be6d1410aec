"""Multiply-adds of a forward pass, by closed formula.

Two counts. ``paper`` follows the paper's tables (what they call FLOPs): every token is compared with a full window, the
attention products included; biases, norms and the softmax are not counted. ``executed`` is what the box engine does:
a token meets only its own box, which is smaller at the borders of a shifted partition, and attends to padding tokens too.
"""

from typing import NamedTuple

from videoswin.model.backbone import block_shift
from videoswin.model.config import Grid, SwinConfig, check_clip_size
from videoswin.model.windows import box_shapes, clip_window

__all__ = ["Macs", "count_macs", "stage_grids"]


class Macs(NamedTuple):
    """Multiply-adds for one clip."""

    paper: int
    executed: int


def stage_grids(config: SwinConfig, frames: int, height: int, width: int) -> list[Grid]:
    """Token grids (T', H', W') of the stages, for a clip of ``frames`` x ``height`` x ``width`` pixels."""
    check_clip_size(config, (frames, height, width))
    t, h, w = (-(-n // p) for n, p in zip((frames, height, width), config.patch_size, strict=True))
    grids = []
    for _ in config.depths:
        grids.append((t, h, w))
        h, w = -(-h // 2), -(-w // 2)
    return grids


def count_macs(config: SwinConfig, frames: int, height: int, width: int) -> Macs:
    """Multiply-adds of one (1, 3, frames, height, width) clip through backbone and head."""
    grids = stage_grids(config, frames, height, width)
    patch = config.patch_size[0] * config.patch_size[1] * config.patch_size[2] * config.in_channels
    shared = _volume(grids[0]) * patch * config.embed_dim + config.num_features * config.num_classes
    for grid, dim in zip(grids[1:], config.stage_dims[:-1], strict=True):
        shared += _volume(grid) * 4 * dim * 2 * dim  # merging into the next stage
    paper = executed = shared
    for grid, dim, depth in zip(grids, config.stage_dims, config.depths, strict=True):
        for block in range(depth):
            paper += _paper_block(config, grid, dim)
            executed += _executed_block(config, grid, dim, block)
    return Macs(paper, executed)


def _paper_block(config: SwinConfig, grid: Grid, dim: int) -> int:
    window, _ = clip_window(grid, config.window_size, (0, 0, 0))
    per_token = 4 * dim * dim + 2 * _volume(window) * dim + 2 * dim * int(dim * config.mlp_ratio)
    return _volume(grid) * per_token


def _executed_block(config: SwinConfig, grid: Grid, dim: int, block: int) -> int:
    shift = block_shift(config, block)
    boxes = box_shapes(grid, config.window_size, shift, config.padding, config.causal)
    attention = sum(2 * count * _volume(shape) ** 2 * dim for count, shape in boxes)
    tokens = _volume(grid)
    padded = sum(count * _volume(shape) for count, shape in boxes) > tokens
    qkv = (tokens + padded) * 3 * dim * dim  # what all padding tokens read is computed once
    return attention + qkv + tokens * (dim * dim + 2 * dim * int(dim * config.mlp_ratio))


def _volume(grid: Grid) -> int:
    return grid[0] * grid[1] * grid[2]
