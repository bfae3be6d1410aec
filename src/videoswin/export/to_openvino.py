"""OpenVINO: an .xml with the graph and a .bin with the weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from videoswin.errors import MissingExtraError
from videoswin.export.program import INPUT, OUTPUT, Program
from videoswin.export.runtime.metadata import KEY, Metadata
from videoswin.export.runtime.with_openvino import import_openvino, sha256
from videoswin.export.silenced import quiet

__all__ = ["build"]


def build(program: Program, precision: str) -> Callable[[Path, Metadata], None]:
    """Translate; the result writes the two files.

    Raises:
        MissingExtraError: openvino is not installed.
    """
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise MissingExtraError(f"Export to OpenVINO needs {error.name}. pip install 'videoswin[openvino]'") from None
    model = _translated(program)
    model.reshape(openvino.PartialShape([-1, *program.example.shape[1:]]))  # all but the batch is fixed
    model.inputs[0].get_tensor().set_names({INPUT})
    model.outputs[0].get_tensor().set_names({OUTPUT})
    model.validate_nodes_and_infer_types()
    versions = {"openvino": openvino.__version__}

    def save(path: Path, metadata: Metadata) -> None:
        half = precision != "fp32"
        metadata = replace(metadata, versions={**metadata.versions, **versions})
        openvino.save_model(model, path, compress_to_fp16=half)  # once for the .bin, whose sum the .xml names
        metadata = replace(metadata, weights_sha256=sha256(path.with_suffix(".bin")))
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
