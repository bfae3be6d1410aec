"""Files of other runtimes: what is refused, and with which words."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import LABELS, PREPROCESSING, tiny_classifier
from videoswin.classifier.loading import load
from videoswin.errors import ConfigError, MissingExtraError, WeightsError
from videoswin.export.runtime import ExportedClassifier, is_exported, load_exported, open_classifier
from videoswin.export.runtime.metadata import Metadata
from videoswin.export.runtime.pt2 import EXTRA_FILE, this_machine
from videoswin.predict.scoring import VideoClassifier

GOOD = Metadata(
    "onnx", "fp32", PREPROCESSING, LABELS, name="tiny", none_threshold=0.5, max_difference=1e-7, tolerance=1e-4
)


def test_metadata_there_and_back() -> None:
    assert Metadata.from_json(Path("x.onnx"), GOOD.to_json()) == GOOD
    assert GOOD.clip_shape == (3, 8, 32, 32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "other"}, '"format"'),
        ({"version": 2}, "version 2"),
        ({"labels": "abc"}, '"labels"'),
        ({"labels": []}, "labels"),
        ({"labels": ["a", "a", "b"]}, '"a" is used for more than one class'),
        ({"labels": [1, 2, 3]}, '"labels"'),
        ({"none_threshold": 2}, "none_threshold"),
        ({"none_threshold": "x"}, "none_threshold"),
        ({"preprocessing": []}, '"preprocessing"'),
        ({"preprocessing": {"clip_len": 0}}, "clip_len"),
        ({"preprocessing": {"clip_lem": 8}}, "clip_lem"),
        ({"to": "keras"}, "keras"),
        ({"precision": ["fp32"]}, "precision"),
        ({"versions": {"torch": 2}}, '"versions"'),
        ({"machine": [1]}, '"machine"'),
        ({"weights_sha256": 5}, '"weights_sha256"'),
        ({"max_difference": "0"}, '"max_difference"'),
        ({"max_difference": -1}, '"max_difference"'),
        ({"num_parameters": True}, '"num_parameters"'),
        ({"labelz": []}, 'Did you mean "labels"'),
    ],
)
def test_metadata_that_cannot_be_right_is_refused(change: dict[str, Any], reason: str) -> None:
    values = json.loads(GOOD.to_json()) | change
    with pytest.raises(WeightsError) as caught:
        Metadata.from_json(Path("x.onnx"), json.dumps(values))
    assert reason in str(caught.value)
    assert str(caught.value).startswith("x.onnx: ")


@pytest.mark.parametrize("text", [None, "", "[]", "{", "[" * 10_000, '{"format": "videoswin-export", "version": 1}'])
def test_metadata_that_is_none_is_refused(text: str | None) -> None:
    with pytest.raises(WeightsError):
        Metadata.from_json(Path("x.onnx"), text)


class Constant:
    """A runtime that always gives the same."""

    title = "none"

    def __init__(self, logits: torch.Tensor) -> None:
        self.metadata = GOOD
        self._logits = logits

    def run(self, clips: torch.Tensor) -> torch.Tensor:
        assert clips.dtype == torch.float32
        assert clips.is_contiguous()
        return self._logits.expand(len(clips), -1)


def test_an_exported_classifier_checks_what_goes_in_and_out() -> None:
    good = ExportedClassifier(Path("x.onnx"), Constant(torch.tensor([[1.0, 2.0, 3.0]])))
    assert isinstance(good, VideoClassifier)
    assert good.logits(torch.zeros(2, 3, 8, 32, 32, dtype=torch.float64)).shape == (2, 3)
    assert "onnx fp32, 3 labels" in repr(good)
    for shape in [(1, 3, 8, 32, 30), (1, 3, 4, 32, 32), (3, 8, 32, 32)]:
        with pytest.raises(ConfigError, match="takes clips of"):
            good.logits(torch.zeros(shape))
    with pytest.raises(WeightsError, match="3 labels"):
        ExportedClassifier(Path("x.onnx"), Constant(torch.zeros(1, 4))).logits(torch.zeros(1, 3, 8, 32, 32))


def write_package(path: Path, text: str | None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/version", "0")
        if text is not None:
            archive.writestr(f"model/extra/{EXTRA_FILE}", text)
    return path


def aot(**machine: str) -> str:
    values = json.loads(GOOD.to_json()) | {"to": "aot", "machine": this_machine() | machine}
    return json.dumps(values)


def test_a_program_needs_trust(tmp_path: Path) -> None:
    path = write_package(tmp_path / "m.pt2", aot())
    with pytest.raises(WeightsError, match=r"is a program.*trust_code=True"):
        load_exported(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "not exported by videoswin"),
        (aot(machine="riscv64"), "compiled for machine riscv64"),
        (aot(cpu_capability="NEON"), "compiled for cpu_capability NEON"),
        (aot(torch="1.0"), "compiled for torch 1.0"),
        (aot(), "PyTorch cannot load it"),
    ],
)
def test_packages_are_refused_before_they_run(text: str | None, reason: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=reason):
        load_exported(write_package(tmp_path / "m.pt2", text), trust_code=True)


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2"])
@pytest.mark.parametrize("content", [b"", b"\x08\x0agarbage" * 50, b"<net/>", b"PK\x03\x04 no zip"])
def test_damaged_files_are_one_line(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_exported(path, trust_code=True)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_files_and_wrong_runtimes(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not found"):
        load_exported(tmp_path / "no.onnx")
    with pytest.raises(ConfigError, match="no exported file"):
        load_exported(tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=r"does not run \.xml"):
        load_exported(tmp_path / "m.xml", "onnxruntime")
    (tmp_path / "m.onnx").touch()
    with pytest.raises(ConfigError, match="device=cuda: exported files run on the CPU"):
        open_classifier(tmp_path / "m.onnx", device="cuda")
    with pytest.raises(ConfigError, match="videoswin export"):
        open_classifier("swin3d_micro_gestures", "openvino")


def test_load_says_what_takes_exported_files(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    with pytest.raises(ConfigError, match=r"exported file.*load_exported"):
        load(tmp_path / "m.onnx")


def test_a_checkpoint_opens_as_ever(tmp_path: Path) -> None:
    tiny_classifier().save(tmp_path / "ck.onnx")  # a folder, whatever its name
    assert not is_exported(tmp_path / "ck.onnx")
    assert open_classifier(tmp_path / "ck.onnx", device="cpu").labels == LABELS


@pytest.mark.parametrize(("suffix", "library"), [(".onnx", "onnxruntime"), (".xml", "openvino")])
def test_a_missing_library_is_one_line(
    suffix: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"m{suffix}"
    path.touch()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'videoswin\["):
        load_exported(path)
