"""Files of other runtimes: what is refused, and with which words."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import CONFIG, LABELS, PREPROCESSING, tiny_classifier
from videoswin.classifier.loading import load
from videoswin.errors import ConfigError, MissingExtraError, WeightsError
from videoswin.export.runtime import ExportedClassifier, is_exported, load_exported, open_classifier
from videoswin.export.runtime.metadata import Making, Metadata
from videoswin.export.runtime.pt2 import EXTRA_FILE, this_machine
from videoswin.predict.scoring import VideoClassifier

GOOD = Metadata(
    Making("onnx", "float32", num_parameters=5, max_difference=1e-7, tolerance=1e-4, versions={"torch": "2.13"}),
    PREPROCESSING,
    LABELS,
    name="tiny",
    none_threshold=0.5,
    config=CONFIG,
    metrics={"val_top1": 0.5},
    notes="A note.",
    card={"license": "apache-2.0"},
)
BEFORE = {
    "format": "videoswin-export", "version": 1, "name": "tiny", "num_parameters": 5, "to": "onnx", "precision": "fp32",
    "preprocessing": PREPROCESSING.to_dict(), "labels": list(LABELS), "none_threshold": 0.5, "max_difference": 1e-07,
    "tolerance": 0.0001, "versions": {"torch": "2.13"}, "machine": {}, "weights_sha256": None,
}  # fmt: skip
"""What files of version 1 hold."""


def test_metadata_there_and_back() -> None:
    assert Metadata.from_json(Path("x.onnx"), GOOD.to_json()) == GOOD
    assert GOOD.clip_shape == (3, 8, 32, 32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "other"}, '"format"'),
        ({"version": 3}, "version 3"),
        ({"id2label": "abc"}, '"id2label"'),
        ({"id2label": {}}, "labels"),
        ({"id2label": {"0": "a", "1": "b"}}, "labels"),
        ({"id2label": {"0": "a", "1": "a", "2": "b"}}, '"a" is used for more than one class'),
        ({"id2label": {"0": 1, "1": 2, "2": 3}}, '"id2label"'),
        ({"model": {"embed_dim": -1}}, '"model"'),
        ({"model": 5}, '"model"'),
        ({"card": {"licence": "x"}}, 'Did you mean "license"'),
        ({"metrics": 5}, '"metrics"'),
        ({"none_threshold": 2}, "none_threshold"),
        ({"none_threshold": "x"}, "none_threshold"),
        ({"preprocessing": []}, '"preprocessing"'),
        ({"preprocessing": {"clip_len": 0}}, "clip_len"),
        ({"preprocessing": {"clip_lem": 8}}, "clip_lem"),
        ({"id2labelz": []}, 'Did you mean "id2label"'),
        ({"export": []}, '"export"'),
        ({"export": {"to": "onnx"}}, '"precision" of its metadata is missing'),
        ({"export.to": "keras"}, "keras"),
        ({"export.precision": ["float32"]}, "precision"),
        ({"export.precision": "fp32"}, "precision"),
        ({"export.versions": {"torch": 2}}, '"versions"'),
        ({"export.machine": [1]}, '"machine"'),
        ({"export.weights_sha256": 5}, '"weights_sha256"'),
        ({"export.max_difference": "0"}, '"max_difference"'),
        ({"export.max_difference": -1}, '"max_difference"'),
        ({"export.num_parameters": True}, '"num_parameters"'),
        ({"export.tolerances": 1}, 'Did you mean "tolerance"'),
    ],
)
def test_metadata_that_cannot_be_right_is_refused(change: dict[str, Any], reason: str) -> None:
    values = json.loads(GOOD.to_json())
    for name, value in change.items():
        inside, _, field = name.rpartition(".")
        (values[inside] if inside else values)[field] = value
    with pytest.raises(WeightsError) as caught:
        Metadata.from_json(Path("x.onnx"), json.dumps(values))
    assert reason in str(caught.value)
    assert str(caught.value).startswith("x.onnx: ")


def test_files_of_before_are_read() -> None:
    read = Metadata.from_json(Path("x.onnx"), json.dumps(BEFORE))
    assert read.made == GOOD.made
    assert (read.name, read.labels, read.preprocessing) == (GOOD.name, GOOD.labels, GOOD.preprocessing)
    assert (read.config, dict(read.metrics), read.notes) == (None, {}, "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": "abc"}, '"labels"'),
        ({"labels": [1, 2]}, '"labels"'),
        ({"labels": []}, "labels"),
        ({"labelz": []}, 'Did you mean "labels"'),
        ({"precision": ["fp32"]}, "precision"),
        ({"to": "keras"}, "keras"),
        ({"id2label": {"0": "a"}}, 'no field "id2label"'),
    ],
)
def test_files_of_before_are_not_believed_either(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(WeightsError) as caught:
        Metadata.from_json(Path("x.onnx"), json.dumps(BEFORE | change))
    assert reason in str(caught.value)


@pytest.mark.parametrize("text", [None, "", "[]", "{", "[" * 10_000, '{"format": "videoswin-export", "version": 2}'])
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
    assert "onnx float32, 3 labels" in repr(good)
    for shape in [(1, 3, 8, 32, 30), (1, 3, 4, 32, 32), (3, 8, 32, 32)]:
        with pytest.raises(ConfigError, match="takes clips of"):
            good.logits(torch.zeros(shape))
    with pytest.raises(WeightsError, match="3 labels"):
        ExportedClassifier(Path("x.onnx"), Constant(torch.zeros(1, 4))).logits(torch.zeros(1, 3, 8, 32, 32))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_not_finite_are_an_error(value: float) -> None:
    wrong = ExportedClassifier(Path("x.onnx"), Constant(torch.tensor([[1.0, value, 3.0]])))
    with pytest.raises(WeightsError, match=r"^x\.onnx: the model gives NaN or infinity in place of scores"):
        wrong.logits(torch.zeros(2, 3, 8, 32, 32))


def write_package(path: Path, text: str | None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/version", "0")
        if text is not None:
            archive.writestr(f"model/extra/{EXTRA_FILE}", text)
    return path


def aot(**machine: str) -> str:
    return GOOD.with_making(to="aot", machine=this_machine() | machine).to_json()


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
