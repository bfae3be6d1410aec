"""ONNX files, run by ONNX Runtime."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videoswin.errors import WeightsError
from videoswin.export.libraries import import_library
from videoswin.export.runtime.metadata import KEY, Metadata

__all__ = ["ONNXRuntime", "read_onnx_metadata"]

_DAMAGED = "Copy it again, or export the checkpoint again"


class ONNXRuntime:
    """One session. The file is data: it is read whole and may name no other file."""

    def __init__(self, path: Path, threads: int) -> None:
        onnxruntime = _library(path)
        self.title = f"onnxruntime {onnxruntime.__version__}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._path = path
        self._session = _session(path, options)
        self._failures = _failures()
        self.metadata = _metadata(path, self._session)
        self._input = self._session.get_inputs()[0].name

    def run(self, clips: Tensor) -> Tensor:
        """float32 (B, 3, T, H, W) -> logits (B, num_classes)."""
        try:
            return torch.from_numpy(self._session.run(None, {self._input: clips.numpy()})[0])
        except self._failures as error:
            raise WeightsError(self._path, f"ONNX Runtime failed while running it ({error})", _DAMAGED) from error


def read_onnx_metadata(path: Path) -> Metadata:
    """The metadata of a file that is read and not prepared for running.

    Raises:
        WeightsError: it is no ONNX file, or not made by videoswin.
        MissingExtraError: ONNX Runtime is not installed.
    """
    onnxruntime = _library(path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return _metadata(path, _session(path, options))


def _library(path: Path) -> Any:
    return import_library("onnxruntime", "onnx", str(path))


def _session(path: Path, options: Any) -> Any:
    onnxruntime = _library(path)
    from onnxruntime.capi import onnxruntime_pybind11_state as errors  # type: ignore[attr-defined]

    options.log_severity_level = 4  # what goes wrong is raised as well
    refusals = (errors.InvalidProtobuf, errors.InvalidGraph, errors.NoSuchFile, errors.NotImplemented)
    try:
        # From bytes, so that a relative path inside the file leads nowhere (external data).
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except (*_failures(), *refusals, OSError) as error:
        raise WeightsError(path, f"ONNX Runtime cannot load it ({error})", _DAMAGED) from error


def _failures() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as errors  # type: ignore[attr-defined]

    return errors.RuntimeException, errors.InvalidArgument, errors.Fail


def _metadata(path: Path, session: Any) -> Metadata:
    return Metadata.from_json(path, session.get_modelmeta().custom_metadata_map.get(KEY))
