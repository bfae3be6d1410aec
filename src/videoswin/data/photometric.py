"""Vary the colours of a clip, its grain, and what of it is seen: nothing moves.

Frames are as in :mod:`~videoswin.data.transforms`, and so is the rule: one draw for a clip, all frames alike, but for the grain of
:class:`GaussianNoise`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from videoswin.data.draws import LUMA, random_box, require_pair, require_range, to_bytes, uniform

__all__ = ["ColourJitter", "GaussianNoise", "RandomErasing"]


@dataclass(frozen=True)
class ColourJitter:
    """Vary the light and colours of a clip; a strength of 0 switches a part off.

    ``brightness``, ``contrast``, ``saturation``: factors are drawn from ``[1 - s, 1 + s]``. ``hue``: turn of
    the colour circle, drawn from ``[-s, s]`` (0.5 is half a turn). ``grayscale``: probability of a grey clip.

    All parts are linear in RGB, so they are composed into one 3x3 matrix and applied in one pass, clipped
    once at the end. Hue is turned in the YIQ plane, not in HSV: cheaper by far, and it keeps the brightness.
    Contrast is about the mean grey of the whole clip.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grayscale: float = 0.0

    def __post_init__(self) -> None:
        for name, limit in {
            "brightness": 1.0,
            "contrast": 1.0,
            "saturation": 1.0,
            "hue": 0.5,
            "grayscale": 1.0,
        }.items():
            require_range(f"ColourJitter.{name}", getattr(self, name), 0.0, limit)

    def __call__(self, frames: Tensor, generator: Generator) -> Tensor:
        if self == ColourJitter():
            return frames
        mean = torch.stack([frame.float().mean((0, 1)) for frame in frames]).mean(0)
        matrix, offset = self._draw(mean, generator)
        varied = torch.empty_like(frames, memory_format=torch.contiguous_format)
        for new, frame in zip(varied, frames, strict=True):  # frame by frame stays in the processor's cache: 3x faster
            planes = torch.addmm(offset[:, None], matrix, frame.reshape(-1, 3).T.float())
            new.view(-1, 3).copy_(to_bytes(planes).T)
        return varied

    def _draw(self, mean: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """The 3x3 matrix and the offset ``(3,)`` that turn a pixel into the new one. ``mean``: mean RGB of
        the clip.
        """
        luma = torch.tensor(LUMA, device=mean.device)
        brightness, contrast, saturation = (
            uniform(generator, 1 - strength, 1 + strength)
            for strength in (self.brightness, self.contrast, self.saturation)
        )
        turn = uniform(generator, -self.hue, self.hue)
        if uniform(generator, 0.0, 1.0) < self.grayscale:
            saturation = 0.0
        colours = saturation * torch.eye(3, device=mean.device) + (1 - saturation) * luma.expand(3, 3)
        matrix = brightness * contrast * (_hue_matrix(turn).to(mean.device) @ colours)
        offset = (1 - contrast) * brightness * (luma @ mean)  # grey, which neither saturation nor hue changes
        return matrix, offset.expand(3)


def _hue_matrix(turn: float) -> Tensor:
    to_yiq = torch.tensor([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)], dtype=torch.float64)
    c, s = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    rotation = torch.tensor([[1, 0, 0], [0, c, -s], [0, s, c]], dtype=torch.float64)
    return (torch.linalg.inv(to_yiq) @ rotation @ to_yiq).float()


@dataclass(frozen=True)
class GaussianNoise:
    """Add sensor noise: its strength, drawn from ``[0, std]`` grey levels, is that of the clip, its grain new
    in each frame.
    """

    std: float

    def __post_init__(self) -> None:
        require_range("GaussianNoise.std", self.std, 0.0, 255.0)

    def __call__(self, frames: Tensor, generator: Generator) -> Tensor:
        strength = uniform(generator, 0.0, self.std)
        noise = torch.randn(frames.shape, generator=generator).to(frames.device)
        return to_bytes(frames + strength * noise)


@dataclass(frozen=True)
class RandomErasing:
    """With ``probability``, paint one box over, the same in all frames, in the mean colour of the clip.

    ``area``: part of the frame; ``ratio``: width to height. After timm's ``RandomErasing``, which the
    authors' recipe for Something-Something v2 uses with probability 0.25 and one region for all frames.
    """

    probability: float = 0.25
    area: tuple[float, float] = (0.02, 1 / 3)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)

    def __post_init__(self) -> None:
        require_range("RandomErasing.probability", self.probability, 0.0, 1.0)
        require_pair("RandomErasing.area", self.area, 0.0, 1.0)
        require_pair("RandomErasing.ratio", self.ratio, 0.01, 100.0)

    def __call__(self, frames: Tensor, generator: Generator) -> Tensor:
        if uniform(generator, 0.0, 1.0) >= self.probability:
            return frames
        box = random_box(frames.shape[1], frames.shape[2], generator, self.area, self.ratio)
        if box is None:
            return frames
        top, left, height, width = box
        erased = frames.clone()
        erased[:, top : top + height, left : left + width] = to_bytes(frames.float().mean((0, 1, 2)))
        return erased
