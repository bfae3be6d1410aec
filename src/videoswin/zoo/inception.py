"""I3D (Carreira and Zisserman, 2017) and S3D, S3D-G (Xie et al., 2018): Inception v1 with time, whole or separated.

One table of channels for all. I3D convolves k x k x k; S3D replaces each by 1 x k x k and k x 1 x 1; S3D-G adds a gate that
weighs each channel by the clip's mean.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.interface.video_model import VideoModel
from videoswin.model.config import Grid
from videoswin.zoo.base import ConvNorm, LinearHead, ZooConfig, need_at_least

__all__ = ["Inception3d", "InceptionConfig"]

# Channels of a mixed block, in parts of 1/64 of the stem's width: b0 | b1 before, after | b2 before, after | b3.
_MIXED = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}


@dataclass(frozen=True, kw_only=True)
class InceptionConfig(ZooConfig):
    """Inception v1 with time. The defaults are I3D as DeepMind published it."""

    system: ClassVar[str] = "inception"

    clip_len: int = 64
    width: int = 64
    """Channels of the stem; the whole table scales with it."""
    separable: bool = False
    """k x k x k as 1 x k x k, norm, ReLU, then k x 1 x 1, norm, ReLU (S3D)."""
    gate: Literal["none", "plain", "bias"] = "none"
    """S3D-G's self gating: "plain" as the authors' code, "bias" with a bias in it, as HowTo100M's."""
    padding: Literal["same", "fixed"] = "same"
    """"same": TensorFlow's rule, as many zeros as an axis needs, the smaller half in front. "fixed": half the kernel on both
    sides, as the PyTorch versions of S3D."""
    stem_kernel_t: int = 7
    """Frames that the first convolution sees; the authors' S3D code uses 3."""
    stem_separable: bool = True
    """Whether ``separable`` includes the first convolution; not in the authors' code."""
    pool: Literal["window", "plane"] = "window"
    """What the head averages: "window" 2 x H/32 x W/32 of the published 224 pixels, so 2x7x7 moved by 1, and then the logits;
    "plane" 2 x the whole map."""
    dropout: float = 0.5
    eps: float = 1e-3
    momentum: float = 0.001
    least_frames: int = 9
    """Shortest clip."""


