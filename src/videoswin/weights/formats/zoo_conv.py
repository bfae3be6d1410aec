"""C3D, I3D and S3D, P3D: the names of their public files."""

from collections.abc import Mapping
from typing import Any

from videoswin.weights.formats.zoo_rules import AS_CONV, CONV2D, Rule, Shapes, ZooFamily, configured, depth, need_shape
from videoswin.zoo.c3d import C3DConfig
from videoswin.zoo.inception import InceptionConfig
from videoswin.zoo.p3d import P3DConfig

__all__ = ["FAMILIES"]

_C3D_NAMES = ("1a", "2a", "3a", "3b", "4a", "4b", "5a", "5b")
_STAGE = {name: int(name[0]) - 1 for name in _C3D_NAMES}


def _c3d_rules(conv: dict[str, str], fc: str, head: str) -> tuple[Rule, ...]:
    rules = [Rule(f"{conv[n]}.{{end}}", f"stages.{_STAGE[n]}.conv{n}.{{end}}") for n in _C3D_NAMES]
    rules += [Rule(f"{fc}fc{i}.{{end}}", f"fc{i}.{{end}}") for i in (6, 7)]
    return (*rules, Rule(f"{head}.{{end}}", "head.fc.{end}"))


def _read_c3d(conv1: str, fc6: str, head: str, pool5: str) -> Any:
    def read(shapes: Shapes, given: Mapping[str, Any]) -> C3DConfig:
        first = need_shape(shapes, f"{conv1}.weight")
        wide = need_shape(shapes, f"{fc6}.weight")
        places = wide[1] // (8 * first[0])  # of the last map, one step in time
        side = round(places**0.5)
        crop = 16 * (2 * side if given.get("pool5", pool5) == "floor" else 2 * side - 1)
        settings: dict[str, Any] = {
            "width": first[0],
            "in_channels": first[1],
            "fc_width": wide[0],
            "crop_size": crop,
            "pool5": pool5,
            "num_classes": shapes.get(f"{head}.weight", (0,))[0],
        }
        return configured(C3DConfig, given, **settings)

    return read


_DAVIDEA = {"1a": "conv1", "2a": "conv2"} | {n: f"conv{n}" for n in _C3D_NAMES[2:]}
_MM_C3D = {n: f"backbone.conv{n}.conv" for n in _C3D_NAMES}
_JF = dict(zip(_C3D_NAMES, (f"features.{i}" for i in (0, 3, 6, 8, 11, 13, 16, 18)), strict=True))

C3D_SPORTS1M = ZooFamily(
    name="c3d_sports1m",
    title="C3D, Sports-1M (Caffe's weights under PyTorch names)",
    rules=_c3d_rules(_DAVIDEA, "", "fc8"),
    requires=(r"conv1\.weight", r"conv2\.weight", r"conv5b\.weight", r"fc6\.weight"),
    read=_read_c3d("conv1", "fc6", "fc8", "ceil"),
    says=("pool5 rounds up without padding, as the Caffe original that these weights come from",),
)
C3D_MMACTION2 = ZooFamily(
    name="c3d_mmaction2",
    title="C3D, MMAction2",
    rules=_c3d_rules(_MM_C3D, "backbone.", "cls_head.fc_cls"),
    requires=(r"backbone\.conv1a\.conv\.weight", r"backbone\.fc6\.weight"),
    read=_read_c3d("backbone.conv1a.conv", "backbone.fc6", "cls_head.fc_cls", "padded"),
    says=("pool5 is padded, as MMAction2's code",),
)
# The backbone that MMAction2's configurations start from: Caffe's weights, without a head and without "backbone.".
_MM_BARE = {n: f"conv{n}.conv" for n in _C3D_NAMES}
C3D_MMACTION2_BACKBONE = ZooFamily(
    name="c3d_mmaction2_backbone",
    title="C3D, Sports-1M (Caffe's weights, MMAction2's backbone)",
    rules=_c3d_rules(_MM_BARE, "", "fc8"),
    requires=(r"conv1a\.conv\.weight", r"conv5b\.conv\.weight", r"fc6\.weight"),
    read=_read_c3d("conv1a.conv", "fc6", "fc8", "ceil"),
    says=("pool5 rounds up without padding, as the Caffe original that these weights come from",),
)

_MIXED = "{m:3b|3c|4b|4c|4d|4e|4f|5b|5c}"
_FOLDS = {"b0": "b0", "b1a": "b1.0", "b1b": "b1.1", "b2a": "b2.0", "b2b": "b2.1", "b3b": "b3.1"}
_HASSONY = {
    "branch_0": "b0", "branch_1.0": "b1.0", "branch_1.1": "b1.1", "branch_2.0": "b2.0", "branch_2.1": "b2.1",
    "branch_3.1": "b3.1",
}  # fmt: skip


