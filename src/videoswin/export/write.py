"""From a classifier to a checked file.

The format's library is asked for first. Then the model is traced once (:mod:`videoswin.export.graph`), translated by the
format's own module, written beside its place, opened again as a user would, and compared with the model on real clips. Only
then is it renamed into its place.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from videoswin import __version__
from videoswin.classifier.classifier import Classifier
from videoswin.errors import ConfigError, OutputError, WeightsError
from videoswin.export.check import compare, real_clips
from videoswin.export.formats import TOLERANCES, Format, Precision, find_format, precision_name
from videoswin.export.program import Program, trace
from videoswin.export.runtime import ExportedClassifier, load_exported
from videoswin.export.runtime.metadata import Making, Metadata
from videoswin.predict.answers import require_one_label
from videoswin.storage.atomic import replace_together
from videoswin.storage.outputs import EXPORTED, require_writable_output

__all__ = ["Exported", "default_path", "export", "require"]

_Save = Callable[[Path, Metadata], None]


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: str
    files: tuple[str, ...]
    to: str
    precision: str
    input_shape: tuple[str | int, ...]
    bytes: int
    """Of all its files."""
    max_difference: float
    """From the model's logits on real clips, as a part of the largest logit."""
    tolerance: float
    clips: int
    """How many it was compared on."""
    trace_seconds: float
    compile_seconds: float
    load_seconds: float
    """Opening the file again."""
    runtime: str

    def to_dict(self) -> dict[str, Any]:
        """What ``videoswin export --json`` prints."""
        return asdict(self)


def default_path(name: str, to: str) -> Path:
    """Where a file goes that was given no name: the working folder."""
    return find_format(to).default_path(name)


def require(to: str, precision: str = "float32", path: str | Path | None = None, inputs: Iterable[object] = ()) -> None:
    """Everything that can be said before the checkpoint is loaded: whether there is such a form, its library is installed,
    and ``path`` can take it.

    Args:
        inputs: what the export reads, and must not replace.

    Raises:
        ConfigError: there is no such format or precision, or the path has another format's suffix.
        OutputError: the file cannot be written there, or would replace one that is not videoswin's.
        MissingExtraError: the format's library is not installed.
    """
    form = find_format(to)
    _precision(form, precision)
    if path is not None:
        _require_writable(form, Path(path), inputs)
    form.require()


def export(
    classifier: Classifier,
    path: str | Path,
    to: str = "onnx",
    precision: str = "float32",
    *,
    step: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write ``classifier`` as one file; an older file in its place is replaced in one step, or not at all.

    The file takes clips of the classifier's own size, (B, 3, T, H, W) with any B, and holds the preprocessing, the labels,
    the threshold, and what the checkpoint says of itself.

    Args:
        to: "onnx", "openvino" (an .xml with a .bin beside it), "torch-export" or "aot" (both .pt2; the latter is native code
            for this machine, and needs a C++ compiler).
        precision: "float32", "fp16" or "bf16", as far as the format has it (:data:`videoswin.export.FORMATS`).
        step: told what is being done, for people.

    Raises:
        ConfigError: there is no such format or precision, or the path has another format's suffix.
        OutputError: the file cannot be written there, or would replace one that is not videoswin's.
        WeightsError: the file's outputs are not those of the model; it was not kept.
        MissingExtraError: the format's library is not installed.
    """
    require_one_label(classifier.answer, classifier.name, "an exported file")
    path, form = Path(path), find_format(to)
    precision = _precision(form, precision)
    require(to, precision, path)
    preprocessing = classifier.preprocessing
    clips = real_clips(preprocessing)
    start = time.perf_counter()
    step(f"tracing the model for clips of {preprocessing.clip_len}x{preprocessing.size[0]}x{preprocessing.size[1]}")
    program = trace(classifier.model, preprocessing)
    traced = time.perf_counter()
    step(f"translating it to {to}, {precision}")
    save = _translate(program, to, precision)
    compiled = time.perf_counter()
    metadata = Metadata.of(
        classifier.facts,
        Making(
            to=to,
            precision=precision,
            num_parameters=classifier.num_parameters,
            tolerance=TOLERANCES[precision],
            versions={"videoswin": __version__, "torch": torch.__version__},
        ),
    )
    with replace_together(path.parent, last=path.name) as folder:
        new = folder / path.name
        save(new, metadata)
        step(f"comparing it with the model on {len(clips)} real clips")
        opening = time.perf_counter()
        exported = load_exported(new, trust_code=True)
        load_seconds = time.perf_counter() - opening
        difference = _compared(classifier, exported, clips, path)
        save(new, exported.metadata.with_making(max_difference=difference))
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


def _precision(form: Format, name: str) -> Precision:
    """One that the format has."""
    precision = precision_name(name)
    if precision not in form.precisions:
        raise ConfigError(f"{form.name} is not offered in {precision}. Choose one of: {', '.join(form.precisions)}.")
    return precision


def _require_writable(form: Format, path: Path, inputs: Iterable[object]) -> None:
    if path.suffix != form.suffix:
        raise ConfigError(f"{path}: a file of {form.name} is named *{form.suffix}. Give it that suffix.")
    require_writable_output(path, EXPORTED, inputs)
    for suffix in form.beside:
        other = path.with_suffix(suffix)
        if other.exists() and not path.exists():  # weights alone say nothing of themselves
            reason = f"there is a file already that belongs to no {path.name}, and it is left alone"
            raise OutputError(other, reason, "Give another name, or remove it first")


def _translate(program: Program, to: str, precision: Precision) -> _Save:
    """Imports the format's module, and with it the library, only now."""
    if to == "onnx":
        from videoswin.export.to_onnx import build
    elif to == "openvino":
        from videoswin.export.to_openvino import build
    else:
        from videoswin.export.to_pt2 import build_aot, build_torch_export

        build = build_aot if to == "aot" else build_torch_export
    return build(program, precision)


def _compared(classifier: Classifier, exported: ExportedClassifier, clips: torch.Tensor, path: Path) -> float:
    """How far the file is from the model; a :class:`WeightsError` if that is too far."""
    tolerance, hint = TOLERANCES[exported.metadata.made.precision], "Use another format or precision"
    try:
        difference = compare(classifier, exported, clips)
    except WeightsError as error:
        raise WeightsError(path, f"{error.reason}; it was not kept", hint) from error
    if not difference <= tolerance:
        reason = f"its outputs differ from the model's by {difference:.1e}, more than {tolerance:.0e}"
        raise WeightsError(path, f"{reason} of the largest; it was not kept", hint)
    return difference
