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
    to: Literal["onnx", "openvino", "torch-export", "aot", "web"],
    out: Path | None = None,
    precision: Annotated[Literal["float32", "fp16", "bf16"], Parameter(converter=precision_of)] = "float32",
    onnxruntime_web: Annotated[Path | None, Parameter(metavar="PATH")] = None,
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
        videoswin export swin3d_micro_gestures --to web --out page

    Parameters
    ----------
    weights
        The folder of a training run, the name of a checkpoint that comes with videoswin, or a file of weights.
    to
        onnx: one file of standard operators. openvino: an .xml with a .bin beside it, the quickest on Intel and AMD
        processors. torch-export: PyTorch's own package. aot: native code for this machine; needs a C++ compiler. web: a folder with a page that runs the model in the
        browser, for any static file server.
    out
        The file to write, or for web the folder. By default the checkpoint's name, in the working folder.
    precision
        float32: as the model. fp16: weights stored in half, arithmetic in float32 (onnx, openvino). bf16: weights stored
        in half, arithmetic in bf16 where the processor has it (openvino).
    onnxruntime_web
        For web: the npm package onnxruntime-web, unpacked or as .tgz. By default npm fetches it.
    json_only
        Print one JSON object and nothing else.
    """
    from videoswin import export as exporting
    from videoswin.classifier.loading import load

    if to == "web":
        return _export_web(weights, out, onnxruntime_web, json_only)
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


def _export_web(checkpoint: str, out: Path | None, runtime: Path | None, json_only: bool) -> int:
    from videoswin.classifier.loading import load
    from videoswin.export.formats import find_format
    from videoswin.export.to_web import export_web, require_web

    if out is not None:
        require_web(out, runtime)
    classifier = load(checkpoint).require_classes()
    folder = out or find_format("onnx").default_path(classifier.name).with_suffix(".web")
    made = export_web(classifier, folder, runtime, step=(lambda _: None) if json_only else say)
    if json_only:
        print(json.dumps({"path": made.path, "bytes": made.bytes, "model": made.model.to_dict()}))
        return DONE
    show(f"{made.path}  ({made.bytes / 1e6:,.1f} MB, the model's largest difference {made.model.max_difference:.1e})")
    show(f"look at it: python -m http.server --directory {made.path} 8080")
    return DONE
