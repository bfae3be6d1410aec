"""What holds for every model of the zoo: shapes, features, errors that name the axis, checkpointing, time order."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from videoswin.errors import ConfigError
from videoswin.interface.video_model import VideoModel, need
from videoswin.model import SwinConfig, VideoSwin
from videoswin.zoo import CONFIGS, config_from_dict, config_to_dict, create_model, get_config

MICRO = [name for name in CONFIGS if "micro" in name]
FRAMES = {"swin2d_micro", "vit_micro", "deit_micro_distilled", "timesformer_micro_space"}
"""Models that average over frames and cannot know their order."""


def tiny(name: str, num_classes: int = 5, **changes: Any) -> VideoModel:
    """The micro model of a name, smaller still: a block or two a stage, a few channels, frames of 32 pixels or so."""
    config: Any = get_config(name)
    small: dict[str, Any] = {}
    if isinstance(config, SwinConfig):
        small = {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2)}
    elif config.system == "mvit":
        small = {"embed_dim": 8, "depth": 4, "scale_at": (1, 3), "crop_size": 32, "clip_len": 8}
    elif config.system == "swin_ablation":
        small = {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "crop_size": 32}
    elif hasattr(config, "embed_dim"):
        small = {"embed_dim": 24, "num_heads": 2, "depth": 2, "crop_size": 4 * config.patch_size, "clip_len": 8}
    elif hasattr(config, "depths"):
        small = {"width": 8, "depths": (1, 2, 2, 1)}
        if getattr(config, "context", None):
            small["context_at"] = ((), (1,), (0, 1))
    elif config.system == "c3d":
        small = {"width": 4, "fc_width": 16}
    else:
        small = {"width": 8}
    return create_model(config.replace(**small), num_classes, **changes)


def video(model: VideoModel, batch: int = 2) -> Tensor:
    """A clip as small as the model takes it, or one of its own size."""
    sizes: list[Any] = [(8, 32, 32), (16, 32, 32), (16, 48, 48), getattr(model.config, "clip", None)]
    for size in sizes:
        try:
            model.check_clip(size)
        except ConfigError:
            continue
        return torch.randn(batch, 3, *size)
    raise AssertionError


@pytest.mark.parametrize("name", MICRO)
def test_logits_and_features(name: str) -> None:
    model = tiny(name).eval()
    clip = video(model)
    with torch.no_grad():
        logits, features = model(clip), model.features(clip)
        assert logits.shape == (2, 5)
        assert features.shape == (2, model.num_features)
        torch.testing.assert_close(model.classify(model.forward_features(clip)), logits)
        bare = tiny(name, 0)
        bare.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("head")}, strict=True)
        torch.testing.assert_close(bare.eval()(clip), features)


@pytest.mark.parametrize("name", MICRO)
def test_wrong_inputs_are_named(name: str) -> None:
    model = tiny(name)
    good = video(model)
    for clip, text in (
        (good[0], "(B, 3, T, H, W)"),
        (good[:, :2], "Axis 1"),
        (good.byte(), "normalised floats"),
        (good[..., :0], "Axis W is 0"),
        (good[:, :, :, :0], "Axis H is 0"),
        (good[:, :, :0], "Axis T is 0"),
    ):
        with pytest.raises(ConfigError) as info:
            model.checked(clip)
        assert text in str(info.value)
        with pytest.raises(ConfigError):
            model(clip)


def test_published_clips_are_named() -> None:
    for name, size, text in (
        ("s3d", (13, 224, 224), "Axis T is 13 long; S3D needs at least 14 frames"),
        ("s3d", (16, 224, 200), "Axis W is 200 long"),
        ("c3d", (15, 112, 112), "Axis T is 15 long; this C3D takes exactly 16 frames"),
        ("c3d", (16, 112, 128), "Axis W is 128 long"),
        ("i3d", (8, 224, 224), "Axis T is 8 long; I3D needs at least 9 frames"),
        ("i3d_r50", (4, 224, 224), "Axis T is 4 long"),
    ):
        with torch.device("meta"):
            model = create_model(name)
        with pytest.raises(ConfigError) as info:
            model.checked(torch.empty(1, 3, *size, device="meta"))
        assert text in str(info.value)


@pytest.mark.parametrize("name", MICRO)
def test_shortest_clips_pass(name: str) -> None:
    """What the check lets through, the network takes: the clip it is made for, and the shortest along each axis."""
    with torch.device("meta"):
        model = tiny(name).eval()
    full = getattr(model.config, "clip", (16, 32, 32))
    sizes = {full}
    for axis in range(3):
        for n in range(1, full[axis] + 1):
            size: Any = (*full[:axis], n, *full[axis + 1 :])
            try:
                model.check_clip(size)
            except ConfigError:
                continue
            sizes.add(size)
            break
    with torch.no_grad():
        for size in sizes:
            assert model(torch.empty(1, 3, *size, device="meta")).shape == (1, 5)


@pytest.mark.parametrize("name", MICRO)
def test_checkpointing_changes_nothing(name: str) -> None:
    changes: dict[str, Any] = {
        field: 0.0 for field in ("dropout", "head_dropout", "drop_path") if hasattr(get_config(name), field)
    }
    plain, saving = tiny(name, **changes).train(), tiny(name, **changes).train()
    saving.load_state_dict(plain.state_dict())
    saving.set_grad_checkpointing()
    clip = video(plain)
    for model in (plain, saving):
        torch.manual_seed(0)
        model(clip).square().sum().backward()
    for (key, mine), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert (mine.grad is None) == (other.grad is None), key
        if mine.grad is not None and other.grad is not None:
            torch.testing.assert_close(other.grad, mine.grad, msg=key)
    for (key, mine), other in zip(plain.named_buffers(), saving.buffers(), strict=True):
        torch.testing.assert_close(other, mine, msg=key)


@pytest.mark.parametrize("name", MICRO)
def test_time_order_matters_unless_frames_are_averaged(name: str) -> None:
    model = tiny(name).eval().double()
    with torch.no_grad():
        for parameter in model.parameters():  # zeros at the start would hide time
            parameter.add_(torch.randn_like(parameter) * 0.3)
        clip = video(model, batch=1).double()
        others = (clip.flip(2), clip[:, :, torch.randperm(clip.shape[2])])
        changes = [float((model(other) - model(clip)).abs().max() / model(clip).std()) for other in others]
        # C2D meets time only in a pooling of pairs, which a clip played backwards does not change.
        assert max(changes) < 1e-9 if name in FRAMES else max(changes) > 1e-6


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_configurations_survive_json(name: str) -> None:
    config = get_config(name)
    again = config_from_dict(json.loads(json.dumps(config_to_dict(config))))
    assert again == config
    assert type(again) is type(config)


@pytest.mark.parametrize(
    ("name", "changes", "text"),
    [
        ("i3d_r51", {}, 'Did you mean "i3d_r50"?'),
        ("i3d_r50", {"widht": 3}, 'Did you mean "width"?'),
        ("i3d_r50", {"width": 0}, "width=0"),
        ("i3d_r50", {"width": 2.5}, "width=2.5"),
        ("i3d_r50", {"dropout": 1.0}, "dropout=1.0"),
        ("i3d_r50", {"depths": 3}, "depths=3"),
        ("i3d_r50", {"kernels_t": ((3,),)}, "kernels_t"),
        ("i3d_r50", {"context_at": ((1,),)}, "context is None"),
        ("i3d_r50_nl", {"context_at": ((9,),)}, "depths"),
        ("c3d", {"pool5": "ciel"}, 'Did you mean "ceil"?'),
        ("c3d", {"num_classes": -1}, "num_classes=-1"),
        ("i3d", {"separable": 1}, "true or false"),
    ],
)
def test_settings_that_cannot_be_are_named(name: str, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as info:
        create_model(name, **changes)
    assert text in str(info.value)


def test_an_unknown_system_is_named() -> None:
    with pytest.raises(ConfigError, match="There is no system"):
        config_from_dict({"system": "slowfast"})


def test_what_only_swin_can_is_one_line() -> None:
    need(create_model("swin3d_micro"), "causal", "A stream")
    with pytest.raises(ConfigError, match="A stream needs a causal model, which ResNet does not have"):
        need(create_model("i3d_r50_micro"), "causal", "A stream")


def test_the_package_knows_all_names() -> None:
    import videoswin

    assert isinstance(videoswin.create_model("swin3d_micro"), VideoSwin)
    assert isinstance(videoswin.create_model("r2plus1d_micro"), VideoModel)


def test_blocks_that_do_not_pool_take_smaller_frames():
    """Non-local blocks halve their map, which must have two rows; global context takes any."""
    clip = torch.zeros(1, 3, 4, 16, 16)
    for name in ("i3d_r50_nl_micro", "i3d_r50_dnl_micro"):
        with pytest.raises(ConfigError, match="Axis H is 16 long; this ResNet needs at least 32 pixels"):
            create_model(name, num_classes=2)(clip)
    assert create_model("i3d_r50_gc_micro", num_classes=2).eval()(clip).shape == (1, 2)
