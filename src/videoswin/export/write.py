"""From a classifier to a checked file.

The model is traced once (:mod:`videoswin.export.graph`), translated by the format's own module, written beside its place,
opened again as a user would, and compared with the model on real clips. Only then is it renamed into its place.
"""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from videoswin import __version__
from videoswin.classifier.classifier import Classifier
from videoswin.errors import ConfigError, WeightsError
from videoswin.export.check import TOLERANCES, compare, real_clips
from videoswin.export.program import Program, trace
from videoswin.export.runtime import load_exported
from videoswin.export.runtime.metadata import FORMATS, Metadata
from videoswin.storage.atomic import replace_together

__all__ = ["COMBINATIONS", "Exported", "default_path", "export"]

COMBINATIONS: dict[str, tuple[str, ...]] = {
    "onnx": ("fp32", "fp16"),
    "openvino": ("fp32", "fp16", "bf16"),
    "torch-export": ("fp32",),
    "aot": ("fp32",),
}
"""Precisions of each format; those that do not help are not here, and docs/export.md says what they did."""
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2", "aot": ".pt2"}


@dataclass(frozen=True)
class Exported:
    """What was written. ``bytes``: of all its files. ``max_difference``: from the model's logits on real clips, as a part of
    the largest logit. ``clips``: how many of them. ``trace_seconds``, ``compile_seconds``: making it; ``load_seconds``:
    opening it again.
    """

    path: str
    files: tuple[str, ...]
    to: str
    precision: str
    input_shape: tuple[str | int, ...]
    bytes: int
    max_difference: float
    tolerance: float
    clips: int
    trace_seconds: float
    compile_seconds: float
    load_seconds: float
    runtime: str

    def to_dict(self) -> dict[str, Any]:
        """What ``videoswin export --json`` prints."""
        return asdict(self)


def default_path(name: str, to: str) -> Path:
    """Where a file goes that was given no name: the working folder."""
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).lstrip(".") or "model"
    return Path(f"{plain}{'.aot' if to == 'aot' else ''}{SUFFIXES[to]}")


def export(
    classifier: Classifier,
    path: str | Path,
    to: str = "onnx",
    precision: str = "fp32",
    *,
    step: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write ``classifier`` as one file; an older file in its place is replaced in one step, or not at all.

    The file takes clips of the classifier's own size, (B, 3, T, H, W) with any B, and holds the preprocessing, the labels
    and the threshold.

    Args:
        to: "onnx", "openvino" (an .xml with a .bin beside it), "torch-export" or "aot" (both .pt2; the latter is native code
            for this machine, and needs a C++ compiler).
        precision: one of ``COMBINATIONS[to]``.
        step: told what is being done, for people.

    Raises:
        ConfigError: such a file cannot be written there.
        WeightsError: the file's outputs are not those of the model; it was not kept.
        MissingExtraError: the format's library is not installed.
    """
    path = Path(path)
    _check_request(path, to, precision)
    build = _builder(to)
    preprocessing = classifier.preprocessing
    clips = real_clips(preprocessing)
    start = time.perf_counter()
    step(f"tracing the model for clips of {preprocessing.clip_len}x{preprocessing.size[0]}x{preprocessing.size[1]}")
    program = trace(classifier.model, preprocessing)
    traced = time.perf_counter()
    step(f"translating it to {to}, {precision}")
    save = build(program, precision)
    compiled = time.perf_counter()
    metadata = Metadata(
        to=to,
        precision=precision,
        preprocessing=preprocessing,
        labels=classifier.labels,
        name=classifier.name,
        num_parameters=classifier.num_parameters,
        none_threshold=classifier.none_threshold,
        tolerance=TOLERANCES[precision],
        versions={"videoswin": __version__, "torch": torch.__version__},
    )
    with replace_together(path.parent, last=path.name) as folder:
        new = folder / path.name
        save(new, metadata)
        step(f"comparing it with the model on {len(clips)} real clips")
        opening = time.perf_counter()
        exported = load_exported(new, trust_code=True)
        load_seconds = time.perf_counter() - opening
        difference = compare(classifier, exported, clips)
        if not difference <= TOLERANCES[precision]:
            reason = f"its outputs differ from the model's by {difference:.1e}, more than {TOLERANCES[precision]:.0e}"
            raise WeightsError(path, f"{reason} of the largest; it was not kept", "Use another format or precision")
        save(new, replace(exported.metadata, max_difference=difference))
        files = sorted(folder.iterdir())
        size = sum(file.stat().st_size for file in files)
    return Exported(
        path=str(path),
        files=tuple(str(path.parent / file.name) for file in files),
        to=to,
        precision=precision,
        input_shape=("batch", *metadata.clip_shape),
        bytes=size,
        max_difference=difference,
        tolerance=TOLERANCES[precision],
        clips=len(clips),
        trace_seconds=round(traced - start, 1),
        compile_seconds=round(compiled - traced, 1),
        load_seconds=round(load_seconds, 2),
        runtime=exported.runtime.title,
    )


def _check_request(path: Path, to: str, precision: str) -> None:
    if to not in FORMATS:
        raise ConfigError(f'There is no format "{to}". Choose one of: {", ".join(FORMATS)}.')
    if precision not in COMBINATIONS[to]:
        raise ConfigError(f"{to} is not offered in {precision}. Choose one of: {', '.join(COMBINATIONS[to])}.")
    if path.suffix != SUFFIXES[to]:
        raise ConfigError(f"{path}: a file of {to} is named *{SUFFIXES[to]}. Give it that suffix.")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: the folder it should stand in does not exist. Make it first.")
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a folder. Give the name of a file.")


def _builder(to: str) -> Callable[[Program, str], Callable[[Path, Metadata], None]]:
    """Imports the format's module, and with it the library, only now."""
    if to == "onnx":
        from videoswin.export.to_onnx import build
    elif to == "openvino":
        from videoswin.export.to_openvino import build
    else:
        from videoswin.export.to_pt2 import build_aot, build_torch_export

        return build_aot if to == "aot" else build_torch_export
    return build
