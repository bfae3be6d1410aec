"""export --to web: a folder for any static file server."""

import json
import tarfile
from pathlib import Path

import pytest

from tests.tiny import tiny_classifier
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
