"""``videoswin export`` and the verbs that take what it writes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import CONFIG, PREPROCESSING, tiny_classifier, write_video
from videoswin.classifier import loading
from videoswin.classifier.classifier import Classifier
from videoswin.cli.main import main
from videoswin.data.preprocessing import Preprocessing
from videoswin.export import export
from videoswin.export.runtime import load_exported
from videoswin.export.runtime.metadata import Making, Metadata
from videoswin.export.runtime.pt2 import PT2Runtime
from videoswin.model import create_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ck") / "best"
    tiny_classifier().save(folder)
    return folder


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ex") / "tiny.onnx"
    export(tiny_classifier(), path, "onnx")
    return path


def test_export_and_predict(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = str(write_video(tmp_path / "clip.mp4"))
    assert main(["export", str(checkpoint), "--to", "torch-export", "--precision", "fp32"]) == 0
    out, err = capsys.readouterr()
    assert "tiny.pt2" in out
    assert "takes clips of (batch, 3, 8, 32, 32), any batch; compared on 3 real clips" in out
    assert "tracing the model" in err
    assert "--precision fp32 is now called float32" in err
    assert main(["predict", clip, "--weights", "tiny.pt2", "--json", "--report", "page.html"]) == 0
    theirs, err = capsys.readouterr()
    assert "tiny.pt2 is a program" in err
    assert main(["predict", clip, "--weights", str(checkpoint), "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)
    for a, b in zip(json.loads(theirs)["predictions"], ours["predictions"], strict=True):
        assert a["label"] == b["label"]
        assert a["score"] == pytest.approx(b["score"], abs=1e-5)
    assert "tiny" in Path("page.html").read_text(encoding="utf-8")


def test_export_as_json(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def report(*_: object) -> None:
        raise AssertionError("OpenVINO reports what users do over the network")

    monkeypatch.setattr("openvino_telemetry.Telemetry.send_event", report)
    out = tmp_path / "m.xml"
    assert main(["export", str(checkpoint), "--to", "openvino", "--out", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["files"] == [str(tmp_path / "m.bin"), str(out)]
    assert facts["precision"] == "float32"
    assert facts["max_difference"] < facts["tolerance"]
    assert facts["bytes"] == sum(file.stat().st_size for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--to", "onnx", "--out", "m.xml"], "named *.onnx"),
        (["--to", "torch-export", "--precision", "fp16"], "not offered in fp16"),
        (["--to", "onnx", "--precision", "fp8"], '"fp8"'),
        (["--to", "keras"], "keras"),
        ([], "--to"),
    ],
)
def test_one_line_for_what_cannot_be(
    checkpoint: Path, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(checkpoint), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err
    assert err.count("\n") == 1


def test_the_library_is_asked_for_before_anything_is_loaded(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_work(*_: Any) -> Any:
        raise AssertionError("loaded before the library was asked for")

    monkeypatch.setattr(loading, "load", no_work)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", str(checkpoint), "--to", "onnx"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "pip install 'videoswin[onnx]'" in err
    assert err.count("\n") == 1


def test_a_runtime_that_does_not_fit(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.xml").touch()
    assert main(["predict", "clip.mp4", "--weights", str(tmp_path / "m.xml"), "--runtime", "onnxruntime"]) == 2
    assert "does not run .xml files" in capsys.readouterr().err
    assert main(["evaluate", "v.csv", "--weights", str(checkpoint), "--runtime", "openvino"]) == 2
    assert "videoswin export" in capsys.readouterr().err


# Where PyTorch's checkpoints go, files go too ---------------------------------------------------------------------------


def test_another_size_is_one_line(onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_video(tmp_path / "clip.mp4", size=(48, 160))
    assert main(["predict", str(clip), "--weights", str(onnx_file), "--views", "1xwide"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "tiny.onnx takes clips of (B, 3, 8, 32, 32)" in err
    assert err.count("\n") == 1


def test_a_timeline_is_that_of_the_checkpoint(
    checkpoint: Path, onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(write_video(tmp_path / "long.mp4", frames=96, fps=12))
    options = ["--enter", "0.4", "--leave", "0.3", "--json"]
    assert main(["timeline", video, "--weights", str(checkpoint), *options]) == 0
    ours = json.loads(capsys.readouterr().out)
    assert main(["timeline", video, "--weights", str(onnx_file), *options]) == 0
    theirs = json.loads(capsys.readouterr().out)
    assert theirs == ours
    assert ours["segments"]


def test_a_stream_is_that_of_the_checkpoint(
    checkpoint: Path, onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(write_video(tmp_path / "clip.mp4", frames=48, fps=12))
    scores = []
    for weights in (checkpoint, onnx_file):
        assert main(["stream", video, "--weights", str(weights), "--fast", "--json"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        scores.append([(line["time_s"], line["scores"]) for line in lines if line["type"] == "scores"])
    assert len(scores[0]) > 3
    for (our_s, ours), (their_s, theirs) in zip(*scores, strict=True):
        assert their_s == our_s
        assert theirs == pytest.approx(ours, abs=2e-4)


def test_a_pass_of_a_file_goes_on_with_that_file_only(
    onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The progress file belongs to the bytes of the exported file."""
    from videoswin.data.decode import open_video
    from videoswin.errors import ConfigError, Interrupted
    from videoswin.live.timeline import make_timeline

    video, progress = write_video(tmp_path / "long.mp4", frames=96, fps=12), tmp_path / "p.safetensors"
    exported = load_exported(onnx_file)
    with pytest.raises(Interrupted):
        make_timeline(exported, video, progress=progress, each=lambda done, _: done < 50)
    other = tmp_path / "other.onnx"
    other.write_bytes(onnx_file.read_bytes() + b"\x0a\x00")
    exported.path = other
    with pytest.raises(ConfigError, match="belongs to another"):
        make_timeline(exported, video, progress=progress)
    exported.path = onnx_file
    with open_video(video) as opened:
        assert make_timeline(exported, video, progress=progress).frames == len(opened)


