"""Verbs take any system: one small model of each kind is saved, loaded, described, asked, and followed over a video."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import videoswin
from tests.tiny import write_video
from videoswin.classifier.classifier import Classifier
from videoswin.cli.main import main
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, WeightsError
from videoswin.live.decisions import DecisionSettings
from videoswin.live.pace import Pace, make_tracker
from videoswin.streams.clips import ClipsStream
from videoswin.zoo import create_model

QUICK = ("c3d_micro", "r2plus1d_micro", "vit_micro", "mvit_v2_micro")
SLOW = ("i3d_micro", "s3d_micro", "p3d_micro", "r3d_micro", "i3d_r50_nl_micro", "vtn_micro", "timesformer_micro_divided",
        "vivit_micro_model2", "swin2d_micro")  # fmt: skip


def saved(name: str, folder: Path) -> Classifier:
    torch.manual_seed(0)
    side = 64 if name.startswith("s3d") else 56
    preprocessing = Preprocessing(clip_len=16, frame_interval=1, size=(side, side), short_side=side)
    classifier = Classifier(create_model(name, num_classes=3).eval(), preprocessing, ("a", "b", "c"), name=name)
    classifier.save(folder)
    return classifier


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_every_system(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = saved(name, tmp_path / "model")
    after = videoswin.load(tmp_path / "model")
    assert after.model.config == before.model.config
    video = torch.randn(1, 3, 16, *before.preprocessing.size)
    assert torch.equal(before.logits(video), after.logits(video))
    for verb in ("info", "inspect"):
        assert main([verb, str(tmp_path / "model"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["config"]["num_classes"] == 3
    path = write_video(tmp_path / "clip.mp4")
    assert main(["predict", str(path), "--weights", str(tmp_path / "model"), "--json"]) == 0
    assert "a" in capsys.readouterr().out
    tracker = make_tracker(after, Pace(), 12.0, DecisionSettings())
    stream: Any = tracker._stream
    assert name == "swin2d_micro" or isinstance(stream, ClipsStream)


def test_what_only_swin_can_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="A causal stream needs a causal model, which C3D does not have"):
        saved("c3d_micro", tmp_path / "model").as_causal()


@pytest.mark.parametrize("depth", [10**6, 3])
def test_a_config_that_lies_is_one_line(tmp_path: Path, depth: int) -> None:
    saved("vit_micro", tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    settings = json.loads(file.read_text())
    settings["model"]["depth"] = depth
    file.write_text(json.dumps(settings))
    with pytest.raises(WeightsError) as refused:
        videoswin.load(tmp_path / "model")
    assert "\n" not in str(refused.value)


def test_names_of_the_zoo_have_no_weights() -> None:
    with pytest.raises(ConfigError, match='"c3d" is an architecture without weights'):
        videoswin.load("c3d")
    with pytest.raises(ConfigError, match='Did you mean "r2plus1d_18"'):
        videoswin.load("r2plus1d18")
