"""``videoswin export``: a checkpoint as one file for other runtimes."""

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from videoswin.cli.options import precision_of
from videoswin.cli.output import DONE, add_row, say, show, table

__all__ = ["export"]


def export(
    weights: Annotated[str, Parameter(name="--weights")],
    *,
    to: Literal["onnx", "openvino", "torch-export", "aot"],
    out: Path | None = None,
    precision: Annotated[Literal["float32", "fp16", "bf16"], Parameter(converter=precision_of)] = "float32",
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> int:
    """Write a checkpoint as one file that other runtimes run.

    The file takes batches of any length, of clips of the checkpoint's own size, and holds the preprocessing, the labels
    and the threshold: it is all that predict, evaluate, timeline and stream need. It is compared with the model on real
    clips, and kept only if it gives the same logits. An older file of the same name is replaced in one step.

    For example:

        videoswin export runs/mine/best --to onnx
        videoswin predict clip.mp4 --weights mine.onnx

        videoswin export swin3d_micro_gestures --to openvino --precision bf16 --out fast.xml

    Parameters
    ----------
    weights
        The folder of a training run, the name of a checkpoint that comes with videoswin, or a file of weights.
    to
        onnx: one file of standard operators. openvino: an .xml with a .bin beside it, the quickest on Intel and AMD
        processors. torch-export: PyTorch's own package. aot: native code for this machine; needs a C++ compiler.
    out
        The file to write. By default the checkpoint's name, in the working folder.
    precision
        float32: as the model. fp16: weights stored in half, arithmetic in float32 (onnx, openvino). bf16: weights stored
        in half, arithmetic in bf16 where the processor has it (openvino).
    json_only
        Print one JSON object and nothing else.
    """
    from videoswin import export as exporting
    from videoswin.classifier.loading import load

    exporting.require(to, precision, out, inputs=[weights])
    classifier = load(weights).require_classes()
    path = exporting.default_path(classifier.name, to) if out is None else out
    result = exporting.export(classifier, path, to, precision, step=(lambda _: None) if json_only else say)
    if json_only:
        print(json.dumps(result.to_dict()))
        return DONE
    rows = table("file", "size", "max difference", "compile", right=["size", "max difference", "compile"])
    for number, file in enumerate(result.files):
        size = f"{Path(file).stat().st_size / 1e6:,.1f} MB"
        first = number == 0
        compiled = f"{result.trace_seconds + result.compile_seconds:.1f} s"
        add_row(rows, file, size, f"{result.max_difference:.1e}" if first else "", compiled if first else "")
    show(rows)
    shape = ", ".join(map(str, result.input_shape))
    show(f"takes clips of ({shape}), any batch; compared on {result.clips} real clips with {result.runtime}")
    return DONE
