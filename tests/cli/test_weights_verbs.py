"""``inspect`` and ``convert`` on the golden files."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import videoswin
from tests.tiny import tiny_classifier
from tests.weights.golden import FILES
from videoswin.classifier.folder import read_facts
from videoswin.classifier.published import PUBLISHED
from videoswin.cli.main import main
from videoswin.weights.checkpoint import inspect_checkpoint, load_checkpoint
from videoswin.weights.containers.read import read_container


@pytest.mark.parametrize("family", FILES)
def test_inspect_says_what_a_file_is(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(FILES[family])]) == 0
    out = capsys.readouterr().out
    assert "embed dim 8, depths 2-2-2-2, heads 1-2-4-8" in out
    assert main(["inspect", str(FILES[family]), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["family"] == family
    assert facts["config"]["num_classes"] == 7
    assert facts["missing"] == []


def test_inspect_tells_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = read_container(FILES["official"]).tensors
    tensors.pop("backbone.norm.weight")
    torch.save(tensors, tmp_path / "w.pth")
    assert main(["inspect", str(tmp_path / "w.pth")]) == 0
    assert "missing       1: backbone.norm.weight" in capsys.readouterr().out


@pytest.mark.parametrize("to", ["official", "mmaction2", "torchvision"])
def test_convert_there_and_back(to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = tmp_path / "new.pth"
    assert main(["convert", str(FILES["official"]), str(new), "--to", to]) == 0
    assert f"written to {new}" in capsys.readouterr().out
    old, again = load_checkpoint(FILES["official"])[0].state_dict(), load_checkpoint(new)[0].state_dict()
    assert all(torch.equal(again[name], old[name]) for name in old)


def test_convert_to_a_checkpoint_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    assert main(["convert", str(FILES["mmaction2"]), str(folder), "--num-classes", "3"]) == 0
    classifier = videoswin.load(folder)
    assert classifier.labels == ("class 0", "class 1", "class 2")
    assert classifier.model.config.relative_bias == "official"
    facts = read_facts(folder)
    assert inspect_checkpoint(folder / "model.safetensors", own_config=facts.config).config == classifier.model.config


def test_a_checkpoint_of_ours_keeps_its_labels(tmp_path: Path) -> None:
    tiny_classifier().save(tmp_path / "ck")
    assert main(["convert", str(tmp_path / "ck"), str(tmp_path / "longer"), "--num-frames-window", "4"]) == 0
    longer, old = videoswin.load(tmp_path / "longer"), videoswin.load(tmp_path / "ck")
    assert (longer.labels, longer.preprocessing) == (old.labels, old.preprocessing)
    assert longer.model.config.window_size == (4, 3, 3)


def test_the_weights_inside_a_checkpoint_are_its_own(tmp_path: Path) -> None:
    tiny_classifier().save(tmp_path / "ck")
    assert main(["convert", str(tmp_path / "ck" / "model.safetensors"), str(tmp_path / "new")]) == 0
    assert videoswin.load(tmp_path / "new").labels == tiny_classifier().labels


def test_convert_inflates_and_lengthens(tmp_path: Path) -> None:
    for source in (FILES["timm"], FILES["official"]):
        new = tmp_path / f"{source.stem}.pth"
        assert main(["convert", str(source), str(new), "--to", "official", "--num-frames-window", "6"]) == 0
        assert inspect_checkpoint(new).config.window_size == (6, 3, 3)


def test_like_makes_a_model_for_images_look_at_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(FILES["timm"]), "--like", "swin2d_t"]) == 0
    assert "averaged over the frames" in capsys.readouterr().out
    assert main(["convert", str(FILES["timm"]), str(tmp_path / "frames"), "--like", "swin2d_t"]) == 0
    assert videoswin.load(tmp_path / "frames").model.config.window_size == (1, 3, 3)  # not inflated


def test_inspect_says_where_like_has_no_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_classifier().save(tmp_path / "ck")
    for weights, reason in [
        (FILES["official"], "tensors tell everything"),
        (tmp_path / "ck", "is for files of weights"),
    ]:
        assert main(["inspect", str(weights), "--like", "swin3d_t"]) == 2
        assert reason in capsys.readouterr().err


def test_convert_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there.pth").touch()
    official = str(FILES["official"])
    for arguments, reason in [
        ([official, str(tmp_path / "there.pth"), "--to", "official"], "exists already"),
        ([official, str(tmp_path / "no" / "w.pth"), "--to", "official"], "does not exist"),
        ([official, str(tmp_path / "w.pth")], "safetensors"),
        ([official, str(tmp_path / "w.pth"), "--to", "keras"], "keras"),
        ([official, str(tmp_path / "w.pth"), "--to", "official", "--num-frames-window", "0"], "window_size"),
        ([str(FILES["timm"]), str(tmp_path / "w"), "--num-frames-window", "0"], "window_size"),
        ([official, str(tmp_path / "w.onnx"), "--to", "official"], "Name it .pth or .safetensors."),
        ([official, str(tmp_path / "w"), "--to", "torchvision"], "Name it .pth or .safetensors."),
        ([official, str(tmp_path / "w"), "--like", "swin3d_t"], 'Leave like="swin3d_t" out.'),
        ([str(tmp_path / "there.pth"), str(tmp_path / "w.pth")], "too few"),
    ]:
        assert main(["convert", *arguments]) == 2
        err = capsys.readouterr().err
        assert reason in err
        assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there.pth"]


# --- videoswin.load and videoswin.inflate ---


def test_load_takes_public_files() -> None:
    classifier = videoswin.load(FILES["official"])
    assert classifier.labels[:2] == ("class 0", "class 1")
    assert classifier.report is not None
    assert classifier.report.family == "official"
    assert classifier.preprocessing.antialias is False
    fresh = videoswin.load(FILES["official"], num_classes=400)
    assert fresh.labels[0] == "class 0"  # a new head knows nothing of Kinetics
    assert videoswin.load(FILES["official"], relative_bias="exact").model.config.relative_bias == "exact"


@pytest.mark.parametrize(
    ("classes", "label", "sampling"),
    [(400, "abseiling", "interval"), (600, "abseiling", "interval"), (174, "Approaching something", "uniform")],
)
def test_labels_come_with_known_numbers_of_classes(tmp_path: Path, classes: int, label: str, sampling: str) -> None:
    tensors = read_container(FILES["official"]).tensors
    tensors["cls_head.fc_cls.weight"], tensors["cls_head.fc_cls.bias"] = torch.zeros(classes, 64), torch.zeros(classes)
    torch.save({"state_dict": tensors}, tmp_path / "w.pth")
    classifier = videoswin.load(tmp_path / "w.pth")
    assert classifier.labels[0].startswith(label)
    assert classifier.preprocessing.sampling == sampling
    assert "by the number of classes" in classifier.notes


def test_inflate_gives_a_classifier() -> None:
    classifier = videoswin.inflate(FILES["timm"], num_classes=3)
    assert classifier.model.config.window_size == (8, 3, 3)
    assert classifier.labels == ("class 0", "class 1", "class 2")


def test_options_for_files_are_refused_for_folders(tmp_path: Path) -> None:
    tiny_classifier().save(tmp_path / "ck")
    with pytest.raises(videoswin.ConfigError, match="num_classes"):
        videoswin.load(tmp_path / "ck", num_classes=4)


def test_inspect_and_convert_take_every_name_that_has_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "videoswin.classifier.loading.published_file",
        lambda model: FILES["official" if model.kind == "video" else "microsoft"],
    )
    config = inspect_checkpoint(FILES["official"]).config
    image = inspect_checkpoint(FILES["microsoft"]).config
    small = {
        name: dataclasses.replace(PUBLISHED[name], config=c)
        for name, c in {"swin3d_t_k400": config, "swin2d_t_in1k": image}.items()
    }
    monkeypatch.setattr("videoswin.classifier.resolve.PUBLISHED", small)
    for name in ("swin3d_t_k400", "swin2d_t_in1k", "swin3d_micro_gestures"):
        assert main(["inspect", name]) == 0
        assert "missing" not in capsys.readouterr().out
        assert main(["convert", name, f"{name}.pth", "--to", "torchvision"]) == 0
        assert inspect_checkpoint(f"{name}.pth").family == "torchvision_3d"
        assert main(["convert", name, name + "_ours"]) == 0
    assert videoswin.load("swin3d_t_k400_ours").name == "swin3d_t_k400"
    assert videoswin.load("swin3d_micro_gestures_ours").labels == videoswin.load("swin3d_micro_gestures").labels
    capsys.readouterr()
    for verb in (["inspect"], ["convert"]):
        out = ["out.pth"] if verb == ["convert"] else []
        assert main([*verb, "swin3d_t", *out]) == 2
        assert "an architecture without weights" in capsys.readouterr().err


def test_a_folder_of_a_later_version_is_refused_by_every_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_classifier().save(tmp_path / "ck")
    path = tmp_path / "ck" / "config.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    ck = str(tmp_path / "ck")
    for arguments in (["info", ck], ["inspect", ck], ["convert", ck, str(tmp_path / "new")]):
        assert main(arguments) == 2
        assert 'its field "version" is 2, this videoswin reads version 1' in capsys.readouterr().err
