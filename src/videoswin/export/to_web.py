"""A classifier as a folder that any static file server offers: a page, the model, and the runtime that runs it in the browser.

The runtime, onnxruntime-web, is taken from npm when the folder is made, or from a path; the page then needs no network, and a
policy in it forbids the browser to fetch from elsewhere. The arithmetic is that of the ONNX file, which is checked as every
export is; the pictures are decoded by the browser, whose colours differ a little from FFmpeg's.
"""

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from videoswin.classifier.classifier import Classifier
from videoswin.errors import ConfigError, MissingExtraError
from videoswin.export.write import Exported, export
from videoswin.predict.answers import require_one_label
from videoswin.storage.atomic import replace_folder, require_replaceable_folder

__all__ = ["WebFolder", "export_web", "require_web"]

_MARK = "facts.json"
_PACKAGE = "onnxruntime-web@1.30.0"  # the one that was tested
_RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
_NPM_TIMEOUT_S = 600


@dataclass(frozen=True)
class WebFolder:
    """What was written. ``model``: the ONNX file in it."""

    path: str
    bytes: int
    model: Exported


def require_web(out: Path, runtime: Path | None) -> None:
    """All that can be asked before the work: whether the folder may be written and the runtime be had."""
    from videoswin.export.write import require

    require("onnx")
    require_replaceable_folder(out, _MARK)
    if runtime is None and shutil.which("npm") is None:
        raise MissingExtraError(
            "A page needs onnxruntime-web, which npm brings, and there is no npm. Install it, or give the package's folder "
            "or .tgz: --onnxruntime-web PATH"
        )
    if runtime is not None and not runtime.exists():
        raise ConfigError(f"--onnxruntime-web {runtime} is not there. Give the folder or the .tgz of that npm package.")


def export_web(
    classifier: Classifier,
    out: Path,
    runtime: Path | None = None,
    *,
    step: Callable[[str], None] = lambda _: None,
) -> WebFolder:
    """Write the folder; an older one of its kind is replaced in one step.

    Args:
        runtime: the npm package onnxruntime-web, unpacked or as .tgz; None takes it from npm.

    Raises:
        ConfigError: the runtime cannot be had, or ``runtime`` is something else.
        WeightsError: ``out`` holds other things, or the exported model does not give the same logits.
    """
    require_one_label(classifier.answer, classifier.name, "a web page")
    require_web(out, runtime)
    with _runtime(runtime, step) as package, replace_folder(out, _MARK) as folder:
        for name in _RUNTIME:
            found = next(iter(sorted(package.rglob(name))), None)
            if found is None:
                raise ConfigError(f"The package onnxruntime-web has no {name}. This videoswin is made for {_PACKAGE}.")
            shutil.copyfile(found, folder / name)
        if licence := next(iter(sorted(package.rglob("LICENSE*"))), None):
            shutil.copyfile(licence, folder / "onnxruntime-web.LICENSE")
        looks = files("videoswin.serve") / "page"  # both pages look alike
        page = [*(files("videoswin.export") / "web").iterdir(), looks / "style.css", looks / "icon.svg"]
        for file in page:
            if not file.name.startswith((".", "_")):
                (folder / file.name).write_bytes(file.read_bytes())
        made = export(classifier, folder / "model.onnx", "onnx", step=step)
        facts = {
            "name": classifier.name,
            "labels": list(classifier.labels),
            "none_threshold": classifier.none_threshold,
            "preprocessing": classifier.preprocessing.to_dict(),
        }
        (folder / _MARK).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        size = sum(file.stat().st_size for file in folder.iterdir())
    return WebFolder(str(out), size, made)


@contextmanager
def _runtime(path: Path | None, step: Callable[[str], None]) -> Iterator[Path]:
    """The folder of the package."""
    if path is not None and path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="videoswin-web-") as place:
        archive = path
        if archive is None:
            step(f"fetching {_PACKAGE} from npm")
            archive = _pack(Path(place))
        try:
            with tarfile.open(archive) as packed:
                packed.extractall(Path(place) / "package", filter="data")
        except (tarfile.TarError, OSError) as error:
            raise ConfigError(f"{archive} is no npm package ({error}). Give that of {_PACKAGE}.") from error
        yield Path(place) / "package"


def _pack(place: Path) -> Path:
    """Let npm fetch the package; it checks what it gets."""
    npm = shutil.which("npm")
    assert npm is not None
    try:
        run = subprocess.run(
            [npm, "pack", "--silent", _PACKAGE], cwd=place, capture_output=True, text=True, timeout=_NPM_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"npm did not bring {_PACKAGE} within {_NPM_TIMEOUT_S} s. Give it by --onnxruntime-web."
        ) from None
    archives = sorted(place.glob("*.tgz"))
    if run.returncode or not archives:
        reason = (run.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"npm does not bring {_PACKAGE} ({reason}). Give its folder or .tgz by --onnxruntime-web.")
    return archives[0]
