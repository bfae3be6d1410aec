"""The models of the paper (section 3.3, "Architecture Variants", and section 4) and a small one, as one table."""

from typing import TYPE_CHECKING, Any

from videoswin.errors import ConfigError, nearest
from videoswin.model.config import SwinConfig

if TYPE_CHECKING:
    from videoswin.model.video_swin import VideoSwin

__all__ = ["PRESETS", "create_model", "get_config"]

_SMALL_DEPTHS = (2, 2, 18, 2)

PRESETS: dict[str, SwinConfig] = {
    "swin3d_t": SwinConfig(drop_path=0.1),
    "swin3d_s": SwinConfig(depths=_SMALL_DEPTHS, drop_path=0.1),
    "swin3d_b": SwinConfig(embed_dim=128, depths=_SMALL_DEPTHS, num_heads=(4, 8, 16, 32), drop_path=0.3),
    "swin3d_l": SwinConfig(embed_dim=192, depths=_SMALL_DEPTHS, num_heads=(6, 12, 24, 48), drop_path=0.3),
    "swin3d_b_ssv2": SwinConfig(
        embed_dim=128,
        depths=_SMALL_DEPTHS,
        num_heads=(4, 8, 16, 32),
        window_size=(16, 7, 7),
        num_classes=174,
        drop_path=0.4,
    ),
    "swin3d_l_384": SwinConfig(
        embed_dim=192, depths=_SMALL_DEPTHS, num_heads=(6, 12, 24, 48), window_size=(8, 12, 12), drop_path=0.3
    ),
    # For laptops and small data sets: a third of Swin-T's width, so 2.9 M parameters, with heads of 16 channels, so that
    # even the first stage has two, and a start that learns motion from few clips.
    "swin3d_micro": SwinConfig(
        embed_dim=32, depths=(2, 2, 4, 2), num_heads=(2, 4, 8, 16), drop_path=0.1, head_dropout=0.2, init="local"
    ),
}


def get_config(name: str) -> SwinConfig:
    """A preset by name; an unknown one is a :class:`ConfigError` with the nearest valid name."""
    if name not in PRESETS:
        raise ConfigError(f'There is no model "{name}". {nearest(name, PRESETS)}')
    return PRESETS[name]


def create_model(name_or_config: str | SwinConfig, num_classes: int | None = None, **overrides: Any) -> "VideoSwin":
    """A model with fresh weights.

    Args:
        name_or_config: a preset ("swin3d_t", "swin3d_s", "swin3d_b", "swin3d_l", "swin3d_b_ssv2", "swin3d_l_384",
            "swin3d_micro") or any :class:`SwinConfig`.
        num_classes: outputs of the head; 0 for features only; None for the preset's own (400, or 174 for SSv2).
        overrides: any other field of :class:`SwinConfig`, e.g. ``drop_path=0.2``.

    Raises:
        ConfigError: an unknown name, field or value.

    >>> model = create_model("swin3d_t", num_classes=10)
    """
    from videoswin.model.video_swin import VideoSwin  # and with it PyTorch, which the table above does not need

    config = get_config(name_or_config) if isinstance(name_or_config, str) else name_or_config
    if num_classes is not None:
        overrides["num_classes"] = num_classes
    return VideoSwin(config.replace(**overrides))
