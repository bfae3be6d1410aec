"""export --to web: a folder for any static file server."""

import json
import shutil
import subprocess
import tarfile
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, MissingExtraError, WeightsError
from videoswin.export import to_web
from videoswin.export.runtime import load_exported
from videoswin.export.to_web import export_web, require_web


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """What npm brings, as far as it is looked at."""
    folder = tmp_path / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    (folder / "ort.wasm.bundle.min.mjs").write_text("export const env = {};")
    (folder / "ort-wasm-simd-threaded.wasm").write_bytes(b"\0asm")
    (folder.parent / "LICENSE").write_text("MIT")
    return folder.parent


def test_the_folder_holds_all_that_it_needs(package: Path, tmp_path: Path) -> None:
    archive = tmp_path / "package.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(package, "package")
    classifier = tiny_classifier()
    made = export_web(classifier, tmp_path / "page", archive)
    folder = tmp_path / "page"
    names = {path.name for path in folder.iterdir()}
    assert {"index.html", "app.js", "preprocess.js", "style.css", "model.onnx", "facts.json"} <= names
    assert {"ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", "onnxruntime-web.LICENSE"} <= names
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["labels"] == list(classifier.labels)
    assert facts["preprocessing"] == classifier.preprocessing.to_dict()
    assert load_exported(folder / "model.onnx").labels == classifier.labels
    assert made.bytes == sum(path.stat().st_size for path in folder.iterdir())
    page = (folder / "index.html").read_text() + (folder / "app.js").read_text()
    assert "http://" not in page
    assert "https://" not in page


def test_what_is_missing_is_said_before_the_work(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="not there"):
        require_web(tmp_path / "page", tmp_path / "none")
    monkeypatch.setattr(to_web.shutil, "which", lambda name: None)
    with pytest.raises(MissingExtraError, match="npm"):
        require_web(tmp_path / "page", None)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").touch()
    with pytest.raises(WeightsError, match="other things"):
        require_web(tmp_path / "mine", package)


def test_another_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="has no"):
        export_web(tiny_classifier(), tmp_path / "page", tmp_path / "empty")
    (tmp_path / "no.tgz").write_bytes(b"no archive")
    with pytest.raises(ConfigError, match="no npm package"):
        export_web(tiny_classifier(), tmp_path / "page", tmp_path / "no.tgz")
    assert not (tmp_path / "page").exists()


def test_the_page_chooses_the_frames_that_predict_chooses(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js here")
    source = files("videoswin.export") / "web" / "preprocess.js"
    (tmp_path / "preprocess.mjs").write_text(source.read_text())
    kinds = [
        Preprocessing(clip_len=16, sampling="uniform", size=(56, 56), short_side=56),
        Preprocessing(clip_len=8, frame_interval=2, size=(56, 56), short_side=56),
    ]
    cases = [(kind, frames, rate) for kind in kinds for frames in (1, 17, 39, 81, 300) for rate in (21.571, 29.97)]
    asked = [
        {
            "facts": {"preprocessing": kind.to_dict()},
            "duration": round(frames / rate, 3),
            "rate": rate,
            # as a container in milliseconds tells them, and a busy browser: some are left out
            "stamps": [round(k / rate, 3) for k in range(30) if k % 5 not in (2, 3)],
        }
        for kind, frames, rate in cases
    ]
    program = f"""
        import {{ clipTimes, rateOf }} from "./preprocess.mjs";
        const found = {json.dumps(asked)}.map(({{ facts, duration, rate, stamps }}) => {{
          const told = rateOf(stamps);
          return [told, clipTimes(facts, duration, told).map((time) => Math.floor(time * rate))];
        }});
        console.log(JSON.stringify([found, rateOf([]), rateOf([1])]));
    """
    (tmp_path / "ask.mjs").write_text(program)
    run = subprocess.run([node, "ask.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
    found, none, one = json.loads(run.stdout)
    assert none is None
    assert one is None
    for (kind, frames, rate), (told, chosen) in zip(cases, found, strict=True):
        assert told == pytest.approx(rate, rel=2e-3)
        times = torch.arange(frames, dtype=torch.float64) / rate
        assert chosen == kind.indices(times)[0].tolist(), (kind, frames, rate)
