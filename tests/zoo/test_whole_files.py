"""What real files have and small ones made for tests have not; and what is said of one that lost a tensor or had it bent."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.zoo.flax_file import read_flax
from tests.zoo.golden import DATA, clip, error, golden
from tests.zoo.test_traps import _I3D, agrees, saved, shaken, theirs
from videoswin.errors import WeightsError
from videoswin.weights.any_file import load_file
from videoswin.weights.formats import zoo_conv, zoo_resnet, zoo_timesformer, zoo_vit, zoo_vivit
from videoswin.weights.formats.zoo_rules import ZooFamily
from videoswin.zoo.c3d import C3DConfig
from videoswin.zoo.context import ContextConfig
from videoswin.zoo.inception import InceptionConfig
from videoswin.zoo.timesformer import TimeSformerConfig
from videoswin.zoo.vit import ViTConfig
from videoswin.zoo.vivit import ViViTConfig
from videoswin.zoo.vtn import VTNConfig

_SIZES: dict[str, Any] = {
    "clip_len": 4, "crop_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 4, "mlp_ratio": 2.0,
    "num_classes": 5,
}  # fmt: skip
_FLAX = DATA / "vivit_scenic/model1_spacetime.checkpoint"


def refused(path: Path, tensors: Any, **told: Any) -> str:
    with pytest.raises(WeightsError) as error:
        load_file(saved(path, tensors), settings=told)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_batch_norms_without_counts(tmp_path: Path) -> None:
    """Files of PyTorch before 0.4.1, as the usual ports of I3D are; but a file that lost one count is not whole."""
    model = shaken(InceptionConfig(width=8, crop_size=32, clip_len=9, num_classes=5))
    tensors = theirs(model, zoo_conv.I3D_PIERGIAJ)
    old = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    _, report = agrees(model, saved(tmp_path / "rgb.pt", old), crop_size=32)
    assert any("batches were not counted" in line for line in report.says)
    lost = "Mixed_3b.b1a.bn.num_batches_tracked"
    assert lost in refused(tmp_path / "cut.pt", {name: t for name, t in tensors.items() if name != lost}, crop_size=32)


def _packed(value: Any) -> bytes:
    """A little of flax's msgpack: tables, texts, and arrays as extension 1."""
    if isinstance(value, dict):
        return struct.pack(">BH", 0xDE, len(value)) + b"".join(_packed(k) + _packed(v) for k, v in value.items())
    if isinstance(value, str):
        return struct.pack(">BB", 0xD9, len(value)) + value.encode()
    data = value.tobytes()
    shape = bytes([0x90 + value.ndim]) + b"".join(struct.pack(">BH", 0xCD, n) for n in value.shape)
    inner = b"\x93" + shape + _packed(value.dtype.name) + struct.pack(">BI", 0xC6, len(data)) + data
    return struct.pack(">BIB", 0xC9, len(inner), 1) + inner


