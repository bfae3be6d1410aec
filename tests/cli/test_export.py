"""``videoswin export`` and the verbs that take what it writes."""

import json
from pathlib import Path

import pytest

from tests.tiny import tiny_classifier, write_video
from videoswin.cli.main import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ck") / "best"
    tiny_classifier().save(folder)
    return folder


def test_export_and_predict(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = str(write_video(tmp_path / "clip.mp4"))
    assert main(["export", str(checkpoint), "--to", "torch-export"]) == 0
    out, err = capsys.readouterr()
    assert "tiny.pt2" in out
    assert "takes clips of (batch, 3, 8, 32, 32), any batch; compared on 3 real clips" in out
    assert "tracing the model" in err
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
    assert facts["max_difference"] < facts["tolerance"]
    assert facts["bytes"] == sum(file.stat().st_size for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--to", "onnx", "--out", "m.xml"], "named *.onnx"),
        (["--to", "torch-export", "--precision", "fp16"], "not offered in fp16"),
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


def test_a_runtime_that_does_not_fit(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.xml").touch()
    assert main(["predict", "clip.mp4", "--weights", str(tmp_path / "m.xml"), "--runtime", "onnxruntime"]) == 2
    assert "does not run .xml files" in capsys.readouterr().err
    assert main(["evaluate", "v.csv", "--weights", str(checkpoint), "--runtime", "openvino"]) == 2
    assert "videoswin export" in capsys.readouterr().err
