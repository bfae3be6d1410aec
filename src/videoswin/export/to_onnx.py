"""ONNX: one self-contained file of standard operators."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from videoswin.errors import ConfigError, MissingExtraError
from videoswin.export.program import INPUT, OUTPUT, Program
from videoswin.export.runtime.metadata import KEY, Metadata
from videoswin.export.silenced import quiet

__all__ = ["build"]

_OPSET = 20  # the first with GELU; later ones are not read by all runtimes
_MAX_BYTES = 2**31 - 1  # of protobuf: a larger model would need a second file
_SMALL = 1024  # numbers; smaller weights stay in float32


def build(program: Program, precision: str) -> Callable[[Path, Metadata], None]:
    """Translate; the result writes the file.

    Raises:
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        ConfigError: the model is too large for one ONNX file.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript
    except ImportError as error:
        raise MissingExtraError(f"Export to ONNX needs {error.name}. pip install 'videoswin[onnx]'") from None
    with quiet("torch.onnx"):
        translated = torch.onnx.export(
            program.exported,
            dynamo=True,
            opset_version=_OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert translated is not None
    model = translated.model_proto
    if model.ByteSize() > _MAX_BYTES:
        raise ConfigError("The model takes more than 2 GB, more than one ONNX file holds. Use to=openvino.")
    if precision == "fp16":
        _store_in_half(model)
    onnx.checker.check_model(model, full_check=True)
    versions = {
        "onnx": onnx.__version__,
        "onnxscript": onnxscript.__version__,
        "onnxruntime": onnxruntime.__version__,
        "opset": str(_OPSET),
    }

    def save(path: Path, metadata: Metadata) -> None:
        metadata = replace(metadata, versions={**metadata.versions, **versions})
        whole = copy.copy(model)
        onnx.helper.set_model_props(whole, {KEY: metadata.to_json()})
        path.write_bytes(whole.SerializeToString())

    return save


def _store_in_half(model: Any) -> None:
    """Large weights as float16, each followed by a cast: half the file, float32 arithmetic. Runtimes cast once, at load."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.raw_data) > 4 * _SMALL:
            name = tensor.name
            half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), f"{name}_half")
            tensor.CopyFrom(half)
            casts.append(helper.make_node("Cast", [half.name], [name], to=TensorProto.FLOAT, name=f"{name}_cast"))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
