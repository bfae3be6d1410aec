"""What random transforms share: numbers and boxes drawn from a generator, their limits, and the way back to bytes."""

import math

import torch
from torch import Generator, Tensor

from videoswin.errors import ConfigError

__all__ = ["LUMA", "randint", "random_box", "require_pair", "require_range", "to_bytes", "uniform"]

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601, the grey of torchvision, PIL and OpenCV."""


def uniform(generator: Generator, low: float, high: float) -> float:
    """One number of ``[low, high)``. Always draws, so that a strength of 0 does not shift the draws that
    follow.
    """
    return low + (high - low) * float(torch.rand((), dtype=torch.float64, generator=generator))


def randint(generator: Generator, high: int) -> int:
    """One whole number of ``[0, high]``."""
    return int(torch.randint(high + 1, (), generator=generator))


def to_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


def require_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses nan
        raise ConfigError(f"{name} is {value!r}. Use a number from {low:g} to {high:g}.")


def require_pair(name: str, pair: tuple[float, float], low: float, high: float) -> None:
    if not (len(pair) == 2 and low <= pair[0] <= pair[1] <= high and pair[1] > 0):
        raise ConfigError(f"{name} is {pair!r}. Use two rising numbers from {low:g} to {high:g}.")


def random_box(
    height: int, width: int, generator: Generator, area: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int] | None:
    """A box inside the frame, or None after ten tries that stick out."""
    for _ in range(10):
        pixels = uniform(generator, *area) * height * width
        aspect = math.exp(uniform(generator, math.log(ratio[0]), math.log(ratio[1])))
        h, w = max(1, round(math.sqrt(pixels / aspect))), max(1, round(math.sqrt(pixels * aspect)))
        if h <= height and w <= width:
            return randint(generator, height - h), randint(generator, width - w), h, w
    return None
