"""ONNX files, run by ONNX Runtime."""

from pathlib import Path

import torch
from torch import Tensor

from videoswin.errors import MissingExtraError, WeightsError
from videoswin.export.runtime.metadata import KEY, Metadata

__all__ = ["ONNXRuntime"]

_DAMAGED = "Copy it again, or export the checkpoint again"


class ONNXRuntime:
    """One session. The file is data: it is read whole and may name no other file."""

    def __init__(self, path: Path, threads: int) -> None:
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as errors  # type: ignore[attr-defined]
        except ImportError as error:
            raise MissingExtraError(f"{path} needs ONNX Runtime ({error}). pip install 'videoswin[onnx]'") from None
        self.title = f"onnxruntime {onnxruntime.__version__}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what goes wrong is raised as well
        self._failures = (errors.RuntimeException, errors.InvalidArgument, errors.Fail)
        try:
            # From bytes, so that a relative path inside the file leads nowhere (external data).
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except (
            *self._failures, errors.InvalidProtobuf, errors.InvalidGraph, errors.NoSuchFile, errors.NotImplemented, OSError
        ) as error:  # fmt: skip
            raise WeightsError(path, f"ONNX Runtime cannot load it ({error})", _DAMAGED) from None
        self._path = path
        self.metadata = Metadata.from_json(path, self._session.get_modelmeta().custom_metadata_map.get(KEY))
        self._input = self._session.get_inputs()[0].name

    def run(self, clips: Tensor) -> Tensor:
        """float32 (B, 3, T, H, W) -> logits (B, num_classes)."""
        try:
            return torch.from_numpy(self._session.run(None, {self._input: clips.numpy()})[0])
        except self._failures as error:
            raise WeightsError(self._path, f"ONNX Runtime failed while running it ({error})", _DAMAGED) from None
