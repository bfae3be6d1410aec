"""Resize, crop, flip, turn and shift the frames of a clip. Colours are varied in :mod:`~videoswin.data.photometric`.

Frames are torch uint8 ``(T, H, W, 3)`` RGB in and out; sizes are (height, width) in pixels. A random
operation draws once per clip, from the :class:`torch.Generator` it is given, and treats all frames alike: a
crop that jumps from frame to frame would be motion that was never there.

Resizing is bilinear. The public code resizes with OpenCV, which does not smooth before it shrinks;
``antialias=False`` gives that result to within one grey level. The default is ``antialias=True``: at the
authors' own step, 256 to 224 lines, it differs by 0.4 grey levels on average, and a 1080-line recording stays
free of the shimmer that their Kinetics copies, shrunk to 256 lines by FFmpeg beforehand, do not have either.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from videoswin.data import photometric
from videoswin.data.draws import LUMA, random_box, require_pair, require_range, to_bytes, uniform
from videoswin.data.mirror_labels import FlipLabels
from videoswin.errors import ConfigError

__all__ = [
    "FlipLabels",
    "RandomAffine",
    "Resize",
    "center_crop",
    "horizontal_flip",
    "random_resized_crop",
    "resize_short_side",
    "resize_stretch",
    "three_crops",
    "to_clip",
    "wide_crop",
]

_LONGEST_SIDE = 8192  # pixels; a 4000x1 video would otherwise become 896000x224 on the way to a crop
_MOVED = ("ColourJitter", "GaussianNoise", "RandomErasing")
_PATCH_PIXELS = 32  # a token of the last stage: patches of 4 pixels, merged three times


def __getattr__(name: str) -> Any:
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{__name__}.{name} is now {photometric.__name__}.{name}.", DeprecationWarning, stacklevel=2)
    return getattr(photometric, name)


# Resize ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resize:
    """A resize to be done while decoding, one frame ``(H, W, 3)`` or a clip ``(T, H, W, 3)`` at a time.

    ``short_side``: the shorter side becomes this many pixels, the shape of the picture is kept; None: the
    frame is stretched to ``size``. Hashable, so that it can name what a cache holds.
    """

    short_side: int | None
    size: tuple[int, int]
    antialias: bool = True

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a frame of ``height`` x ``width`` gets. ConfigError if the result would be
        absurdly long.
        """
        if self.short_side is None:
            return self.size
        scale = self.short_side / min(height, width)
        shape = int(height * scale + 0.5), int(width * scale + 0.5)  # rounds as mmcv.rescale_size does
        if max(shape) > _LONGEST_SIDE:
            raise ConfigError(
                f"A frame of {width}x{height} pixels is too narrow for a short side of {self.short_side}: "
                f"it would become {shape[1]}x{shape[0]}. Crop the video, or set short_side=None to stretch it."
            )
        return shape

    def __call__(self, frames: Tensor) -> Tensor:
        height, width = frames.shape[-3:-1]
        clip = frames if frames.ndim == 4 else frames[None]
        resized = _interpolate(clip, self.shape(height, width), self.antialias)
        return resized if frames.ndim == 4 else resized[0]


def resize_short_side(frames: Tensor, size: int, antialias: bool = True) -> Tensor:
    """Scale so that the shorter side is ``size`` pixels; the other one is rounded to the nearest pixel."""
    return Resize(size, (size, size), antialias)(frames)


def resize_stretch(frames: Tensor, size: tuple[int, int], antialias: bool = True) -> Tensor:
    """Scale to ``size`` whatever the shape of the picture: nothing is cut off, circles become ellipses."""
    return Resize(None, size, antialias)(frames)


def _interpolate(frames: Tensor, size: tuple[int, int], antialias: bool) -> Tensor:
    if tuple(frames.shape[1:3]) == tuple(size):
        return frames
    planes = frames.permute(0, 3, 1, 2)  # a view: torch resizes channels-last bytes directly
    if antialias and frames.device.type == "cpu":
        # Twice as fast, and as right as PIL: rounded after each of the two directions, so off by up to 1.
        resized = F.interpolate(planes, size=size, mode="bilinear", align_corners=False, antialias=True)
    else:  # rounded once, because antialias=False is there to be close to the public code; and for other devices
        floats = F.interpolate(planes.float(), size=size, mode="bilinear", align_corners=False, antialias=antialias)
        resized = to_bytes(floats)
    return resized.permute(0, 2, 3, 1).contiguous()


# Crop -----------------------------------------------------------------------------------------------------------------


