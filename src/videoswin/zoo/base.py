"""What the systems of the zoo share: checked configurations, a head, units of convolution and norm, starts of weights."""

import dataclasses
import math
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from videoswin.errors import ConfigError, nearest
from videoswin.interface.model_config import ModelConfig
from videoswin.model.config import Grid

__all__ = ["AXES", "ConvNorm", "LinearHead", "ZooConfig", "he_init", "linear_rates", "need_at_least", "need_exactly"]

AXES = ("T", "H", "W")


@dataclass(frozen=True, kw_only=True)
class ZooConfig(ModelConfig):
    """What every configuration has. Values are checked by the types of the fields: sizes are whole numbers above 0, rates lie
    in [0, 1), choices are among those named."""

    system: ClassVar[str]
    """The name under which a configuration is saved and found again."""
    causal: ClassVar[bool] = False
    """Only Video Swin has a causal form."""

    num_classes: int = 400
    """Outputs of the head; 0 for features only."""
    in_channels: int = 3
    clip_len: int = 16
    """Frames of the clips that the published model takes."""
    crop_size: int = 224
    """Height and width of these clips, in pixels."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _checked(field.name, hints[field.name], getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    @property
    def clip(self) -> Grid:
        """(T, H, W) that the published model takes."""
        return self.clip_len, self.crop_size, self.crop_size


_RATES = ("dropout", "drop_path", "head_dropout", "momentum")


def _checked(name: str, hint: Any, value: Any) -> Any:
    """The value, lists turned to tuples; a :class:`ConfigError` if it is not of the field's type."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return None if value is None else _checked(name, next(a for a in args if a is not NoneType), value)
    if origin is Literal:
        if value not in args:
            raise ConfigError(f'{name}="{value}" is unknown. {nearest(str(value), [str(a) for a in args])}')
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple) or (args[-1] is not Ellipsis and len(value) != len(args)):
            raise ConfigError(
                f"{name}={value!r} must be a list" + ("." if args[-1] is Ellipsis else f" of {len(args)}.")
            )
        return tuple(_checked(name, args[0], v) for v in value)
    if isinstance(hint, type) and issubclass(hint, ModelConfig):
        return value if isinstance(value, hint) else hint.from_dict(value)
    if hint is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{name}={value!r} must be true or false.")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{name}={value!r} must be a number.")
    if hint is int:
        least = 0 if name in ("num_classes", "context_at", "context_frames") else 1
        if not isinstance(value, int) or value < least:
            raise ConfigError(f"{name}={value!r} must be a whole number, {least} or more.")
    elif name in _RATES and not 0 <= value < 1:
        raise ConfigError(f"{name}={value!r} must be in [0, 1).")
    elif value < 0:
        raise ConfigError(f"{name}={value!r} must not be negative.")
    return value


def need_at_least(model: str, size: Grid, least: Grid) -> None:
    """A :class:`ConfigError` that names the axis of (T, H, W) that is shorter than the network needs."""
    for axis, length, shortest in zip(AXES, size, least, strict=True):
        if length < shortest:
            unit = "frames" if axis == "T" else "pixels"
            raise ConfigError(f"Axis {axis} is {length} long; {model} needs at least {shortest} {unit}.")


def need_exactly(model: str, size: Grid, sizes: Grid, why: str) -> None:
    """A :class:`ConfigError` that names the axis of (T, H, W) that is not as long as the network's weights say."""
    for axis, length, right in zip(AXES, size, sizes, strict=True):
        if length != right:
            unit = "frames" if axis == "T" else "pixels"
            raise ConfigError(f"Axis {axis} is {length} long; {model} takes exactly {right} {unit} ({why}).")


def linear_rates(last: float, count: int) -> list[float]:
    """Stochastic depth that grows linearly from 0 to ``last`` over ``count`` blocks."""
    return [last * i / max(count - 1, 1) for i in range(count)]


class LinearHead(nn.Module):
    """Dropout, then one linear layer on the last axis: (..., C) -> (..., classes)."""

    def __init__(self, num_features: int, num_classes: int, dropout: float = 0.0, std: float | None = 0.01) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(num_features, num_classes)
        if std is not None:
            nn.init.normal_(self.fc.weight, std=std) if std else nn.init.zeros_(self.fc.weight)
            nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., classes)."""
        return self.fc(self.dropout(x))

    @classmethod
    def of(cls, config: Any, num_features: int, dropout: float = 0.0, std: float | None = 0.01) -> "LinearHead | None":
        """The head that a configuration asks for: None with no classes."""
        return cls(num_features, config.num_classes, dropout, std) if config.num_classes else None


class ConvNorm(nn.Module):
    """Convolution, batch norm and, unless said otherwise, ReLU."""

    def __init__(
        self, conv: nn.Module, channels: int, act: bool = True, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.conv = conv
        self.bn = nn.BatchNorm3d(channels, eps=eps, momentum=momentum)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T', H', W')."""
        x = self.bn(self.conv(x))
        return torch.relu_(x) if self.act else x


def he_init(model: nn.Module) -> None:
    """Convolutions normal by fan out (He et al., 2015), norms 1 and 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm3d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