def _i3d_rules(stem: str, mixed: str, branches: Mapping[str, str], conv: str, bn: str, head: str) -> tuple[Rule, ...]:
    rules = []
    for name, ours in (("1a_7x7", "conv1a"), ("2b_1x1", "conv2b"), ("2c_3x3", "conv2c")):
        rules += [Rule(f"{stem}_{name}.{conv}.weight", f"{ours}.conv.weight")]
        rules += [Rule(f"{stem}_{name}.{bn}.{{end}}", f"{ours}.bn.{{end}}")]
    for theirs, ours in branches.items():
        rules += [Rule(f"{mixed}_{_MIXED}.{theirs}.{conv}.weight", f"mixed{{m}}.{ours}.conv.weight")]
        rules += [Rule(f"{mixed}_{_MIXED}.{theirs}.{bn}.{{end}}", f"mixed{{m}}.{ours}.bn.{{end}}")]
    return (*rules, Rule(f"{head}.weight", "head.fc.weight", AS_CONV), Rule(f"{head}.bias", "head.fc.bias"))


def _read_i3d(stem: str, head: str) -> Any:
    def read(shapes: Shapes, given: Mapping[str, Any]) -> InceptionConfig:
        first = need_shape(shapes, f"{stem}_1a_7x7.{'batch3d' if stem[0] == 'c' else 'bn'}.weight")
        channels = need_shape(shapes, f"{stem}_1a_7x7.conv3d.weight")[1]
        classes = shapes.get(f"{head}.weight", (0,))[0]
        return configured(InceptionConfig, given, width=first[0], in_channels=channels, num_classes=classes)

    return read


I3D_PIERGIAJ = ZooFamily(
    name="i3d_piergiaj",
    title="I3D Inception, PyTorch (piergiaj)",
    rules=_i3d_rules("Conv3d", "Mixed", _FOLDS, "conv3d", "bn", "logits.conv3d"),
    requires=(r"Conv3d_1a_7x7\.conv3d\.weight", r"Mixed_3b\.b1a\.conv3d\.weight"),
    read=_read_i3d("Conv3d", "logits.conv3d"),
    says=("convolutions and poolings are padded by TensorFlow's rule",),
)
I3D_HASSONY2 = ZooFamily(
    name="i3d_hassony2",
    title="I3D Inception, PyTorch (hassony2)",
    rules=_i3d_rules("conv3d", "mixed", _HASSONY, "conv3d", "batch3d", "conv3d_0c_1x1.conv3d"),
    requires=(r"conv3d_1a_7x7\.conv3d\.weight", r"mixed_3b\.branch_0\.conv3d\.weight"),
    read=_read_i3d("conv3d", "conv3d_0c_1x1.conv3d"),
    says=("odd heights and widths are padded by TensorFlow's rule, where the file's own code differs",),
)

# Places in torchvision's and kylemin's list of the blocks: poolings stand between.
_S3D_PLACES = dict(
    zip(("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"), (5, 6, 8, 9, 10, 11, 12, 14, 15), strict=True)
)
_S3D_BRANCHES = {"branch0": ("b0", False), "branch1.0": ("b1.0", False), "branch1.1": ("b1.1", True),
                 "branch2.0": ("b2.0", False), "branch2.1": ("b2.1", True), "branch3.1": ("b3.1", False)}  # fmt: skip


def _s3d_rules(
    root: str, whole: tuple[str, str], apart: tuple[str, str, str, str], head: str, zero: str
) -> tuple[Rule, ...]:
    """``whole``: names of a unit's convolution and norm; ``apart``: of both of a separated one."""
    places = [(f"{root}.0", "conv1a", True), (f"{root}.2", "conv2b", False), (f"{root}.3", "conv2c", True)]
    for name, n in _S3D_PLACES.items():
        for theirs, (ours, separated) in _S3D_BRANCHES.items():
            # A branch of one layer: torchvision has no list around it.
            theirs = theirs + zero if theirs == "branch0" else theirs
            places.append((f"{root}.{n}.{theirs}", f"mixed{name}.{ours}", separated))
    rules = []
    for theirs, ours, separated in places:
        units = ((apart[:2], ".spatial"), (apart[2:], ".temporal")) if separated else ((whole, ""),)
        for (conv, bn), part in units:
            rules += [Rule(f"{theirs}.{conv}.weight", f"{ours}{part}.conv.weight")]
            rules += [Rule(f"{theirs}.{bn}.{{end}}", f"{ours}{part}.bn.{{end}}")]
    return (*rules, Rule(f"{head}.weight", "head.fc.weight", AS_CONV), Rule(f"{head}.bias", "head.fc.bias"))


