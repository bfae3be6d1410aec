"""Features along a long video: one pass, a row every ``stride`` sampled frames, memory that does not grow with the length.

Frames are sampled by their presentation times, ``fps`` a second, as :mod:`videoswin.live` does; so a row stands for the same
seconds whatever the file's frame rate does. A model that looks ahead sees a clip for each row: row i is of the samples from
``i * stride`` on. A causal model is fed as the video comes, and each time step is computed once: row i is the mean over the
steps of the samples ``i * stride`` to ``(i + 1) * stride``, each of which knows all that came before it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from videoswin.classifier.classifier import Classifier
from videoswin.data.clips import Clip
from videoswin.data.decode import Limits, Video, open_video
from videoswin.data.part import Part
from videoswin.data.preprocessing import check_shape
from videoswin.data.transforms import center_crop
from videoswin.errors import ConfigError
from videoswin.features.look import Pool, evaluating, look, pooled, require_finite_features
from videoswin.live.sampler import Sampler, stream_fps
from videoswin.predict.batches import views_at_once
from videoswin.streams.causal import Stream

__all__ = ["DenseFacts", "DenseSettings", "dense_features"]

_FRAMES_A_PUSH = 32
_FOREVER_S = 1e12  # a gap in the stamps must not move the grid: rows are found by their number
_LIMITS = Limits()

Take = Callable[[dict[int, Tensor]], object]
"""Gets each stage's new rows: (R, C), (R, T', C) or (R, C, T', H', W'), R one or more."""


@dataclass(frozen=True)
class DenseSettings:
    """What is computed along a video.

    Raises:
        ConfigError: ``stride`` is below 1.
    """

    stride: int
    """Sampled frames from one row to the next."""
    stages: tuple[int, ...]
    """Counted from 1."""
    pool: Pool = "mean"
    clip_seconds: float | None = None
    """What one clip spans; None: as the checkpoint says."""

    def __post_init__(self) -> None:
        if not isinstance(self.stride, int) or isinstance(self.stride, bool) or self.stride < 1:
            raise ConfigError(f"stride={self.stride!r} must be a whole number of sampled frames, 1 or more.")


@dataclass(frozen=True)
class DenseFacts:
    """What a row of features means: row i is about the seconds from ``i * stride / fps`` to ``(i * stride + span) / fps``."""

    rows: int
    fps: float
    """Sampled frames a second."""
    stride: int
    """Sampled frames from row to row."""
    span: int
    """Sampled frames that a row is about: the clip, or the stride of a causal model."""
    samples: int
    """Sampled frames of the video. Those behind the last whole stride or clip are in no row of their own."""
    repeated: int
    """Frames that were repeated because the video is shorter than one row's span."""
    duration_s: float


def dense_features(
    classifier: Classifier, row: Clip, settings: DenseSettings, take: Take, limits: Limits = _LIMITS
) -> DenseFacts:
    """Feed ``take`` with the rows of a video, or of the part that ``row`` names, in order.

    Raises:
        VideoError: the video cannot be decoded.
        ConfigError: the settings do not fit the checkpoint.
    """
    with open_video(row.path, limits=limits) as video:
        check_shape(video, classifier.preprocessing.view_resize)
        whole = Part(video, row.start, row.end) if row.is_part else video
        fps = stream_fps(classifier.preprocessing, whole.info.fps, settings.clip_seconds)
        samples = _samples(classifier, video, row, fps)
        causal = bool(getattr(classifier.model.config, "causal", False))
        passing = _causal_pass if causal else _clip_pass
        rows, count, repeated, span = passing(classifier, samples, settings, take)
        return DenseFacts(rows, fps, settings.stride, span, count, repeated, whole.info.duration_s)


def _samples(classifier: Classifier, video: Video, row: Clip, fps: float) -> Iterator[Tensor]:
    """uint8 (H, W, 3), resized and cropped, ``1 / fps`` seconds apart from the first frame on."""
    resize, size = classifier.preprocessing.view_resize, classifier.preprocessing.size
    inside = video.times >= row.start
    if row.end is not None:
        inside &= video.times < row.end
    numbers = inside.nonzero().reshape(-1)
    sampler: Sampler[Tensor] = Sampler(fps, max_gap_s=_FOREVER_S)
    last: tuple[Tensor, Tensor] | None = None
    for time_s, frame in islice(video.frames_from(int(numbers[0])), len(numbers)):
        for chosen in sampler.feed(time_s, frame):
            if last is None or last[0] is not chosen:  # a slow source repeats frames
                last = chosen, center_crop(resize(chosen)[None], size)[0].contiguous()
            yield last[1]


def _clip_pass(
    classifier: Classifier, samples: Iterator[Tensor], settings: DenseSettings, take: Take
) -> tuple[int, int, int, int]:
    """(rows, samples, repeated frames, span) of a model that looks at whole clips."""
    preprocessing, length = classifier.preprocessing, classifier.preprocessing.clip_len
    at_once = views_at_once((3, length, *preprocessing.size), classifier.device)
    kept: list[Tensor] = []  # the samples from `start` on
    waiting: list[Tensor] = []
    rows = count = start = repeated = 0

    def flush() -> None:
        if waiting:
            maps = look(classifier, torch.stack(waiting), settings.stages)
            take({stage: pooled(one, settings.pool) for stage, one in maps.items()})
            waiting.clear()

    for frame in samples:
        count += 1
        if count > start:  # a stride beyond the clip passes some over
            kept.append(frame)
        if len(kept) == length:
            waiting.append(preprocessing.to_clip(torch.stack(kept)))
            rows, start = rows + 1, start + settings.stride
            kept = kept[settings.stride :]
        if len(waiting) == at_once:
            flush()
    if not rows and kept:
        repeated = length - len(kept)
        waiting.append(preprocessing.to_clip(torch.stack(kept + kept[-1:] * repeated)))
        rows = 1
    flush()
    return rows, count, repeated, length


def _causal_pass(
    classifier: Classifier, samples: Iterator[Tensor], settings: DenseSettings, take: Take
) -> tuple[int, int, int, int]:
    """The same of a causal model: every time step once."""
    model, stride = classifier.model, settings.stride
    depth = model.config.patch_size[0]
    if stride % depth:
        raise ConfigError(f"stride={stride}: this causal model takes {depth} frames a step; use a multiple of {depth}.")
    steps, push = stride // depth, stride * max(1, _FRAMES_A_PUSH // stride)
    weight = next(p for p in model.parameters() if p.ndim > 3)
    maps: dict[int, Tensor] = {}
    rows = count = repeated = 0

    def feed(frames: Sequence[Tensor]) -> int:
        clip = classifier.preprocessing.to_clip(torch.stack(list(frames)))[None]
        stream.push(clip.to(weight.device, weight.dtype))
        take({stage: _rows_of(maps[stage], steps, settings.pool, classifier.name) for stage in settings.stages})
        return len(frames) // stride

    with ExitStack() as hooks, evaluating(model):
        stream = Stream(model, pool="all")
        for handle in _tapped(model, maps):
            hooks.callback(handle.remove)
        kept: list[Tensor] = []
        for frame in samples:
            count += 1
            kept.append(frame)
            if len(kept) == push:
                rows += feed(kept)
                kept = []
        whole = len(kept) // stride * stride
        if whole:
            rows += feed(kept[:whole])
        if not rows and kept:
            repeated = stride - len(kept)
            rows += feed(kept + kept[-1:] * repeated)
    return rows, count, repeated, stride


def _tapped(model: Any, maps: dict[int, Tensor]) -> Iterator[Any]:
    """Hooks that put each stage's map (B, K, H', W', C) of the steps that a stream computes into ``maps``."""
    backbone = model.backbone
    *early, _ = backbone.stages
    for number, stage in enumerate(early, 1):

        def before(module: nn.Module, inputs: tuple[Tensor, ...], number: int = number) -> None:
            maps[number] = inputs[0]

        yield stage.downsample.register_forward_pre_hook(before)

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        maps[len(backbone.stages)] = output

    yield backbone.norm.register_forward_hook(after)


def _rows_of(one: Tensor, steps: int, pool: Pool, name: str) -> Tensor:
    """(1, R * steps, H', W', C) -> the pooled maps of R rows."""
    rows = one[0].unflatten(0, (-1, steps)).permute(0, 4, 1, 2, 3)  # (R, C, steps, H', W')
    return pooled(require_finite_features(rows.float(), name), pool)
