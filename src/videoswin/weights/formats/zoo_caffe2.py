"""C2D, I3D and SlowOnly on ResNets as Caffe2 wrote them (video-nonlocal-net; SlowFast's ``.pkl``): names with underscores, and
batch norms of four blobs ``s``, ``b``, ``rm``, ``riv``. Momenta and the learning rate lie among the weights."""

from videoswin.weights.formats.zoo_resnet import open_questions, read_resnet
from videoswin.weights.formats.zoo_rules import Rule, ZooFamily

__all__ = ["FAMILIES"]

_NORM = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}
_BLOCK, _NL = "res{i+1}_{j}", "nonlocal_conv{i+1}_{j}"


def _norm(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}_{blob}", f"{ours}.{name}") for blob, name in _NORM.items()]


def _rules() -> tuple[Rule, ...]:
    rules = [Rule("conv1_w", "conv1.conv.weight"), *_norm("res_conv1_bn", "conv1.bn")]
    for branch, ours in {"2a": "conv1", "2b": "conv2", "2c": "conv3", "1": "downsample"}.items():
        rules += [Rule(f"{_BLOCK}_branch{branch}_w", f"layer{{i}}.{{j}}.{ours}.conv.weight")]
        rules += _norm(f"{_BLOCK}_branch{branch}_bn", f"layer{{i}}.{{j}}.{ours}.bn")
    for part in ("theta", "phi", "g", "out"):
        rules += [Rule(f"{_NL}_{part}_w", f"layer{{i}}.{{j}}.context.{part}.weight")]
        rules += [Rule(f"{_NL}_{part}_b", f"layer{{i}}.{{j}}.context.{part}.bias")]
    rules += _norm(f"{_NL}_bn", "layer{i}.{j}.context.bn")
    return (*rules, Rule("pred_w", "head.fc.weight"), Rule("pred_b", "head.fc.bias"))


_RULES = _rules()
RESNET_CAFFE2 = ZooFamily(
    name="resnet_caffe2",
    title="C2D, I3D or SlowOnly on a ResNet, Caffe2 (SlowFast, video-nonlocal-net)",
    rules=_RULES,
    requires=(r"conv1_w", r"res_conv1_bn_riv", r"res2_0_branch2c_w"),
    read=read_resnet("slowfast", _RULES, {"clip_len": 8, "conv1_stride_t": 1, "pool1_stride_t": 1}),
    harmless=(r".*_momentum", r"lr", r"model_iter", r"conv1_b"),
    asks=("pool2", "context.mode"),
    asks_of=open_questions,
    says=(
        "conv1 and pool1 keep all frames, as SlowFast's 8x8; pool1 is padded, as SlowFast's",
        "non-local blocks pool before their maps and scale",
    ),
)
FAMILIES = (RESNET_CAFFE2,)
