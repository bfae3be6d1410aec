"""What all streams have in common: the protocol, and the checks at its door."""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

from videoswin.errors import ConfigError
from videoswin.kernels.ordinary import attached
from videoswin.model.video_swin import VideoSwin

__all__ = ["VideoStream", "check_push", "checked_rows", "passed_over"]


class VideoStream(Protocol):
    """What takes frames as they come and answers: :class:`~videoswin.Stream` with causal models, and
    :class:`~videoswin.SlidingStream` with any."""

    @property
    def frames_per_step(self) -> int:
        """Sampled frames of a step; a push brings a multiple of it."""
        ...

    def push(self, clip: Tensor) -> Tensor | None:
        """The next frames, normalised, (B, 3, T, H, W) -> logits (B, num_classes); None: too few frames so far."""
        ...

    def reset(self, rows: Iterable[int] | None = None) -> None:
        """Forget all frames, or those of some rows of the batch."""
        ...


def check_push(model: VideoSwin, clip: Tensor, step: int, rows: int, pixels: tuple[int, int]) -> None:
    """A :class:`ConfigError` if a stream of ``rows`` rows of ``pixels`` (0 rows: not begun) cannot take ``clip``."""
    weight = model.backbone.norm.weight
    if clip.ndim != 5 or not clip.shape[0]:
        raise ConfigError(f"A push is (B, 3, T, H, W) with one row or more; got shape {tuple(clip.shape)}.")
    batch, _, frames, height, width = clip.shape
    if frames % step or not frames:
        raise ConfigError(f"A push takes a multiple of {step} frames; got {frames}. Keep the rest for the next one.")
    depth = max(frames, model.config.patch_size[0])  # a push may be shorter than a patch; the clips it makes are not
    model.backbone.checked(torch.empty((*clip.shape[:2], depth, height, width), dtype=clip.dtype, device="meta"))
    if (clip.dtype, clip.device) != (weight.dtype, weight.device):
        raise ConfigError(
            f"The clip is {clip.dtype} on {clip.device}, the model {weight.dtype} on {weight.device}; move one of them."
        )
    if rows and (batch, height, width) != (rows, *pixels):
        raise ConfigError(
            f"The stream has {rows} rows of {pixels[0]}x{pixels[1]} pixels; got {batch} of {height}x{width}. "
            "Call reset() before another size, or use a second stream."
        )


def checked_rows(rows: Iterable[int], count: int) -> list[int]:
    """The rows as a list, or a :class:`ConfigError` if there is no such row."""
    rows = list(rows)
    for row in rows:
        if not 0 <= row < count:
            raise ConfigError(f"Row {row} cannot be reset; the stream has {count} rows, counted from 0.")
    return rows


def passed_over(modules: Iterable[tuple[str, nn.Module, type[nn.Module]]]) -> str:
    """The name of the first module that is not called as a stream runs, though more than its class's ``forward`` would
    happen if it were: it has hooks, is wrapped, or computes something else. Empty: there is none.

    Args:
        modules: names, modules, and the class each is taken for.
    """
    for name, module, kind in modules:
        if getattr(type(module), "forward", None) is not kind.forward or attached(module):
            return name
    return ""
