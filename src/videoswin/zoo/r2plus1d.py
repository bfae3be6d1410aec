"""R3D, MC3 and R(2+1)D (Tran et al., 2018): one ResNet of basic blocks, with 3D, mixed or factorised convolutions.

R(2+1)D splits 3x3x3 into 1x3x3 and 3x1x1 with M channels between them, chosen so that the count of weights stays:
M = 27 C C' / (9 C + 3 C').
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from videoswin.interface.video_model import VideoModel
from videoswin.model.config import Grid
from videoswin.zoo.base import ConvNorm, LinearHead, ZooConfig, he_init, need_at_least

__all__ = ["VideoResNet", "VideoResNetConfig"]


@dataclass(frozen=True, kw_only=True)
class VideoResNetConfig(ZooConfig):
    """R3D, MC3 or R(2+1)D. The defaults are torchvision's R(2+1)D-18."""

    system: ClassVar[str] = "r2plus1d"

    clip_len: int = 16
    crop_size: int = 112
    convs: Literal["r3d", "mc3", "r2plus1d"] = "r2plus1d"
    depths: tuple[int, ...] = (2, 2, 2, 2)
    width: int = 64
    middle: Literal["block", "conv"] = "block"
    """Where M is computed: once for both convolutions of a block, from the first one (torchvision), or for each (the authors,
    MMAction2). Only the second convolutions of blocks that widen differ."""
    stem: Literal["plain", "pooled"] = "plain"
    """"plain": R(2+1)D has 45 channels between space and time. "pooled": by M's rule, and a max pooling 1x3x3/(1,2,2) follows
    (MMAction2)."""
    shortcut: Literal["conv", "factorised"] = "conv"
    """The strided 1x1x1 of blocks that widen: whole, or split as the others are (MMAction2)."""
    eps: float = 1e-5
    """Of the batch norms; 1e-3 in files that come from Caffe2 and in MMAction2's."""
    middle_eps: float = 1e-5
    """Of those between space and time: 1e-3 in files that come from Caffe2, and not in MMAction2's."""
    dropout: float = 0.0

    @property
    def num_features(self) -> int:
        """Channels of the last stage."""
        return self.width * 2 ** (len(self.depths) - 1)


class VideoResNet(VideoModel):
    """(B, 3, T, H, W) -> logits."""

    config: VideoResNetConfig

    def __init__(self, config: VideoResNetConfig) -> None:
        super().__init__(config)
        self.stem = ConvNorm(_stem(config), config.width, eps=config.eps)
        pooled = config.stem == "pooled"
        self.stem_pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)) if pooled else nn.Identity()
        channels = config.width
        for i, depth in enumerate(config.depths):
            width = config.width * 2**i
            blocks = [BasicBlock(config, channels if j == 0 else width, width, i, j == 0) for j in range(depth)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            channels = width
        self.head = LinearHead.of(config, channels, config.dropout)
        he_init(self)

    @property
    def num_features(self) -> int:
        return self.config.num_features

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, 512, T/8, H/16, W/16); half of H and W again with a pooled stem; all T with MC3."""
        x = self.stem_pool(self.stem(self.checked(video)))
        for i in range(len(self.config.depths)):
            for block in self.get_submodule(f"layer{i + 1}").children():
                x = self.run(block, x)
        return x

    def trunk_blocks(self) -> list[nn.Module]:
        return [b for i in range(len(self.config.depths)) for b in self.get_submodule(f"layer{i + 1}").children()]

    def check_clip(self, size: Grid) -> None:
        need_at_least("this ResNet", size, (1, 1, 1))


class Conv2Plus1D(nn.Module):
    """Space, norm, ReLU, then time."""

    def __init__(self, channels: int, out: int, middle: int, kernel: Grid, stride: Grid, eps: float) -> None:
        super().__init__()
        t, h, w = kernel
        self.spatial = nn.Conv3d(
            channels, middle, (1, h, w), (1, stride[1], stride[2]), (0, h // 2, w // 2), bias=False
        )
        self.bn = nn.BatchNorm3d(middle, eps=eps)
        self.temporal = nn.Conv3d(middle, out, (t, 1, 1), (stride[0], 1, 1), (t // 2, 0, 0), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T', H', W')."""
        return self.temporal(torch.relu_(self.bn(self.spatial(x))))


class BasicBlock(nn.Module):
    """Two convolutions, the input added, ReLU."""

    def __init__(self, config: VideoResNetConfig, channels: int, width: int, stage: int, first: bool) -> None:
        super().__init__()
        eps = config.eps
        strided = first and stage > 0
        flat = config.convs == "mc3" and stage > 0  # MC3: no time after the first stage
        stride: Grid = (1 if flat else 2, 2, 2) if strided else (1, 1, 1)
        kernel: Grid = (1 if flat else 3, 3, 3)
        own = middle_channels(channels, width)
        second = own if config.middle == "block" else middle_channels(width, width)
        self.conv1 = ConvNorm(_conv(config, channels, width, own, kernel, stride), width, eps=eps)
        self.conv2 = ConvNorm(_conv(config, width, width, second, kernel, (1, 1, 1)), width, act=False, eps=eps)
        if strided and config.shortcut == "factorised":
            middle = middle_channels(channels, width, pixels=1)
            shortcut: nn.Module = Conv2Plus1D(channels, width, middle, (1, 1, 1), stride, config.middle_eps)
        else:
            shortcut = nn.Conv3d(channels, width, 1, stride, bias=False)
        changed = strided or channels != width
        self.downsample = ConvNorm(shortcut, width, act=False, eps=eps) if changed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T', H', W')."""
        return torch.relu(self.conv2(self.conv1(x)) + self.downsample(x))


def middle_channels(channels: int, out: int, frames: int = 3, pixels: int = 9) -> int:
    """M: as many channels between space and time as keep the count of weights of the whole convolution."""
    return frames * pixels * channels * out // (pixels * channels + frames * out)


def _conv(config: VideoResNetConfig, channels: int, out: int, middle: int, kernel: Grid, stride: Grid) -> nn.Module:
    if config.convs == "r2plus1d":
        return Conv2Plus1D(channels, out, middle, kernel, stride, config.middle_eps)
    t, h, w = kernel
    return nn.Conv3d(channels, out, kernel, stride, (t // 2, h // 2, w // 2), bias=False)


def _stem(config: VideoResNetConfig) -> nn.Module:
    kernel: Grid = (3, 7, 7)
    width = config.width
    pooled = config.stem == "pooled"
    # 45 is the authors' choice for 64 channels; the rule would give 83.
    middle = middle_channels(config.in_channels, width, pixels=49) if pooled else max(45 * width // 64, 1)
    return _conv(config, config.in_channels, width, middle, kernel, (1, 2, 2))
