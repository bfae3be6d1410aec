"""OpenVINO models (``.xml`` with its ``.bin``) and ONNX files, run by OpenVINO."""

import hashlib
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videoswin.errors import MissingExtraError, WeightsError
from videoswin.export.runtime.metadata import KEY, Metadata

__all__ = ["OpenVINORuntime", "import_openvino", "sha256"]

_REPORTER = "openvino_telemetry"
_DAMAGED = "Copy both files again, or export the checkpoint again"


class OpenVINORuntime:
    """One compiled model."""

    def __init__(self, path: Path, threads: int) -> None:
        try:
            openvino = import_openvino()
        except ImportError as error:
            raise MissingExtraError(f"{path} needs OpenVINO ({error}). pip install 'videoswin[openvino]'") from None
        self.title = f"openvino {openvino.__version__.split('-')[0]}"
        self._path = path
        core = openvino.Core()
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise WeightsError(path, f"OpenVINO cannot read it ({_first_line(error)})", _DAMAGED) from None
        self.metadata = Metadata.from_json(path, _rt_info(model))
        _require_its_weights(path, self.metadata)
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # OpenVINO would take bfloat16 by itself where the processor has it: not what was checked.
            "INFERENCE_PRECISION_HINT": "bf16" if self.metadata.precision == "bf16" else "f32",
        }
        try:
            self._compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise WeightsError(path, f"OpenVINO cannot compile it ({_first_line(error)})", _DAMAGED) from None

    def run(self, clips: Tensor) -> Tensor:
        """float32 (B, 3, T, H, W) -> logits (B, num_classes)."""
        try:
            return torch.from_numpy(self._compiled(clips.numpy())[0].copy())
        except RuntimeError as error:
            raise WeightsError(
                self._path, f"OpenVINO failed while running it ({_first_line(error)})", _DAMAGED
            ) from None


def import_openvino() -> Any:
    """The library, which would otherwise report over the network, at its import already, that it is being used: where its
    reporter cannot be imported, it uses one that does nothing."""
    reporter = sys.modules.get(_REPORTER)
    sys.modules[_REPORTER] = None  # type: ignore[assignment]
    try:
        return import_module("openvino")
    finally:
        del sys.modules[_REPORTER]
        if reporter is not None:
            sys.modules[_REPORTER] = reporter


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rt_info(model: Any) -> str | None:
    """The JSON of an OpenVINO model, or of the ONNX file that it was read from."""
    for place in ([KEY], ["framework", KEY]):
        if model.has_rt_info(place):
            return str(model.get_rt_info(place).value)
    return None


def _require_its_weights(path: Path, metadata: Metadata) -> None:
    """The .xml and the .bin are two files: an interrupted copy could pair new with old, and the sizes would still fit."""
    if metadata.weights_sha256 is not None and sha256(path.with_suffix(".bin")) != metadata.weights_sha256:
        raise WeightsError(
            path, f"{path.with_suffix('.bin').name} beside it is not the one it was exported with", _DAMAGED
        )


def _first_line(error: Exception) -> str:
    """OpenVINO's messages name its own source files first; the last line is the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
