"""Starts from image weights: a clip of one repeated frame gives the image model's features."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from videoswin.errors import ConfigError
from videoswin.interface.video_model import VideoModel
from videoswin.weights.any_file import load_file
from videoswin.weights.formats import zoo_resnet
from videoswin.zoo import create_model
from videoswin.zoo.starts import inflated, start_from_image

_VIT: dict[str, Any] = {"embed_dim": 24, "num_heads": 2, "depth": 3, "crop_size": 16, "patch_size": 4, "clip_len": 4}


def image_vit(**changes: Any) -> VideoModel:
    """A ViT whose biases and tokens are not zero."""
    return shaken(create_model("vit_micro", 5, **_VIT | changes))


def shaken(model: VideoModel) -> VideoModel:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
    return model.eval()


def flat(model: VideoModel) -> dict[str, Tensor]:
    """A CNN's weights as images have them: kernels of one frame, summed over time."""
    return {n: t.sum(2) if t.ndim == 5 else t for n, t in model.state_dict().items()}


def still(frames: int, side: int = 16) -> Tensor:
    return torch.randn(1, 3, 1, side, side).expand(-1, -1, frames, -1, -1)


@pytest.mark.parametrize("kind", ["divided", "local_global", "axial", "space"])
def test_timesformer_starts_as_the_image_model(kind: str) -> None:
    """At any depth; local-global's last step sees a fraction of the frame, and is no ViT."""
    vit = image_vit()
    model = shaken(create_model(f"timesformer_micro_{kind}", 5, **_VIT))
    report = start_from_image(model, vit.state_dict())
    clip = still(4)
    with torch.no_grad():
        features, expected = model.features(clip), vit.features(clip[:, :, :1])
    if kind in ("divided", "space"):
        torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)
    assert all(name.startswith(("head", "time_embed")) or ".fc." in name for name in report.fresh)


def test_divided_timesformer_is_the_space_only_model_block_by_block_not_the_average_of_frames() -> None:
    vit = image_vit()
    model = create_model("timesformer_micro_divided", 5, **_VIT).eval()
    start_from_image(model, vit.state_dict())
    moving = torch.randn(1, 3, 4, 16, 16)
    with torch.no_grad():
        assert (model.features(moving) - vit.features(moving)).abs().max() > 1e-4


@pytest.mark.parametrize("kernel", ["average", "center", None])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_vivit_starts_from_an_image_model(number: int, kernel: Any) -> None:
    vit = image_vit()
    model: Any = create_model(f"vivit_micro_model{number}", 5, **_VIT).eval()
    start_from_image(model, vit.state_dict(), kernel)
    clip = still(4)
    with torch.no_grad():
        tubelets = model.patch_embed(clip)
        patches = vit.get_submodule("encoder.patch_embed")(clip[:, :, 0]).permute(0, 3, 1, 2)
    for step in range(tubelets.shape[2]):
        torch.testing.assert_close(tubelets[:, :, step], patches, rtol=1e-5, atol=1e-5)
    places = vit.get_parameter("encoder.pos_embed")
    extra = 0 if number > 2 else 1
    torch.testing.assert_close(model.pos_embed[:, extra : extra + 16], places[:, 1:])
    if number == 1:
        torch.testing.assert_close(model.pos_embed[:, 17:33], places[:, 1:])


def test_central_frame_reads_the_second_of_two() -> None:
    weight = torch.randn(4, 3, 8, 8)
    kernel = inflated(weight, 2, "center")
    assert torch.equal(kernel[:, :, 1], weight)
    assert not kernel[:, :, 0].any()


def test_vivit_model_3_starts_as_the_image_models_mean_token() -> None:
    """Without its class token, a ViT; its temporal attention, silent, adds nothing."""
    vit: Any = image_vit()
    model: Any = create_model("vivit_micro_model3", 5, **_VIT).eval()
    start_from_image(model, vit.state_dict())
    clip = still(4)
    with torch.no_grad():
        # One frame, no class token, tanh GELU as ViViT's.
        x = vit.encoder.patch_embed(clip[:, :, 0]).flatten(1, 2) + vit.encoder.pos_embed[:, 1:]
        for block in vit.encoder.blocks:
            block.mlp.gelu = "tanh"
            x = block(x)
        expected = vit.encoder.norm(x).mean(dim=1)
        torch.testing.assert_close(model.features(clip), expected, rtol=1e-5, atol=1e-5)


