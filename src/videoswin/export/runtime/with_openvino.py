"""OpenVINO models (``.xml`` with its ``.bin``) and ONNX files, run by OpenVINO."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videoswin.errors import WeightsError
from videoswin.export.libraries import import_library, last_line
from videoswin.export.runtime.metadata import KEY, Metadata

__all__ = ["OpenVINORuntime", "read_openvino_metadata", "sha256"]

_DAMAGED = "Copy both files again, or export the checkpoint again"


class OpenVINORuntime:
    """One compiled model."""

    def __init__(self, path: Path, threads: int) -> None:
        openvino = _library(path)
        self.title = f"openvino {openvino.__version__.split('-')[0]}"
        self._path = path
        core = openvino.Core()
        model, self.metadata = _read(core, path)
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # OpenVINO would take bfloat16 by itself where the processor has it: not what was checked.
            "INFERENCE_PRECISION_HINT": "bf16" if self.metadata.made.precision == "bf16" else "f32",
        }
        try:
            self._compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise WeightsError(path, f"OpenVINO cannot compile it ({last_line(error)})", _DAMAGED) from error

    def run(self, clips: Tensor) -> Tensor:
        """float32 (B, 3, T, H, W) -> logits (B, num_classes)."""
        try:
            return torch.from_numpy(self._compiled(clips.numpy())[0].copy())
        except RuntimeError as error:
            reason = f"OpenVINO failed while running it ({last_line(error)})"
            raise WeightsError(self._path, reason, _DAMAGED) from error


def read_openvino_metadata(path: Path) -> Metadata:
    """The metadata of a model that is read and not compiled.

    Raises:
        WeightsError: it is no model, not made by videoswin, or its two files do not belong together.
        MissingExtraError: OpenVINO is not installed.
    """
    return _read(_library(path).Core(), path)[1]


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _library(path: Path) -> Any:
    return import_library("openvino", "openvino", str(path))


def _read(core: Any, path: Path) -> tuple[Any, Metadata]:
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise WeightsError(path, f"OpenVINO cannot read it ({last_line(error)})", _DAMAGED) from error
    metadata = Metadata.from_json(path, _rt_info(model))
    _require_its_weights(path, metadata)
    return model, metadata


def _rt_info(model: Any) -> str | None:
    """The JSON of an OpenVINO model, or of the ONNX file that it was read from."""
    for place in ([KEY], ["framework", KEY]):
        if model.has_rt_info(place):
            return str(model.get_rt_info(place).value)
    return None


def _require_its_weights(path: Path, metadata: Metadata) -> None:
    """The .xml and the .bin are two files: an interrupted copy could pair new with old, and the sizes would still fit."""
    expected, weights = metadata.made.weights_sha256, path.with_suffix(".bin")
    if expected is not None and sha256(weights) != expected:
        raise WeightsError(path, f"{weights.name} beside it is not the one it was exported with", _DAMAGED)
