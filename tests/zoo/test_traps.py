"""What public files have besides the plain case: made here from our own models, in the layouts that the facts describe."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.zoo.golden import clip, error
from tests.zoo.tiny_models import HUB
from videoswin.errors import ConfigError, WeightsError
from videoswin.interface.video_model import VideoModel
from videoswin.weights.any_file import load_file
from videoswin.weights.formats import zoo_caffe2, zoo_conv, zoo_resnet, zoo_vit
from videoswin.weights.formats.zoo_rules import ZooFamily
from videoswin.zoo import create_model
from videoswin.zoo.c3d import C3DConfig
from videoswin.zoo.context import ContextConfig, NonLocal
from videoswin.zoo.resnet import ResNetConfig

_CLIP: dict[str, Any] = {"clip_len": 8, "crop_size": 32, "num_classes": 5}
_SMALL: dict[str, Any] = {**_CLIP, "width": 4, "depths": (1, 2, 2, 1), "conv1_stride_t": 1, "pool1_stride_t": 1}
_C2D = ResNetConfig(**_SMALL, conv1_kernel_t=1, kernels_t=((1,),) * 4)
_I3D = ResNetConfig(**_SMALL, kernels_t=((3,), (3, 1), (3, 1), (1,)))
_SLOW = ResNetConfig(**_SMALL, conv1_kernel_t=1, kernels_t=((1,), (1,), (3,), (3,)), pool2=False)


def shaken(config: Any, seed: int = 0) -> VideoModel:
    """A model none of whose tensors is idle."""
    torch.manual_seed(seed)
    model = create_model(config).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.add_(torch.randn_like(tensor), alpha=0.2)
    return model


def theirs(model: VideoModel, family: ZooFamily) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in family.to_theirs(model.state_dict()).items()}


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def agrees(model: VideoModel, file: Path, **told: Any) -> tuple[VideoModel, Any]:
    loaded, report = load_file(file, like=told.pop("like", None), settings=told)
    video = clip((2, model.config.in_channels, *model.config.clip))
    with torch.no_grad():
        assert error(loaded(video), model(video)) < 1e-5
    return loaded, report


@pytest.mark.parametrize("pool2", [True, False])
def test_mmaction2_c2d_is_made_of_2d_kernels(tmp_path: Path, pool2: bool) -> None:
    model = shaken(_C2D.replace(pool2=pool2, pool1_padding=not pool2))
    tensors = theirs(model, zoo_resnet.RESNET_MMACTION2_2D)
    assert tensors["backbone.layer1.0.conv2.conv.weight"].ndim == 4
    file = saved(tmp_path / "c2d.pth", {"meta": {}, "state_dict": tensors})
    loaded, report = agrees(model, file, pool2=pool2)
    assert report.family == "resnet_mmaction2_2d"
    assert loaded.config.pool1_padding is not pool2
    with pytest.raises(ConfigError, match="do not tell pool2"):
        load_file(file)


def test_mmaction2_backbone_of_sports1m(tmp_path: Path) -> None:
    model = shaken(C3DConfig(width=4, fc_width=16, crop_size=48, pool5="ceil", num_classes=0))
    file = saved(tmp_path / "c3d.pth", theirs(model, zoo_conv.C3D_MMACTION2_BACKBONE))
    assert agrees(model, file)[0].config.pool5 == "ceil"


@pytest.mark.parametrize("config", [_I3D, _SLOW])
def test_pytorchvideo_without_its_head(tmp_path: Path, config: ResNetConfig) -> None:
    family = zoo_resnet.RESNET_PYTORCHVIDEO if config.pool2 else zoo_resnet.RESNET_PYTORCHVIDEO_FLAT
    model = shaken(config.replace(num_classes=0))
    loaded, report = agrees(model, saved(tmp_path / "x.pyth", {"model_state": theirs(model, family)}))
    assert (loaded.config.pool2, report.family) == (config.pool2, family.name)


@pytest.mark.parametrize(
    ("family", "config"),
    [
        (zoo_resnet.RESNET_MMACTION2, _I3D.replace(num_classes=0)),
        (zoo_resnet.RESNET_SLOWFAST, _I3D.replace(num_classes=0)),
        (zoo_vit.VIT_TIMM, "vit_micro"),
    ],
)
def test_stripped_heads_and_wrappers(tmp_path: Path, family: ZooFamily, config: Any) -> None:
    config = create_model(config, num_classes=0).config
    model = shaken(config)
    told = {"num_heads": config.num_heads} if family is zoo_vit.VIT_TIMM else {}
    if family is zoo_resnet.RESNET_MMACTION2:
        told = {"conv1_stride_t": 1, "pool1_stride_t": 1}
    tensors = {f"module._orig_mod.{name}": tensor for name, tensor in theirs(model, family).items()}
    loaded, _ = agrees(model, saved(tmp_path / "x.pth", {"state_dict": tensors}), **told)
    assert loaded.head is None
    new, report = load_file(tmp_path / "x.pth", 3, settings=told)
    assert new.config.num_classes == 3
    assert set(report.fresh) == {"head.fc.weight", "head.fc.bias"}


def test_the_plain_weights_come_before_averaged_ones(tmp_path: Path) -> None:
    plain, averaged = (shaken(_I3D, seed) for seed in (0, 1))
    family = zoo_resnet.RESNET_SLOWFAST
    tables = {"model_state": theirs(plain, family), "ema_state": {}, "model_ema": theirs(averaged, family)}
    agrees(plain, saved(tmp_path / "tables.pyth", tables))
    flat = {f"model.{n}": t for n, t in theirs(plain, family).items()}
    flat |= {f"model_ema.module.{n}": t for n, t in theirs(averaged, family).items()}
    agrees(plain, saved(tmp_path / "flat.pth", {"state_dict": flat, "n_averaged": torch.tensor(3)}))


def test_caffe2_names_of_non_local_blocks(tmp_path: Path) -> None:
    """nonlocal_conv3_1_theta_w stands after the second block of res3; batch norms are four blobs, momenta lie beside them."""
    context = ContextConfig(subsample="before", out_bias=True)
    model = shaken(_I3D.replace(context=context, context_at=((), (1,), (0,))))
    ours = {n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    blobs: dict[str, Any] = {n: t.numpy() for n, t in zoo_caffe2.RESNET_CAFFE2.to_theirs(ours).items()}
    assert {"nonlocal_conv3_1_theta_w", "nonlocal_conv4_0_bn_riv", "res3_0_branch1_bn_s", "pred_b"} <= blobs.keys()
    blobs |= {"lr": blobs["pred_b"][:1], "model_iter": blobs["pred_b"][:1], "pred_w_momentum": blobs["pred_w"]}
    with (tmp_path / "i3d_nln.pkl").open("wb") as file:
        pickle.dump({"blobs": blobs}, file, protocol=2)
    loaded, _ = agrees(model, tmp_path / "i3d_nln.pkl", mode="embedded_gaussian")
    assert loaded.config.context_at == ((), (1,), (0,), ())


def test_non_local_blocks_in_groups_of_frames() -> None:
    """What a block of 4 frames gives, group by group; frames of another group change nothing."""
    torch.manual_seed(0)
    whole, grouped = (NonLocal(8, ContextConfig(group_frames=n)).eval() for n in (None, 4))
    for parameter in whole.parameters():
        torch.nn.init.normal_(parameter)
    grouped.load_state_dict(whole.state_dict())
    x = torch.randn(2, 8, 8, 4, 4)
    expected = torch.cat([whole(part) for part in x.split(4, dim=2)], dim=2)
    torch.testing.assert_close(grouped(x), expected)
    assert not torch.allclose(whole(x), expected, atol=1e-3)
    with pytest.raises(ConfigError, match="groups of 4 frames do not divide it"):
        grouped(x[:, :, :6])
    places: dict[str, Any] = {"context": ContextConfig(), "context_at": ((), (1,), (0,)), "context_frames": (0, 4)}
    model = create_model(_I3D.replace(**places))
    found = [m.config.group_frames for m in model.modules() if isinstance(m, NonLocal)]
    assert found == [4, None]  # of res3's block, and of res4's
    assert type(model.config).from_dict(model.config.to_dict()) == model.config


def _pruned(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    assert name in tensors
    return {n: t for n, t in tensors.items() if n != name}


@pytest.mark.parametrize(
    ("family", "config", "name", "told"),
    [
        (zoo_resnet.RESNET_MMACTION2, _I3D, "backbone.layer3.1.conv2.bn.running_var", {}),
        (zoo_resnet.RESNET_MMACTION2_2D, _C2D, "backbone.layer2.0.downsample.conv.weight", {"pool2": True}),
        (zoo_resnet.RESNET_SLOWFAST, _I3D, "s3.pathway0_res0.branch1.weight", {}),
        (zoo_resnet.RESNET_PYTORCHVIDEO, _I3D, "blocks.6.proj.bias", {}),
        (zoo_vit.VIT_TIMM, "vit_micro", "blocks.3.attn.proj.bias", {"num_heads": 6}),
        (zoo_vit.VIT_TIMM, "vit_micro", "norm.weight", {"num_heads": 6}),
    ],
)
def test_a_missing_tensor_is_one_line(
    tmp_path: Path, family: ZooFamily, config: Any, name: str, told: dict[str, Any]
) -> None:
    tensors = _pruned(theirs(create_model(config), family), name)
    with pytest.raises(WeightsError) as refused:
        load_file(saved(tmp_path / "cut.pth", {"state_dict": tensors}), settings=told)
    assert "\n" not in str(refused.value)
    assert name in str(refused.value)


@pytest.mark.parametrize("name", HUB)
def test_files_of_the_transformers_library(tmp_path: Path, name: str) -> None:
    pytest.importorskip("transformers")
    config = HUB[name].replace(num_classes=5)
    model = shaken(config)
    family = zoo_vit.VJEPA2_HUB if "vjepa" in name else zoo_vit.VIDEOMAE_HUB
    tensors = theirs(model, family)
    assert "classifier.weight" in tensors
    sizes = {field: getattr(config, field) for field in ("num_heads", "clip_len", "crop_size")}
    _, report = agrees(model, saved(tmp_path / "x.bin", tensors), **sizes)
    assert report.family == family.name


def test_tsn_keeps_the_head_beside_a_swin_of_timm(tmp_path: Path) -> None:
    """MMAction2's TSN with a Swin transformer of timm: no head is lost."""
    from videoswin.weights.formats import FAMILIES

    torch.manual_seed(0)
    model = create_model("swin2d_micro", num_classes=5, relative_bias="official").eval()  # as the files are read
    ours = dict(model.state_dict())
    patch = "backbone.patch_embed.proj.weight"
    ours[patch] = ours[patch].squeeze(2)
    for family in ("microsoft", "timm"):
        inside = FAMILIES[family].from_canonical(ours, model.config.window_size)
        tensors = {f"backbone.{n}": t for n, t in inside.items() if not n.startswith("head.")}
        tensors |= {f"cls_head.fc_cls.{n.rpartition('.')[2]}": t for n, t in inside.items() if n.startswith("head.")}
        file = saved(tmp_path / f"{family}.pth", {"state_dict": tensors})
        loaded, _ = load_file(file, like="swin2d_t")
        video = clip((2, 3, 4, 56, 56))
        with torch.no_grad():
            assert error(loaded(video), model(video)) < 1e-5
