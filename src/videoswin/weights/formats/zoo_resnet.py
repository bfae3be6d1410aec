"""C2D, I3D and SlowOnly on ResNets, R3D, MC3 and R(2+1)D: the names of their public files."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from videoswin.weights.formats.zoo_rules import (
    CONV2D,
    Change,
    Rule,
    Shapes,
    ZooFamily,
    configured,
    depth,
    need_shape,
    renamed,
)
from videoswin.zoo.context import ContextConfig
from videoswin.zoo.r2plus1d import VideoResNetConfig
from videoswin.zoo.resnet import ResNetConfig

__all__ = ["FAMILIES", "open_questions", "read_resnet"]

_NL = "layer{i}.{j}.context"
_PAIR = Change(lambda t: t[0].flatten(1), lambda t: [t[:, :, None, None]])
"""A 1x1 convolution over pairs of places in the file, a linear layer here."""
_EIGHT = {"clip_len": 8, "conv1_stride_t": 1, "pool1_stride_t": 1}


def _pairs(theirs_conv: str, theirs_bn: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs_conv}.weight", f"{ours}.conv.weight"), Rule(f"{theirs_bn}.{{end}}", f"{ours}.bn.{{end}}")]


def _resnet_rules(
    stem: tuple[str, str], unit: Mapping[str, tuple[str, str]], head: str, context: list[Rule]
) -> tuple[Rule, ...]:
    rules = _pairs(*stem, "conv1")
    for ours, (conv, bn) in unit.items():
        rules += _pairs(conv, bn, f"layer{{i}}.{{j}}.{ours}")
    return (*rules, *context, Rule(f"{head}.{{end}}", "head.fc.{end}"))


_MM_BLOCK = "backbone.layer{i}.{j}"
_MM_NL = f"{_MM_BLOCK}.non_local_block"
_MM = _resnet_rules(
    ("backbone.conv1.conv", "backbone.conv1.bn"),
    {
        part: (f"{_MM_BLOCK}.{part}.conv", f"{_MM_BLOCK}.{part}.bn")
        for part in ("conv1", "conv2", "conv3", "downsample")
    },
    "cls_head.fc_cls",
    [
        # With pooling, g and phi are lists in MMAction2's code: the map, then the pooling.
        *(
            Rule(f"{_MM_NL}.{part}.{dot}conv.{{end}}", f"{_NL}.{part}.{{end}}")
            for part in ("g", "phi")
            for dot in ("0.", "")
        ),
        Rule(f"{_MM_NL}.theta.conv.{{end}}", f"{_NL}.theta.{{end}}"),
        Rule(f"{_MM_NL}.concat_project.conv.weight", f"{_NL}.pair.weight", _PAIR),
        Rule(f"{_MM_NL}.conv_out.conv.{{end}}", f"{_NL}.out.{{end}}"),
        Rule(f"{_MM_NL}.conv_out.bn.{{end}}", f"{_NL}.bn.{{end}}"),
    ],
)
_SF_BLOCK = "s{i+1}.pathway0_res{j}"
_SF_NL = "s{i+1}.pathway0_nonlocal{j}"
_SF = _resnet_rules(
    ("s1.pathway0_stem.conv", "s1.pathway0_stem.bn"),
    {
        **{ours: (f"{_SF_BLOCK}.branch2.{n}", f"{_SF_BLOCK}.branch2.{n}_bn") for ours, n in (("conv1", "a"), ("conv2", "b"), ("conv3", "c"))},
        "downsample": (f"{_SF_BLOCK}.branch1", f"{_SF_BLOCK}.branch1_bn"),
    },
    "head.projection",
    [
        *(Rule(f"{_SF_NL}.conv_{part}.{{end}}", f"{_NL}.{part}.{{end}}") for part in ("theta", "phi", "g", "out")),
        Rule(f"{_SF_NL}.bn.{{end}}", f"{_NL}.bn.{{end}}"),
    ],
)  # fmt: skip


def _ptv_rules(pool2: bool) -> tuple[Rule, ...]:
    """Stages are counted with the poolings between them: with pool2, stage 1 is blocks.1 and stage 2 is blocks.3."""
    stages = {1: 1} | {i: i + 1 if pool2 else i for i in (2, 3, 4)}
    rules = _pairs("blocks.0.conv", "blocks.0.norm", "conv1")
    for ours, place in stages.items():
        block = f"blocks.{place}.res_blocks.{{j}}"
        unit = {"conv1": ("branch2.conv_a", "branch2.norm_a"), "conv2": ("branch2.conv_b", "branch2.norm_b"),
                "conv3": ("branch2.conv_c", "branch2.norm_c"), "downsample": ("branch1_conv", "branch1_norm")}  # fmt: skip
        for part, (conv, bn) in unit.items():
            rules += _pairs(f"{block}.{conv}", f"{block}.{bn}", f"layer{ours}.{{j}}.{part}")
    return (*rules, Rule(f"blocks.{6 if pool2 else 5}.proj.{{end}}", "head.fc.{end}"))


def read_resnet(family: str, rules: tuple[Rule, ...], defaults: Mapping[str, Any]) -> Any:
    """The configuration from shapes under our names, which the rules give."""

    def read(shapes: Shapes, given: Mapping[str, Any]) -> ResNetConfig:
        ours = renamed(rules, shapes)
        conv1 = need_shape(ours, "conv1.conv.weight")
        depths = tuple(n for i in range(1, 9) if (n := depth(ours, f"layer{i}.{{i}}.conv1.conv.weight")))
        kernels = tuple(
            tuple(ours[f"layer{i + 1}.{j}.conv1.conv.weight"][2] for j in range(n)) for i, n in enumerate(depths)
        )
        places = tuple(
            tuple(j for j in range(n) if f"layer{i + 1}.{j}.context.g.weight" in ours) for i, n in enumerate(depths)
        )
        settings: dict[str, Any] = {
            "depths": depths, "width": conv1[0], "in_channels": conv1[1], "conv1_kernel_t": conv1[2],
            "kernels_t": kernels, "num_classes": ours.get("head.fc.weight", (0,))[0],
        }  # fmt: skip
        if family in ("mmaction2", "slowfast") and conv1[2] == 1:  # C2D, SlowOnly: 8 frames, none of them skipped
            settings |= {**_EIGHT, "pool2": not _slow(kernels)}
        if any(places):
            settings |= {"context": _read_context(ours, shapes, family), "context_at": places}
        return configured(ResNetConfig, given, **dict(defaults) | settings)

    return read


def _slow(kernels: tuple[tuple[int, ...], ...]) -> bool:
    """Whether only late stages look along time: SlowOnly."""
    return not any(n > 1 for n in kernels[0]) and any(n > 1 for stage in kernels for n in stage)


def open_questions(config: ResNetConfig) -> tuple[str, ...]:
    """What no shape tells: C2D was published with pool2 and without; and how a non-local block compares."""
    flat = not any(n > 1 for stage in config.kernels_t for n in stage)
    alike = config.context is not None and config.context.mode in ("embedded_gaussian", "dot_product")
    return (*(("pool2",) if flat else ()), *(("context.mode",) if alike else ()))


def _read_context(ours: Shapes, theirs: Shapes, family: str) -> ContextConfig:
    inner, channels = next(shape[:2] for name, shape in ours.items() if name.endswith("context.g.weight"))
    gaussian = not any(name.endswith("context.theta.weight") for name in ours)
    if family == "slowfast":
        return ContextConfig(subsample="before", out_bias=True, reduction=channels // inner)
    pooled = any(".g.0.conv." in name for name in theirs)
    pair = any(name.endswith("context.pair.weight") for name in ours)
    return ContextConfig(
        mode="gaussian" if gaussian else "concatenation" if pair else "embedded_gaussian",
        use_scale=False,
        subsample="after" if pooled else "none",
        reduction=channels // inner,
    )


# An image ResNet-50 or -101, from which C2D, I3D and SlowOnly start (zoo/starts.py): kernels have no axis of time.
_IMAGE = (
    Rule("conv1.weight", "conv1.conv.weight", CONV2D),
    Rule("bn1.{end}", "conv1.bn.{end}"),
    Rule("layer{i}.{j}.conv{k:1|2|3}.weight", "layer{i}.{j}.conv{k}.conv.weight", CONV2D),
    Rule("layer{i}.{j}.bn{k:1|2|3}.{end}", "layer{i}.{j}.conv{k}.bn.{end}"),
    Rule("layer{i}.{j}.downsample.0.weight", "layer{i}.{j}.downsample.conv.weight", CONV2D),
    Rule("layer{i}.{j}.downsample.1.{end}", "layer{i}.{j}.downsample.bn.{end}"),
    Rule("fc.{end}", "head.fc.{end}"),
)

RESNET_MMACTION2 = ZooFamily(
    name="resnet_mmaction2",
    title="C2D, I3D or SlowOnly on a ResNet, MMAction2",
    rules=_MM,
    requires=(r"backbone\.conv1\.conv\.weight", r"backbone\.layer1\.0\.conv3\.conv\.weight"),
    axes=("backbone.conv1.conv.weight", 5),
    read=read_resnet("mmaction2", _MM, {}),
    asks=("pool2", "context.mode"),
    asks_of=open_questions,
    says=(
        "conv1 and pool1 halve time (32x2) if conv1 is longer than a frame; conv1_stride_t=1, pool1_stride_t=1 for others",
        "non-local blocks pool after their maps and do not scale, as MMAction2's published files",
    ),
)
# MMAction2's C2D is a network for images with poolings between: kernels have no axis of time.
_MM_2D = tuple(
    replace(rule, change=CONV2D) if rule.ours.endswith(".conv.weight") else rule
    for rule in _MM
    if "non_local" not in str(rule.theirs)
)


def _read_mm_2d(shapes: Shapes, given: Mapping[str, Any]) -> ResNetConfig:
    ours = renamed(_MM_2D, shapes)
    conv1 = need_shape(ours, "conv1.conv.weight")
    depths = tuple(n for i in range(1, 9) if (n := depth(ours, f"layer{i}.{{i}}.conv1.conv.weight")))
    settings: dict[str, Any] = {
        **_EIGHT, "depths": depths, "width": conv1[0], "in_channels": conv1[1], "conv1_kernel_t": 1,
        "kernels_t": ((1,),) * len(depths), "pool1_padding": not given.get("pool2", True),
        "num_classes": ours.get("head.fc.weight", (0,))[0],
    }  # fmt: skip
    return configured(ResNetConfig, given, **settings)


RESNET_MMACTION2_2D = ZooFamily(
    name="resnet_mmaction2_2d",
    title="C2D on a ResNet, MMAction2",
    rules=_MM_2D,
    requires=(r"backbone\.conv1\.conv\.weight", r"backbone\.layer1\.0\.conv3\.conv\.weight"),
    axes=("backbone.conv1.conv.weight", 4),
    read=_read_mm_2d,
    asks=("pool2",),
    says=("with pool2, pool1 is not padded (112 rows become 55), as MMAction2's code; without, it is",),
)
RESNET_SLOWFAST = ZooFamily(
    name="resnet_slowfast",
    title="C2D, I3D or SlowOnly on a ResNet, SlowFast",
    rules=_SF,
    requires=(r"s1\.pathway0_stem\.conv\.weight", r"s2\.pathway0_res0\.branch2\.c\.weight"),
    forbids=(r"s1\.pathway1_stem\.conv\.weight",),
    read=read_resnet("slowfast", _SF, _EIGHT),
    asks=("pool2", "context.mode"),
    asks_of=open_questions,
    says=("conv1 and pool1 keep all frames, as the 8x8 models", "non-local blocks pool before their maps and scale"),
)
_PTV, _PTV_FLAT = _ptv_rules(pool2=True), _ptv_rules(pool2=False)
RESNET_PYTORCHVIDEO = ZooFamily(
    name="resnet_pytorchvideo",
    title="C2D or I3D on a ResNet, pytorchvideo",
    rules=_PTV,
    requires=(
        r"blocks\.0\.conv\.weight",
        r"blocks\.3\.res_blocks\.0\.branch2\.conv_a\.weight",
    ),
    forbids=(r"blocks\.2\.res_blocks\..*",),  # stands in the place of pool2
    read=read_resnet("pytorchvideo", _PTV, _EIGHT),
)
RESNET_PYTORCHVIDEO_FLAT = ZooFamily(
    name="resnet_pytorchvideo_flat",
    title="SlowOnly on a ResNet, pytorchvideo",
    rules=_PTV_FLAT,
    requires=(r"blocks\.0\.conv\.weight", r"blocks\.2\.res_blocks\.0\.branch2\.conv_a\.weight"),
    read=read_resnet("pytorchvideo", _PTV_FLAT, {**_EIGHT, "pool2": False}),
)  # fmt: skip


def _read_image(shapes: Shapes, given: Mapping[str, Any]) -> ResNetConfig:
    ours = renamed(_IMAGE, shapes)
    conv1 = need_shape(ours, "conv1.conv.weight")
    depths = tuple(n for i in range(1, 9) if (n := depth(ours, f"layer{i}.{{i}}.conv3.conv.weight")))
    settings: dict[str, Any] = {
        "clip_len": 1, "depths": depths, "width": conv1[0], "in_channels": conv1[1], "conv1_kernel_t": 1,
        "conv1_stride_t": 1, "pool1_stride_t": 1, "pool2": False, "kernels_t": ((1,),) * len(depths),
        "num_classes": ours.get("head.fc.weight", (0,))[0],
    }  # fmt: skip
    return configured(ResNetConfig, given, **settings)


RESNET_IMAGE = ZooFamily(
    name="resnet_torchvision_2d",
    title="ResNet-50 or -101 for images, torchvision",
    rules=_IMAGE,
    requires=(r"conv1\.weight", r"bn1\.running_mean", r"layer1\.0\.conv3\.weight"),
    read=_read_image,
    says=("an image network, averaged over frames; a video model starts from it by start_from_image",),
)


def _r2plus1d_torchvision() -> tuple[Rule, ...]:
    block = "layer{i}.{j}.conv{k:1|2}"
    stem = [
        Rule("stem.3.weight", "stem.conv.temporal.weight"),
        Rule("stem.4.{end}", "stem.bn.{end}"),
        Rule("stem.0.weight", "stem.conv.spatial.weight"),
        Rule("stem.1.{end}", "stem.conv.bn.{end}"),
    ]
    factorised = [
        Rule(f"{block}.0.0.weight", f"{block}.conv.spatial.weight"),
        Rule(f"{block}.0.1.{{end}}", f"{block}.conv.bn.{{end}}"),
        Rule(f"{block}.0.3.weight", f"{block}.conv.temporal.weight"),
    ]
    return (*stem, *factorised, *_R3D_COMMON)


_R3D_BLOCK = "layer{i}.{j}.conv{k:1|2}"
_R3D_COMMON = (
    Rule(f"{_R3D_BLOCK}.1.{{end}}", f"{_R3D_BLOCK}.bn.{{end}}"),
    Rule("layer{i}.{j}.downsample.0.weight", "layer{i}.{j}.downsample.conv.weight"),
    Rule("layer{i}.{j}.downsample.1.{end}", "layer{i}.{j}.downsample.bn.{end}"),
    Rule("fc.{end}", "head.fc.{end}"),
)
_R3D_RULES = (
    Rule("stem.0.weight", "stem.conv.weight"),
    Rule("stem.1.{end}", "stem.bn.{end}"),
    Rule(f"{_R3D_BLOCK}.0.weight", f"{_R3D_BLOCK}.conv.weight"),
    *_R3D_COMMON,
)
_MM_R2 = "backbone.layer{i}.{j}.{part:conv1|conv2|downsample}"
_R2_MM_RULES = (
    *(
        rule
        for theirs, ours in (("backbone.conv1", "stem"), (_MM_R2, "layer{i}.{j}.{part}"))
        for rule in (
            Rule(f"{theirs}.conv.conv_s.weight", f"{ours}.conv.spatial.weight"),
            Rule(f"{theirs}.conv.bn_s.{{end}}", f"{ours}.conv.bn.{{end}}"),
            Rule(f"{theirs}.conv.conv_t.weight", f"{ours}.conv.temporal.weight"),
            Rule(f"{theirs}.bn.{{end}}", f"{ours}.bn.{{end}}"),
        )
    ),
    Rule("cls_head.fc_cls.{end}", "head.fc.{end}"),
)


def _read_r3d(shapes: Shapes, given: Mapping[str, Any]) -> VideoResNetConfig:
    stem = need_shape(shapes, "stem.0.weight")
    depths = tuple(n for i in range(1, 9) if (n := depth(shapes, f"layer{i}.{{i}}.conv2.0.weight")))
    flat = shapes.get("layer2.0.conv1.0.weight", (0, 0, 3))[2] == 1
    settings: dict[str, Any] = {
        "convs": "mc3" if flat else "r3d", "depths": depths, "width": stem[0], "in_channels": stem[1],
        "num_classes": shapes.get("fc.weight", (0,))[0],
    }  # fmt: skip
    return configured(VideoResNetConfig, given, **settings)


def _read_r2plus1d(shapes: Shapes, given: Mapping[str, Any]) -> VideoResNetConfig:
    width = need_shape(shapes, "stem.3.weight")[0]
    depths = tuple(n for i in range(1, 9) if (n := depth(shapes, f"layer{i}.{{i}}.conv2.0.0.weight")))
    # The second convolution of the first block that widens tells the rule; the authors' files also have another eps.
    per_conv = len(depths) > 1 and shapes["layer2.0.conv2.0.0.weight"][0] != shapes["layer2.0.conv1.0.0.weight"][0]
    settings: dict[str, Any] = {
        "depths": depths, "width": width, "in_channels": need_shape(shapes, "stem.0.weight")[1],
        "middle": "conv" if per_conv else "block",
        "eps": 1e-3 if per_conv else 1e-5, "middle_eps": 1e-3 if per_conv else 1e-5,
        "num_classes": shapes.get("fc.weight", (0,))[0],
    }  # fmt: skip
    return configured(VideoResNetConfig, given, **settings)


def _read_r2plus1d_mmaction2(shapes: Shapes, given: Mapping[str, Any]) -> VideoResNetConfig:
    width = need_shape(shapes, "backbone.conv1.conv.conv_t.weight")[0]
    depths = tuple(n for i in range(1, 9) if (n := depth(shapes, f"backbone.layer{i}.{{i}}.conv1.conv.conv_s.weight")))
    settings: dict[str, Any] = {
        "depths": depths, "width": width, "in_channels": need_shape(shapes, "backbone.conv1.conv.conv_s.weight")[1],
        "middle": "conv", "stem": "pooled", "shortcut": "factorised", "eps": 1e-3, "dropout": 0.5, "crop_size": 224,
        "clip_len": 8, "num_classes": shapes.get("cls_head.fc_cls.weight", (0,))[0],
    }  # fmt: skip
    return configured(VideoResNetConfig, given, **settings)


R3D_TORCHVISION = ZooFamily(
    name="r3d_torchvision",
    title="R3D or MC3, torchvision",
    rules=_R3D_RULES,
    requires=(r"stem\.0\.weight", r"layer1\.0\.conv1\.0\.weight"),
    read=_read_r3d,
)
R2PLUS1D_TORCHVISION = ZooFamily(
    name="r2plus1d_torchvision",
    title="R(2+1)D, torchvision's layout (torchvision, ig65m)",
    rules=_r2plus1d_torchvision(),
    requires=(r"stem\.3\.weight", r"layer1\.0\.conv1\.0\.3\.weight"),
    read=_read_r2plus1d,
    says=("middle width read from layer2.0.conv2; per convolution, batch norms have eps 1e-3 (files from Caffe2)",),
)
R2PLUS1D_MMACTION2 = ZooFamily(
    name="r2plus1d_mmaction2",
    title="R(2+1)D, MMAction2",
    rules=_R2_MM_RULES,
    requires=(r"backbone\.conv1\.conv\.conv_s\.weight",),
    read=_read_r2plus1d_mmaction2,
    says=("batch norms have eps 1e-3, the stem is pooled",),
)

FAMILIES = (
    RESNET_IMAGE, RESNET_MMACTION2, RESNET_MMACTION2_2D, RESNET_SLOWFAST, RESNET_PYTORCHVIDEO, RESNET_PYTORCHVIDEO_FLAT,
    R3D_TORCHVISION, R2PLUS1D_TORCHVISION, R2PLUS1D_MMACTION2,
)  # fmt: skip
