"""From a path to a classifier.

A :class:`~videoswin.export.runtime.exported.Runtime` turns normalised clips into logits; there is one for each library.
:func:`load_exported` finds the right one and puts the file's own preprocessing and labels round it, so that a file predicts
as the checkpoint that it came from.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from videoswin.classifier.resolve import Exported, resolve
from videoswin.errors import ConfigError, WeightsError
from videoswin.export.formats import FORMATS, RuntimeName, has_suffix, runtimes_of
from videoswin.export.runtime.exported import ExportedClassifier, Runtime
from videoswin.export.runtime.metadata import Metadata
from videoswin.export.runtime.pt2 import open_pt2, read_pt2_metadata
from videoswin.export.runtime.with_onnxruntime import ONNXRuntime, read_onnx_metadata
from videoswin.export.runtime.with_openvino import OpenVINORuntime, read_openvino_metadata
from videoswin.weights.safetensors import require_regular_file

if TYPE_CHECKING:
    from videoswin.classifier.classifier import Classifier

__all__ = ["is_exported", "load_exported", "open_classifier", "read_metadata"]

_TRUST = 'Give trust_code=True (the command line takes "--weights FILE.pt2" as that) if you made it or trust who did'


def is_exported(path: str | Path) -> bool:
    """Whether a path has the suffix of an exported file, and is no folder."""
    return has_suffix(path) and not os.path.isdir(path)


def open_classifier(
    path_or_name: str | Path, runtime: RuntimeName = "auto", device: str = "auto", **told: Any
) -> "Classifier | ExportedClassifier":
    """What the command line's ``--weights`` means: a checkpoint (:func:`videoswin.load`) on a device, or an exported file.

    ``told``: what the tensors of a file do not tell, ``like`` and ``num_heads``, as :func:`videoswin.load` takes it. A ``.pt2`` file that is named so is run: it is the user's explicit choice.

    Raises:
        ConfigError: the runtime does not fit the file, or there is no such device.
        WeightsError: the file cannot be used.
    """
    if isinstance(target := resolve(path_or_name), Exported):
        if device not in ("auto", "cpu"):
            raise ConfigError(
                f"device={device}: exported files run on the CPU. Use auto or cpu, or the checkpoint folder."
            )
        if told:
            raise ConfigError(
                f"{next(iter(told))} is for files of weights; an exported file has its own. Leave it out."
            )
        return load_exported(target.path, runtime, trust_code=True)
    if runtime not in ("auto", "torch"):
        raise ConfigError(f"runtime={runtime} runs exported files. Make one: videoswin export {path_or_name} --to ...")
    from videoswin.classifier.device import choose_device
    from videoswin.classifier.loading import load

    classifier = load(path_or_name, **told).require_classes()
    classifier.model.to(choose_device(device))
    return classifier


def load_exported(
    path: str | Path, runtime: RuntimeName = "auto", *, trust_code: bool = False, threads: int | None = None
) -> ExportedClassifier:
    """A classifier from a file of ``videoswin export``: ``.onnx``, ``.xml`` (with its ``.bin``) or ``.pt2``.

    ``.onnx`` and ``.xml`` are data. A ``.pt2`` is a program: one of AOTInductor is native code, and PyTorch reads the other
    kind with pickle and evaluates expressions in it. So a ``.pt2`` is run only with ``trust_code=True``.

    Args:
        runtime: "auto" is ONNX Runtime for ``.onnx``, OpenVINO for ``.xml``, PyTorch for ``.pt2``; OpenVINO also runs
            ``.onnx`` files.
        threads: CPU threads; by default as many as PyTorch uses. A ``.pt2`` always uses PyTorch's.

    Raises:
        ConfigError: the runtime does not run such files.
        WeightsError: the file is missing, damaged, not made by videoswin, for another processor, or not trusted.
        MissingExtraError: the runtime's library is not installed.
    """
    path = Path(path)
    name = _runtime_for(path, runtime)
    threads = threads or torch.get_num_threads()
    opened: Runtime
    if name == "torch":
        if not trust_code:
            raise WeightsError(path, "a .pt2 file is a program, and running one from a stranger is not safe", _TRUST)
        opened = open_pt2(path)
    elif name == "openvino":
        opened = OpenVINORuntime(path, threads)
    else:
        opened = ONNXRuntime(path, threads)
    return ExportedClassifier(path, opened)


def read_metadata(path: str | Path, runtime: RuntimeName = "auto") -> Metadata:
    """What an exported file says about itself; nothing is compiled and no program is run, so no trust is needed.

    Raises:
        WeightsError: the file is missing, damaged, or not made by videoswin.
        MissingExtraError: the library that reads such files is not installed.
    """
    path = Path(path)
    name = _runtime_for(path, runtime)
    if name == "torch":
        return read_pt2_metadata(path)
    return read_openvino_metadata(path) if name == "openvino" else read_onnx_metadata(path)


def _runtime_for(path: Path, runtime: RuntimeName) -> RuntimeName:
    fitting = runtimes_of(path.suffix)
    if not fitting:
        known = ", ".join(dict.fromkeys(row.suffix for row in FORMATS.values()))
        raise ConfigError(f'{path} is no exported file by its suffix "{path.suffix}". Known are {known}.')
    name = fitting[0] if runtime == "auto" else runtime
    if name not in fitting:
        raise ConfigError(f"runtime={runtime} does not run {path.suffix} files. Use {' or '.join(fitting)}.")
    require_regular_file(path)
    return name