def _read_s3d(conv: str, head: str, pool: str) -> Any:
    def read(shapes: Shapes, given: Mapping[str, Any]) -> InceptionConfig:
        first = need_shape(shapes, conv)
        settings: dict[str, Any] = {
            "separable": True, "padding": "fixed", "dropout": 0.2, "clip_len": 128, "least_frames": 14, "pool": pool,
            "width": first[0], "in_channels": first[1], "num_classes": shapes.get(f"{head}.weight", (0,))[0],
        }  # fmt: skip
        return configured(InceptionConfig, given, **settings)

    return read


S3D_TORCHVISION = ZooFamily(
    name="s3d_torchvision",
    title="S3D, torchvision",
    rules=_s3d_rules("features", ("0", "1"), ("0.0", "0.1", "1.0", "1.1"), "classifier.1", ""),
    requires=(r"features\.0\.0\.0\.weight", r"features\.5\.branch1\.1\.0\.0\.weight"),
    read=_read_s3d("features.0.0.0.weight", "classifier.1", "window"),
    says=("padding is half the kernel, the head averages 2x7x7",),
)
S3D_KYLEMIN = ZooFamily(
    name="s3d_kylemin",
    title="S3D, PyTorch (kylemin)",
    rules=_s3d_rules("base", ("conv", "bn"), ("conv_s", "bn_s", "conv_t", "bn_t"), "fc.0", ".0"),
    requires=(r"base\.0\.conv_s\.weight", r"base\.5\.branch1\.1\.conv_s\.weight"),
    read=_read_s3d("base.0.conv_s.weight", "fc.0", "plane"),
    says=("padding is half the kernel, the head averages 2 x the whole map",),
)


def _p3d_rules() -> tuple[Rule, ...]:
    rules = [Rule("conv1_custom.weight", "conv1.weight"), Rule("bn1.{end}", "bn1.{end}")]
    # The last stage is 2D in the file: its 3x3 is named apart, and kernels have no axis of time.
    rules += [
        Rule("layer4.{j}.conv_normal.weight", "layer4.{j}.conv2.weight", CONV2D),
        Rule("layer4.{j}.bn_normal.{end}", "layer4.{j}.bn2.{end}"),
        Rule("layer4.{j}.conv{k}.weight", "layer4.{j}.conv{k}.weight", CONV2D),
        Rule("layer4.{j}.downsample.0.weight", "layer4.{j}.downsample.0.weight", CONV2D),
        Rule("layer{i}.{j}.conv{k}.weight", "layer{i}.{j}.conv{k}.weight"),
        Rule("layer{i}.{j}.bn{k}.{end}", "layer{i}.{j}.bn{k}.{end}"),
        Rule("layer{i}.{j}.downsample.{k}.{end}", "layer{i}.{j}.downsample.{k}.{end}"),
        Rule("fc.{end}", "head.fc.{end}"),
    ]
    return tuple(rules)


def _read_p3d(shapes: Shapes, given: Mapping[str, Any]) -> P3DConfig:
    first = need_shape(shapes, "conv1_custom.weight")
    depths = tuple(depth(shapes, f"layer{i}.{{i}}.conv1.weight") for i in (1, 2, 3, 4))
    settings: dict[str, Any] = {
        "width": first[0], "in_channels": first[1], "depths": depths, "variant": "port",
        "num_classes": shapes.get("fc.weight", (0,))[0],
    }  # fmt: skip
    return configured(P3DConfig, given, **settings)


P3D_PORT = ZooFamily(
    name="p3d_qijiezhao",
    title="P3D, PyTorch (qijiezhao)",
    rules=_p3d_rules(),
    requires=(r"conv1_custom\.weight", r"layer1\.0\.conv4\.weight"),
    read=_read_p3d,
    says=("sums and poolings are the PyTorch version's, which are not the Caffe original's",),
)

C3D_JFZHANG95 = ZooFamily(
    name="c3d_jfzhang95",
    title="C3D, Sports-1M, PyTorch (jfzhang95)",
    rules=(
        *(Rule(f"{_JF[n]}.{{end}}", f"stages.{_STAGE[n]}.conv{n}.{{end}}") for n in _C3D_NAMES),
        Rule("classifier.0.{end}", "fc6.{end}"),
        Rule("classifier.3.{end}", "fc7.{end}"),
        Rule("classifier.6.{end}", "head.fc.{end}"),  # which the file's own code leaves behind
    ),
    requires=(r"features\.18\.weight", r"classifier\.0\.weight", r"classifier\.3\.weight"),
    read=_read_c3d("features.0", "classifier.0", "classifier.6", "padded"),
    says=("pool5 is padded, as the file's own code; the weights were made by Caffe, which rounds up",),
)

FAMILIES = (
    C3D_SPORTS1M, C3D_MMACTION2, C3D_MMACTION2_BACKBONE, C3D_JFZHANG95, I3D_PIERGIAJ, I3D_HASSONY2, S3D_TORCHVISION, S3D_KYLEMIN, P3D_PORT,
)  # fmt: skip