def _nested(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *tables, last = name.split("/")
        place = tree
        for table in tables:
            place = place.setdefault(table, {})
        place[last] = tensor.numpy()
    return tree


def checkpoint(path: Path, tensors: Mapping[str, Tensor], inner: bool = False) -> Path:
    """A file of scenic's, with all that its training keeps: the random state is an array of uint32, a row for each device."""
    parameters = _nested(tensors)
    tree = {
        "global_step": np.zeros(1, np.int32),
        "optimizer": {
            "state": {"step": np.zeros(1, np.int32)},
            "target": {"params": parameters} if inner else parameters,
        },
        "rng": np.zeros((2, 2), np.uint32),
    }
    path.write_bytes(bytes([0x80 + len(tree), 0xA0 + len("global_step")]) + b"global_step" + _packed(tree)[3 + 13 :])
    return path


@pytest.mark.parametrize("inner", [False, True])
def test_scenic_keeps_its_random_state_beside_the_weights(tmp_path: Path, inner: bool) -> None:
    """``inner``: older files have the parameters below "params"."""
    file = checkpoint(tmp_path / "checkpoint", read_flax(_FLAX), inner)
    model, report = load_file(file, settings={"clip_len": 4})
    assert "rng" in report.ignored
    expected = golden("vivit_scenic/model1_spacetime.expected.safetensors")["logits"]
    with torch.no_grad():
        assert error(model(clip((2, 4, 32, 32, 3)).permute(0, 4, 1, 2, 3)), expected) < 1e-5


@pytest.mark.parametrize("subsample", ["after", "none"])
def test_mmaction2_concatenation_is_a_2d_kernel(tmp_path: Path, subsample: Any) -> None:
    context = ContextConfig(mode="concatenation", use_scale=False, subsample=subsample)
    model = shaken(_I3D.replace(context=context, context_at=((), (1,), (0,))))
    tensors = theirs(model, zoo_resnet.RESNET_MMACTION2)
    pair = "backbone.layer2.1.non_local_block.concat_project.conv.weight"
    assert tensors[pair].ndim == 4
    if subsample == "none":
        tensors = {n.replace(".g.0.", ".g.").replace(".phi.0.", ".phi."): t for n, t in tensors.items()}
    loaded, _ = agrees(model, saved(tmp_path / "x.pth", {"state_dict": tensors}), conv1_stride_t=1, pool1_stride_t=1)
    assert loaded.config.context.mode == "concatenation"


@pytest.mark.parametrize("classes", [0, 5])
def test_c3d_of_jfzhang95(tmp_path: Path, classes: int) -> None:
    """Any size; and the classifier, where the file has one."""
    model = shaken(C3DConfig(width=4, fc_width=16, crop_size=48, num_classes=classes))
    tensors = theirs(model, zoo_conv.C3D_JFZHANG95)
    assert ("classifier.6.bias" in tensors) == bool(classes)
    agrees(model, saved(tmp_path / "c3d.pth", tensors))


@pytest.mark.parametrize(
    ("family", "config"),
    [
        (zoo_vit.VIT_HUB_BARE, ViTConfig(**_SIZES, eps=1e-12)),
        (zoo_vit.DEIT_HUB_BARE, ViTConfig(**_SIZES, eps=1e-12, distilled=True)),
        (zoo_timesformer.TIMESFORMER_HUB_BARE, TimeSformerConfig(**_SIZES)),
        (zoo_vivit.VIVIT_HUB_BARE, ViViTConfig(**_SIZES)),
    ],
)
def test_models_of_the_library_without_a_head(tmp_path: Path, family: ZooFamily, config: Any) -> None:
    """What ``ViTModel.save_pretrained`` writes: names begin with ``embeddings.`` and ``encoder.``."""
    model = shaken(config.replace(num_classes=0))
    tensors = theirs(model, family)
    assert "embeddings.cls_token" in tensors
    told = {"num_heads": 4} | ({"clip_len": 4} if family is zoo_vivit.VIVIT_HUB_BARE else {})
    pooler = {"pooler.dense.weight": torch.zeros(2, 2)} if family.harmless else {}
    _, report = agrees(model, saved(tmp_path / "x.bin", tensors | pooler), **told)
    assert (report.family, report.dropped) == (family.name, tuple(pooler))
    tensors.pop(lost := "embeddings.position_embeddings")
    assert f'"{lost}"' in refused(tmp_path / "cut.bin", tensors, **told)


_VTN = VTNConfig(**_SIZES, positions=12, window=4)
_VTN_TOLD: dict[str, Any] = {"num_heads": 4, "window": 4, "frame_interval": 1}
_DIVIDED = TimeSformerConfig(**_SIZES)
_DEIT = ViTConfig(**_SIZES, distilled=True, second_head=True)


@pytest.mark.parametrize(
    ("family", "config", "lost", "told"),
    [
        # What the number of blocks was counted by.
        (zoo_resnet.RESNET_PYTORCHVIDEO, _I3D, "blocks.3.res_blocks.1.branch2.conv_a.weight", {}),
        (zoo_timesformer.TIMESFORMER_OFFICIAL, _DIVIDED, "model.blocks.1.norm1.weight", {"num_heads": 4}),
        # What the number of classes was read from.
        (zoo_resnet.RESNET_SLOWFAST, _I3D, "head.projection.weight", {}),
        (zoo_vit.VTN_OFFICIAL, _VTN, "mlp_head.4.weight", _VTN_TOLD),
        (zoo_vit.DEIT_DISTILLED_HUB, _DEIT, "distillation_classifier.weight", {"num_heads": 4}),
        # What told one kind from another.
        (zoo_timesformer.TIMESFORMER_OFFICIAL, _DIVIDED, "model.blocks.0.temporal_fc.weight", {"num_heads": 4}),
        (zoo_vit.VIT_TIMM, _DEIT, "dist_token", {"num_heads": 4}),
        (zoo_vit.DEIT_DISTILLED_HUB, _DEIT, "deit.embeddings.distillation_token", {"num_heads": 4}),
        # Below "backbone." there is a whole ViT, which is not what the file is.
        (zoo_vit.VTN_OFFICIAL, _VTN, "temporal_encoder.embeddings.LayerNorm.weight", _VTN_TOLD),
        # One of three that are joined: the other two are there.
        (zoo_vit.DEIT_DISTILLED_HUB, _DEIT, "deit.encoder.layer.1.attention.attention.key.bias", {"num_heads": 4}),
        (zoo_vit.DEIT_DISTILLED_HUB, _DEIT, "deit.encoder.layer.1.attention.attention.query.bias", {"num_heads": 4}),
    ],
)
def test_the_tensor_that_is_lost_is_named(
    tmp_path: Path, family: ZooFamily, config: Any, lost: str, told: dict[str, Any]
) -> None:
    tensors = theirs(shaken(config), family)
    tensors.pop(lost)
    said = refused(tmp_path / "cut.pth", tensors, **told)
    assert lost in said
    assert "no place for" not in said


def test_a_scenic_file_without_its_class_token(tmp_path: Path) -> None:
    """Its names are then those of model 4."""
    tensors = read_flax(_FLAX)
    tensors.pop("cls")
    with pytest.raises(WeightsError, match='lacks the tensor "cls"'):
        load_file(checkpoint(tmp_path / "checkpoint", tensors), settings={"clip_len": 4})


def test_bent_tensors_are_named(tmp_path: Path) -> None:
    """Of joined tensors the one that is bent; shapes that are flattened on the way; whole numbers, by the file's name."""
    tensors = theirs(shaken(_DEIT), zoo_vit.DEIT_DISTILLED_HUB)
    key = "deit.encoder.layer.0.attention.attention.key.bias"
    said = refused(tmp_path / "bent.pth", tensors | {key: tensors[key][:-1]}, num_heads=4)
    assert f"{key} is [23], not [24]" in said
    assert "query" not in said
    said = refused(tmp_path / "whole.pth", tensors | {key: tensors[key].long()}, num_heads=4)
    assert f'tensor "{key}" holds torch.int64' in said
    flax = read_flax(_FLAX)
    bias = "Transformer/encoderblock_1/MultiHeadDotProductAttention_0/value/bias"
    file = checkpoint(tmp_path / "checkpoint", flax | {bias: flax[bias].t().contiguous()})
    with pytest.raises(WeightsError, match=rf"{bias} is \[6, 4\], not \[4, 6\]"):
        load_file(file, settings={"clip_len": 4})
