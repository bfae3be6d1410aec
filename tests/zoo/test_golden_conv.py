"""Convolutional systems with weights in the public layouts give the public codes' logits."""

import pytest
import torch

from tests.zoo.golden import as_theirs, clip, error, filled, golden, loaded
from videoswin.weights.formats import zoo_conv, zoo_resnet
from videoswin.weights.formats.zoo_rules import ZooFamily
from videoswin.zoo import build, create_model
from videoswin.zoo.context import ContextConfig

_DOT = ContextConfig(mode="dot_product", use_scale=False)
_SMALL: list[tuple[str, str, ZooFamily, dict[str, object]]] = [
    ("mmaction2_small/i3d_w4", "pth", zoo_resnet.RESNET_MMACTION2, {}),
    ("mmaction2_small/i3d_w4_nl_dot_product", "pth", zoo_resnet.RESNET_MMACTION2, {"context": _DOT}),
    ("mmaction2_small/i3d_w4_nl_embedded_gaussian", "pth", zoo_resnet.RESNET_MMACTION2, {}),
    ("mmaction2_small/r2plus1d_w4", "pth", zoo_resnet.R2PLUS1D_MMACTION2, {}),
    ("slowfast_small/i3d_w4", "pyth", zoo_resnet.RESNET_SLOWFAST, {}),
    ("slowfast_small/c2d_nln_w4", "pyth", zoo_resnet.RESNET_SLOWFAST, {}),
]


@pytest.mark.parametrize(("folder", "ending", "family", "given"), _SMALL)
def test_small_files(folder: str, ending: str, family: ZooFamily, given: dict[str, object]) -> None:
    model = loaded(family, golden(f"{folder}/weights.{ending}"), **given)
    video = clip((2, 3, 8 if "slowfast" in folder else 16, 64, 64))
    expected = golden(f"{folder}/expected.safetensors")
    with torch.no_grad():
        assert error(model(video), expected["logits"]) < 1e-5
        if "feature" in expected:
            assert error(model.forward_features(video), expected["feature"]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "family"),
    [("mc3_18", zoo_resnet.R3D_TORCHVISION), ("r2plus1d_18", zoo_resnet.R2PLUS1D_TORCHVISION)],
)
def test_torchvision_resnets(name: str, family: ZooFamily) -> None:
    expected = golden(f"torchvision_full/{name}.safetensors")
    with torch.no_grad():
        assert error(filled(family, create_model(name))(clip((1, 3, 16, 112, 112))), expected["logits"]) < 1e-5


@pytest.mark.slow
def test_torchvision_s3d() -> None:
    expected = golden("torchvision_full/s3d.safetensors")
    with torch.no_grad():
        model = filled(zoo_conv.S3D_TORCHVISION, create_model("s3d"))
        assert error(model(clip((1, 3, 16, 224, 224))), expected["logits"]) < 1e-5


@pytest.mark.slow
def test_i3d_with_even_and_odd_sizes() -> None:
    expected = golden("conv_full/i3d_inception_piergiaj.safetensors")
    with torch.no_grad():
        model = filled(zoo_conv.I3D_PIERGIAJ, create_model("i3d"))
        for shape, key in (((1, 3, 16, 224, 224), "logits0"), ((1, 3, 17, 225, 224), "logits1")):
            assert error(model(clip(shape)), expected[key].flatten(2).mean(2)) < 1e-5


@pytest.mark.slow
def test_p3d_of_the_port() -> None:
    expected = golden("conv_full/p3d63_qijiezhao.safetensors")
    with torch.no_grad():
        model = filled(zoo_conv.P3D_PORT, create_model("p3d_63"), scale={"bn4.weight": 0.3})
        assert error(model(clip((1, 3, 16, 160, 160))), expected["logits0"]) < 1e-5


@pytest.mark.slow
def test_c3d_with_both_last_poolings() -> None:
    expected = golden("conv_full/c3d_davidea.safetensors")
    video = clip((1, 3, 16, 112, 112))
    with torch.no_grad():
        model = filled(zoo_conv.C3D_SPORTS1M, create_model("c3d", num_classes=487))
        assert error(model(video), expected["logits0_caffe_pool5"]) < 1e-5
        padded = build(model.config.replace(pool5="padded")).eval()
        padded.load_state_dict(model.state_dict())
        assert error(padded(video), expected["logits0"]) < 1e-5


@pytest.mark.slow
def test_c3d_of_mmaction2() -> None:
    expected = golden("mmaction2_small/c3d_full/expected.safetensors")
    with torch.no_grad():
        model = filled(zoo_conv.C3D_MMACTION2, create_model("c3d", num_classes=101))
        features = model.forward_features(clip((1, 3, 16, 112, 112)))
        # After two ReLUs most are 0, and their deviation is small: 9e-6 here, and other processors round otherwise.
        assert error(features[0, :256], expected["feature"]) < 3e-5
        assert error(model.classify(features), expected["logits"]) < 1e-5


@pytest.mark.parametrize(
    ("family", "name"),
    [
        (zoo_conv.C3D_SPORTS1M, "c3d_micro"),
        (zoo_conv.C3D_MMACTION2, "c3d_micro"),
        (zoo_conv.I3D_PIERGIAJ, "i3d_micro"),
        (zoo_conv.I3D_HASSONY2, "i3d_micro"),
        (zoo_conv.S3D_TORCHVISION, "s3d_micro"),
        (zoo_conv.S3D_KYLEMIN, "s3d_micro"),
        (zoo_conv.P3D_PORT, "p3d_micro"),
        (zoo_resnet.RESNET_MMACTION2, "i3d_r50_nl_micro"),
        (zoo_resnet.RESNET_SLOWFAST, "i3d_r50_nl_micro"),
        (zoo_resnet.RESNET_PYTORCHVIDEO, "i3d_r50_micro"),
        (zoo_resnet.RESNET_PYTORCHVIDEO_FLAT, "slowonly_r50_micro"),
        (zoo_resnet.R3D_TORCHVISION, "r3d_micro"),
        (zoo_resnet.R3D_TORCHVISION, "mc3_micro"),
        (zoo_resnet.R2PLUS1D_MMACTION2, "r2plus1d_micro"),
    ],
)
def test_every_family_reads_what_it_writes(family: ZooFamily, name: str) -> None:
    """Names there and back, and the architecture from shapes alone."""
    model = create_model(name)
    # What a family decides, and no shape tells.
    if family is zoo_resnet.RESNET_SLOWFAST:
        model = create_model(name, context=ContextConfig(subsample="before", out_bias=True))
    if family is zoo_resnet.R2PLUS1D_MMACTION2:
        model = create_model(name, middle_eps=1e-5)
    given = {"crop_size": 64} if family is zoo_conv.C3D_MMACTION2 else {}
    if "c3d" in name:
        model = create_model(name, crop_size=64 if given else 48, pool5="padded" if given else "ceil")
    again = loaded(family, as_theirs(family, model), **given)
    mine, theirs = model.state_dict(), again.state_dict()
    assert {n: t.shape for n, t in mine.items()} == {n: t.shape for n, t in theirs.items()}
