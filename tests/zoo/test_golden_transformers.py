"""Video and image transformers with weights in the public layouts give the public codes' logits."""

from typing import Any

import pytest
import torch

from tests.zoo.flax_file import read_flax
from tests.zoo.golden import DATA, as_theirs, clip, error, filled, golden, loaded, value
from videoswin.weights.formats import FAMILIES, zoo_mvit, zoo_timesformer, zoo_vit, zoo_vivit
from videoswin.weights.formats.zoo_rules import ZooFamily
from videoswin.zoo import create_model

HEADS: dict[str, Any] = {"num_heads": 4}
KV: dict[str, Any] = {"kv_stride": (1, 4, 4)}
VIDEO, IMAGE = (2, 3, 4, 32, 32), (2, 3, 32, 32)
MVIT = (2, 3, 8, 64, 64)

_FILES: list[tuple[str, ZooFamily, dict[str, Any], tuple[int, ...]]] = [
    ("transformers_small/vit/model.safetensors", zoo_vit.VIT_HUB, HEADS, IMAGE),
    ("transformers_small/deit/model.safetensors", zoo_vit.DEIT_HUB, HEADS, IMAGE),
    ("transformers_small/deit_distilled/model.safetensors", zoo_vit.DEIT_DISTILLED_HUB, HEADS, IMAGE),
    (
        "transformers_small/timesformer_divided_space_time/model.safetensors",
        zoo_timesformer.TIMESFORMER_HUB,
        HEADS,
        VIDEO,
    ),
    (
        "transformers_small/timesformer_joint_space_time/model.safetensors",
        zoo_timesformer.TIMESFORMER_HUB,
        HEADS,
        VIDEO,
    ),
    ("transformers_small/vivit/model.safetensors", zoo_vivit.VIVIT_HUB, {**HEADS, "clip_len": 4}, VIDEO),
    ("timesformer_official/divided_space_time/weights.pyth", zoo_timesformer.TIMESFORMER_OFFICIAL, HEADS, VIDEO),
    ("timesformer_official/joint_space_time/weights.pyth", zoo_timesformer.TIMESFORMER_OFFICIAL, HEADS, VIDEO),
    (
        "mmaction2_small/timesformer_divided_space_time/weights.pth",
        zoo_timesformer.TIMESFORMER_MMACTION2,
        HEADS,
        VIDEO,
    ),
    ("mmaction2_small/timesformer_space_only/weights.pth", zoo_timesformer.TIMESFORMER_MMACTION2_PLAIN, HEADS, VIDEO),
    (
        "vtn/weights.pyth",
        zoo_vit.VTN_OFFICIAL,
        {**HEADS, "window": 4, "frame_interval": 3},
        (2, 3, 12, 32, 32),
    ),
    ("torchvision_small/mvit_v1/weights.pth", zoo_mvit.MVIT_TORCHVISION, KV, MVIT),
    ("torchvision_small/mvit_v2/weights.pth", zoo_mvit.MVIT_TORCHVISION, KV, MVIT),
    ("slowfast_small/mvit_v2/weights.pyth", zoo_mvit.MVIT_SLOWFAST, KV, MVIT),
    ("mmaction2_small/mvit_v2/weights.pth", zoo_mvit.MVIT_MMACTION2_SHORT[0], KV, MVIT),
    ("pytorchvideo_small/mvit_v1/weights.pyth", zoo_mvit.MVIT_PYTORCHVIDEO, KV, MVIT),
]


@pytest.mark.parametrize(("file", "family", "given", "shape"), _FILES)
def test_small_files(file: str, family: ZooFamily, given: dict[str, Any], shape: tuple[int, ...]) -> None:
    model = loaded(family, golden(file), **given)
    # transformers takes (B, T, 3, H, W), and images are clips of one frame.
    video = clip(shape).unsqueeze(2) if len(shape) == 4 else clip(shape)
    if "transformers" in file and len(shape) == 5:
        video = clip((shape[0], shape[2], shape[1], *shape[3:])).transpose(1, 2)
    expected = golden(f"{file.rpartition('/')[0]}/expected.safetensors")
    with torch.no_grad():
        assert error(model(video), expected["logits"]) < 1e-5
        if "feature" in expected:
            assert error(model.features(video), expected["feature"]) < 1e-5


