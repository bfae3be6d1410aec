"""What is measured: one model, one size of clip, one device; enough to build it again in another process."""

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from videoswin.classifier.device import choose_device
from videoswin.errors import ConfigError, nearest
from videoswin.model import SwinConfig, VideoSwin, create_model, get_config
from videoswin.model.config import Grid, check_clip_size

__all__ = ["Job", "Precision", "parse_clip"]

Precision = Literal["float32", "bf16"]


@dataclass(frozen=True)
class Job:
    """One model on clips of one size.

    Raises:
        ConfigError: an unknown precision or device, no clips, or a clip of less than one patch.
    """

    name: str
    config: SwinConfig
    clip: Grid
    """Frames, height, width in pixels."""
    batch: int = 1
    device: str = "auto"
    precision: Precision = "float32"
    """"bf16": matrix products in bfloat16 under autocast, as in training; weights stay float32."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"batch={self.batch} must be 1 or more.")
        if self.precision not in get_args(Precision):
            raise ConfigError(
                f'precision="{self.precision}" is unknown. {nearest(self.precision, get_args(Precision))}'
            )
        check_clip_size(self.config, self.clip)
        object.__setattr__(self, "device", str(choose_device(self.device)))

    @classmethod
    def of(cls, model: str, clip: str, batch: int = 1, device: str = "auto", precision: Precision = "float32") -> Self:
        """The job of a preset, with all randomness switched off, so that outputs and gradients can be compared.

        Windows clipped in space read the bias table as the public code does, since that is what the peers compute; where
        nothing is clipped the two ways are the same.
        """
        config = get_config(model).replace(relative_bias="official", drop_path=0.0, head_dropout=0.0)
        return cls(model, config, parse_clip(clip), batch, device, precision)

    def ours(self) -> VideoSwin:
        """The model every peer is compared with; the same weights in every process."""
        torch.manual_seed(0)
        model = create_model(self.config)
        _make_every_tensor_count(model)
        return model.to(self.device)

    def video(self, clip: Grid | None = None) -> Tensor:
        """(B, 3, T, H, W) of noise; the same in every process."""
        generator = torch.Generator().manual_seed(1)
        video = torch.randn(self.batch, self.config.in_channels, *(clip or self.clip), generator=generator)
        return video.to(self.device)

    def autocast(self) -> AbstractContextManager[None]:
        """The precision of the matrix products inside the ``with`` block."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16")  # type: ignore[return-value]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self) | {"config": self.config.to_dict(), "clip": list(self.clip)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`."""
        t, h, w = data["clip"]
        return cls(**data | {"config": SwinConfig.from_dict(data["config"]), "clip": (t, h, w)})


def parse_clip(text: str) -> Grid:
    """ "32x224x224" -> (32, 224, 224): frames, height, width.

    Raises:
        ConfigError: it is something else.
    """
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f'clip="{text}" must be frames x height x width, such as 32x224x224.')
    t, h, w = (int(part) for part in parts)
    return t, h, w


@torch.no_grad()
def _make_every_tensor_count(model: nn.Module) -> None:
    """Fresh weights hide mistakes: biases are zero, norms are one, bias tables nearly nothing. So shake those."""
    for name, parameter in model.named_parameters():
        if name.endswith("relative_position_bias_table"):
            parameter.normal_()
        elif parameter.ndim == 1:
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
