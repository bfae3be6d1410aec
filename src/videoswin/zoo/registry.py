"""All models by name: the systems that Video Swin builds on or is measured against, Video Swin itself, and small ones of each."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, overload

from videoswin.errors import ConfigError, nearest
from videoswin.interface.model_config import ModelConfig
from videoswin.interface.video_model import VideoModel
from videoswin.model import PRESETS, SwinConfig, VideoSwin
from videoswin.zoo.ablations import SwinAblation, SwinAblationConfig
from videoswin.zoo.c3d import C3D, C3DConfig
from videoswin.zoo.context import ContextConfig
from videoswin.zoo.inception import Inception3d, InceptionConfig
from videoswin.zoo.mvit import MViT, MViTConfig
from videoswin.zoo.p3d import P3D, P3DConfig
from videoswin.zoo.r2plus1d import VideoResNet, VideoResNetConfig
from videoswin.zoo.resnet import ResNet, ResNetConfig
from videoswin.zoo.timesformer import TimeSformer, TimeSformerConfig
from videoswin.zoo.vit import ViT, ViTConfig
from videoswin.zoo.vivit import ViViT, ViViTConfig
from videoswin.zoo.vtn import VTN, VTNConfig
from videoswin.zoo.wrapped import HubVideoModel, HubVideoModelConfig

__all__ = ["CONFIGS", "SwinName", "build", "config_from_dict", "config_to_dict", "create_model", "get_config"]

SwinName = Literal[
    "swin3d_t", "swin3d_s", "swin3d_b", "swin3d_l", "swin3d_b_ssv2", "swin3d_l_384", "swin3d_micro",
    "swin2d_t", "swin2d_s", "swin2d_b", "swin2d_micro",
]  # fmt: skip

_CLASSES: dict[type[ModelConfig], Callable[[Any], VideoModel]] = {
    SwinConfig: VideoSwin,
    SwinAblationConfig: SwinAblation,
    C3DConfig: C3D,
    InceptionConfig: Inception3d,
    ResNetConfig: ResNet,
    VideoResNetConfig: VideoResNet,
    P3DConfig: P3D,
    ViTConfig: ViT,
    VTNConfig: VTN,
    TimeSformerConfig: TimeSformer,
    ViViTConfig: ViViT,
    MViTConfig: MViT,
    HubVideoModelConfig: HubVideoModel,
}
_SYSTEMS = {getattr(config, "system", "swin"): config for config in _CLASSES}

_MICRO: dict[str, Any] = {"clip_len": 16, "crop_size": 56, "num_classes": 10}
"""The small models: 16 frames of 56x56 pixels, as swin3d_micro."""

_TEN: dict[str, Any] = {"num_classes": 10}


def _swin_on_frames(name: str, **changes: Any) -> SwinConfig:
    """A Swin transformer for images, its features averaged over the frames: patches and windows of one frame."""
    config = PRESETS[name]
    return config.replace(patch_size=(1, 4, 4), window_size=(1, *config.window_size[1:]), **changes)


_S3D = InceptionConfig(separable=True, padding="fixed", dropout=0.2, clip_len=128, least_frames=14)
_C2D = ResNetConfig(
    clip_len=8, conv1_kernel_t=1, conv1_stride_t=1, pool1_stride_t=1, kernels_t=((1,), (1,), (1,), (1,))
)
_I3D_R50 = ResNetConfig()
_SLOWONLY = _C2D.replace(pool2=False, kernels_t=((1,), (1,), (3,), (3,)))
_R101 = {"depths": (3, 4, 23, 3)}
_AT_R50: dict[str, Any] = {"context_at": ((), (1, 3), (1, 3, 5))}
_AT_R101: dict[str, Any] = {"context_at": ((), (1, 3), (6, 13, 20))}
_NL: dict[str, Any] = {"context": ContextConfig(), **_AT_R50}
_GC: dict[str, Any] = {
    "context": ContextConfig(kind="global_context", reduction=4),
    "context_place": "inside",
    **_AT_R50,
}
_DNL: dict[str, Any] = {"context": ContextConfig(kind="disentangled", use_scale=False), **_AT_R50}
_SMALL_R50: dict[str, Any] = {"width": 20, "conv1_stride_t": 1, "pool1_stride_t": 1, **_MICRO}
_R21D_MICRO = VideoResNetConfig(
    width=20, middle="conv", stem="pooled", shortcut="factorised", eps=1e-3, dropout=0.5, **_MICRO
)

_VIT_SIZES: dict[str, dict[str, Any]] = {
    "ti": {"embed_dim": 192, "num_heads": 3},
    "s": {"embed_dim": 384, "num_heads": 6},
    "b": {"embed_dim": 768, "num_heads": 12},
    "l": {"embed_dim": 1024, "num_heads": 16, "depth": 24},
}
_TIMESFORMERS = ("space", "joint", "divided", "local_global", "axial")
_VIVITS = (1, 2, 3, 4)
_SMALL_VIT: dict[str, Any] = {"embed_dim": 192, "num_heads": 6, "depth": 6, "patch_size": 8, **_MICRO}
_MVIT_V2 = MViTConfig(version=2)
# Attention that halves the frame needs an even number of patches.
_EVEN: dict[str, dict[str, Any]] = {"local_global": {"patch_size": 7}}

CONFIGS: dict[str, ModelConfig] = {
    **PRESETS,
    # Video Swin's backbone on frames.
    **{f"swin2d_{size}": _swin_on_frames(f"swin3d_{size}") for size in ("t", "s", "b", "micro")},
    # Convolutional systems.
    "c3d": C3DConfig(),
    "i3d": InceptionConfig(),
    "s3d": _S3D,
    "s3dg": _S3D.replace(gate="plain", stem_separable=False, stem_kernel_t=3, padding="same", clip_len=64),
    "p3d_63": P3DConfig(depths=(3, 4, 6, 3)),
    "p3d_131": P3DConfig(depths=(3, 4, 23, 3)),
    "p3d_199": P3DConfig(),
    "r3d_18": VideoResNetConfig(convs="r3d"),
    "mc3_18": VideoResNetConfig(convs="mc3"),
    "r2plus1d_18": VideoResNetConfig(),
    "r2plus1d_34": VideoResNetConfig(depths=(3, 4, 6, 3)),
    "c2d_r50": _C2D,
    "c2d_r50_nl": _C2D.replace(**_NL),
    "i3d_r50": _I3D_R50,
    "i3d_r50_8x8": _I3D_R50.replace(clip_len=8, conv1_stride_t=1, pool1_stride_t=1),
    "i3d_r101": _I3D_R50.replace(**_R101),
    "i3d_r50_nl": _I3D_R50.replace(**_NL),
    "i3d_r101_nl": _I3D_R50.replace(**_NL | _AT_R101 | _R101),
    "i3d_r50_gc": _I3D_R50.replace(**_GC),
    "i3d_r50_dnl": _I3D_R50.replace(**_DNL),
    "slowonly_r50": _SLOWONLY,
    "slowonly_r50_nl": _SLOWONLY.replace(**_NL),
    "slowonly_r50_gc": _SLOWONLY.replace(**_GC),
    # Transformers.
    **{f"vit_{size}_16": ViTConfig(**sizes) for size, sizes in _VIT_SIZES.items()},
    **{f"deit_{size}_16": ViTConfig(drop_path=0.1, **_VIT_SIZES[size]) for size in ("ti", "s", "b")},
    **{
        f"deit_{size}_16_distilled": ViTConfig(drop_path=0.1, distilled=True, second_head=True, **_VIT_SIZES[size])
        for size in ("ti", "s", "b")
    },
    "vtn_b": VTNConfig(),
    **{f"timesformer_b_{kind}": TimeSformerConfig(attention=kind) for kind in _TIMESFORMERS},
    "timesformer_hr_divided": TimeSformerConfig(clip_len=16, crop_size=448),
    "timesformer_l_divided": TimeSformerConfig(clip_len=96),
    **{f"vivit_b_16x2_model{n}": ViViTConfig(model=n) for n in _VIVITS},
    **{f"vivit_l_16x2_model{n}": ViViTConfig(model=n, **_VIT_SIZES["l"]) for n in (1, 2)},
    "mvit_v1_b": MViTConfig(),
    "mvit_v2_s": _MVIT_V2,
    "mvit_v2_b": _MVIT_V2.replace(depth=24, scale_at=(2, 5, 21), clip_len=32, drop_path=0.3),
    "mvit_v2_l": _MVIT_V2.replace(
        embed_dim=144, num_heads=2, depth=48, scale_at=(2, 8, 44), clip_len=40, crop_size=312, drop_path=0.75
    ),
    # Points of reference of today, by the transformers library (extra "zoo").
    "videomae_b": HubVideoModelConfig(),
    "vjepa2_l": HubVideoModelConfig(
        architecture="vjepa2",
        embed_dim=1024,
        depth=24,
        num_heads=16,
        clip_len=64,
        crop_size=256,
        eps=1e-6,
        num_classes=174,
    ),
    # Video Swin without one of its ideas, as small as swin3d_micro.
    "swin3d_micro_joint": SwinAblationConfig(**_TEN),
    "swin3d_micro_factorised": SwinAblationConfig(attention="factorised", mlp_ratio=2.0, **_TEN),
    "swin3d_micro_split": SwinAblationConfig(attention="split", depths=(2, 2, 4, 2), embed_dim=24, **_TEN),
    "swin3d_micro_no_time_shift": SwinAblationConfig(shift="space", **_TEN),
    "swin3d_micro_no_shift": SwinAblationConfig(shift="none", **_TEN),
    # Small ones.
    "c3d_micro": C3DConfig(width=16, fc_width=256, **_MICRO),
    "i3d_micro": InceptionConfig(width=32, **_MICRO),
    "s3d_micro": _S3D.replace(width=32, **_MICRO),
    "s3dg_micro": _S3D.replace(width=32, gate="plain", **_MICRO),
    "p3d_micro": P3DConfig(depths=(3, 4, 6, 3), width=20, **_MICRO),
    "r3d_micro": VideoResNetConfig(convs="r3d", width=20, **_MICRO),
    "mc3_micro": VideoResNetConfig(convs="mc3", width=32, **_MICRO),
    "r2plus1d_micro": _R21D_MICRO,
    "c2d_r50_micro": _C2D.replace(**_SMALL_R50),
    "i3d_r50_micro": _I3D_R50.replace(**_SMALL_R50),
    "slowonly_r50_micro": _SLOWONLY.replace(**_SMALL_R50),
    "i3d_r50_nl_micro": _I3D_R50.replace(**_NL | _SMALL_R50),
    "i3d_r50_gc_micro": _I3D_R50.replace(**_GC | _SMALL_R50),
    "i3d_r50_dnl_micro": _I3D_R50.replace(**_DNL | _SMALL_R50),
    "vit_micro": ViTConfig(**_SMALL_VIT),
    "deit_micro_distilled": ViTConfig(distilled=True, second_head=True, **_SMALL_VIT),
    "vtn_micro": VTNConfig(**_SMALL_VIT | {"depth": 4, "temporal_depth": 1}),
    **{
        f"timesformer_micro_{kind}": TimeSformerConfig(attention=kind, **_SMALL_VIT | _EVEN.get(kind, {}))
        for kind in _TIMESFORMERS
    },
    "mvit_v1_micro": MViTConfig(embed_dim=32, depth=10, scale_at=(1, 3, 8), **_MICRO),
    "mvit_v2_micro": _MVIT_V2.replace(embed_dim=32, depth=10, scale_at=(1, 3, 8), **_MICRO),
    **{f"vivit_micro_model{n}": ViViTConfig(model=n, temporal_depth=2 if n == 2 else 4, **_SMALL_VIT) for n in _VIVITS},
}


def get_config(name: str) -> ModelConfig:
    """The configuration of a name; an unknown one is a :class:`ConfigError` with the nearest valid name."""
    if name not in CONFIGS:
        raise ConfigError(f'There is no model "{name}". {nearest(name, CONFIGS)}')
    return CONFIGS[name]


@overload
def create_model(
    name_or_config: SwinName | SwinConfig, num_classes: int | None = None, **overrides: Any
) -> VideoSwin: ...
@overload
def create_model(name_or_config: str | ModelConfig, num_classes: int | None = None, **overrides: Any) -> VideoModel: ...
def create_model(name_or_config: str | ModelConfig, num_classes: int | None = None, **overrides: Any) -> VideoModel:
    """A model with fresh weights: (B, 3, T, H, W) -> (B, num_classes).

    Args:
        name_or_config: a name of ``CONFIGS`` ("swin3d_t", "i3d_r50", "timesformer_b_divided", ...) or a configuration.
        num_classes: outputs of the head; 0 for features only; None for the configuration's own.
        overrides: any other field of the configuration, e.g. ``drop_path=0.2`` or ``width=32``.

    Raises:
        ConfigError: an unknown name, field or value.

    >>> model = create_model("r2plus1d_micro", num_classes=10)
    """
    config = get_config(name_or_config) if isinstance(name_or_config, str) else name_or_config
    if num_classes is not None:
        overrides["num_classes"] = num_classes
    return build(config.replace(**overrides))


@overload
def build(config: SwinConfig) -> VideoSwin: ...
@overload
def build(config: ModelConfig) -> VideoModel: ...
def build(config: ModelConfig) -> VideoModel:
    """The model of a configuration of any system."""
    return _CLASSES[type(config)](config)


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """Plain values with the name of the system, ready for JSON."""
    system = getattr(config, "system", "swin")
    return config.to_dict() if system == "swin" else {"system": system, **config.to_dict()}


def config_from_dict(data: Mapping[str, Any]) -> ModelConfig:
    """The inverse of :func:`config_to_dict`; without a system, as in checkpoints of before, Video Swin.

    Raises:
        ConfigError: an unknown system, field or value.
    """
    values = dict(data)
    system = str(values.pop("system", "swin"))
    if system not in _SYSTEMS:
        raise ConfigError(f'There is no system "{system}". {nearest(system, _SYSTEMS)}')
    return _SYSTEMS[system].from_dict(values)
