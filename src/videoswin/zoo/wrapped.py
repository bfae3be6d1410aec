"""VideoMAE (Tong et al., 2022) and V-JEPA 2 (Assran et al., 2025), today's points of reference, by the transformers library."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from videoswin.errors import ConfigError, MissingExtraError
from videoswin.interface.video_model import VideoModel
from videoswin.model.config import Grid
from videoswin.zoo.base import LinearHead, need_exactly
from videoswin.zoo.vit import TransformerConfig

__all__ = ["HubVideoModel", "HubVideoModelConfig"]


@dataclass(frozen=True, kw_only=True)
class HubVideoModelConfig(TransformerConfig):
    """Sizes of a model of the library. The defaults are VideoMAE-B."""

    system: ClassVar[str] = "transformers"

    architecture: Literal["videomae", "vjepa2"] = "videomae"
    clip_len: int = 16
    eps: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.drop_path:
            raise ConfigError(f"drop_path={self.drop_path}: the library's models have none; use 0.")


class HubVideoModel(VideoModel):
    """(B, 3, T, H, W) -> logits. The library's model without its classifier, and a head of ours."""

    config: HubVideoModelConfig

    def __init__(self, config: HubVideoModelConfig) -> None:
        super().__init__(config)
        self.net = _library_model(config)
        self.net.classifier = nn.Identity()
        self.head = LinearHead.of(config, config.embed_dim, config.dropout)

    @property
    def num_features(self) -> int:
        return self.config.embed_dim

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, C), as the library pools it."""
        return self.net(self.checked(video).transpose(1, 2)).logits  # the library takes (B, T, 3, H, W)

    def set_grad_checkpointing(self, enabled: bool = True) -> None:
        """The library's own."""
        if enabled:
            self.net.gradient_checkpointing_enable({"use_reentrant": False})
        else:
            self.net.gradient_checkpointing_disable()

    def trunk_blocks(self) -> list[nn.Module]:
        return list(getattr(self.net, self.config.architecture).encoder.layer)

    def check_clip(self, size: Grid) -> None:
        need_exactly(f"this {self.config.architecture}", size, self.config.clip, "its positions are a table")


def _library_model(config: HubVideoModelConfig) -> Any:
    try:
        import transformers
    except ImportError:
        raise MissingExtraError(
            f'"{config.architecture}" is the transformers library\'s: pip install "videoswin[zoo]"'
        ) from None
    sizes = {
        "hidden_size": config.embed_dim, "num_hidden_layers": config.depth, "num_attention_heads": config.num_heads,
        "patch_size": config.patch_size, "layer_norm_eps": config.eps, "num_labels": max(config.num_classes, 1),
    }  # fmt: skip
    if config.architecture == "videomae":
        settings = transformers.VideoMAEConfig(
            image_size=config.crop_size, num_frames=config.clip_len, num_channels=config.in_channels,
            intermediate_size=config.hidden, **sizes,
        )  # fmt: skip
        return transformers.VideoMAEForVideoClassification(settings)
    settings = transformers.VJEPA2Config(
        crop_size=config.crop_size, frames_per_clip=config.clip_len, in_chans=config.in_channels,
        mlp_ratio=config.mlp_ratio, **sizes,
    )  # fmt: skip
    return transformers.VJEPA2ForVideoClassification(settings)
