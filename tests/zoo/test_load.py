"""Files of the zoo through ``load``: the public codes' logits, or one line that says what is missing."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import videoswin
from tests.zoo.golden import DATA, clip, error, golden
from tests.zoo.test_golden_conv import _SMALL
from tests.zoo.test_golden_transformers import _FILES
from videoswin.errors import ConfigError, WeightsError
from videoswin.weights.any_file import inspect_file, load_file
from videoswin.weights.formats.zoo import ZOO_FAMILIES, recognise_zoo
from videoswin.weights.formats.zoo_caffe2 import RESNET_CAFFE2
from videoswin.weights.load_report import LoadReport
from videoswin.zoo import CONFIGS, create_model
from videoswin.zoo.names import ZOO_NAMES

_MODE = {"mode": "embedded_gaussian"}
_CONV: dict[str, dict[str, Any]] = {
    "mmaction2_small/i3d_w4_nl_dot_product": {"mode": "dot_product"},
    "mmaction2_small/i3d_w4_nl_embedded_gaussian": {"like": "i3d_r50_nl"},
    "slowfast_small/c2d_nln_w4": {"pool2": True, **_MODE},
}
_SCENIC = ("model1_spacetime", "model2_factorised_encoder", "model3_factorised_self_attention_time_space",
           "model4_factorised_dot_product")  # fmt: skip


def test_the_names_are_those_of_the_configurations() -> None:
    assert {*ZOO_NAMES, *videoswin.PRESETS} == set(CONFIGS)


@pytest.mark.parametrize(("file", "given", "shape"), [(file, given, shape) for file, _, given, shape in _FILES])
def test_transformers(file: str, given: dict[str, Any], shape: tuple[int, ...]) -> None:
    beside = {"num_heads", "clip_len"} if "transformers" in file else set()  # its config.json tells them
    classifier = videoswin.load(DATA / file, **{name: v for name, v in given.items() if name not in beside})
    video = clip(shape).unsqueeze(2) if len(shape) == 4 else clip(shape)
    if "transformers" in file and len(shape) == 5:
        video = clip((shape[0], shape[2], shape[1], *shape[3:])).transpose(1, 2)
    expected = golden(f"{file.rpartition('/')[0]}/expected.safetensors")["logits"]
    assert error(classifier.logits(video), expected) < 1e-5


@pytest.mark.parametrize(("folder", "ending"), [(folder, ending) for folder, ending, _, _ in _SMALL])
def test_convolutions(folder: str, ending: str) -> None:
    model, report = load_file(DATA / f"{folder}/weights.{ending}", **_split(_CONV.get(folder, {})))
    video = clip((2, 3, 8 if "slowfast" in folder else 16, 64, 64))
    with torch.no_grad():
        assert error(model(video), golden(f"{folder}/expected.safetensors")["logits"]) < 1e-5
    assert report.says


def _split(given: dict[str, Any]) -> dict[str, Any]:
    return {"like": given.get("like"), "settings": {k: v for k, v in given.items() if k != "like"}}


@pytest.mark.parametrize("name", _SCENIC)
def test_flax(name: str) -> None:
    classifier = videoswin.load(
        DATA / f"vivit_scenic/{name}.checkpoint",
        like="vivit_b_16x2_" + name[:6],
        **({} if "model2" in name else {"clip_len": 4}),  # type: ignore[arg-type]
    )
    video = clip((2, 4, 32, 32, 3)).permute(0, 4, 1, 2, 3)
    assert error(classifier.logits(video), golden(f"vivit_scenic/{name}.expected.safetensors")["logits"]) < 1e-5


def test_a_swin_for_images_on_frames() -> None:
    folder = "transformers_small/swin"
    model, _ = load_file(DATA / f"{folder}/model.safetensors", like="swin2d_t")
    with torch.no_grad():
        assert (
            error(model(clip((2, 3, 56, 56)).unsqueeze(2)), golden(f"{folder}/expected.safetensors")["logits"]) < 1e-5
        )


TIMESFORMER = DATA / "timesformer_official/divided_space_time/weights.pyth"


def test_what_no_tensor_tells_is_asked_for() -> None:
    command = r"do not tell num_heads\. Say it: --like timesformer_b_divided or --num-heads N; in Python: "
    with pytest.raises(ConfigError, match=command + r'load\(FILE, like="timesformer_b_divided", or num_heads=\.\.\.'):
        videoswin.load(TIMESFORMER)
    with pytest.raises(ConfigError, match='like="swin3d_t" is another system'):
        videoswin.load(TIMESFORMER, like="swin3d_t")
    classifier = videoswin.load(TIMESFORMER, like="timesformer_b_divided", num_heads=4)
    assert "num_heads 4: as given" in str(classifier.report)
    with pytest.raises(ConfigError, match="another system"):
        videoswin.load(TIMESFORMER, like="vit_b_16", num_heads=4)
    with pytest.raises(ConfigError, match="no field"):
        videoswin.load(TIMESFORMER, num_head=4)


def test_the_published_size_tells_the_heads(tmp_path: Path) -> None:
    """A file of the size of ViT-Ti: only one published model has it."""
    from videoswin.weights.formats.zoo_vit import VIT_TIMM

    ours = create_model("vit_ti_16", num_classes=7).state_dict()
    torch.save(VIT_TIMM.to_theirs(ours), tmp_path / "vit.pth")
    report = inspect_file(tmp_path / "vit.pth")
    assert report.config.num_heads == 3
    assert any("num_heads 3: as vit_ti_16" in line for line in report.says)


@pytest.mark.parametrize("position", [0, 5, -1])
def test_one_tensor_missing_is_one_line(tmp_path: Path, position: int) -> None:
    tensors = golden("timesformer_official/divided_space_time/weights.pyth")
    tensors.pop(list(tensors)[position])
    torch.save(tensors, tmp_path / "cut.pth")
    with pytest.raises(WeightsError, match="TimeSformer, official") as refused:
        videoswin.load(tmp_path / "cut.pth", num_heads=4)
    assert "\n" not in str(refused.value)


def test_another_number_of_classes_starts_the_head_anew() -> None:
    classifier = videoswin.load(TIMESFORMER, 3, num_heads=4)
    assert classifier.report is not None
    assert set(classifier.report.fresh) == {"head.fc.weight", "head.fc.bias"}
    assert len(classifier.labels) == 3


class _Code:
    def __reduce__(self) -> Any:
        return print, ("executed",)


def test_caffe2_pickles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = create_model("c2d_r50_micro", pool2=True)
    ours = {n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    blobs = {name: tensor.numpy() for name, tensor in RESNET_CAFFE2.to_theirs(ours).items()}
    blobs |= {"lr": np.zeros(1, np.float32), "conv1_w_momentum": np.zeros((2, 2), np.float32)}
    with (tmp_path / "c2d.pkl").open("wb") as file:
        pickle.dump({"blobs": blobs}, file, protocol=2)
    loaded, report = load_file(tmp_path / "c2d.pkl", settings={"pool2": True})
    assert report.family == "resnet_caffe2"
    video = clip((1, 3, 8, 56, 56))
    with torch.no_grad():
        assert error(loaded(video), model.eval()(video)) < 1e-5
    with (tmp_path / "code.pkl").open("wb") as file:
        pickle.dump({"blobs": {**blobs, "x": _Code()}}, file, protocol=2)
    capsys.readouterr()
    with pytest.raises(WeightsError, match="nothing was run"):
        load_file(tmp_path / "code.pkl", settings={"pool2": True})
    assert "executed" not in capsys.readouterr().out


def test_lying_flax_sizes_are_one_line(tmp_path: Path) -> None:
    data = bytearray((DATA / "vivit_scenic/model1_spacetime.checkpoint").read_bytes())
    place = data.index(b"float32\xc5") + 8  # the length of an array's bytes
    data[place] = 0xFF
    (tmp_path / "lying.checkpoint").write_bytes(data)
    with pytest.raises(WeightsError) as refused:
        videoswin.load(tmp_path / "lying.checkpoint", clip_len=4)
    assert "\n" not in str(refused.value)


def test_one_family_claims_a_file() -> None:
    for file, family, _, _ in _FILES:
        shapes = {name: tuple(tensor.shape) for name, tensor in golden(file).items()}
        assert recognise_zoo(shapes) is family
        assert [f.name for f in ZOO_FAMILIES if f.claims(shapes)] == [family.name]


def test_a_config_of_the_library_is_no_folder_of_ours() -> None:
    """model.safetensors beside its config.json loads as a file."""
    folder = DATA / "transformers_small/vivit"
    assert "format" not in json.loads((folder / "config.json").read_text())
    assert videoswin.load(folder / "model.safetensors").report is not None


def test_the_command_line_is_told_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the tensors leave open is asked for in one line, and --like or --num-heads answer it, in every verb."""
    from tests.tiny import write_video
    from videoswin.cli.main import main

    source = DATA / "timesformer_official/divided_space_time/weights.pyth"
    shutil.copyfile(source, file := tmp_path / "weights.pyth")
    video = str(write_video(tmp_path / "data" / "a" / "clip.mp4"))
    write_video(tmp_path / "data" / "b" / "clip.mp4")
    heads = ["--num-heads", "4"]
    assert main(["predict", video, "--weights", str(file)]) == 2
    assert "whose tensors do not tell num_heads" in capsys.readouterr().err
    assert main(["predict", video, "--weights", str(file), "--json", *heads]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"]
    assert main(["inspect", str(file), "--json", "--like", "timesformer_b_divided", *heads]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["num_heads"] == 4
    assert main(["convert", str(file), str(tmp_path / "ours"), *heads]) == 0
    assert main(["convert", str(file), str(tmp_path / "theirs.pth"), "--to", "mmaction2", *heads]) == 2
    assert "to=mmaction2 is for Video Swin" in capsys.readouterr().err
    told, folder = videoswin.load(file, num_heads=4), videoswin.load(tmp_path / "ours")
    assert folder.model.config == told.model.config
    assert folder.preprocessing == told.preprocessing
    run = ["train", str(tmp_path / "data"), "--weights", str(file), "--out", str(tmp_path / "run"), "--val-share", "0"]
    assert main([*run, "--epochs", "1", "--adapt", "head", *heads]) == 0
    assert videoswin.load(tmp_path / "run" / "best").model.config.num_heads == 4


def test_what_is_told_of_a_folder_is_refused(tmp_path: Path) -> None:
    from videoswin.export.runtime import open_classifier

    with pytest.raises(ConfigError, match="like is for files of weights"):
        open_classifier("swin3d_micro_gestures", like="swin2d_t")


def test_the_report_shows_a_network_stage_by_stage(tmp_path: Path):
    """Stages are told apart, a stage without context blocks is "none", and what is not set is left out."""
    said = str(LoadReport(path=tmp_path, family="resnet", title="ResNet", config=CONFIGS["i3d_r50_nl_micro"]))
    assert "kernels_t 3/3-1/3-1/1-3, context (" in said
    assert "context_at none/1-3/1-3-5" in said
    assert "None" not in said