def test_vtn_starts_with_the_image_models_frame_features() -> None:
    vit: Any = image_vit()
    model: Any = create_model("vtn_micro", 5, **_VIT).eval()
    start_from_image(model, vit.state_dict())
    images = torch.randn(4, 3, 16, 16)
    run = model.run
    with torch.no_grad():
        assert torch.equal(model.encoder(images, run), vit.encoder(images, run))


def test_vit_and_deit_start_with_all_of_it() -> None:
    vit = image_vit()
    model = create_model("vit_micro", 7, **_VIT).eval()
    start_from_image(model, vit.state_dict())
    clip = torch.randn(2, 3, 4, 16, 16)
    with torch.no_grad():
        frames = torch.stack([vit.features(clip[:, :, i : i + 1]) for i in range(4)]).mean(0)
        torch.testing.assert_close(model.features(clip), frames)
    two = shaken(create_model("deit_micro_distilled", 5, **_VIT))
    again = create_model("deit_micro_distilled", 7, **_VIT).eval()
    start_from_image(again, two.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again.features(clip), two.features(clip))


def test_positions_of_another_size_are_resized() -> None:
    vit = image_vit(crop_size=32)
    for name in ("vit_micro", "timesformer_micro_divided", "vivit_micro_model1", "vivit_micro_model3"):
        start_from_image(create_model(name, 5, **_VIT), vit.state_dict())


@pytest.mark.parametrize("name", ["c2d_r50_micro", "i3d_r50_micro", "i3d_micro"])
def test_inflated_cnns_see_a_still_as_the_image_does(name: str) -> None:
    """Exactly where no zero is padded in time: in the middle of a long clip."""
    small: dict[str, Any] = {"width": 8} if name == "i3d_micro" else {"width": 8, "depths": (1, 1, 1, 1)}
    images = flat(shaken(create_model(name, 5, **small)).double())
    model, frame = (create_model(name, 5, **small).eval().double() for _ in range(2))
    start_from_image(model, images)
    start_from_image(frame, images, "center")  # looks at one frame only: the 2D network
    clip = still(128 if name == "i3d_micro" else 64, 48).double()  # I3D looks 99 frames wide
    with torch.no_grad():
        video, expected = model.forward_features(clip), frame.forward_features(clip)
    middle = video.shape[2] // 2
    torch.testing.assert_close(video[:, :, middle], expected[:, :, middle])
    torch.testing.assert_close(expected[:, :, 0], expected[:, :, middle])


def test_a_cnn_with_blocks_starts_from_one_without() -> None:
    source = flat(create_model("i3d_r50_micro", 5))
    model = create_model("i3d_r50_nl_micro", 5)
    report = start_from_image(model, source)
    assert all(".context." in name or name.startswith("head") for name in report.fresh)


