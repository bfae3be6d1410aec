"""The numbers that define a Video Swin Transformer, checked once, at the door."""

import math
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from videoswin.errors import ConfigError, nearest
from videoswin.interface.model_config import ModelConfig

__all__ = ["Grid", "Init", "Padding", "RelativeBias", "SwinConfig"]

Grid = tuple[int, int, int]
"""Sizes along (time, height, width), in tokens, pixels or frames as the context says."""

RelativeBias = Literal["exact", "official"]
Padding = Literal["attended", "masked"]
Init = Literal["paper", "local"]

AXES = ("T", "H", "W")
_LARGEST = {
    "embed_dim": 2**16, "depths": 2**12, "num_heads": 2**16, "window_size": 2**10, "patch_size": 2**10, "in_channels": 2**12,
    "mlp_ratio": 2**10, "num_classes": 2**24, "head_parts": 2**10, "head_memory": 2**20,
}  # fmt: skip
"""Far beyond any model: what is larger is a slip, or an attack by a config.json, and would end in a failed allocation."""
_MOST_STAGES, _MOST_OFFSETS = 16, 2**24


@dataclass(frozen=True, kw_only=True)
class SwinConfig(ModelConfig):
    """Architecture of one model (paper, section 3). The defaults are Swin-T.

    Sizes are in tokens except ``patch_size`` (frames, pixels, pixels).
    """

    embed_dim: int = 96
    """Channels C after the patch embedding; stage i works with C * 2**i."""
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: Grid = (8, 7, 7)
    patch_size: Grid = (2, 4, 4)
    in_channels: int = 3
    mlp_ratio: float = 4.0
    patch_norm: bool = True
    num_classes: int = 400
    drop_path: float = 0.1
    """Stochastic depth of the last block; it grows linearly from 0 over the blocks."""
    head_dropout: float = 0.5
    head_parts: int = 0
    """0: the head reads the mean over time and space, as the paper's does. n: the means over space of n stretches of time, in
    their order."""
    head_memory: int = 0
    """So many clips are remembered by the head, which takes what is unlike them for the last of the classes."""
    relative_bias: RelativeBias = "exact"
    """How a window that is clipped in space reads the bias table: "exact" by true offsets; "official" as the public
    code does, by the first rows and columns of the full window's index (differs from the paper, see docs)."""
    padding: Padding = "attended"
    """Grids that no whole number of windows fills: "attended" pads with zeros after the norm and attends to them, as
    the public code does and its weights expect; "masked" attends to real tokens only."""
    causal: bool = False
    """Within a window a token attends to its own and earlier times only, and windows are laid out in time from the first
    frame on, never clipped nor padded there; so frames to come change nothing, and a stream can be classified as it comes."""
    init: Init = "paper"
    """"paper": linear layers and bias tables start as a truncated normal, std .02. "local", for narrow models trained from
    nothing: std 1/sqrt(fan in), and each head's bias table starts as a look at one neighbour in space and time."""

    def __post_init__(self) -> None:
        for name in ("depths", "num_heads", "window_size", "patch_size"):
            object.__setattr__(self, name, _int_tuple(name, getattr(self, name)))
        for name in ("window_size", "patch_size"):
            if len(getattr(self, name)) != 3:
                raise ConfigError(f"{name}={getattr(self, name)} needs three sizes: (T, H, W).")
        if not self.depths or len(self.depths) != len(self.num_heads):
            raise ConfigError(
                f"depths={self.depths} and num_heads={self.num_heads} need one number each per stage, at least one stage."
            )
        for name in ("embed_dim", "in_channels"):
            if not _is_int(getattr(self, name)) or getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)!r} must be a whole number, 1 or more.")
        if not _is_int(self.num_classes) or self.num_classes < 0:
            raise ConfigError(f"num_classes={self.num_classes!r} must be 0 (features only) or a whole number above.")
        for name in ("head_parts", "head_memory"):
            if not _is_int(getattr(self, name)) or getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)!r} must be 0 or a whole number above.")
        if self.head_memory and not self.head_parts:
            raise ConfigError(
                f"head_memory={self.head_memory} needs a head that reads parts; set head_parts to 1 or more."
            )
        if self.head_parts and self.causal:
            raise ConfigError(
                f"head_parts={self.head_parts} needs whole clips, and causal=True answers before a clip ends."
            )
        self._require_sane_sizes()
        for stage, (dim, heads) in enumerate(zip(self.stage_dims, self.num_heads, strict=True)):
            if dim % heads:
                raise ConfigError(
                    f"num_heads[{stage}]={heads} does not divide the {dim} channels of stage {stage + 1}; choose a divisor."
                )
        for name in ("drop_path", "head_dropout"):
            if not _is_number(getattr(self, name)) or not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)!r} must be in [0, 1).")
        if not _is_number(self.mlp_ratio) or int(self.embed_dim * self.mlp_ratio) < 1:
            raise ConfigError(f"mlp_ratio={self.mlp_ratio!r} must be a number that leaves at least one hidden channel.")
        for name in ("patch_norm", "causal"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name}={getattr(self, name)!r} must be true or false.")
        for name, kind in (("relative_bias", RelativeBias), ("padding", Padding), ("init", Init)):
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(
                    f'{name}="{getattr(self, name)}" is unknown. {nearest(str(getattr(self, name)), get_args(kind))}'
                )

    def with_fresh_head(self, num_classes: int) -> Self:
        return self.replace(num_classes=num_classes, head_parts=0, head_memory=0)

    def _require_sane_sizes(self) -> None:
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            if any(_is_number(number) and number > largest for number in values):
                raise ConfigError(f"{name}={value!r} is absurdly large; give at most {largest:,}.")
        if len(self.depths) > _MOST_STAGES:
            raise ConfigError(f"depths has {len(self.depths)} stages; give at most {_MOST_STAGES}.")
        if (offsets := math.prod(2 * side - 1 for side in self.window_size)) > _MOST_OFFSETS:
            raise ConfigError(
                f"window_size={self.window_size} needs bias tables of {offsets:,} rows; give a smaller window."
            )

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of each stage: C, 2C, 4C, 8C for four stages."""
        return tuple(self.embed_dim * 2**i for i in range(len(self.depths)))

    @property
    def num_features(self) -> int:
        """Channels of the last stage (8C for four stages)."""
        return self.stage_dims[-1]


def check_clip_size(config: SwinConfig, size: Grid) -> None:
    """(T, H, W) in frames and pixels; a :class:`ConfigError` names the axis that is less than one patch."""
    for axis, length, patch in zip(AXES, size, config.patch_size, strict=True):
        if length < patch:
            raise ConfigError(f"Axis {axis} is {length} long, less than one patch ({patch}); give at least {patch}.")


def _int_tuple(name: str, value: Any) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, (list, tuple)) else ()
    if not numbers or not all(_is_int(n) and n > 0 for n in numbers):
        raise ConfigError(f"{name}={value!r} must be a list of positive whole numbers.")
    return numbers


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_int(value) or (isinstance(value, float) and math.isfinite(value))
