"""Pseudo-3D residual networks (Qiu et al., 2017): bottlenecks whose middle is space S = 1x3x3 and time T = 3x1x1.

Three ways to combine them take turns over the blocks: A, one after the other; B, side by side; C, S and then T added to it.
Time is halved after each of the first three stages; the last one is 2D.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from videoswin.interface.video_model import VideoModel
from videoswin.model.config import Grid
from videoswin.zoo.base import LinearHead, ZooConfig, he_init, need_at_least

__all__ = ["P3D", "P3DConfig"]


@dataclass(frozen=True, kw_only=True)
class P3DConfig(ZooConfig):
    """P3D. The defaults are P3D-199 with the authors' sums."""

    system: ClassVar[str] = "p3d"

    clip_len: int = 16
    crop_size: int = 160
    depths: tuple[int, int, int, int] = (3, 8, 36, 3)
    width: int = 64
    variant: Literal["caffe", "port"] = "caffe"
    """"caffe", the authors' network: B = relu(S) + T, C = .5 relu(S) + .5 T, and a ReLU after the sum; pooling without padding
    that rounds up. "port", the PyTorch version: ReLU on both parts, plain sums, padded pooling. Not the same numbers."""
    dropout: float = 0.5
    """.1 for Sports-1M, .5 for Kinetics, .7 for optical flow."""

    @property
    def num_features(self) -> int:
        """Channels of the last stage."""
        return 32 * self.width


class P3D(VideoModel):
    """(B, 3, T, H, W) -> logits."""

    config: P3DConfig

    def __init__(self, config: P3DConfig) -> None:
        super().__init__(config)
        self.conv1 = nn.Conv3d(config.in_channels, config.width, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(config.width)
        port = config.variant == "port"
        self.pool1 = nn.MaxPool3d((2, 3, 3), 2, padding=(0, 1, 1) if port else 0, ceil_mode=not port)
        self.halve = nn.MaxPool3d((2, 1, 1), ceil_mode=not port)
        channels, count = config.width, 0
        for i, depth in enumerate(config.depths):
            width = config.width * 2**i
            blocks = []
            for j in range(depth):
                kind = "2D" if i == 3 else "ABC"[count % 3]
                stride = 2 if i and j == 0 else 1
                blocks.append(Bottleneck(channels, width, kind, stride, config.variant))
                channels, count = 4 * width, count + 1
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.head = LinearHead.of(config, channels, config.dropout)
        he_init(self)

    @property
    def num_features(self) -> int:
        return self.config.num_features

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, 2048, T/16, H/32, W/32)."""
        x = self.pool1(torch.relu_(self.bn1(self.conv1(self.checked(video)))))
        for i in range(4):
            for block in self.get_submodule(f"layer{i + 1}").children():
                x = self.run(block, x)
            x = self.halve(x) if i < 3 else x
        return x

    def trunk_blocks(self) -> list[nn.Module]:
        return [block for i in range(4) for block in self.get_submodule(f"layer{i + 1}").children()]

    def check_clip(self, size: Grid) -> None:
        frames = 16 if self.config.variant == "port" else 2
        need_at_least("P3D", size, (frames, 5, 5))


class Bottleneck(nn.Module):
    """1x1x1 with the stride, S and T as ``kind`` says, 1x1x1 to four times the width; the input added; ReLU."""

    def __init__(self, channels: int, width: int, kind: str, stride: int, variant: str) -> None:
        super().__init__()
        self.kind, self.variant = kind, variant
        self.conv1 = nn.Conv3d(channels, width, 1, (1, stride, stride), bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        if kind != "2D":
            self.conv3 = nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0), bias=False)
            self.bn3 = nn.BatchNorm3d(width)
        self.conv4 = nn.Conv3d(width, 4 * width, 1, bias=False)
        self.bn4 = nn.BatchNorm3d(4 * width)
        self.downsample = (
            nn.Sequential(nn.Conv3d(channels, 4 * width, 1, (1, stride, stride), bias=False), nn.BatchNorm3d(4 * width))
            if stride != 1 or channels != 4 * width
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H', W')."""
        out = torch.relu_(self.bn1(self.conv1(x)))
        out = self.bn4(self.conv4(self.middle(out)))
        return torch.relu(out + self.downsample(x))

    def middle(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape: S and T."""
        space = torch.relu(self.bn2(self.conv2(x)))
        if self.kind == "2D":
            return space
        time = self.bn3(self.conv3(x if self.kind == "B" else space))
        if self.kind == "A":
            return torch.relu(time)
        if self.variant == "port":
            return space + torch.relu(time)
        half = 0.5 if self.kind == "C" else 1.0
        return torch.relu(half * space + half * time)