def on_images(tensors: dict[str, Tensor], image: Tensor) -> Tensor:
    """A ResNet for images, (B, 3, H, W) -> logits, as torchvision computes it."""

    def unit(x: Tensor, conv: str, norm: str, stride: int = 1, side: int = 0) -> Tensor:
        x = functional.conv2d(x, tensors[f"{conv}.weight"], stride=stride, padding=side)
        mean, var, weight, bias = (tensors[f"{norm}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, mean, var, weight, bias)

    x = functional.max_pool2d(unit(image, "conv1", "bn1", 2, 3).relu(), 3, 2, 1)
    for layer in (1, 2, 3, 4):
        for block in range(sum(f"layer{layer}.{i}.conv1.weight" in tensors for i in range(9))):
            at, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            inner = unit(x, f"{at}.conv1", f"{at}.bn1").relu()
            inner = unit(inner, f"{at}.conv2", f"{at}.bn2", stride, 1).relu()
            inner = unit(inner, f"{at}.conv3", f"{at}.bn3")
            if f"{at}.downsample.0.weight" in tensors:
                x = unit(x, f"{at}.downsample.0", f"{at}.downsample.1", stride)
            x = (x + inner).relu()
    return functional.linear(x.mean((2, 3)), tensors["fc.weight"], tensors["fc.bias"])


def test_an_image_resnets_file_is_read_and_starts_i3d(tmp_path: Path) -> None:
    small: dict[str, Any] = {"width": 4, "depths": (1, 2, 1, 1)}
    source = shaken(create_model("i3d_r50_micro", 5, **small))
    frames = {n: t.sum(2, keepdim=True) if t.ndim == 5 else t for n, t in source.state_dict().items()}
    theirs = zoo_resnet.RESNET_IMAGE.to_theirs(frames)
    assert theirs["conv1.weight"].shape == (4, 3, 7, 7)
    torch.save(theirs, tmp_path / "resnet.pth")
    model, report = load_file(tmp_path / "resnet.pth")
    assert report.family == "resnet_torchvision_2d"
    clip = torch.randn(2, 3, 3, 40, 40)
    with torch.no_grad():
        expected = torch.stack([on_images(theirs, clip[:, :, i]) for i in range(3)]).mean(0)
        torch.testing.assert_close(model.eval()(clip), expected, rtol=1e-5, atol=1e-5)
    video = create_model("i3d_r50_micro", 7, **small)
    began = start_from_image(video, model.state_dict())
    assert set(began.fresh) == {"head.fc.weight", "head.fc.bias"}
    summed = video.state_dict()["layer1.0.conv1.conv.weight"].sum(2)
    torch.testing.assert_close(summed, theirs["layer1.0.conv1.weight"])


def test_a_resnet_starts_from_torchvisions_names() -> None:
    model = create_model("i3d_r50_micro", 5, width=8)
    frames = {n: t.sum(2, keepdim=True) if t.ndim == 5 else t for n, t in model.state_dict().items()}
    theirs = zoo_resnet.RESNET_IMAGE.to_theirs(frames)
    assert "layer2.0.downsample.1.running_mean" in theirs
    config = zoo_resnet.RESNET_IMAGE.read({n: tuple(t.shape) for n, t in theirs.items()}, {})
    assert (config.to_dict()["depths"], config.to_dict()["width"]) == ([3, 4, 6, 3], 8)
    ours, _, unexpected = zoo_resnet.RESNET_IMAGE.to_ours(theirs)
    report = start_from_image(model, ours)
    assert unexpected == []
    assert all(name.startswith("head") or name.endswith("num_batches_tracked") for name in report.fresh)


def test_what_does_not_fit_is_named_and_nothing_changes() -> None:
    vit = image_vit()
    model = create_model("timesformer_micro_divided", 5, **_VIT)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    image = vit.state_dict()
    for change, text in (
        ({"encoder.norm.weight": None}, 'no tensor "encoder.norm.weight"'),
        ({"encoder.norm.weight": torch.zeros(3)}, '"norm.weight" is (3,)'),
    ):
        bad = {n: t for n, t in {**image, **change}.items() if t is not None}
        with pytest.raises(ConfigError) as info:
            start_from_image(model, bad)
        assert text in str(info.value)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    with pytest.raises(ConfigError, match="no start from image weights"):
        start_from_image(create_model("mvit_v2_micro"), image)
    with pytest.raises(ConfigError, match='Did you mean "center"'):
        start_from_image(model, image, "centre")  # type: ignore[arg-type]


def test_half_of_vivit_model_4s_heads_are_blind_to_places_and_half_to_times() -> None:
    model: Any = shaken(create_model("vivit_micro_model4", 5, **_VIT))
    attention = model.blocks[0].attn
    x = torch.randn(1, 32, 24)  # 2 time steps of 4x4 places
    place = x.clone()
    place[:, 1:16] = torch.randn(1, 15, 24)  # other places at the time of token 0
    time = x.clone()
    time[:, 16:] = torch.randn(1, 16, 24)  # all places at the other time
    attention.proj = torch.nn.Identity()
    with torch.no_grad():
        base, by_place, by_time = (attention(tokens)[:, 0] for tokens in (x, place, time))
    torch.testing.assert_close(by_place[:, :12], base[:, :12])  # the first half looks along time only
    torch.testing.assert_close(by_time[:, 12:], base[:, 12:])  # the second half inside its frame
    assert (by_place[:, 12:] - base[:, 12:]).abs().max() > 1e-4
    assert (by_time[:, :12] - base[:, :12]).abs().max() > 1e-4