def test_videomae_by_the_library() -> None:
    pytest.importorskip("transformers")
    given = {**HEADS, "clip_len": 4, "crop_size": 32}
    model = loaded(zoo_vit.VIDEOMAE_HUB, golden("transformers_small/videomae/model.safetensors"), **given)
    video = clip((2, 4, 3, 32, 32)).transpose(1, 2)
    with torch.no_grad():
        assert error(model(video), golden("transformers_small/videomae/expected.safetensors")["logits"]) < 1e-5


def test_swin_for_images_is_swin_on_frames() -> None:
    """Our backbone with patches and windows of one frame; its file is read by the rules for image Swins."""
    tensors = golden("transformers_small/swin/model.safetensors")
    translation = FAMILIES["transformers"].to_canonical(tensors)
    model = create_model(
        "swin2d_micro", 10, embed_dim=24, depths=(2, 2), num_heads=(2, 4), window_size=(1, 7, 7), init="paper"
    )
    ours = {n: t.unsqueeze(2) if t.ndim == 4 else t for n, t in translation.tensors.items()}
    model.load_state_dict(ours, strict=True)
    with torch.no_grad():
        logits = model.eval()(clip((2, 3, 56, 56)).unsqueeze(2))
    assert error(logits, golden("transformers_small/swin/expected.safetensors")["logits"]) < 1e-5


@pytest.mark.slow
def test_swin_t_for_images_at_its_published_size() -> None:
    family = FAMILIES["transformers"]
    model = create_model("swin2d_t", 1000)
    flat = {n: t.squeeze(2) if t.ndim == 5 else t for n, t in model.state_dict().items()}
    names = family.from_canonical(flat, (1, 7, 7))
    theirs = {name: value(name, t.shape) for name, t in names.items() if t.is_floating_point()}
    ours = family.to_canonical(theirs).tensors
    model.load_state_dict({n: t.unsqueeze(2) if t.ndim == 4 else t for n, t in ours.items()}, strict=True)
    with torch.no_grad():
        logits = model.eval()(clip((1, 3, 224, 224)).unsqueeze(2))
    assert error(logits, golden("transformers_full/swin_t.safetensors")["logits"]) < 1e-5


def test_timesformer_resizes_its_embeddings_to_the_nearest() -> None:
    folder = "timesformer_official/divided_space_time"
    model = loaded(zoo_timesformer.TIMESFORMER_OFFICIAL, golden(f"{folder}/weights.pyth"), **HEADS)
    expected = golden(f"{folder}/expected.safetensors")
    with torch.no_grad():
        assert error(model(clip((1, 3, 6, 32, 32))), expected["logits_6frames"]) < 1e-5
        assert error(model(clip((1, 3, 4, 48, 48))), expected["logits_48px"]) < 1e-5


def test_space_only_averages_frames_where_transformers_forgets_to() -> None:
    folder = "transformers_small/timesformer_space_only"
    model = loaded(zoo_timesformer.TIMESFORMER_HUB, golden(f"{folder}/model.safetensors"), **HEADS)
    video = clip((2, 4, 3, 32, 32)).transpose(1, 2)
    frames = video.transpose(1, 2).flatten(0, 1).unsqueeze(2)  # each frame a clip: then there is nothing to average
    with torch.no_grad():
        assert model(video).shape == (2, 10)
        assert error(model(frames), golden(f"{folder}/expected.safetensors")["logits"]) < 1e-5


@pytest.mark.parametrize(
    ("number", "name", "given"),
    [
        (1, "model1_spacetime", {"clip_len": 4}),
        (2, "model2_factorised_encoder", {}),
        (3, "model3_factorised_self_attention_time_space", {"clip_len": 4}),
        (4, "model4_factorised_dot_product", {"clip_len": 4}),
    ],
)
def test_scenic_vivit(number: int, name: str, given: dict[str, Any]) -> None:
    family = zoo_vivit.vivit_scenic(num_heads=4, model=number)
    model = loaded(family, read_flax(DATA / f"vivit_scenic/{name}.checkpoint"), **given)
    video = clip((2, 4, 32, 32, 3)).permute(0, 4, 1, 2, 3)
    with torch.no_grad():
        assert error(model(video), golden(f"vivit_scenic/{name}.expected.safetensors")["logits"]) < 1e-5


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_scenic_file_is_of_one_model(number: int) -> None:
    names = {
        1: "model1_spacetime",
        2: "model2_factorised_encoder",
        3: "model3_factorised_self_attention_time_space",
        4: "model4_factorised_dot_product",
    }
    tensors = read_flax(DATA / f"vivit_scenic/{names[number]}.checkpoint")
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    claims = [n for n in (1, 2, 3, 4) if zoo_vivit.vivit_scenic(num_heads=4, model=n).claims(shapes)]
    assert claims == [number]


