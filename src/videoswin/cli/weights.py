"""``videoswin inspect`` and ``videoswin convert``: files of weights, whoever made them."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from videoswin.cli.output import DONE, show
from videoswin.errors import ConfigError

__all__ = ["convert", "inspect"]


def inspect(
    file: Annotated[str, Parameter(name="FILE")],
    /,
    *,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> int:
    """Show what a file of weights is, and whether it is whole.

    The family and the architecture are read from the names and shapes of its tensors. Nothing in the file is executed,
    and no model is built. Files: .pth, .pt and .safetensors of the official code, MMAction2, torchvision, Microsoft,
    timm and Hugging Face, and checkpoint folders of videoswin.

    For example:

        videoswin inspect swin_tiny_patch244_window877_kinetics400_1k.pth

    Parameters
    ----------
    file
        A file of weights, a checkpoint folder, or the name of a published file (videoswin models), which is downloaded once.
    json_only
        Print one JSON object, with every name, and nothing else.
    """
    from videoswin.weights.checkpoint import inspect_checkpoint

    report = inspect_checkpoint(_file(file))
    if json_only:
        print(json.dumps(report.to_dict()))
    else:
        for line in str(report).split("\n"):
            show(line)
    return DONE


def convert(
    source: Annotated[str, Parameter(name="IN")],
    target: Annotated[str, Parameter(name="OUT")],
    /,
    *,
    to: Literal["official", "mmaction2", "torchvision", "ours"] = "ours",
    num_frames_window: int | None = None,
    num_classes: int | None = None,
) -> int:
    """Convert a file of weights to another code base's, or to a checkpoint folder.

    Video models keep every number, bit for bit, unless you ask for another window or head. Image models are inflated to
    video models. What was loaded, computed or started anew is printed. OUT must not exist.

    For example:

        videoswin convert swin3d_t-7615ae03.pth runs/kinetics
        videoswin convert runs/mine/best mine.pth --to official
        videoswin convert swin_tiny_patch4_window7_224.pth start.pth --to mmaction2 --num-frames-window 16

    Parameters
    ----------
    source
        A file of weights, a checkpoint folder, or the name of a published file (videoswin models), which is downloaded once.
    target
        The new file: .safetensors or, except for ours, .pth. For ours, any other name is a checkpoint folder.
    to
        Whose names and container OUT has.
    num_frames_window
        Length of the attention window in tokens of time; bias tables are resampled. By default the file's own; 8 for
        image models.
    num_classes
        Outputs of the head; another number than the file's own starts a new head. By default the file's own.
    """
    from videoswin.classifier import load, of_public_weights
    from videoswin.weights.checkpoint import inspect_checkpoint, load_checkpoint
    from videoswin.weights.convert import convert_model
    from videoswin.weights.families import FAMILIES
    from videoswin.weights.inflate import inflate_checkpoint

    if os.path.lexists(target):
        raise ConfigError(f"{target} exists already. Give another name, or remove it first.")
    if not Path(target).absolute().parent.is_dir():
        raise ConfigError(f"{target}: the folder it should stand in does not exist. Make it first.")
    source = _file(source)
    own = inspect_checkpoint(source)
    if FAMILIES[own.family].dims == 2:
        model, report = inflate_checkpoint(source, num_classes, window_frames=num_frames_window or 8)
    else:
        window = (num_frames_window, *own.config.window_size[1:]) if num_frames_window is not None else None
        model, report = load_checkpoint(source, num_classes, window_size=window)
    if to == "ours" and Path(target).suffix not in (".safetensors", ".pth", ".pt"):
        classifier = of_public_weights(model, report)
        if os.path.isdir(source) and not report.fresh:  # one of ours: it keeps its labels and preprocessing
            classifier = replace(load(source), model=model, report=report)
        classifier.save(target)
    else:
        convert_model(model, target, to)
    for line in str(report).split("\n"):
        show(line)
    show(f"written to {target}")
    return DONE


def _file(path_or_name: str) -> str:
    """The path itself, or where the file of a name of the catalog stands."""
    from videoswin.weights.catalog import find, get_file

    entry = find(path_or_name)
    return path_or_name if entry is None else str(get_file(entry))
