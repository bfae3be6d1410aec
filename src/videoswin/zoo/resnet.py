"""Bottleneck ResNets with time: C2D, I3D (in the form of Wang et al., 2018), SlowOnly (Feichtenhofer et al., 2019).

A block is 1x1x1 or 3x1x1, then 1x3x3, then 1x1x1. The systems differ in which first convolutions see three frames, in where
time is halved, and in the blocks of `context.py` put between them.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from videoswin.errors import ConfigError
from videoswin.interface.video_model import VideoModel
from videoswin.model.config import Grid
from videoswin.zoo.base import ConvNorm, LinearHead, ZooConfig, he_init, need_at_least
from videoswin.zoo.context import ContextConfig, context_block

__all__ = ["ResNet", "ResNetConfig"]


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(ZooConfig):
    """A bottleneck ResNet. The defaults are I3D-R50 with 32 frames, as MMAction2 has it."""

    system: ClassVar[str] = "resnet"

    clip_len: int = 32
    depths: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    """Channels of the stem and of the first stage's bottlenecks."""
    conv1_kernel_t: int = 5
    conv1_stride_t: int = 2
    pool1_kernel_t: int = 1
    """Frames of the first max pooling; 2 in the authors' models of 32 frames."""
    pool1_stride_t: int = 2
    pool1_padding: bool = True
    """Off in the authors' code, where 112 rows become 55 and not 56."""
    pool2: bool = True
    """Max pooling 2x1x1 after the first stage."""
    kernels_t: tuple[tuple[int, ...], ...] = ((3,), (3, 1), (3, 1), (1, 3))
    """Frames that the first convolution of each block sees, a cycle for each stage."""
    context: ContextConfig | None = None
    context_at: tuple[tuple[int, ...], ...] = ()
    """Blocks of each stage, counted from 0, that have a context block."""
    context_place: Literal["after", "inside"] = "after"
    """After the block's last ReLU (non-local), or before its sum (global context)."""
    context_frames: tuple[int, ...] = ()
    """Frames that a stage's context blocks see together, 0 for all: (0, 4) in the authors' models of 128 frames, whose second
    stage's non-local blocks work in groups of 4."""
    zero_init: bool = False
    """Residual branches start at 0."""
    eps: float = 1e-5
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        stages = len(self.depths)
        if len(self.kernels_t) != stages or any(not cycle for cycle in self.kernels_t):
            raise ConfigError(f"kernels_t={self.kernels_t} needs one cycle of kernels for each of {stages} stages.")
        if self.context is None and any(self.context_at):
            raise ConfigError("context_at names blocks, and context is None; say which context block.")
        # context_at may name fewer stages than there are: the others have no blocks.
        if len(self.context_at) > stages or any(
            n >= depth for places, depth in zip(self.context_at, self.depths, strict=False) for n in places
        ):
            raise ConfigError(f"context_at={self.context_at} names blocks that depths={self.depths} does not have.")

    @property
    def num_features(self) -> int:
        """Channels of the last stage."""
        return 4 * self.width * 2 ** (len(self.depths) - 1)