def test_vtn_takes_the_frames_numbers() -> None:
    model: Any = loaded(zoo_vit.VTN_OFFICIAL, golden("vtn/weights.pyth"), window=4, frame_interval=1, **HEADS)
    expected = golden("vtn/expected.safetensors")
    video = clip((2, 3, 12, 32, 32))
    with torch.no_grad():
        features = model.forward_features(video, expected["position_ids"])
        assert error(model.classify(features), expected["logits"]) < 1e-5
        assert error(features, expected["encoded"][:, 0]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "family", "file", "given"),
    [
        ("vit_b_16", zoo_vit.VIT_HUB, "transformers_full/vit_b_16", {"num_heads": 12}),
        (
            "deit_b_16_distilled",
            zoo_vit.DEIT_DISTILLED_HUB,
            "transformers_full/deit_b_distilled",
            {"num_heads": 12},
        ),
        (
            "timesformer_b_divided",
            zoo_timesformer.TIMESFORMER_HUB,
            "transformers_full/timesformer_b_divided",
            {"num_heads": 12},
        ),
        ("mvit_v1_b", zoo_mvit.MVIT_TORCHVISION, "torchvision_full/mvit_v1_b", {}),
    ],
)
def test_published_sizes(name: str, family: ZooFamily, file: str, given: dict[str, Any]) -> None:
    expected = golden(f"{file}.safetensors")["logits"]
    model = filled(family, create_model(name, num_classes=expected.shape[1]), **given)
    if name == "timesformer_b_divided":
        video = clip((1, 8, 3, 224, 224)).transpose(1, 2)
    else:
        video = clip((1, 3, 16, 224, 224)) if "mvit" in name else clip((1, 3, 224, 224)).unsqueeze(2)
    with torch.no_grad():
        assert error(model(video), expected) < 1e-5


@pytest.mark.parametrize(
    ("family", "name", "given"),
    [
        (zoo_vit.VIT_TIMM, "vit_micro", {"num_heads": 6, "clip_len": 16}),
        (zoo_vit.VIT_TIMM, "deit_micro_distilled", {"num_heads": 6, "clip_len": 16}),
        (zoo_vit.VIT_HUB, "vit_micro", {"num_heads": 6, "clip_len": 16}),
        (zoo_timesformer.TIMESFORMER_OFFICIAL, "timesformer_micro_space", {"num_heads": 6, "clip_len": 16}),
        (zoo_timesformer.TIMESFORMER_MMACTION2_PLAIN, "timesformer_micro_joint", {"num_heads": 6}),
        (zoo_vit.VTN_OFFICIAL, "vtn_micro", {"num_heads": 6, "clip_len": 16}),
        (zoo_vivit.VIVIT_HUB, "vivit_micro_model1", {"num_heads": 6, "clip_len": 16}),
        (zoo_vivit.vivit_scenic(6, 1), "vivit_micro_model1", {"clip_len": 16}),
        (zoo_vivit.vivit_scenic(6, 2), "vivit_micro_model2", {}),
        (zoo_vivit.vivit_scenic(6, 3), "vivit_micro_model3", {"clip_len": 16}),
        (zoo_vivit.vivit_scenic(6, 4), "vivit_micro_model4", {"clip_len": 16}),
        (zoo_mvit.MVIT_TORCHVISION, "mvit_v1_micro", {}),
        (zoo_mvit.MVIT_TORCHVISION, "mvit_v2_micro", {}),
        (zoo_mvit.MVIT_SLOWFAST, "mvit_v1_micro", {}),
        (zoo_mvit.MVIT_SLOWFAST, "mvit_v2_micro", {}),
        (zoo_mvit.MVIT_MMACTION2, "mvit_v2_micro", {}),
        (zoo_mvit.MVIT_PYTORCHVIDEO, "mvit_v1_micro", {}),
    ],
)
def test_every_family_reads_what_it_writes(family: ZooFamily, name: str, given: dict[str, Any]) -> None:
    """Names there and back, and the architecture from shapes and what no shape tells."""
    again, model = loaded(family, as_theirs(family, create_model(name)), **given), create_model(name)
    training_only = {"drop_path", "dropout", "eps"}
    ours, theirs = ({k: v for k, v in m.config.to_dict().items() if k not in training_only} for m in (model, again))
    assert theirs == ours
