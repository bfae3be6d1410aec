"""C3D (Tran et al., 2015): eight 3x3x3 convolutions, five poolings, two wide layers. "Simple and compact".

The grid of the published model: 16x112x112 -> 16x56x56 -> 8x28x28 -> 4x14x14 -> 2x7x7 -> 1x4x4, and fc6 reads all of it.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from videoswin.interface.video_model import VideoModel
from videoswin.model.config import Grid
from videoswin.zoo.base import LinearHead, ZooConfig, need_at_least, need_exactly

__all__ = ["C3D", "C3DConfig"]

# Names of the convolutions of each stage, and how many times as wide as the first they are.
_STAGES = ((("1a",), 1), (("2a",), 2), (("3a", "3b"), 4), (("4a", "4b"), 8), (("5a", "5b"), 8))


@dataclass(frozen=True, kw_only=True)
class C3DConfig(ZooConfig):
    """C3D. The defaults are the published network."""

    system: ClassVar[str] = "c3d"

    clip_len: int = 16
    crop_size: int = 112
    width: int = 64
    """Channels of the first convolution."""
    fc_width: int = 4096
    """Channels of fc6 and fc7."""
    pool5: Literal["ceil", "padded", "floor"] = "padded"
    """How pool5 meets 7x7: "ceil", windows 0-1, 2-3, 4-5, 6, is Caffe's, which the Sports-1M weights were made by; "padded",
    windows -1-0, 1-2, 3-4, 5-6, is that of the PyTorch ports and of MMAction2; "floor" leaves 3x3 (Caffe2's, with norm)."""
    norm: Literal["none", "batch"] = "none"
    """"batch": VMZ's form, batch norm (eps 1e-3) after every convolution."""
    dropout: float = 0.5


class C3D(VideoModel):
    """(B, 3, 16, 112, 112) -> logits. The clip's size is fixed by fc6."""

    config: C3DConfig

    def __init__(self, config: C3DConfig) -> None:
        super().__init__(config)
        self.least = (16, 32, 32) if config.pool5 == "floor" else (16, 16, 16)
        need_at_least("C3D", config.clip, self.least)
        self.stages = nn.ModuleList(_stage(config, i) for i in range(len(_STAGES)))
        t, h, w = config.clip_len // 16, _side(config), _side(config)
        self.fc6 = nn.Linear(8 * config.width * t * h * w, config.fc_width)
        self.fc7 = nn.Linear(config.fc_width, config.fc_width)
        self.dropout = nn.Dropout(config.dropout)
        self.head = LinearHead.of(config, config.fc_width, config.dropout)
        for fc in (self.fc6, self.fc7):
            nn.init.normal_(fc.weight, std=0.005)
            nn.init.ones_(fc.bias)

    @property
    def num_features(self) -> int:
        return self.config.fc_width

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, 16, 112, 112) -> fc7, (B, 4096)."""
        x = self.checked(video)
        for stage in self.stages:
            x = self.run(stage, x)
        x = torch.relu(self.fc6(x.flatten(1)))  # channels first, as the convolutions leave them
        return torch.relu(self.fc7(self.dropout(x)))

    def trunk_blocks(self) -> list[nn.Module]:
        return list(self.stages)

    def check_clip(self, size: Grid) -> None:
        need_exactly("this C3D", size, self.config.clip, "fc6 reads the whole map")


def _stage(config: C3DConfig, index: int) -> nn.Sequential:
    names, times = _STAGES[index]
    channels = config.in_channels if index == 0 else config.width * _STAGES[index - 1][1]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name in names:
        conv = nn.Conv3d(channels, config.width * times, 3, padding=1, bias=config.norm == "none")
        channels = config.width * times
        nn.init.normal_(conv.weight, std=0.01)
        if conv.bias is not None:
            nn.init.constant_(conv.bias, 0.0 if name == "1a" else 1.0)
        layers[f"conv{name}"] = conv
        if config.norm == "batch":
            layers[f"bn{name}"] = nn.BatchNorm3d(channels, eps=1e-3)
        layers[f"relu{name}"] = nn.ReLU(inplace=True)
    layers[f"pool{index + 1}"] = _pool(config, index)
    return nn.Sequential(layers)


def _pool(config: C3DConfig, index: int) -> nn.MaxPool3d:
    size = (1, 2, 2) if index == 0 else (2, 2, 2)
    last = index == len(_STAGES) - 1
    padding = (0, 1, 1) if last and config.pool5 == "padded" else 0
    return nn.MaxPool3d(size, size, padding=padding, ceil_mode=last and config.pool5 == "ceil")


def _side(config: C3DConfig) -> int:
    """Rows and columns of the last map."""
    before = config.crop_size // 16
    return {"floor": before // 2, "ceil": -(-before // 2), "padded": before // 2 + 1}[config.pool5]