def center_crop(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle ``size`` of the frames, as a view. ConfigError if the frames are smaller."""
    top, left = _steps(frames, size)
    return _crop(frames, top, left, size)


def three_crops(frames: Tensor, size: tuple[int, int]) -> list[Tensor]:
    """Three views along the longer side, in the order of the public code (``ThreeCrop``): left, right,
    middle, or top, bottom, middle when the frame is tall. ConfigError if the frames are smaller.

    ``step = (W - w) // 2`` and the second crop starts at ``2 * step``, so an odd column at the far side is
    not seen. Across the shorter side the crops are centred.
    """
    height, width = frames.shape[1:3]
    top, left = _steps(frames, size)
    if height - size[0] > width - size[1]:
        return [_crop(frames, y, left, size) for y in (0, 2 * top, top)]
    return [_crop(frames, top, x, size) for x in (0, 2 * left, left)]


def wide_crop(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """One view of what :func:`three_crops` shows in three: all of the longer side, as a view of the frames.

    The longer side is centred and cut to a multiple of the step at which ``size`` itself fits the patches of the model (32
    pixels for 224, 8 for 56), so that no patch is filled up. ConfigError if the frames are smaller than ``size``.
    """
    top, left = _steps(frames, size)
    height, width = frames.shape[1:3]
    if height - size[0] > width - size[1]:
        length = _fitting(height, size[0])
        return _crop(frames, (height - length) // 2, left, (length, size[1]))
    length = _fitting(width, size[1])
    return _crop(frames, top, (width - length) // 2, (size[0], length))


def _fitting(length: int, side: int) -> int:
    step = math.gcd(_PATCH_PIXELS, side)
    return length // step * step


def random_resized_crop(
    frames: Tensor,
    size: tuple[int, int],
    generator: Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    antialias: bool = True,
) -> Tensor:
    """Cut a random part of ``scale`` of the area and ``ratio`` width to height, and resize it to ``size``.

    As in the public code and torchvision: ratios are drawn on a log scale, ten tries, then the central square
    (of the public code).
    """
    height, width = frames.shape[1:3]
    top, left, h, w = _crop_box(height, width, generator, scale, ratio)
    return _interpolate(_crop(frames, top, left, (h, w)), size, antialias)


def _crop_box(
    height: int, width: int, generator: Generator, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Top, left, height, width in pixels."""
    box = random_box(height, width, generator, scale, ratio)
    if box is not None:
        return box
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def _steps(frames: Tensor, size: tuple[int, int]) -> tuple[int, int]:
    height, width = frames.shape[1:3]
    if size[0] > height or size[1] > width:
        raise ConfigError(
            f"A crop of {size[0]}x{size[1]} (height x width) does not fit frames of {height}x{width}. "
            "Resize to at least the size of the crop first."
        )
    return (height - size[0]) // 2, (width - size[1]) // 2


def _crop(frames: Tensor, top: int, left: int, size: tuple[int, int]) -> Tensor:
    return frames[:, top : top + size[0], left : left + size[1]]


# Flip -----------------------------------------------------------------------------------------------------------------


def horizontal_flip(frames: Tensor) -> Tensor:
    """Mirror left and right. The label may have to change too: see :class:`FlipLabels`."""
    return frames.flip(2)


# Move -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RandomAffine:
    """Rotate, zoom and shift a clip about its centre; the border pixels are drawn out to fill the frame.

    ``degrees``: rotation from ``[-d, d]``; ``shift``: from ``[-s, s]`` of the height and of the width;
    ``scale``: zoom range.
    """

    degrees: float = 0.0
    shift: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        require_range("RandomAffine.degrees", self.degrees, 0.0, 180.0)
        require_range("RandomAffine.shift", self.shift, 0.0, 1.0)
        require_pair("RandomAffine.scale", self.scale, 0.1, 10.0)

    def __call__(self, frames: Tensor, generator: Generator) -> Tensor:
        count, height, width, channels = frames.shape
        angle = math.radians(uniform(generator, -self.degrees, self.degrees))
        zoom = uniform(generator, *self.scale)
        right, down = (2 * uniform(generator, -self.shift, self.shift) for _ in range(2))  # the frame spans -1 to 1
        c, s, shape = math.cos(angle) / zoom, math.sin(angle) / zoom, height / width
        turn = torch.tensor([[c, -s * shape], [s / shape, c]])  # from a place in the result to the place it shows
        theta = torch.cat([turn, -turn @ torch.tensor([[right], [down]])], dim=1)[None].to(frames.device)
        planes = (
            frames.permute(0, 3, 1, 2).reshape(1, count * channels, height, width).float()
        )  # one grid for all frames
        grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
        moved = F.grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return to_bytes(moved).reshape(count, channels, height, width).permute(0, 2, 3, 1).contiguous()


# Hand over to the model -----------------------------------------------------------------------------------------------


def to_clip(frames: Tensor, mean: Sequence[float], std: Sequence[float], out: Tensor | None = None) -> Tensor:
    """uint8 ``(T, H, W, 3)`` to float32 ``(3, T, H, W)``: ``(value - mean) / std`` per channel, on the scale
    0 to 255; into ``out`` if that is given. With one mean, to grey: ``(1, T, H, W)``.
    """
    channels = len(mean)
    if out is None:
        out = torch.empty((channels, *frames.shape[:3]), device=frames.device)
    shape = (channels, 1, 1, 1)
    means, stds = (torch.tensor(values, dtype=torch.float32).view(shape) for values in (mean, std))
    planes = frames.permute(3, 0, 1, 2)
    if channels == 1:
        weights = torch.tensor(LUMA, device=frames.device)
        planes = torch.tensordot(weights, planes.float(), dims=1)[None]
    if frames.device.type == "cpu":
        # Through numpy, which stays in this thread: clips are made beside a model that has the other cores.
        np.subtract(planes.numpy(), means.numpy(), out=out.numpy(), dtype=np.float32)
        np.divide(out.numpy(), stds.numpy(), out=out.numpy())
        return out
    return torch.sub(planes, means.to(frames.device), out=out).div_(stds.to(frames.device))
