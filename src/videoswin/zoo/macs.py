"""Multiply-adds of any model: what convolutions, linear layers and both attention products multiply, as in the papers' tables.

Norms, softmax, biases and activations are not counted. Counted on the meta device, so nothing is computed: torchvision's
published figures come out exactly.
"""

import torch
from torch.utils.flop_counter import FlopCounterMode

from videoswin.interface.model_config import ModelConfig
from videoswin.model import SwinConfig
from videoswin.model.config import Grid
from videoswin.zoo.ablations import SwinAblationConfig
from videoswin.zoo.registry import build
from videoswin.zoo.swin_macs import count_macs as count_swin

__all__ = ["count_macs"]


def count_macs(config: ModelConfig, clip: Grid) -> int:
    """Multiply-adds of one clip (T, H, W) through a model of any system.

    Video Swin is counted as in its paper, where every token meets a full window, shifted or not; and so are its ablations where
    windows tile the grid (elsewhere with their padding).

    Raises:
        ConfigError: the model cannot take such a clip.
    """
    if isinstance(config, SwinConfig):
        return count_swin(config, *clip).paper
    if isinstance(config, SwinAblationConfig):
        config = config.replace(shift="none")
    with torch.device("meta"):
        model = build(config).eval()
    return traced_macs(model, torch.empty(1, model.config.in_channels, *clip, device="meta"))


def traced_macs(model: torch.nn.Module, video: torch.Tensor) -> int:
    """Multiply-adds of one call with this video (on the meta device: nothing is computed)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(video)
    return counter.get_total_flops() // 2
