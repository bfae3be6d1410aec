"""A clip as a search for copies knows it: a small grey film, what moves in it, and what stands still."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

__all__ = ["SMALL", "STRIDE", "Film", "changes"]

SMALL = 24
"""Pixels of a frame in the search and at the beginning of a fit."""
STRIDE = 3
"""Frames of a film from moment to moment of the search."""


@dataclass(frozen=True)
class Film:
    """A film and its parts."""

    frames: Tensor
    """uint8 (T, SIDE, SIDE)."""
    still: Tensor
    """float (SMALL, SMALL): each pixel's median over time."""
    moving: Tensor
    """float (t, SMALL, SMALL): of every ``STRIDE``-th frame what does not stand still."""
    energy: Tensor
    """float (t,): the root mean square of that."""

    @classmethod
    def of(cls, frames: Tensor) -> "Film":
        small = F.adaptive_avg_pool2d(frames[::STRIDE].float()[None], SMALL)[0]
        still = small.median(0).values
        moving = changes(small, still)
        return cls(frames, still, moving, moving.square().mean((1, 2)).sqrt())


def changes(frames: Tensor, still: Tensor) -> Tensor:
    """Frames (..., T, h, w) less what stands still in them, (..., h, w), at the brightness and contrast of each frame: a lamp or a
    camera's automatic exposure is no motion."""
    x, s = frames.flatten(-2), still.flatten(-2).unsqueeze(-2)
    x, s = x - x.mean(-1, keepdim=True), s - s.mean(-1, keepdim=True)
    gain = (x * s).sum(-1, keepdim=True) / s.square().sum(-1, keepdim=True).clamp(min=1e-6)
    return (x - gain.clamp(0.5, 2.0) * s).view(frames.shape)
