"""The models that others published: where they are, what they are, and how well they did, as their makers say.

Nothing here was measured by us, and no address was tried where this was written: sources are the read-me files and
configurations of the four code bases, named in ``source``. What is not known is not guessed: files whose names carry no
part of their SHA-256 have ``sha256=None``. What is downloaded for them has to be a whole file of this family and
architecture, and later loads are held to the sum of that first download.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from videoswin.errors import WeightsError
from videoswin.model.config import SwinConfig
from videoswin.model.presets import PRESETS

if TYPE_CHECKING:  # these names are looked up before PyTorch is imported
    from videoswin.weights.load_report import LoadReport

__all__ = ["PUBLISHED", "PublishedModel"]


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """One published file of weights."""

    name: str
    """What ``videoswin.load`` and ``videoswin.inflate`` call it."""
    file: str
    url: str
    sha256: str | None = None
    """As much of the hexadecimal SHA-256 as the file's name carries; None: nothing is known before the first download."""
    family: str
    """Whose names its tensors have: one of :data:`videoswin.weights.formats.FAMILIES`."""
    publisher: str
    licence: str
    data: str
    """The data set whose classes it names: "kinetics400", "kinetics700", "imagenet1k" ..."""
    pretraining: str = ""
    config: SwinConfig
    """The architecture, which the downloaded file has to have."""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    """Fields of :class:`~videoswin.data.preprocessing.Preprocessing`: the publisher's test protocol."""
    views: str = ""
    """Clips x crops of that protocol."""
    protocol: str = ""
    """The same in words."""
    top1: float | None = None
    """Percent, as published, by ``protocol``."""
    top5: float | None = None
    parameters_m: float
    """Millions of parameters, with the head."""
    gmacs: float
    """Multiply-adds of one view of 32 x 224 x 224 (images: of one image), in 1e9, as the authors' tables count."""
    source: str
    """Where the figures are from."""

    @property
    def kind(self) -> Literal["video", "image"]:
        return "image" if self.config.patch_size[0] == 1 else "video"

    @property
    def figures(self) -> str:
        """How well it did, in one sentence; empty if nothing was published."""
        if self.top1 is None:
            return ""
        return (
            f"Published, not measured here: top-1 {self.top1} %, top-5 {self.top5} % on {self.data} ({self.protocol})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {"kind": self.kind, "config": self.config.to_dict(), "preprocessing": dict(self.preprocessing)}

    @property
    def max_bytes(self) -> int:
        """More than any file of this model has: weights in float32, an optimiser's two moments, and index buffers."""
        return int(3 * 4 * self.parameters_m * 1e6) + 2**28

    def require_architecture(self, report: "LoadReport") -> None:
        """Refuse a file that is of another architecture than published, with a :class:`WeightsError`."""
        for name in ("embed_dim", "depths", "num_heads", "window_size"):
            published, found = getattr(self.config, name), getattr(report.config, name)
            if name == "window_size" and self.kind == "image":  # an inflated model has the time that it was given
                published, found = published[1:], found[1:]
            if published != found:
                reason = f"it should be {self.name}, whose {name} is {published}, and has {found}"
                raise WeightsError(report.path, reason, "Remove the file, and it will be downloaded again")

    def require_file(self, report: "LoadReport") -> None:
        """Refuse a file that is not this model's, whole, with its own head, with a :class:`WeightsError`.

        Args:
            report: of :func:`~videoswin.weights.checkpoint.inspect_checkpoint`.
        """
        self.require_architecture(report)
        faults = {
            f"its tensors are named as by {report.family}, not {self.family}": report.family != self.family,
            f"it has {report.config.num_classes} classes, not {self.config.num_classes}": (
                report.config.num_classes != self.config.num_classes
            ),
            f"{len(report.missing)} tensors are missing": report.missing,
            f"{len(report.wrong_shape)} tensors are of another shape": report.wrong_shape,
        }
        for reason, is_so in faults.items():
            if is_so:
                raise WeightsError(report.path, f"it should be {self.name}: {reason}", "Find the file elsewhere")


# The publishers -------------------------------------------------------------------------------------------------------

_OFFICIAL_URL = "https://github.com/SwinTransformer/storage/releases/download/v1.0.4/"
_FOUR_BY_THREE: dict[str, Any] = {
    "preprocessing": {"sampling": "interval", "frame_interval": 2, "short_side": 224},
    "views": "4x3",
    "protocol": "4 clips x 3 crops, 32 frames, every second one, short side 224",
}
_UNIFORM: dict[str, Any] = {
    "preprocessing": {"sampling": "uniform", "short_side": 224},
    "views": "1x3",
    "protocol": "1 clip x 3 crops, 32 frames over the whole video, short side 224",
}
_CENTRES: dict[str, Any] = {
    "preprocessing": {"sampling": "time", "fps": 15.0, "short_side": 256},
    "views": "12x1",
    "protocol": "12 clips x centre crop, 32 frames at 15 frames per second, short side 256",
}
_T, _S, _B, _L = (PRESETS[f"swin3d_{size}"] for size in "tsbl")
_B16 = PRESETS["swin3d_b_ssv2"]


def _official(name: str, file: str, data: str, config: SwinConfig, pretraining: str, **figures: Any) -> PublishedModel:
    return PublishedModel(
        name=name,
        file=file,
        url=_OFFICIAL_URL + file,
        family="official",
        publisher="SwinTransformer/Video-Swin-Transformer",
        licence="Apache-2.0",
        data=data,
        pretraining=pretraining,
        config=config,
        source="README.md of SwinTransformer/Video-Swin-Transformer",
        **figures,
    )


def _torchvision(name: str, file: str, config: SwinConfig, pretraining: str, **figures: Any) -> PublishedModel:
    return PublishedModel(
        name=name,
        file=file,
        url="https://download.pytorch.org/models/" + file,
        sha256=file.removesuffix(".pth").rpartition("-")[2],
        family="torchvision_3d",
        publisher="pytorch/vision",
        licence="BSD-3-Clause (the code; the weights are the official ones, Apache-2.0)",
        data="kinetics400",
        pretraining=pretraining,
        config=config,
        # Their own table mixes accuracies of 32 frames with multiply-adds of 16; here both are of 32.
        source="torchvision/models/video/swin_transformer.py of pytorch/vision; cost: 32 frames, as the official table",
        **_CENTRES,
        **figures,
    )


def _mmaction2(
    name: str, run: str, date: str, sha256: str, config: SwinConfig, data: str, **figures: Any
) -> PublishedModel:
    """``sha256``: what MMAction2's tools/deployment/publish_model.py puts at the end of the file's name."""
    file = f"{run}_{date}-{sha256}.pth"
    return PublishedModel(
        name=name,
        file=file,
        url=f"https://download.openmmlab.com/mmaction/v1.0/recognition/swin/{run}/{file}",
        sha256=sha256,
        family="mmaction2",
        publisher="open-mmlab/mmaction2",
        licence="Apache-2.0",
        data=data,
        config=config,
        source="configs/recognition/swin/README.md of open-mmlab/mmaction2",
        **_FOUR_BY_THREE,
        **figures,
    )


def _image(name: str, file: str, release: str, config: SwinConfig, data: str, **figures: Any) -> PublishedModel:
    side = 384 if config.window_size[1] == 12 else 224
    return PublishedModel(
        name=name,
        file=file,
        url=f"https://github.com/SwinTransformer/storage/releases/download/{release}/{file}",
        family="microsoft",
        publisher="microsoft/Swin-Transformer",
        licence="MIT",
        data=data,
        config=config.replace(
            window_size=(1, *config.window_size[1:]),
            patch_size=(1, 4, 4),
            num_classes=21841 if data == "imagenet22k" else 1000,
        ),
        protocol=f"images of {side} x {side} pixels" if "top1" in figures else "",
        source="README.md of microsoft/Swin-Transformer",
        **figures,
    )


_MODELS = (
    # The paper's own. No file name carries a sum, and the README gives none.
    _official(
        "swin3d_t_k400", "swin_tiny_patch244_window877_kinetics400_1k.pth", "kinetics400", _T, "ImageNet-1k",
        top1=78.8, top5=93.6, parameters_m=28.2, gmacs=87.9, **_FOUR_BY_THREE,
    ),
    _official(
        "swin3d_s_k400", "swin_small_patch244_window877_kinetics400_1k.pth", "kinetics400", _S, "ImageNet-1k",
        top1=80.6, top5=94.5, parameters_m=49.8, gmacs=165.9, **_FOUR_BY_THREE,
    ),
    _official(
        "swin3d_b_k400", "swin_base_patch244_window877_kinetics400_1k.pth", "kinetics400", _B, "ImageNet-1k",
        top1=80.6, top5=94.6, parameters_m=88.0, gmacs=281.6, **_FOUR_BY_THREE,
    ),
    _official(
        "swin3d_b_k400_in22k", "swin_base_patch244_window877_kinetics400_22k.pth", "kinetics400", _B, "ImageNet-22k",
        top1=82.7, top5=95.5, parameters_m=88.0, gmacs=281.6, **_FOUR_BY_THREE,
    ),
    _official(
        "swin3d_b_k600_in22k", "swin_base_patch244_window877_kinetics600_22k.pth", "kinetics600",
        _B.replace(num_classes=600), "ImageNet-22k",
        top1=84.0, top5=96.5, parameters_m=88.3, gmacs=281.6, **_FOUR_BY_THREE,
    ),
    _official(
        "swin3d_b_ssv2", "swin_base_patch244_window1677_sthv2.pth", "something_something_v2", _B16, "Kinetics-400",
        top1=69.6, top5=92.7, parameters_m=88.8, gmacs=320.6, **_UNIFORM,
    ),
    # What the one above started from: a start for training. No figures were published.
    _official(
        "swin3d_b_k400_in22k_window16", "swin_base_patch244_window1677_kinetics400_22k.pth", "kinetics400",
        _B16.replace(num_classes=400), "ImageNet-22k",
        parameters_m=89.1, gmacs=320.6,
        preprocessing=_FOUR_BY_THREE["preprocessing"],
    ),
    # Ported by torchvision from the paper's. Other figures because of another protocol.
    _torchvision(
        "swin3d_t_k400_torchvision", "swin3d_t-7615ae03.pth", _T, "ImageNet-1k",
        top1=77.715, top5=93.519, parameters_m=28.2, gmacs=87.9,
    ),
    _torchvision(
        "swin3d_s_k400_torchvision", "swin3d_s-da41c237.pth", _S, "ImageNet-1k",
        top1=79.521, top5=94.158, parameters_m=49.8, gmacs=165.9,
    ),
    _torchvision(
        "swin3d_b_k400_torchvision", "swin3d_b_1k-24f7c7c6.pth", _B, "ImageNet-1k",
        top1=79.427, top5=94.386, parameters_m=88.0, gmacs=281.6,
    ),
    _torchvision(
        "swin3d_b_k400_in22k_torchvision", "swin3d_b_22k-7c6ae6fa.pth", _B, "ImageNet-22k",
        top1=81.643, top5=95.574, parameters_m=88.0, gmacs=281.6,
    ),
    # Trained again by MMAction2, the only public Swin-L.
    _mmaction2(
        "swin3d_t_k400_mmaction2", "swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb",
        "20220930", "241016b2", _T, "kinetics400", pretraining="ImageNet-1k",
        top1=78.90, top5=93.77, parameters_m=28.2, gmacs=88.0,
    ),
    _mmaction2(
        "swin3d_s_k400_mmaction2", "swin-small-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb",
        "20220930", "e91ab986", _S, "kinetics400", pretraining="ImageNet-1k",
        top1=80.54, top5=94.46, parameters_m=49.8, gmacs=166.0,
    ),
    _mmaction2(
        "swin3d_b_k400_mmaction2", "swin-base-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb",
        "20220930", "182ec6cc", _B, "kinetics400", pretraining="ImageNet-1k",
        top1=80.57, top5=94.49, parameters_m=88.0, gmacs=282.0,
    ),
    _mmaction2(
        "swin3d_l_k400_mmaction2", "swin-large-p244-w877_in22k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb",
        "20220930", "78ad8b11", _L, "kinetics400", pretraining="ImageNet-22k",
        top1=83.46, top5=95.91, parameters_m=197.0, gmacs=604.0,
    ),
    _mmaction2(
        "swin3d_l_k700_mmaction2", "swin-large-p244-w877_in22k-pre_16xb8-amp-32x2x1-30e_kinetics700-rgb",
        "20220930", "f8d74db7", _L.replace(num_classes=700), "kinetics700", pretraining="ImageNet-22k",
        top1=75.92, top5=92.72, parameters_m=197.4, gmacs=604.0,
    ),
    # Its row in their table has Swin-L's size and cost, a slip of the pen; here are Swin-S's.
    _mmaction2(
        "swin3d_s_k710_mmaction2", "swin-small-p244-w877_in1k-pre_32xb4-amp-32x2x1-30e_kinetics710-rgb",
        "20230612", "8e082ff1", _S.replace(num_classes=710), "kinetics710", pretraining="ImageNet-1k",
        top1=76.90, top5=92.96, parameters_m=50.1, gmacs=166.0,
    ),
    # Image models to inflate. The figures of the 22k files themselves were not published, only of their descendants.
    _image(
        "swin2d_t_in1k", "swin_tiny_patch4_window7_224.pth", "v1.0.0", _T, "imagenet1k",
        top1=81.2, top5=95.5, parameters_m=28, gmacs=4.5,
    ),
    _image(
        "swin2d_s_in1k", "swin_small_patch4_window7_224.pth", "v1.0.0", _S, "imagenet1k",
        top1=83.2, top5=96.2, parameters_m=50, gmacs=8.7,
    ),
    _image(
        "swin2d_b_in1k", "swin_base_patch4_window7_224.pth", "v1.0.0", _B, "imagenet1k",
        top1=83.5, top5=96.5, parameters_m=88, gmacs=15.4,
    ),
    _image(
        "swin2d_t_in22k", "swin_tiny_patch4_window7_224_22k.pth", "v1.0.8", _T, "imagenet22k",
        parameters_m=44, gmacs=4.5,
    ),
    _image(
        "swin2d_s_in22k", "swin_small_patch4_window7_224_22k.pth", "v1.0.8", _S, "imagenet22k",
        parameters_m=66, gmacs=8.7,
    ),
    _image(
        "swin2d_b_in22k", "swin_base_patch4_window7_224_22k.pth", "v1.0.0", _B, "imagenet22k",
        parameters_m=109, gmacs=15.4,
    ),
    _image(
        "swin2d_l_in22k", "swin_large_patch4_window7_224_22k.pth", "v1.0.0", _L, "imagenet22k",
        parameters_m=229, gmacs=34.5,
    ),
    _image(
        "swin2d_l_in22k_384", "swin_large_patch4_window12_384_22k.pth", "v1.0.0", PRESETS["swin3d_l_384"], "imagenet22k",
        parameters_m=229, gmacs=103.9,
    ),
)  # fmt: skip

PUBLISHED: Mapping[str, PublishedModel] = {model.name: model for model in _MODELS}
"""All of them by name, video models first."""
