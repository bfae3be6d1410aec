"""One model of each kind, so small that a verb takes a fraction of a second: two blocks, clips of 16 frames of 32x32 pixels."""

from typing import Any

import pytest

from videoswin.interface.model_config import ModelConfig
from videoswin.model import SwinConfig
from videoswin.zoo.c3d import C3DConfig
from videoswin.zoo.context import ContextConfig
from videoswin.zoo.inception import InceptionConfig
from videoswin.zoo.mvit import MViTConfig
from videoswin.zoo.p3d import P3DConfig
from videoswin.zoo.r2plus1d import VideoResNetConfig
from videoswin.zoo.registry import CONFIGS
from videoswin.zoo.resnet import ResNetConfig
from videoswin.zoo.timesformer import TimeSformerConfig
from videoswin.zoo.vit import ViTConfig
from videoswin.zoo.vivit import ViViTConfig
from videoswin.zoo.vtn import VTNConfig
from videoswin.zoo.wrapped import HubVideoModelConfig

__all__ = ["HUB", "TINY", "with_tiny_models"]

_CLIP: dict[str, Any] = {"clip_len": 16, "crop_size": 32}
_VIT: dict[str, Any] = {**_CLIP, "embed_dim": 16, "num_heads": 2, "depth": 2, "patch_size": 16}
_RESNET: dict[str, Any] = {**_CLIP, "width": 4, "depths": (1, 1)}

TINY: dict[str, ModelConfig] = {
    "tiny_c3d": C3DConfig(**_CLIP, width=4, fc_width=16),
    "tiny_i3d": InceptionConfig(**_CLIP, width=8),
    "tiny_s3d": InceptionConfig(**_CLIP, width=8, separable=True, padding="fixed", least_frames=14, gate="plain"),
    "tiny_p3d": P3DConfig(**_CLIP, width=4, depths=(1, 1, 1, 1)),
    "tiny_r2plus1d": VideoResNetConfig(**_RESNET),
    "tiny_i3d_r50_nl": ResNetConfig(
        **_RESNET, kernels_t=((3,), (3,)), context=ContextConfig(), context_at=((), (0,)), conv1_stride_t=1
    ),
    "tiny_vit": ViTConfig(**_VIT),
    "tiny_deit": ViTConfig(**_VIT, distilled=True, second_head=True),
    "tiny_vtn": VTNConfig(**_VIT, temporal_depth=1),
    "tiny_timesformer": TimeSformerConfig(**_VIT),
    "tiny_vivit1": ViViTConfig(**_VIT),
    "tiny_vivit2": ViViTConfig(**_VIT, model=2, temporal_depth=1),
    "tiny_vivit3": ViViTConfig(**_VIT, model=3),
    "tiny_mvit": MViTConfig(**_CLIP, version=2, embed_dim=8, depth=3, scale_at=(1, 2)),
    "tiny_swin2d": SwinConfig(
        embed_dim=8, depths=(2,), num_heads=(2,), window_size=(1, 4, 4), patch_size=(1, 4, 4), drop_path=0.0
    ),
}

HUB: dict[str, ModelConfig] = {
    "tiny_videomae": HubVideoModelConfig(**_VIT),
    "tiny_vjepa2": HubVideoModelConfig(**_VIT, architecture="vjepa2", eps=1e-6),
}
"""By the transformers library."""


@pytest.fixture
def with_tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line knows them by name."""
    for name, config in (TINY | HUB).items():
        monkeypatch.setitem(CONFIGS, name, config)