class Inception3d(VideoModel):
    """(B, 3, T, H, W) -> logits."""

    config: InceptionConfig

    def __init__(self, config: InceptionConfig) -> None:
        super().__init__(config)
        unit = partial(_unit, config)
        stem = config.width
        k = config.stem_kernel_t
        whole = not (config.separable and config.stem_separable)
        self.conv1a = unit(config.in_channels, stem, (k, 7, 7), 2, whole=whole)
        self.pool2a = Pool(config, (1, 3, 3), (1, 2, 2))
        self.conv2b = unit(stem, stem, (1, 1, 1))
        self.conv2c = unit(stem, 3 * stem, (3, 3, 3))
        self.gate2c = Gate(3 * stem, config.gate) if config.gate != "none" else nn.Identity()
        self.pool3a = Pool(config, (1, 3, 3), (1, 2, 2))
        self.pool4a = Pool(config, (3, 3, 3), (2, 2, 2))
        self.pool5a = Pool(config, (2, 2, 2), (2, 2, 2))
        channels = 3 * stem
        for name, table in _MIXED.items():
            block = Mixed(config, channels, tuple(n * stem // 64 for n in table))
            self.add_module(f"mixed{name}", block)
            channels = block.channels
        self.channels = channels
        self.head = LinearHead.of(config, channels, config.dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.trunc_normal_(module.weight, std=0.01, a=-0.02, b=0.02) if config.separable else (
                    nn.init.kaiming_normal_(module.weight)
                )

    @property
    def num_features(self) -> int:
        return self.channels

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, 1024, about T/8, H/32, W/32)."""
        x = self.pool2a(self.run(self.conv1a, self.checked(video)))
        x = self.pool3a(self.gate2c(self.run(self.conv2c, self.conv2b(x))))
        for name in _MIXED:
            if name == "4b":
                x = self.pool4a(x)
            if name == "5b":
                x = self.pool5a(x)
            x = self.run(self.get_submodule(f"mixed{name}"), x)
        return x

    def windows(self, features: Tensor) -> Tensor:
        """(B, 1024, T', H', W') -> the averages that are classified, (B, T'-1, H'', W'', 1024)."""
        side = -(-self.config.crop_size // 32)
        window = (2, side, side) if self.config.pool == "window" else (2, *features.shape[3:])
        return F.avg_pool3d(features, window, stride=1).permute(0, 2, 3, 4, 1)

    def pool(self, features: Tensor) -> Tensor:
        """(B, 1024, T', H', W') -> (B, 1024)."""
        return self.windows(features).mean(dim=(1, 2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """(B, 1024, T', H', W') -> logits, the mean over the windows' (B, num_classes)."""
        if self.head is None:
            return self.pool(features)
        return self.head(self.windows(features)).mean(dim=(1, 2, 3))

    def trunk_blocks(self) -> list[nn.Module]:
        return [self.get_submodule(f"mixed{name}") for name in _MIXED]

    def check_clip(self, size: Grid) -> None:
        side = -(-self.config.crop_size // 32) if self.config.pool == "window" else 1
        least = next(n for n in range(1, 32 * side + 1) if self._after(n) >= side)
        name = "S3D" if self.config.separable else "I3D"
        need_at_least(name, size, (self.config.least_frames, least, least))

    def _after(self, pixels: int) -> int:
        """Rows of the last map: all steps round up but pool5a's with fixed padding."""
        for _ in range(4):
            pixels = -(-pixels // 2)
        return pixels // 2 if self.config.padding == "fixed" else -(-pixels // 2)


class Mixed(nn.Module):
    """Four branches side by side: 1; 1 then 3; 1 then 3; pooling then 1."""

    def __init__(self, config: InceptionConfig, channels: int, table: tuple[int, ...]) -> None:
        super().__init__()
        a0, a1, b1, a2, b2, a3 = table
        unit = partial(_unit, config)
        self.b0 = unit(channels, a0, (1, 1, 1))
        self.b1 = nn.Sequential(unit(channels, a1, (1, 1, 1)), unit(a1, b1, (3, 3, 3)))
        self.b2 = nn.Sequential(unit(channels, a2, (1, 1, 1)), unit(a2, b2, (3, 3, 3)))
        self.b3 = nn.Sequential(Pool(config, (3, 3, 3), (1, 1, 1)), unit(channels, a3, (1, 1, 1)))
        ends = (a0, b1, b2, a3)
        gate = config.gate
        self.gates = nn.ModuleList(Gate(n, gate) if gate != "none" else nn.Identity() for n in ends)
        self.channels = sum(ends)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H, W)."""
        branches = (self.b0, self.b1, self.b2, self.b3)
        return torch.cat([gate(branch(x)) for gate, branch in zip(self.gates, branches, strict=True)], dim=1)


class Gate(nn.Module):
    """Self gating: y = x * sigmoid(W mean(x)) (S3D-G, section 4.4)."""

    def __init__(self, channels: int, kind: str) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels, bias=kind == "bias")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H, W)."""
        return x * torch.sigmoid(self.fc(x.mean(dim=(2, 3, 4))))[:, :, None, None, None]


class Pool(nn.Module):
    """Max pooling with the configuration's padding."""

    def __init__(self, config: InceptionConfig, kernel: Grid, stride: Grid) -> None:
        super().__init__()
        self.same = config.padding == "same"
        self.kernel, self.stride = kernel, stride
        # Half of an even kernel, 2x2x2, would shift the map: the published S3D pools it without padding.
        self.padding = tuple(k // 2 if k % 2 else 0 for k in kernel)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T', H', W')."""
        if self.same:
            return F.max_pool3d(same_padded(x, self.kernel, self.stride), self.kernel, self.stride)
        return F.max_pool3d(x, self.kernel, self.stride, self.padding)

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, stride={self.stride}, padding={'same' if self.same else self.padding}"


class SameConv3d(nn.Conv3d):
    """A convolution with TensorFlow's "SAME" padding, which depends on the length of the axis."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', ceil(T / s), ceil(H / s), ceil(W / s))."""
        return super().forward(same_padded(input, self.kernel_size, self.stride))


def same_padded(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros so that the output has ceil(n / s) places; where their number is odd, the smaller half in front."""
    padding: list[int] = []
    for n, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max(k - (n % s or s), 0)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding) if any(padding) else x


def _unit(
    config: InceptionConfig, channels: int, out: int, kernel: Grid, stride: int = 1, whole: bool | None = None
) -> nn.Module:
    """Convolution, norm, ReLU; or two of them, space and then time."""
    whole = not config.separable if whole is None else whole
    if whole or kernel == (1, 1, 1):
        return _conv(config, channels, out, kernel, (stride, stride, stride))
    spatial = _conv(config, channels, out, (1, *kernel[1:]), (1, stride, stride))
    temporal = _conv(config, out, out, (kernel[0], 1, 1), (stride, 1, 1))
    return nn.Sequential(OrderedDict(spatial=spatial, temporal=temporal))


def _conv(config: InceptionConfig, channels: int, out: int, kernel: Grid, stride: Grid) -> ConvNorm:
    if (config.padding == "same" and max(stride) == 1) or max(kernel) == 1 or config.padding == "fixed":
        # Without a stride, and with odd kernels, both rules give half the kernel on both sides.
        conv = nn.Conv3d(channels, out, kernel, stride, (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2), bias=False)
    else:
        conv = SameConv3d(channels, out, kernel, stride, bias=False)
    return ConvNorm(conv, out, eps=config.eps, momentum=config.momentum)
