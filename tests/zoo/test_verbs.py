"""Every verb takes every system: a tiny model of each kind is trained, and its checkpoint asked; or one line says why not."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import videoswin
from tests.train.helpers import make_videos
from tests.zoo.tiny_models import HUB, TINY, with_tiny_models
from videoswin.classifier.classifier import Classifier
from videoswin.cli.main import main
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, WeightsError
from videoswin.train.adapt import Adaptation, adapt, folded, learning, set_training
from videoswin.zoo import create_model

__all__ = ["with_tiny_models"]

_WITH_ATTENTION = {"vit", "vtn", "timesformer", "vivit", "mvit", "swin", "transformers"}
pytestmark = pytest.mark.usefixtures("with_tiny_models", "quick_runs")


@pytest.fixture(scope="module", autouse=True)
def quick_runs() -> Iterator[None]:
    """No waiting for the disk, no pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr("videoswin.train.loop.draw_curves", lambda path, rows: None)
        yield


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two class folders with three videos each."""
    return make_videos(tmp_path_factory.mktemp("clips"), each=3)


def system(name: str) -> str:
    return getattr((TINY | HUB)[name], "system", "swin")


def tiny(name: str) -> Classifier:
    torch.manual_seed(0)
    preprocessing = Preprocessing(clip_len=16, sampling="uniform", size=(32, 32), short_side=32)
    return Classifier(create_model((TINY | HUB)[name], num_classes=2).eval(), preprocessing, ("nod", "wave"), name=name)


def train(clips: Path, out: Path, *options: str) -> int:
    quick = ("--epochs", "1", "--val-share", "0", "--augment", "none")
    return main(["train", str(clips), "--out", str(out), *quick, *options])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("name", [*TINY, *HUB])
def test_every_system(name: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name in HUB:
        pytest.importorskip("transformers")
    sizes = ("--clip-len", "16", "--size", "32") if system(name) == "swin" else ()
    assert train(clips, tmp_path / "run", "--model", name, *sizes) == 0
    best = str(tmp_path / "run" / "best")
    classifier = videoswin.load(best)
    assert classifier.model.config == (TINY | HUB)[name].replace(num_classes=2)
    video = str(next(clips.rglob("*.mp4")))
    capsys.readouterr()
    for verb in ("info", "inspect"):
        assert main([verb, best, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["config"]["num_classes"] == 2
    assert main(["predict", video, "--weights", best, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"]
    assert main(["evaluate", str(clips), "--weights", best, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 6
    out = [] if name == "tiny_vtn" else ["--out", str(tmp_path / "probed")]
    assert main(["probe", str(clips), "--weights", best, "--folds", "3", "--seeds", "1", *out]) == 0
    assert not out or videoswin.load(tmp_path / "probed" / "best").labels == ("nod", "wave")
    assert main(["timeline", video, "--weights", best, "--clip-seconds", "0.4", "--out", str(tmp_path / "t")]) == 0
    bench = [
        "bench",
        "--model",
        name,
        "--clip-len",
        "16",
        "--size",
        "32",
        "--repeats",
        "1",
        "--what",
        "forward",
        "--json",
    ]
    capsys.readouterr()
    assert main(bench) == 0
    assert set(json.loads(capsys.readouterr().out)["missing"]) >= ({"plain"} if system(name) != "swin" else set())


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("kind", ["head", "last", "bitfit", "lora"])
def test_adaptations(name: str, kind: str) -> None:
    model, number = tiny(name).model, {"last": 1, "lora": 2}.get(kind, 0)
    if kind == "lora" and system(name) not in _WITH_ATTENTION:
        with pytest.raises(ConfigError, match="LoRA stands beside layers of attention"):
            adapt(model, Adaptation(kind, number))
        return
    if kind == "lora":
        pytest.importorskip("peft")
    before = {n: t.clone() for n, t in model.state_dict().items()}
    adapt(model, Adaptation(kind, number))
    set_training(model)
    learns = learning(model)
    heads = {n for n in learns if model.is_of_head(n)}
    assert heads == {n for n, _ in model.named_parameters() if model.is_of_head(n)}
    assert (learns.keys() > heads) == (kind != "head")
    video = torch.randn(3, 3, 16, 32, 32)
    loss = torch.nn.functional.cross_entropy(model(video), torch.tensor([0, 1, 1]))
    loss.backward()
    assert kind == "bitfit" or any(p.grad is not None and p.grad.abs().sum() > 0 for p in learns.values())
    torch.optim.SGD(learns.values(), 0.1).step()
    model.eval()
    plain = folded(model)
    assert plain.state_dict().keys() == before.keys()
    torch.testing.assert_close(plain(video), model(video), rtol=1e-4, atol=1e-5)
    if kind == "head":  # nothing else moved, the statistics of batch norms included
        moved = {n for n, t in plain.state_dict().items() if not torch.equal(t, before[n])}
        assert moved <= heads


@pytest.mark.parametrize("to", ["torch-export", "onnx", "openvino"])
@pytest.mark.parametrize(
    "name", [n if n == "tiny_vtn" else pytest.param(n, marks=pytest.mark.slow) for n in (*TINY, *HUB)]
)
def test_export(name: str, to: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for library in {"onnx": ["onnx", "onnxscript", "onnxruntime"], "openvino": ["openvino"]}.get(to, []):
        pytest.importorskip(library)
    if name in HUB:
        pytest.importorskip("transformers")
    tiny(name).save(tmp_path / "model")
    file = tmp_path / f"model{ {'onnx': '.onnx', 'openvino': '.xml'}.get(to, '.pt2') }"
    assert main(["export", str(tmp_path / "model"), "--to", to, "--out", str(file)]) == 0  # compares the outputs
    capsys.readouterr()
    video = str(next(clips.rglob("*.mp4")))
    assert main(["predict", video, "--weights", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"]


def test_a_checkpoint_of_the_zoo_is_a_start(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tiny("tiny_deit")
    before.save(tmp_path / "model")
    data = make_videos(tmp_path / "data", each=1)
    (data / "nod").rename(data / "shake")
    assert train(data, tmp_path / "run", "--weights", str(tmp_path / "model"), "--lr", "1e-9") == 0
    after = videoswin.load(tmp_path / "run" / "best")
    assert after.labels == ("shake", "wave")
    ours, theirs = after.model.state_dict(), before.model.state_dict()
    for head in ("head", "head_dist"):  # the known class keeps its row in both
        torch.testing.assert_close(ours[f"{head}.fc.weight"][1], theirs[f"{head}.fc.weight"][1], atol=1e-6, rtol=0)
    torch.testing.assert_close(ours["encoder.norm.weight"], theirs["encoder.norm.weight"], atol=1e-6, rtol=0)


def test_a_size_of_its_own(clips: Path, tmp_path: Path) -> None:
    assert train(clips, tmp_path / "run", "--model", "tiny_vit", "--size", "48", "--clip-len", "4") == 0
    config = videoswin.load(tmp_path / "run" / "best").model.config
    assert (config.clip_len, config.crop_size) == (4, 48)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--model", "tiny_c3d", "--causal"), 'the system "c3d" has no causal form'),
        (("--model", "tiny_c3d", "--drop-path", "0.1"), 'the system "c3d" has no stochastic depth'),
        (("--model", "tiny_c3d", "--adapt", "lora"), "C3D has none"),
        (("--model", "tiny_c3d", "--adapt", "last:9"), "The model has 5 blocks"),
        (("--model", "tiny_vit", "--size", "40"), "crop_size=40 is no multiple of patch_size=16"),
        (("--model", "tiny_s3d", "--clip-len", "8"), "needs at least 14 frames"),
        (("--model", "tiny_vit", "--like", "vit_b_16"), "give the file by --weights"),
        (("--model", "r2plus1d18"), 'Did you mean "r2plus1d_18"'),
    ],
)
def test_what_cannot_be_is_one_line_before_a_clip_is_read(
    options: tuple[str, ...], line: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(clips, tmp_path / "run", *options) == 2
    assert line in last_line(capsys)
    assert not (tmp_path / "run").exists()


def test_a_clip_that_the_weights_cannot_take_is_one_line(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny("tiny_vit").save(tmp_path / "model")
    assert train(clips, tmp_path / "run", "--weights", str(tmp_path / "model"), "--size", "48") == 2
    assert "Axis H is 48 long; this ViT takes exactly 32 pixels" in last_line(capsys)


def test_a_head_of_several_layers_is_not_overwritten_by_a_probe(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny("tiny_vtn").save(tmp_path / "model")
    probe = ["probe", str(clips), "--weights", str(tmp_path / "model"), "--folds", "3", "--out", str(tmp_path / "p")]
    assert main(probe) == 2
    assert "The head of VTN is more than a linear layer" in last_line(capsys)


def test_what_only_swin_can_is_one_line() -> None:
    with pytest.raises(ConfigError, match="A causal stream needs a causal model, which C3D does not have"):
        tiny("tiny_c3d").as_causal()


@pytest.mark.parametrize("depth", [10**6, 3])
def test_a_config_that_lies_is_one_line(tmp_path: Path, depth: int) -> None:
    tiny("tiny_vit").save(tmp_path / "model")
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
