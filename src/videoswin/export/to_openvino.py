"""OpenVINO: an .xml with the graph and a .bin with the weights."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from videoswin.export.formats import Precision
from videoswin.export.graph import BiasLookup
from videoswin.export.libraries import import_library, quiet
from videoswin.export.program import INPUT, OUTPUT, Program
from videoswin.export.runtime.metadata import KEY, Metadata
from videoswin.export.runtime.with_openvino import sha256

__all__ = ["build"]


def build(program: Program, precision: Precision) -> Callable[[Path, Metadata], None]:
    """Translate; the result writes the two files."""
    openvino = import_library("openvino", "openvino", "Export to openvino")
    model = _translated(program)
    _look_up(model, program.lookups)
    model.reshape(openvino.PartialShape([-1, *program.example.shape[1:]]))  # all but the batch is fixed
    model.inputs[0].get_tensor().set_names({INPUT})
    model.outputs[0].get_tensor().set_names({OUTPUT})
    model.validate_nodes_and_infer_types()
    versions = {"openvino": openvino.__version__}

    def save(path: Path, metadata: Metadata) -> None:
        half = precision != "float32"
        metadata = metadata.with_making(versions={**metadata.made.versions, **versions})
        openvino.save_model(model, path, compress_to_fp16=half)  # once for the .bin, whose sum the .xml names
        metadata = metadata.with_making(weights_sha256=sha256(path.with_suffix(".bin")))
        model.set_rt_info(metadata.to_json(), [KEY])
        openvino.save_model(model, path, compress_to_fp16=half)

    return save


def _translated(program: Program) -> Any:
    """As ``openvino.convert_model`` does, which would also report the use of it to its makers over the network."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    with quiet("root"):
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchFXPythonDecoder.from_exported_program(program.exported)  # the C++ side does not keep it alive
        return frontend.convert(frontend.load(decoder))


def _look_up(model: Any, lookups: Mapping[str, BiasLookup]) -> None:
    """Bias tables and one Gather each in place of the constant biases: half the file. The Gather is folded once, at load.

    Constants lose their names on the way here, so they are known by their numbers; one that is not found stays as it is.
    """
    from openvino import opset13 as operators

    by_numbers = {lookup.bias.numpy().tobytes(): lookup for lookup in lookups.values()}
    stored: dict[bytes, Any] = {}  # equal tables and indices stand in the file once

    def store(numbers: np.ndarray) -> Any:
        key = repr(numbers.shape).encode() + numbers.tobytes()
        return stored.setdefault(key, operators.constant(numbers))

    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or len(node.shape) != 4:
            continue
        lookup = by_numbers.get(np.asarray(node.data).tobytes())
        if lookup is None:
            continue
        axis = store(np.array(2, np.int64))
        gather = operators.gather(store(lookup.table.numpy()), store(lookup.index.numpy()), axis)
        for reader in node.output(0).get_target_inputs():
            reader.replace_source_output(gather.output(0))
