"""Loading any family: the same numbers, or the reason why not."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.weights.golden import FILES, GOLDEN, VIDEO, expected, relative_error
from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, WeightsError
from videoswin.model import SwinConfig, VideoSwin
from videoswin.weights.checkpoint import inspect_checkpoint, load_checkpoint
from videoswin.weights.containers.read import read_container
from videoswin.weights.convert import TARGETS, convert_model
from videoswin.weights.safetensors import write_tensors

OFFICIAL = FILES["official"]


def refused(path: Path, **options: object) -> str:
    with pytest.raises(WeightsError) as caught:
        load_checkpoint(path, **options)  # pyright: ignore[reportArgumentType]
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert caught.value.hint
    return message


# --- the same numbers ---


@pytest.mark.parametrize("i", range(4))
@pytest.mark.parametrize("family", VIDEO)
def test_a_public_video_model_gives_its_own_numbers(family: str, i: int) -> None:
    model, _ = load_checkpoint(FILES[family])
    golden = expected(family)
    with torch.no_grad():
        assert relative_error(model(golden[f"input_{i}"]), golden[f"logits_{i}"]) < 1e-5


@pytest.mark.parametrize("family", FILES)
def test_the_architecture_is_read_from_the_tensors(family: str) -> None:
    config = inspect_checkpoint(FILES[family]).config
    video = family in VIDEO
    assert config == SwinConfig(
        embed_dim=8,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        window_size=(4, 3, 3) if video else (1, 3, 3),
        patch_size=(2, 4, 4) if video else (1, 4, 4),
        num_classes=7,
        relative_bias="official",
    )


def test_the_callers_choices_win() -> None:
    model, report = load_checkpoint(OFFICIAL, relative_bias="exact", padding="masked")
    assert (model.config.relative_bias, model.config.padding) == ("exact", "masked")
    assert report.config == model.config


def test_the_model_is_ready_and_owns_its_numbers(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(OFFICIAL.read_bytes())
    model, _ = load_checkpoint(file)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with file.open("r+b") as stream:
        stream.write(b"\xff" * file.stat().st_size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())


# --- there and back ---


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(("to", "family"), [(to, family) for to, family in TARGETS.items() if family in VIDEO])
def test_family_to_ours_to_family_bit_for_bit(tmp_path: Path, to: str, family: str, suffix: str) -> None:
    model, _ = load_checkpoint(FILES[family])
    convert_model(model, tmp_path / "ours.safetensors", "ours")
    ours, report = load_checkpoint(tmp_path / "ours.safetensors", relative_bias="official")
    assert report.family == "ours"
    convert_model(ours, tmp_path / f"theirs{suffix}", to)
    again, report = load_checkpoint(tmp_path / f"theirs{suffix}")
    assert report.family == family
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True))
    if suffix == ".pth":
        back, there = read_container(tmp_path / "theirs.pth").tensors, read_container(FILES[family]).tensors
        assert back.keys() == there.keys()
        assert all(torch.equal(back[name], there[name]) for name in there)


def test_only_known_formats_are_written(tmp_path: Path) -> None:
    model, _ = load_checkpoint(OFFICIAL)
    with pytest.raises(ConfigError, match='Did you mean "torchvision"'):
        convert_model(model, tmp_path / "w.pth", "torchvison")
    with pytest.raises(ConfigError, match="safetensors"):
        convert_model(model, tmp_path / "w.pth", "ours")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_folder_of_ours_keeps_what_tensors_cannot_tell(tmp_path: Path) -> None:
    config = SwinConfig(
        embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(5, 5, 5), num_classes=2, drop_path=0.3, padding="masked"
    )  # fmt: skip
    classifier = Classifier(VideoSwin(config), Preprocessing(size=(32, 32), short_side=32), ("a", "b"))
    classifier.save(tmp_path / "best")
    with pytest.raises(WeightsError, match=r"41x2x2 and 5x5x5 and 1x14x14"):
        load_checkpoint(tmp_path / "best" / "model.safetensors")
    model, report = load_checkpoint(tmp_path / "best" / "model.safetensors", window_in_file=(5, 5, 5))
    assert model.config.window_size == (5, 5, 5)
    model, report = load_checkpoint(tmp_path / "best" / "model.safetensors", own_config=config)
    assert model.config == config
    assert report.family == "ours"
    with pytest.raises(WeightsError, match=r"config.json: it describes another model than model.safetensors"):
        load_checkpoint(tmp_path / "best" / "model.safetensors", own_config=config.replace(num_classes=3))
    with pytest.raises(
        WeightsError, match=r"a folder, not a file of weights. Load a checkpoint folder by videoswin.load"
    ):
        load_checkpoint(tmp_path / "best")


# --- the report ---


def test_everything_is_accounted_for() -> None:
    model, report = load_checkpoint(OFFICIAL)
    assert report.family == "official"
    assert set(report.loaded) == set(model.state_dict())
    assert len(report.dropped) == 8
    assert all(name.endswith("relative_position_index") for name in report.dropped)
    assert report.ignored == ("meta",)
    assert report.missing == report.unexpected == report.reshaped == report.fresh == ()
    assert "loaded        121 tensors" in str(report)
    assert report.to_dict()["config"]["window_size"] == [4, 3, 3]


@pytest.mark.parametrize("classes", [3, 0])
def test_another_number_of_classes_is_a_new_head(classes: int) -> None:
    model, report = load_checkpoint(OFFICIAL, num_classes=classes)
    assert model.config.num_classes == classes
    assert report.fresh == (("head.fc.weight", "head.fc.bias") if classes else ())
    assert set(report.dropped) >= {"cls_head.fc_cls.weight", "cls_head.fc_cls.bias"}
    golden = expected("official")
    with torch.no_grad():
        assert relative_error(model.forward_features(golden["input_0"]), golden["features_0"]) < 1e-5
        assert bool(torch.isfinite(model(golden["input_0"])).all())


def test_the_same_number_of_classes_is_the_old_head() -> None:
    _, report = load_checkpoint(OFFICIAL, num_classes=7)
    assert report.fresh == ()


def test_another_window_resamples_the_tables() -> None:
    model, report = load_checkpoint(OFFICIAL, window_size=(8, 3, 3))
    assert model.config.window_size == (8, 3, 3)
    assert len(report.reshaped) == 8
    assert len(report.loaded) == 121 - 8
    source = read_container(OFFICIAL).tensors["backbone.layers.1.blocks.0.attn.relative_position_bias_table"]
    table = model.state_dict()["backbone.layers.1.blocks.0.attn.relative_position_bias_table"]
    middle, new_middle = source.view(7, 25, 2)[3], table.view(15, 25, 2)[7]
    assert table.shape == (15 * 25, 2)
    assert relative_error(new_middle, middle) < 1e-5  # offset 0 stays offset 0


# --- files that lack something ---


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Path]:
    """The official golden file with some tensors changed, renamed, or taken away (None)."""

    def edit(change: Callable[[dict[str, Tensor]], object]) -> Path:
        tensors = read_container(OFFICIAL).tensors
        change(tensors)
        torch.save({"state_dict": tensors}, tmp_path / "edited.pth")
        return tmp_path / "edited.pth"

    return edit


Edited = Callable[[Callable[[dict[str, Tensor]], object]], Path]
KEY = "backbone.layers.1.blocks.0.attn.proj.weight"
HEAD = "cls_head.fc_cls.weight"


def test_a_missing_tensor_is_named(edited: Edited) -> None:
    path = edited(lambda tensors: tensors.pop(KEY))
    assert f"1 missing: {KEY}" in refused(path)
    assert inspect_checkpoint(path).missing == (KEY,)


def test_a_renamed_tensor_is_missing_and_in_the_way(edited: Edited) -> None:
    message = refused(edited(lambda tensors: tensors.update({KEY.replace("proj", "out"): tensors.pop(KEY)})))
    assert f"1 missing: {KEY}" in message
    assert "no place for: backbone.layers.1.blocks.0.attn.out.weight" in message


def test_a_wrong_shape_is_named(edited: Edited) -> None:
    message = refused(edited(lambda tensors: tensors.update({KEY: torch.zeros(16, 15)})))
    assert f"{KEY} is [16, 15], not [16, 16]" in message


def test_nan_is_refused(edited: Edited) -> None:
    assert "NaN" in refused(edited(lambda tensors: tensors[KEY].fill_(float("nan"))))


def test_more_than_the_architecture_is_refused(edited: Edited) -> None:
    """Factorised attention, say: loaded without it, the model would compute something else."""
    name = "backbone.layers.0.blocks.0.attn_temporal.qkv.weight"
    assert name in refused(edited(lambda tensors: tensors.update({name: torch.zeros(2)})))


def test_strangers_outside_the_backbone_are_reported(edited: Edited) -> None:
    _, report = load_checkpoint(edited(lambda tensors: tensors.update({"neck.weight": torch.zeros(2)})))
    assert report.unexpected == ("neck.weight",)


def test_half_a_head_is_refused_unless_it_is_replaced(edited: Edited) -> None:
    path = edited(lambda tensors: tensors.pop("cls_head.fc_cls.bias"))
    assert "cls_head.fc_cls.bias" in refused(path)
    assert load_checkpoint(path, num_classes=3)[1].fresh == ("head.fc.weight", "head.fc.bias")


def test_a_backbone_without_a_head_gives_features(edited: Edited) -> None:
    path = edited(lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("cls_head")])
    assert load_checkpoint(path)[0].config.num_classes == 0
    assert load_checkpoint(path, num_classes=3)[1].fresh == ("head.fc.weight", "head.fc.bias")


def test_integers_are_no_weights(edited: Edited) -> None:
    assert "int64" in refused(edited(lambda tensors: tensors.update({KEY: torch.zeros(16, 16, dtype=torch.long)})))


def test_data_parallel_and_half_precision(edited: Edited) -> None:
    def wrap(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            tensor = tensors.pop(name)
            tensors[f"module.{name}"] = tensor.half() if tensor.is_floating_point() else tensor

    model, _ = load_checkpoint(edited(wrap))
    assert {p.dtype for p in model.parameters()} == {torch.float32}


# --- files of something else ---


def test_other_models_are_refused_with_what_is_known(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3), "fc.weight": torch.zeros(2)}, tmp_path / "resnet.pth")
    message = refused(tmp_path / "resnet.pth")
    assert "conv1.weight" in message
    assert "torchvision swin3d" in message


def test_swin_v2_is_refused_by_name(tmp_path: Path) -> None:
    tensors = read_container(FILES["microsoft"]).tensors
    tensors["layers.0.blocks.0.attn.logit_scale"] = torch.zeros(1)
    torch.save({"model": tensors}, tmp_path / "v2.pth")
    assert "Swin V2" in refused(tmp_path / "v2.pth")


def test_images_are_pointed_to_inflation() -> None:
    assert "Inflate" in refused(FILES["timm"])


def test_a_wrong_hint_about_the_window(tmp_path: Path) -> None:
    assert "175" in refused(OFFICIAL, window_in_file=(8, 7, 7))


def test_thousands_of_blocks_in_a_small_file(tmp_path: Path) -> None:
    tensors = dict(load_checkpoint(OFFICIAL)[0].state_dict())
    tensors["backbone.layers.3.blocks.9999.attn.relative_position_bias_table"] = torch.zeros(175, 8)
    write_tensors(tmp_path / "deep.safetensors", tensors)
    assert "bias tables" in refused(tmp_path / "deep.safetensors")


def test_the_golden_folder_holds_what_the_tests_name() -> None:
    assert all(path.parent == GOLDEN and path.is_file() for path in FILES.values())
