"""A video model from image weights (paper section 3.4): the only two places where time enters are made from one frame.

With ``embed="inflate"`` and ``bias="duplicate"``, the paper's defaults, a clip of one repeated frame gives exactly the
image model's features: the patch embedding sums copies that were divided by their number, and every token meets P equal
keys where it met one, which a softmax does not see.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from videoswin.errors import ConfigError, WeightsError, nearest
from videoswin.model import VideoSwin
from videoswin.model.config import Grid
from videoswin.weights.architecture import table_windows
from videoswin.weights.bias_tables import resample_table
from videoswin.weights.checkpoint import Checkpoint, build, read_checkpoint
from videoswin.weights.load_report import LoadReport

__all__ = ["Bias", "Embed", "inflate_checkpoint", "inflate_patch", "inflate_table"]

Embed = Literal["inflate", "center"]
Bias = Literal["duplicate", "center"]

_PATCH = "backbone.patch_embed.proj.weight"
_OTHER_FRAMES = -4.6  # the paper's "small negative value": about 1 % of the weight of a bias of 0


def inflate_checkpoint(
    path: str | Path,
    num_classes: int | None = None,
    *,
    window_frames: int = 8,
    patch_frames: int = 2,
    window: tuple[int, int] | None = None,
    embed: Embed = "inflate",
    bias: Bias = "duplicate",
    container: str | None = None,
) -> tuple[VideoSwin, LoadReport]:
    """A video model from a 2D checkpoint: Microsoft's, timm's, torchvision's or Hugging Face's.

    The model is in evaluation mode, in float32, on the CPU.

    Args:
        path: a ``.pth``, ``.pt`` or ``.safetensors`` file.
        num_classes: outputs of the head. None: the image model's own. Another number: the head starts anew.
        window_frames: length of the window, in tokens of time.
        patch_frames: frames of a patch.
        window: height and width of the window in tokens. None: the image model's own. Another: the bias tables are
            resampled, bicubic, as the public code does; e.g. (12, 12) for 384 pixels from weights of (7, 7).
        embed: "inflate" repeats the patch weights over time and divides them by their number; "center" puts them on the
            middle frame and zeros on the others.
        bias: "duplicate" repeats the bias table for every offset in time; "center" keeps it for offset 0 and sets -4.6 for
            others, so that tokens look at their own frame at first (no longer exactly the image model).
        container: see :func:`~videoswin.weights.checkpoint.load_checkpoint`.

    Raises:
        WeightsError: as :func:`~videoswin.weights.checkpoint.load_checkpoint`; or the file is a video model already.
        ConfigError: an option is out of range.
    """
    _check_choice("embed", embed, get_args(Embed))
    _check_choice("bias", bias, get_args(Bias))
    checkpoint = read_checkpoint(path, container=container)
    if checkpoint.family.dims == 3:
        hint = "Load it as it is: videoswin.load(FILE)"
        raise WeightsError(path, f"it is a video model already ({checkpoint.family.title})", hint)
    own = checkpoint.config
    target = own.replace(
        window_size=(window_frames, *(window or own.window_size[1:])),
        patch_size=(patch_frames, *own.patch_size[1:]),
        num_classes=own.num_classes if num_classes is None else num_classes,
        # Image codes shrink the table along with the window, or pad: none of them slices it.
        relative_bias="exact",
    )
    checkpoint = _with_smaller_tables(checkpoint)
    checkpoint.require_complete(head=target.num_classes == own.num_classes)
    tensors = dict(checkpoint.tensors)
    tensors[_PATCH] = inflate_patch(tensors[_PATCH], patch_frames, embed)
    tables = _tables(tensors)
    for name in tables:
        tensors[name] = inflate_table(tensors[name], target.window_size, bias)
    return build(replace(checkpoint, tensors=tensors), target, (_PATCH, *tables))


def inflate_patch(weight: Tensor, frames: int, embed: Embed = "inflate") -> Tensor:
    """(C, 3, h, w) -> (C, 3, frames, h, w)."""
    if embed == "inflate":
        return weight.float().unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames
    inflated = torch.zeros((*weight.shape[:2], frames, *weight.shape[2:]))
    inflated[:, :, frames // 2] = weight
    return inflated


def inflate_table(table: Tensor, window: Grid, bias: Bias = "duplicate") -> Tensor:
    """((2M-1)(2M-1), heads) of a square 2D window -> ((2P-1)(2M'-1)(2M'-1), heads) of ``window`` (P, M', M')."""
    fits = table_windows(table.shape[0], dims=2)
    if not fits:
        raise ConfigError(f"No square window has a bias table of {table.shape[0]} rows; give one of (2M-1)**2.")
    flat = resample_table(table.float(), fits[0], (1, *window[1:]))
    frames = 2 * window[0] - 1
    if bias == "duplicate":
        return flat.repeat(frames, 1)  # offsets in time run slowest
    inflated = flat.new_full((frames, *flat.shape), _OTHER_FRAMES)
    inflated[window[0] - 1] = flat
    return inflated.flatten(0, 1)


def _with_smaller_tables(checkpoint: Checkpoint) -> Checkpoint:
    """Image models for small pictures have smaller windows, thus tables, in their last stages: no fault of the file."""
    tables = {name: tensor for name, tensor in _tables(checkpoint.tensors).items() if tensor.ndim == 2}
    fits = {name: table_windows(tensor.shape[0], dims=2) for name, tensor in tables.items()}
    heads = {name: checkpoint.config.num_heads[int(name.split(".")[2])] for name in tables}
    smaller = [
        checkpoint.family.theirs(name)
        for name, windows in fits.items()
        if windows and windows[0] != checkpoint.config.window_size and tables[name].shape[1] == heads[name]
    ]
    wrong = tuple(text for text in checkpoint.report.wrong_shape if text.partition(" is ")[0] not in smaller)
    return replace(checkpoint, report=replace(checkpoint.report, wrong_shape=wrong))


def _tables(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.endswith("relative_position_bias_table")}


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f'{name}="{value}" is unknown. {nearest(str(value), choices)}')