class ResNet(VideoModel):
    """(B, 3, T, H, W) -> logits."""

    config: ResNetConfig

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__(config)
        k, s = config.conv1_kernel_t, config.conv1_stride_t
        conv = nn.Conv3d(config.in_channels, config.width, (k, 7, 7), (s, 2, 2), (k // 2, 3, 3), bias=False)
        self.conv1 = ConvNorm(conv, config.width, eps=config.eps)
        side = 1 if config.pool1_padding else 0
        time = config.pool1_kernel_t // 2 if config.pool1_kernel_t % 2 else 0
        self.pool1 = nn.MaxPool3d(
            (config.pool1_kernel_t, 3, 3), (config.pool1_stride_t, 2, 2), padding=(time, side, side)
        )
        self.pool2 = nn.MaxPool3d((2, 1, 1)) if config.pool2 else nn.Identity()
        channels = config.width
        for i in range(len(config.depths)):
            stage, channels = _stage(config, i, channels)
            self.add_module(f"layer{i + 1}", stage)
        self.head = LinearHead.of(config, channels, config.dropout)
        for module in (self.conv1, *self.layers):
            for part in module.modules():
                if isinstance(part, ConvNorm):
                    he_init(part)
        if config.zero_init:
            for block in (b for layer in self.layers for b in layer if isinstance(b, Bottleneck)):
                nn.init.zeros_(block.conv3.bn.weight)

    @property
    def num_features(self) -> int:
        return self.config.num_features

    @property
    def layers(self) -> list[nn.Sequential]:
        """The stages, finest first."""
        return [self.get_submodule(f"layer{i + 1}") for i in range(len(self.config.depths))]  # type: ignore[misc]

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, 2048, T', H/32, W/32)."""
        x = self.pool1(self.conv1(self.checked(video)))
        for i, layer in enumerate(self.layers):
            for block in layer:
                x = self.run(block, x)
            if i == 0:
                x = self.pool2(x)
        return x

    def trunk_blocks(self) -> list[nn.Module]:
        return [block for layer in self.layers for block in layer]

    def check_clip(self, size: Grid) -> None:
        config = self.config
        frames = next(n for n in range(1, 65) if self._frames_after(n) >= 1)
        pixels = 2 if config.pool1_padding else 5
        if any(config.context_at) and config.context is not None and config.context.pools:
            pixels = max(pixels, 2 ** (3 + max(i for i, places in enumerate(config.context_at) if places)))
        need_at_least("this ResNet", size, (frames, pixels, pixels))

    def _frames_after(self, frames: int) -> int:
        """Time steps of the last map."""
        config = self.config
        frames = -(-frames // config.conv1_stride_t)
        if config.pool1_kernel_t % 2:
            frames = -(-frames // config.pool1_stride_t)
        else:
            frames = (frames - config.pool1_kernel_t) // config.pool1_stride_t + 1
        return frames // 2 if config.pool2 else frames


class Bottleneck(nn.Module):
    """1x1x1 or 3x1x1, 1x3x3 with the stride, 1x1x1 to four times the width; the input added; ReLU."""

    def __init__(
        self, config: ResNetConfig, channels: int, width: int, kernel_t: int, stride: int, context: ContextConfig | None
    ) -> None:
        super().__init__()
        out, eps = 4 * width, config.eps
        first = nn.Conv3d(channels, width, (kernel_t, 1, 1), padding=(kernel_t // 2, 0, 0), bias=False)
        self.conv1 = ConvNorm(first, width, eps=eps)
        second = nn.Conv3d(width, width, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.conv2 = ConvNorm(second, width, eps=eps)
        self.conv3 = ConvNorm(nn.Conv3d(width, out, 1, bias=False), out, act=False, eps=eps)
        shortcut = nn.Conv3d(channels, out, 1, (1, stride, stride), bias=False)
        changed = channels != out or stride != 1
        self.downsample = ConvNorm(shortcut, out, act=False, eps=eps) if changed else nn.Identity()
        self.context = context_block(out, context) if context is not None else None
        self.inside = config.context_place == "inside"

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H', W')."""
        out = self.conv3(self.conv2(self.conv1(x)))
        if self.context is not None and self.inside:
            out = self.context(out)
        out = torch.relu(out + self.downsample(x))
        return out if self.context is None or self.inside else self.context(out)


def _stage(config: ResNetConfig, index: int, channels: int) -> tuple[nn.Sequential, int]:
    width = config.width * 2**index
    cycle = config.kernels_t[index]
    places = config.context_at[index] if index < len(config.context_at) else ()
    frames = config.context_frames[index] if index < len(config.context_frames) else 0
    context = config.context.replace(group_frames=frames or None) if config.context is not None else None
    blocks = []
    for i in range(config.depths[index]):
        stride = 2 if index and i == 0 else 1
        blocks.append(
            Bottleneck(config, channels, width, cycle[i % len(cycle)], stride, context if i in places else None)
        )
        channels = 4 * width
    return nn.Sequential(*blocks), channels
