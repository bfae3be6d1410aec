"""What a checkpoint can be exported to: one table, read by whoever writes, checks, opens or describes an exported file."""

import shutil
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from videoswin.errors import ConfigError, nearest
from videoswin.export.libraries import import_library

__all__ = [
    "FORMATS", "FORMER_PRECISIONS", "PRECISIONS", "TOLERANCES", "Format", "Precision", "RuntimeName", "find_format", "has_suffix",
    "precision_name", "runtimes_of",
]  # fmt: skip

Precision = Literal["float32", "fp16", "bf16"]
RuntimeName = Literal["auto", "torch", "onnxruntime", "openvino"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
TOLERANCES: Mapping[str, float] = {"float32": 1e-4, "fp16": 1e-2, "bf16": 5e-2}
"""Largest difference of a logit that is accepted, as a part of the largest logit."""
FORMER_PRECISIONS = {"fp32": "float32"}
"""Names of precisions before 2026-11-26, and today's."""


@dataclass(frozen=True)
class Format:
    """One row of the table."""

    name: str
    suffix: str
    """Of the file that is named to open it."""
    precisions: tuple[Precision, ...]
    """Those that help; docs/export.md says what the others did."""
    runtimes: tuple[RuntimeName, ...]
    """What runs it; the first one by default."""
    extra: str = ""
    """The extra of this package that brings all it needs; "" where PyTorch is enough."""
    libraries: tuple[str, ...] = ()
    """What writing and checking it imports."""
    beside: tuple[str, ...] = ()
    """Suffixes of the files that belong to it."""
    is_program: bool = False
    """Whether opening it runs code that the file holds."""

    def default_path(self, name: str) -> Path:
        """Where a file goes that was given no name: the working folder, by the checkpoint's name."""
        plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).lstrip(".") or "model"
        return Path(f"{plain}{'.aot' if self.name == 'aot' else ''}{self.suffix}")

    def require(self) -> None:
        """Ask for all that writing the format needs, before any work is done.

        Raises:
            MissingExtraError: a library is not installed.
            ConfigError: there is no C++ compiler, and the format needs one.
        """
        for library in self.libraries:
            import_library(library, self.extra, f"Export to {self.name}")
        if self.name == "aot":
            _require_compiler()


FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        Format(
            "onnx", ".onnx", ("float32", "fp16"), ("onnxruntime", "openvino"), "onnx",
            ("onnx", "onnxscript", "onnxruntime"),
        ),
        Format(
            "openvino", ".xml", ("float32", "fp16", "bf16"), ("openvino",), "openvino", ("openvino",), beside=(".bin",)
        ),
        Format("torch-export", ".pt2", ("float32",), ("torch",), is_program=True),
        Format("aot", ".pt2", ("float32",), ("torch",), is_program=True),
    )
}  # fmt: skip


def find_format(name: str) -> Format:
    """The format of a name, or a :class:`ConfigError` that lists them."""
    if name not in FORMATS:
        raise ConfigError(f'There is no format "{name}". {nearest(name, FORMATS)}')
    return FORMATS[name]


def runtimes_of(suffix: str) -> tuple[RuntimeName, ...]:
    """What runs files of a suffix, the default first; empty if no format has it."""
    return next((row.runtimes for row in FORMATS.values() if row.suffix == suffix), ())


def has_suffix(path: str | Path) -> bool:
    """Whether a path ends as an exported file does."""
    return bool(runtimes_of(Path(str(path)).suffix))


def precision_name(name: str, known: Iterable[str] = PRECISIONS) -> Precision:
    """Today's name of a precision; a former one is taken with a :class:`DeprecationWarning`.

    Raises:
        ConfigError: it is none of ``known``.
    """
    known = tuple(known)
    if (today := FORMER_PRECISIONS.get(name)) in known:
        warnings.warn(f'precision "{name}" is now called "{today}".', DeprecationWarning, stacklevel=3)
        return today  # type: ignore[return-value]
    if name not in known:
        raise ConfigError(f'precision="{name}" is unknown. {nearest(name, known)}')
    return name  # type: ignore[return-value]


def _require_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        found = shutil.which(get_cpp_compiler()) is not None
    except (InvalidCxxCompiler, RuntimeError):
        found = False
    if not found:
        raise ConfigError(
            "to=aot compiles C++ and there is no compiler here. Install one (apt install g++), or set CXX; "
            "or use to=torch-export."
        )
