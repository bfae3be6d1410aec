"""RandAugment for clips (Cubuk et al., 2020): a few operations of a list, drawn for each clip, all with one strength.

Every frame of a clip goes through the same operations with the same numbers, those that look at the colours (equalize and
autocontrast) by the colours of the whole clip: nothing flickers that did not. Strengths are those of timm and imgaug, 0 to 10.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from videoswin.errors import ConfigError

__all__ = ["OPERATIONS", "RandAugment"]

_LUMA = torch.tensor((0.299, 0.587, 0.114))
_BORDER = 128.0  # the grey beyond the frame's edge
_MOST = 10.0


@dataclass(frozen=True)
class RandAugment:
    """``count`` operations of :data:`OPERATIONS`, one after the other, each with ``magnitude`` (0 to 10) of its range. The
    authors' recipe for Something-Something v2 uses 4 with 7. No operation mirrors, so labels stay."""

    count: int = 2
    magnitude: float = 7.0

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or not 0 <= self.count <= 20:
            raise ConfigError(f"RandAugment.count is {self.count!r}. Use a whole number from 0 to 20.")
        if not 0 <= self.magnitude <= _MOST:
            raise ConfigError(f"RandAugment.magnitude is {self.magnitude!r}. Use a number from 0 to {_MOST:g}.")

    def __call__(self, frames: Tensor, generator: Generator) -> Tensor:
        """uint8 ``(T, H, W, 3)`` to the same."""
        names = tuple(OPERATIONS)
        for _ in range(self.count):
            name = names[int(torch.randint(len(names), (), generator=generator))]
            sign = 1.0 if float(torch.rand((), generator=generator)) < 0.5 else -1.0
            frames = OPERATIONS[name](frames, self.magnitude / _MOST, sign)
        return frames


# Operations on the values of pixels: tables of 256 entries -------------------------------------------------------------


def _identity(frames: Tensor, strength: float, sign: float) -> Tensor:
    return frames


def _looked_up(frames: Tensor, tables: Tensor) -> Tensor:
    """``tables``: float (256,) or (3, 256), what each value becomes."""
    tables = tables.round().clamp(0, 255).to(torch.uint8)
    if tables.ndim == 1:
        return tables[frames.long()]
    return torch.stack([table[frames[..., c].long()] for c, table in enumerate(tables)], dim=-1)


def _values() -> Tensor:
    return torch.arange(256, dtype=torch.float32)


def _brightness(frames: Tensor, strength: float, sign: float) -> Tensor:
    return _looked_up(frames, _values() * (1 + sign * 0.9 * strength))


def _contrast(frames: Tensor, strength: float, sign: float) -> Tensor:
    mean = (frames.float().mean((0, 1, 2)) @ _LUMA).item()
    return _looked_up(frames, mean + (_values() - mean) * (1 + sign * 0.9 * strength))


def _posterize(frames: Tensor, strength: float, sign: float) -> Tensor:
    step = 2 ** round(4 * strength)  # 8 bits to 4
    return _looked_up(frames, (_values() // step) * step)


def _solarize(frames: Tensor, strength: float, sign: float) -> Tensor:
    values = _values()
    return _looked_up(frames, torch.where(values >= 256 * (1 - strength), 255 - values, values))


def _autocontrast(frames: Tensor, strength: float, sign: float) -> Tensor:
    low, high = frames.amin((0, 1, 2)).float(), frames.amax((0, 1, 2)).float()
    scale = torch.where(high > low, 255 / (high - low).clamp(min=1), 1.0)
    offset = torch.where(high > low, low, 0.0)
    return _looked_up(frames, (_values() - offset[:, None]) * scale[:, None])


def _equalize(frames: Tensor, strength: float, sign: float) -> Tensor:
    tables = []
    for channel in range(3):
        counts = torch.bincount(frames[..., channel].flatten().long(), minlength=256).float()
        share = counts.cumsum(0)
        rest = counts.sum() - counts[counts.nonzero().flatten()[0]]
        tables.append((share - share[counts > 0][0]) / rest * 255 if rest > 0 else _values())
    return _looked_up(frames, torch.stack(tables))


# Operations on colours and places --------------------------------------------------------------------------------------


def _colour(frames: Tensor, strength: float, sign: float) -> Tensor:
    grey = (frames.float() @ _LUMA)[..., None]
    return _bytes(grey + (frames.float() - grey) * (1 + sign * 0.9 * strength))


def _sharpness(frames: Tensor, strength: float, sign: float) -> Tensor:
    planes = frames.permute(0, 3, 1, 2).float()
    kernel = torch.tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]]).div(13).expand(3, 1, 3, 3)
    smooth = F.conv2d(F.pad(planes, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    return _bytes((smooth + (planes - smooth) * (1 + sign * 0.9 * strength)).permute(0, 2, 3, 1))


def _rotate(frames: Tensor, strength: float, sign: float) -> Tensor:
    angle = math.radians(30 * strength * sign)
    c, s = math.cos(angle), math.sin(angle)
    shape = frames.shape[1] / frames.shape[2]
    return _moved(frames, [[c, -s * shape, 0], [s / shape, c, 0]])


def _shear_x(frames: Tensor, strength: float, sign: float) -> Tensor:
    return _moved(frames, [[1, 0.3 * strength * sign, 0], [0, 1, 0]])


def _shear_y(frames: Tensor, strength: float, sign: float) -> Tensor:
    return _moved(frames, [[1, 0, 0], [0.3 * strength * sign, 1, 0]])


def _shift_x(frames: Tensor, strength: float, sign: float) -> Tensor:
    return _moved(frames, [[1, 0, 2 * 0.45 * strength * sign], [0, 1, 0]])


def _shift_y(frames: Tensor, strength: float, sign: float) -> Tensor:
    return _moved(frames, [[1, 0, 0], [0, 1, 2 * 0.45 * strength * sign]])


def _moved(frames: Tensor, theta: list[list[float]]) -> Tensor:
    """``theta``: from a place in the result to the place that it shows; the frame spans -1 to 1."""
    count, height, width, channels = frames.shape
    planes = frames.permute(0, 3, 1, 2).reshape(1, count * channels, height, width).float() - _BORDER
    grid = F.affine_grid(torch.tensor(theta)[None], [1, 1, height, width], align_corners=False)
    moved = F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + _BORDER
    return _bytes(moved.reshape(count, channels, height, width).permute(0, 2, 3, 1)).contiguous()


def _bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


OPERATIONS: Mapping[str, Callable[[Tensor, float, float], Tensor]] = {
    "identity": _identity,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "brightness": _brightness,
    "contrast": _contrast,
    "colour": _colour,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "rotate": _rotate,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "shift_x": _shift_x,
    "shift_y": _shift_y,
}
"""Name -> operation on uint8 ``(T, H, W, 3)``, with a strength from 0 to 1 and a sign."""
