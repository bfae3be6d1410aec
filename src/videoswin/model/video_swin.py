"""Classification: average over space and time, dropout, one linear layer (the public code's I3DHead)."""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from videoswin.errors import ConfigError
from videoswin.interface.ordered_head import OrderedHead
from videoswin.interface.video_model import Capability, VideoModel
from videoswin.model.backbone import SwinBackbone
from videoswin.model.config import Grid, SwinConfig, check_clip_size

__all__ = ["ClassificationHead", "VideoSwin"]


class ClassificationHead(nn.Module):
    """Pooled features -> logits."""

    def __init__(self, num_features: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(num_features, num_classes)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(B, 8C, T', H', W') -> (B, num_classes)."""
        return self.fc(self.dropout(features.mean(dim=(2, 3, 4))))


def make_head(config: SwinConfig) -> ClassificationHead | OrderedHead | None:
    """A fresh one; None if no classes are named."""
    sizes = config.num_features, config.num_classes, config.head_dropout
    if not config.num_classes:
        return None
    return (
        OrderedHead(*sizes, config.head_parts, config.head_memory) if config.head_parts else ClassificationHead(*sizes)
    )


class VideoSwin(VideoModel):
    """Video Swin Transformer with a classification head.

    ``model(video)`` takes a normalised clip batch (B, 3, T, H, W) and gives logits (B, num_classes); with
    ``num_classes=0``, pooled features (B, 8C). Shapes it cannot take are a :class:`~videoswin.errors.ConfigError`.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset({"windows", "causal", "pyramid"})
    config: SwinConfig
    head: ClassificationHead | OrderedHead | None

    def __init__(self, config: SwinConfig) -> None:
        super().__init__(config)
        self.backbone = SwinBackbone(config)
        self.head = make_head(config)

    @property
    def num_features(self) -> int:
        """Channels of the last stage, 8C."""
        return self.config.num_features

    def classify(self, features: Tensor) -> Tensor:
        """(B, 8C, T', H', W') -> logits (B, num_classes)."""
        return features.mean(dim=(2, 3, 4)) if self.head is None else self.head(features)

    def forward_steps(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> logits (B, T', num_classes) of a causal model after each time step, the steps so far averaged:
        what a Stream with ``pool="all"`` gives push by push.

        Raises:
            ConfigError: the model is not causal, so that its first steps know the last ones.
        """
        if not self.config.causal:
            raise ConfigError("Answers step by step need a causal model; train one, or use as_causal().")
        steps = self.forward_features(video).mean(dim=(3, 4)).transpose(1, 2)  # (B, T', 8C)
        counts = torch.arange(1, steps.shape[1] + 1, device=steps.device, dtype=steps.dtype)
        so_far = steps.cumsum(dim=1) / counts[:, None]
        return so_far if self.head is None else self.head.fc(self.head.dropout(so_far))

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, 8C, T', H', W') after the final norm."""
        return self.backbone(video)

    def forward_pyramid(self, video: Tensor) -> list[Tensor]:
        """(B, 3, T, H, W) -> the stages' maps, finest first, for detection and localisation heads."""
        return self.backbone.forward_pyramid(video)

    def as_causal(self) -> Self:
        """The causal model with these weights, sharing their memory; its answers differ until it is fine-tuned.

        Public and bidirectional checkpoints become causal this way: no parameter is added or changes shape.
        """
        with torch.device("meta"):
            model = type(self)(self.config.replace(causal=True))
        model.load_state_dict(self.state_dict(), assign=True)
        return model.train(self.training)

    def checked(self, video: Tensor) -> Tensor:
        """The video itself, or a :class:`~videoswin.errors.ConfigError` that names the wrong axis."""
        return self.backbone.checked(video)

    def trunk_blocks(self) -> list[nn.Module]:
        return [block for stage in self.backbone.stages for block in stage.blocks]

    def check_clip(self, size: Grid) -> None:
        """(T, H, W) in frames and pixels; a :class:`~videoswin.errors.ConfigError` names the axis that is too short."""
        check_clip_size(self.config, size)

    def set_grad_checkpointing(self, enabled: bool = True) -> None:
        """Trade about a third more training time for less memory."""
        self.backbone.set_grad_checkpointing(enabled)

    def extra_repr(self) -> str:
        changed: dict[str, Any] = {k: v for k, v in self.config.to_dict().items() if v != SwinConfig().to_dict()[k]}
        return ", ".join(f"{k}={v}" for k, v in changed.items())
