"""MixUp and CutMix: two clips in one, with both labels in their shares."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy
import torch
from torch import Generator, Tensor

__all__ = ["Mixing"]


@dataclass(frozen=True)
class Mixing:
    """``mixup``, ``cutmix``: strengths, the parameters of the Beta distribution that shares are drawn from; 0 is off. With both,
    each batch draws which. Every clip of a batch is mixed with the one that stands opposite (the last with the first, and so
    on), as timm does; all frames alike, so that nothing moves that did not."""

    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def on(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0

    def __call__(self, clips: Tensor, targets: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Clips (B, C, T, H, W) and targets (B, K), shares of classes -> the same, mixed."""
        chosen: list[tuple[float, Callable[[Tensor, float, Generator], tuple[Tensor, float]]]] = []
        if self.mixup > 0:
            chosen.append((self.mixup, _blend))
        if self.cutmix > 0:
            chosen.append((self.cutmix, _paste))
        strength, mix = chosen[int(torch.randint(len(chosen), (), generator=generator))]
        mixed, share = mix(clips, _beta(strength, generator), generator)
        return mixed, share * targets + (1 - share) * targets.flip(0)


def _blend(clips: Tensor, share: float, _: Generator) -> tuple[Tensor, float]:
    return share * clips + (1 - share) * clips.flip(0), share


def _paste(clips: Tensor, share: float, generator: Generator) -> tuple[Tensor, float]:
    """``share`` of the frame stays; the box is cut at the borders, so what stays may be more. Gives what does."""
    height, width = clips.shape[-2:]
    side = (1 - share) ** 0.5
    h, w = int(height * side), int(width * side)
    y, x = (int(torch.randint(n, (), generator=generator)) for n in (height, width))
    top, bottom = max(0, y - h // 2), min(height, y - h // 2 + h)
    left, right = max(0, x - w // 2), min(width, x - w // 2 + w)
    mixed = clips.clone()
    mixed[..., top:bottom, left:right] = clips.flip(0)[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _beta(strength: float, generator: Generator) -> float:
    """One share of Beta(a, a). PyTorch's own draws it from the global generator only."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return float(numpy.random.default_rng(seed).beta(strength, strength))
