"""Relative position bias tables, from one window to another."""

from torch import Tensor
from torch.nn import functional as F

from videoswin.model.config import Grid

__all__ = ["resample_table"]


def resample_table(table: Tensor, source: Grid, target: Grid) -> Tensor:
    """((2P-1)(2M-1)(2M-1), heads) for one window size -> the same for another, bicubic.

    In space as the public code's ``inflate_weights`` does it (bicubic, corners not aligned); in time by the same rule,
    as a video model of 8 frames a window needs to become one of 16 (Something-Something, paper section 4.1). The rows
    of a table are offsets -(n-1) ... n-1, so that its middle, offset 0, stays the middle.
    """
    if source == target:
        return table
    heads = table.shape[1]
    t, h, w = (2 * n - 1 for n in source)
    to_t, to_h, to_w = (2 * n - 1 for n in target)
    maps = table.float().T.reshape(heads, t, h, w)
    if (h, w) != (to_h, to_w):
        maps = F.interpolate(maps, size=(to_h, to_w), mode="bicubic", align_corners=False)
    if t != to_t:
        over_time = maps.reshape(1, heads, t, to_h * to_w)
        maps = F.interpolate(over_time, size=(to_t, to_h * to_w), mode="bicubic", align_corners=False)
    return maps.reshape(heads, to_t * to_h * to_w).T.contiguous()
