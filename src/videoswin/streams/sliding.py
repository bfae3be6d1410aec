"""Any model over live video: a clip of the latest frames at every step, and no frame worked on twice where that is exact.

A model that looks ahead gives an answer for one clip, so a new answer takes a new pass. Two parts of it are the same in
the next clip: the patch embedding of a pair of frames, as long as the clip moves by whole pairs; and the first block,
whose boxes are not shifted, as long as it moves by whole temporal windows. Deeper blocks mix the boxes, and what they
gave belongs to one clip alone. (A causal model saves far more, see :mod:`videoswin.streams.causal`.)
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from videoswin.errors import ConfigError
from videoswin.model.backbone import Stage, SwinBackbone
from videoswin.model.video_swin import VideoSwin
from videoswin.streams.base import check_push, checked_rows, passed_over

__all__ = ["Reuse", "SlidingStream"]

Reuse = Literal["nothing", "patches", "first block"]


class SlidingStream:
    """A clip of the latest ``clip_len`` frames, classified every ``hop`` frames, for ``B`` streams at once.

    ``hop`` decides what is reused (``reuses``): "patches" if it and ``clip_len`` are multiples of ``patch_size[0]`` (2
    frames), the "first block" as well if it is a multiple of a whole temporal window (16 frames) of a longer clip, else
    "nothing"; nothing as well where the model, its backbone or a stage carries hooks or is wrapped, since only whole calls do
    those justice. The answers are those of ``model(clip)`` in every case.

    Args:
        model: any model, in evaluation mode.
        clip_len: frames of a clip, as the model was trained (``classifier.preprocessing.clip_len``).
        hop: frames from one answer to the next, at most ``clip_len``.

    Raises:
        ConfigError: ``clip_len`` or ``hop`` is out of range, or the model is in training mode.

    >>> stream = SlidingStream(model, clip_len=32, hop=4)  # doctest: +SKIP
    >>> stream.push(four_frames)  # (B, 3, 4, H, W) -> None, until 32 frames are there  # doctest: +SKIP
    """

    def __init__(self, model: VideoSwin, clip_len: int, hop: int) -> None:
        for name, value, least in (("clip_len", clip_len, model.config.patch_size[0]), ("hop", hop, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= clip_len:
                raise ConfigError(
                    f"{name}={value!r} must be a whole number of frames, {least} or more, and hop no more than clip_len."
                )
        _require_evaluation(model)
        self.model = model
        self.clip_len = clip_len
        self.hop = hop
        self.reuses = _reuse(model, clip_len, hop)
        self._seen: list[int] = []
        self._pixels = (0, 0)
        self._inputs = self._boxes = torch.empty(0)

    @property
    def frames_per_step(self) -> int:
        """Sampled frames of a step: ``hop``."""
        return self.hop

    @property
    def ready(self) -> tuple[bool, ...]:
        """For each row, whether it has seen a whole clip."""
        return tuple(seen >= self.clip_len for seen in self._seen)

    @torch.inference_mode()
    def push(self, clip: Tensor) -> Tensor | None:
        """The next frames, (B, 3, T, H, W) normalised, T a multiple of ``hop`` -> logits (B, num_classes) of the latest
        ``clip_len`` frames, or None while no row has so many. Rows that were reset and are not ``ready`` yet hold NaN.

        Raises:
            ConfigError: T is no multiple; sizes, device or number type are others than before or than the model's; the model
                is in training mode, or something was attached to it.
        """
        check_push(self.model, clip, self.hop, len(self._seen), self._pixels)
        _require_evaluation(self.model)
        if self.reuses != "nothing" and (name := passed_over(_run_in_parts(self.model))):
            raise ConfigError(
                f'"{name}" carries hooks or is wrapped, which it was not when this stream was made. Make a new SlidingStream.'
            )
        # A longer push than a clip: the clip is all that counts.
        new = clip[:, :, -(-(-self.clip_len // self.hop) * self.hop) :]
        latest = self._latest_inputs(new)
        if self.reuses == "first block":
            latest = self._after_first_block(latest, new.shape[2])
        begun = self._seen or [0] * clip.shape[0]
        self._seen, self._pixels = [seen + clip.shape[2] for seen in begun], (clip.shape[3], clip.shape[4])
        return self._answer(latest)

    def reset(self, rows: Iterable[int] | None = None) -> None:
        """Start anew: all streams, after which another batch or frame size may come, or only some rows of the batch.

        Raises:
            ConfigError: there is no such row.
        """
        if rows is None:
            self._seen = []
            return
        for row in checked_rows(rows, len(self._seen)):
            self._seen[row] = 0

    def state_dict(self) -> dict[str, Tensor]:
        """All that the next answers depend on, for a stream of the same model, ``clip_len`` and ``hop``."""
        if not self._seen:
            return {}
        numbers = torch.tensor([*self._pixels, *self._seen])
        return {"numbers": numbers, "inputs": self._inputs.clone(), "boxes": self._boxes.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from :meth:`state_dict`."""
        self.reset()
        if state:
            height, width, *self._seen = state["numbers"].tolist()
            self._pixels = (height, width)
            self._inputs, self._boxes = state["inputs"].clone(), state["boxes"].clone()

    def _latest_inputs(self, clip: Tensor) -> Tensor:
        """What the model works on, time along axis 1: patches (B, T', H', W', C), or frames (B, T, 3, H, W) where not even
        patches can be reused. Before anything came they are zeros."""
        patches = self.reuses != "nothing"
        new = self.model.backbone.patch_embed(clip) if patches else clip.transpose(1, 2)
        size = self.clip_len // self.model.config.patch_size[0] if patches else self.clip_len
        if not self._seen:
            self._inputs = new.new_zeros((new.shape[0], size, *new.shape[2:]))
        self._inputs = torch.cat([self._inputs, new], dim=1)[:, -size:]
        return self._inputs

    def _after_first_block(self, patches: Tensor, frames: int) -> Tensor:
        """(B, T', H', W', C) -> the same after block 0, which runs on the boxes that are new, and on a last short one."""
        depth, window = self.model.config.patch_size[0], self.model.config.window_size[0]
        full = patches.shape[1] // window * window  # steps in whole boxes
        kept = max(0, full - frames // depth)
        new = self.model.backbone.stages[0](patches[:, kept:], stop=1)
        if kept:
            old = self._boxes if self._seen else new.new_zeros((new.shape[0], full, *new.shape[2:]))
            new = torch.cat([old[:, full - kept :], new], dim=1)
        self._boxes = new[:, :full]
        return new

    def _answer(self, latest: Tensor) -> Tensor | None:
        """Logits of the rows that are ready."""
        rows = [row for row, ready in enumerate(self.ready) if ready]
        if not rows:
            return None
        if len(rows) == len(self._seen):
            return self._classify(latest)
        some = self._classify(latest[rows])
        answer = some.new_full((len(self._seen), some.shape[1]), float("nan"))
        answer[rows] = some
        return answer

    def _classify(self, x: Tensor) -> Tensor:
        model = self.model
        if self.reuses == "nothing":
            return model(x.transpose(1, 2))
        first = 1 if self.reuses == "first block" else 0
        for stage in model.backbone.stages:
            x = stage.downsample(stage(x, first))
            first = 0
        return model.classify(model.backbone.norm(x).permute(0, 4, 1, 2, 3))


def _require_evaluation(model: VideoSwin) -> None:
    if model.training:
        raise ConfigError("The model is in training mode, its answers are random; call model.eval() first.")


def _run_in_parts(model: VideoSwin) -> Iterator[tuple[str, nn.Module, type[nn.Module]]]:
    yield "model", model, VideoSwin
    yield "backbone", model.backbone, SwinBackbone
    for i, stage in enumerate(model.backbone.stages):
        yield f"backbone.layers.{i}", stage, Stage


def _reuse(model: VideoSwin, clip_len: int, hop: int) -> Reuse:
    depth, window = model.config.patch_size[0], model.config.window_size[0]
    if clip_len % depth or hop % depth or hop == clip_len or passed_over(_run_in_parts(model)):
        return "nothing"
    # A clip of one window is clipped to it, and the next one would have to be the same clip.
    return "first block" if hop % (depth * window) == 0 and clip_len > depth * window else "patches"
