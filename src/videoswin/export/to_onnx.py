"""ONNX: one self-contained file of standard operators."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from videoswin.errors import ConfigError
from videoswin.export.formats import Precision
from videoswin.export.graph import BiasLookup
from videoswin.export.libraries import quiet
from videoswin.export.program import INPUT, OUTPUT, Program
from videoswin.export.runtime.metadata import KEY, Metadata

__all__ = ["build"]

_OPSET = 20  # the first with GELU; later ones are not read by all runtimes
_MAX_BYTES = 2**31 - 1  # of protobuf: a larger model would need a second file
_SMALL = 1024  # numbers; smaller weights stay in float32


def build(program: Program, precision: Precision) -> Callable[[Path, Metadata], None]:
    """Translate; the result writes the file.

    Raises:
        ConfigError: the model is too large for one ONNX file.
    """
    import onnx
    import onnxruntime
    import onnxscript

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
    _look_up(model, program.lookups)
    if precision == "fp16":
        _store_in_half(model)
    if model.ByteSize() > _MAX_BYTES:
        raise ConfigError("The model takes more than 2 GB, more than one ONNX file holds. Use to=openvino.")
    onnx.checker.check_model(model, full_check=True)
    versions = {
        "onnx": onnx.__version__,
        "onnxscript": onnxscript.__version__,
        "onnxruntime": onnxruntime.__version__,
        "opset": str(_OPSET),
    }

    def save(path: Path, metadata: Metadata) -> None:
        metadata = metadata.with_making(versions={**metadata.made.versions, **versions})
        whole = copy.copy(model)
        onnx.helper.set_model_props(whole, {KEY: metadata.to_json()})
        path.write_bytes(whole.SerializeToString())

    return save


def _look_up(model: Any, lookups: Mapping[str, BiasLookup]) -> None:
    """Bias tables and one Gather each in place of the constant biases: half the file. Runtimes fold it once, at load."""
    from onnx import helper, numpy_helper

    stored: dict[bytes, str] = {}  # equal tables and indices stand in the file once

    def store(tensor: torch.Tensor, kind: str) -> str:
        key = repr(tensor.shape).encode() + tensor.numpy().tobytes()
        if key not in stored:
            stored[key] = f"{kind}_{len(stored)}"
            model.graph.initializer.append(numpy_helper.from_array(tensor.numpy(), stored[key]))
        return stored[key]

    constants = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name in lookups}
    gathers = []
    for name, constant in constants.items():
        lookup = lookups[name]
        model.graph.initializer.remove(constant)
        inputs = [store(lookup.table, "bias_table"), store(lookup.index, "bias_index")]
        gathers.append(helper.make_node("Gather", inputs, [name], axis=2, name=f"{name}_gather"))
    _put_first(model, gathers)


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
    _put_first(model, casts)


def _put_first(model: Any, nodes: list[Any]) -> None:
    nodes = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