def test_a_causal_file_has_no_stream_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    causal = Metadata(Making("torch-export", "float32"), PREPROCESSING, ("clap", "nod", "wave"),
                      config=CONFIG.replace(causal=True))  # fmt: skip
    monkeypatch.setattr(
        "videoswin.export.runtime.open.open_pt2", lambda path: PT2Runtime(path, causal, lambda clips: clips)
    )
    (tmp_path / "m.pt2").touch()
    video = str(write_video(tmp_path / "clip.mp4"))
    for verb in ("timeline", "stream"):
        assert main([verb, video, "--weights", str(tmp_path / "m.pt2")]) == 2
        err = capsys.readouterr().err
        assert "is the file of a causal model" in err
        assert "Give the checkpoint that it was exported from." in err


def test_whole_videos_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint with sampling="uniform" sees the shot so far, as a file too."""
    whole = Classifier(
        create_model(CONFIG).eval(), Preprocessing(clip_len=4, sampling="uniform", size=(32, 32)), ("a", "b", "c"), "u"
    )
    whole.save(tmp_path / "ck")
    export(whole, tmp_path / "u.pt2", "torch-export")
    video = str(write_video(tmp_path / "long.mp4", frames=60, fps=12))
    found = []
    for weights in ("ck", "u.pt2"):
        arguments = ["--weights", str(tmp_path / weights), "--clip-seconds", "2", "--enter", "0.35", "--json"]
        assert main(["timeline", video, *arguments]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]


def test_info(checkpoint: Path, onnx_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(checkpoint), "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)
    assert main(["info", str(onnx_file), "--json"]) == 0
    theirs = json.loads(capsys.readouterr().out)
    file = theirs.pop("export")
    del ours["engine"]  # what computes attention, which a file's runtime decides for itself
    assert theirs == ours
    assert (file["to"], file["precision"], file["runtimes"]) == ("onnx", "float32", ["onnxruntime", "openvino"])
    assert file["bytes"] == onnx_file.stat().st_size
    assert main(["info", str(onnx_file)]) == 0
    assert "onnx, float32" in capsys.readouterr().out
    for arguments in (["--clip-len", "4"], ["--size", "64"], ["--num-classes", "5"]):
        assert main(["info", str(onnx_file), *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1
