"""From an open video to what the model takes: one description for training, evaluation and every saved
classifier.

:class:`Preprocessing` says how frames are chosen, resized, cropped and normalised; it is saved beside the
weights. :class:`Views` says how many clips and crops of a video are averaged. ``Preprocessing().views(video,
Views(4, 3))`` is the test pipeline of the public Kinetics-400 code: 32 frames, every second one, short side
224, 4 clips x 3 crops.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from videoswin.data import sampling
from videoswin.data.draws import uniform
from videoswin.data.transforms import Resize, center_crop, three_crops, to_clip, wide_crop
from videoswin.errors import ConfigError, VideoError, nearest

__all__ = ["Preprocessing", "VideoLike", "ViewBatch", "Views"]

_SAMPLINGS = ("interval", "uniform", "time")
_MAX_SIDE = 4096  # pixels
_MAX_CLIP_LEN = 4096  # frames
_MAX_CLIPS = 1000
_MIN_STD, _MAX_COLOUR = 1e-3, 10_000  # on the scale 0 to 255
_WIDE = "wide"
_CROPS = (1, 3, _WIDE)


class _Info(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


class _Frames(Protocol):
    @property
    def data(self) -> Tensor: ...


class VideoLike(Protocol):
    """What is needed of a :class:`videoswin.data.decode.Video`."""

    @property
    def info(self) -> _Info: ...
    @property
    def times(self) -> Tensor: ...
    def get_frames(self, indices: Tensor, each: Callable[[Tensor], Tensor] | None = None) -> _Frames: ...


@dataclass(frozen=True)
class Views:
    """How many views of a video are averaged: ``num_clips`` in time, times ``num_crops`` in space.

    ``num_crops``: 1 is the centre; 3 are left, right and middle, which overlap; "wide" is one crop that shows what the
    three show, so that the model looks at it once. A wide clip has the height of a crop and is longer, or the other way
    round for tall videos.
    """

    num_clips: int = 1
    num_crops: int | str = 1

    def __post_init__(self) -> None:
        _require_whole("Views.num_clips", self.num_clips, 1, _MAX_CLIPS)
        if self.num_crops not in _CROPS or isinstance(self.num_crops, bool):
            raise ConfigError(
                f'Views.num_crops is {self.num_crops!r}. Use 1 (centre), 3 (left, right, middle) or "wide" (one for all).'
            )

    @classmethod
    def parse(cls, text: str) -> "Views":
        """``"4x3"`` is 4 clips x 3 crops, ``"4xwide"`` 4 clips x 1 wide crop. ConfigError for anything else."""
        clips, _, crops = text.strip().lower().partition("x")
        if not (_is_count(clips) and (_is_count(crops) or crops == _WIDE)):
            raise ConfigError(f'Views "{text}" are not understood. Write clips x crops, such as 1x1, 4x3 or 4xwide.')
        return cls(int(clips), _WIDE if crops == _WIDE else int(crops))

    @classmethod
    def of(cls, views: "Views | str") -> "Views":
        """Views as they are, text parsed."""
        return views if isinstance(views, Views) else cls.parse(views)

    def __str__(self) -> str:
        return f"{self.num_clips}x{self.num_crops}"

    def __len__(self) -> int:
        return self.num_clips * self.per_clip

    @property
    def per_clip(self) -> int:
        """Views that are cut of each clip."""
        return 1 if self.num_crops == _WIDE else int(self.num_crops)


@dataclass(frozen=True)
class ViewBatch:
    """All views of one video: all crops of clip 0, then of clip 1, and so on; V views of T frames.

    ``clips``: float32 ``(V, 3, T, H, W)``, normalised, of the preprocessing's size, or longer if the crop is wide; ``times``: float64 ``(V, T)``, when each frame is
    shown, in seconds; ``spans``: float64 ``(V, 2)``, earliest and latest of them; ``repeated``: int64
    ``(V,)``, frames of the view that are copies of another one because the video is shorter than the clip (0:
    none).
    """

    clips: Tensor
    times: Tensor
    spans: Tensor
    repeated: Tensor

    def __len__(self) -> int:
        return len(self.clips)


@dataclass(frozen=True)
class Preprocessing:
    """How a video becomes clips. The defaults are those of the public Kinetics-400 models.

    ``clip_len``: frames of a clip. ``sampling``: how they are chosen (:mod:`videoswin.data.sampling`):
    ``"interval"``, every ``frame_interval``-th frame; ``"uniform"``, spread over the whole video; ``"time"``,
    ``fps`` frames per second. ``size``: height and width in pixels of what the model sees. ``short_side``:
    pixels of the shorter side before the crop; None stretches the whole frame to ``size``, so that nothing is
    cut off. ``antialias``: smooth before shrinking (the public code does not, see
    :mod:`videoswin.data.transforms`). ``mean``, ``std``: per channel, RGB, on the scale 0 to 255.

    Raises :class:`~videoswin.errors.ConfigError` for any value that cannot work.
    """

    clip_len: int = 32
    sampling: str = "interval"
    frame_interval: int = 2
    fps: float | None = None
    size: tuple[int, int] = (224, 224)
    short_side: int | None = 224
    antialias: bool = True
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    std: tuple[float, ...] = (58.395, 57.12, 57.375)

    def __post_init__(self) -> None:
        for name in ("size", "mean", "std"):  # lists come from JSON
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_time()
        self._check_space()
        self._check_colour()

    def _check_time(self) -> None:
        _require_whole("Preprocessing.clip_len", self.clip_len, 1, _MAX_CLIP_LEN)
        _require_whole("Preprocessing.frame_interval", self.frame_interval, 1, 10_000)
        if self.sampling not in _SAMPLINGS:
            raise ConfigError(f'Preprocessing.sampling is "{self.sampling}". {nearest(str(self.sampling), _SAMPLINGS)}')
        if self.sampling == "time":
            if not _is_number(self.fps) or not 0 < self.fps <= 10_000:  # type: ignore[operator]
                raise ConfigError(
                    f'Preprocessing.fps is {self.fps!r}, sampling="time" needs a rate. Set fps=15, for example.'
                )
        elif self.fps is not None:
            raise ConfigError(
                f'Preprocessing.fps is {self.fps!r}, but sampling="{self.sampling}". Set sampling="time", or no fps.'
            )

    def _check_space(self) -> None:
        if not isinstance(self.size, tuple) or len(self.size) != 2:
            raise ConfigError(
                f"Preprocessing.size is {self.size!r}. Give height and width in pixels, such as (224, 224)."
            )
        for side in self.size:
            _require_whole("Preprocessing.size", side, 1, _MAX_SIDE)
        if not isinstance(self.antialias, bool):
            raise ConfigError(f"Preprocessing.antialias is {self.antialias!r}. Use true or false.")
        if self.short_side is None:
            return
        _require_whole("Preprocessing.short_side", self.short_side, 1, _MAX_SIDE)
        if self.short_side < max(self.size):
            raise ConfigError(
                f"Preprocessing.short_side is {self.short_side}, a crop of {self.size[0]}x{self.size[1]} may not fit. "
                f"Set short_side to at least {max(self.size)}, or to None to stretch the frame to the size."
            )

    def _check_colour(self) -> None:
        for name, values in {"mean": self.mean, "std": self.std}.items():
            known = isinstance(values, tuple) and len(values) in (1, 3) and len(values) == len(self.mean)
            if not known or not all(_is_number(value) for value in values):
                raise ConfigError(
                    f"Preprocessing.{name} is {values!r}. Give three numbers for R, G, B on the scale 0 to 255, or one for grey."
                )
        # Beyond these the quotient overflows in one precision or another, and the model answers with NaN.
        if not all(_MIN_STD <= value <= _MAX_COLOUR for value in self.std):
            raise ConfigError(f"Preprocessing.std is {self.std!r}. Use numbers from {_MIN_STD} to {_MAX_COLOUR}.")
        if not all(abs(value) <= _MAX_COLOUR for value in self.mean):
            raise ConfigError(f"Preprocessing.mean is {self.mean!r}. Use numbers on the scale 0 to 255.")
        if 0 < max(self.mean) <= 1:
            raise ConfigError(
                f"Preprocessing.mean is {self.mean!r}, which is on the scale 0 to 1. Multiply mean and std by 255."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the way back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """ConfigError for a name that is no setting, and for values that cannot work. Missing ones get their
        default.
        """
        names = [field.name for field in fields(cls)]
        for name in values:
            if name not in names:
                raise ConfigError(f'Preprocessing has no setting "{name}". {nearest(str(name), names)}')
        return cls(**values)

    @property
    def channels(self) -> int:
        """Of a clip: 3 for RGB, 1 for grey."""
        return len(self.mean)

    # Evaluation -------------------------------------------------------------------------------------------------------

    @property
    def view_resize(self) -> Resize:
        """What each frame of a one-crop evaluation goes through while it is decoded."""
        return self.resize_for(num_crops=1)

    def resize_for(self, num_crops: int | str) -> Resize:
        """What each frame goes through while it is decoded. Three crops of a stretched frame need room beside
        them: it becomes 8/7 wider, as in training, and the crops are its left, right and middle part, or all of it.
        """
        height, width = self.size
        if self.short_side is None and num_crops != 1:
            width = _enlarged(width)
        return Resize(self.short_side, (height, width), self.antialias)

    def indices(self, times: Tensor, num_clips: int = 1) -> Tensor:
        """The frames of the clips to evaluate: int64 ``(num_clips, T)``, from the frame times, ``(N,)``
        seconds.
        """
        if self.sampling == "uniform":
            return sampling.uniform_clips(len(times), self.clip_len, num_clips)
        if self.sampling == "time":
            return sampling.time_clips(times, self.clip_len, self.fps or 0.0, num_clips)
        return sampling.interval_clips(len(times), self.clip_len, self.frame_interval, num_clips)

    def views(self, video: VideoLike, views: Views) -> ViewBatch:
        """Decode the frames of all views, each frame once, resize it once, and cut the crops.

        Raises VideoError if the video cannot be decoded or its frames are absurdly narrow.
        """
        resize = self.resize_for(views.num_crops)
        check_shape(video, resize)
        indices = self.indices(video.times, views.num_clips)
        wanted, places = torch.unique(indices, return_inverse=True)
        crops = self._crops(video.get_frames(wanted, each=resize).data, views)
        clips = torch.empty((len(views), self.channels, self.clip_len, *crops[0].shape[1:3]))
        for clip, place in zip(clips.split(views.per_clip), places, strict=True):
            for view, crop in zip(clip, crops, strict=True):
                # index_select copies whole frames; crop[place] would take them apart and need twenty times as long
                to_clip(crop.index_select(0, place), self.mean, self.std, out=view)
        times = video.times[indices].repeat_interleave(views.per_clip, dim=0)
        repeated = torch.tensor([self.clip_len - len(clip.unique()) for clip in indices])
        return ViewBatch(
            clips=clips,
            times=times,
            spans=torch.stack([times.min(dim=1).values, times.max(dim=1).values], dim=1),
            repeated=repeated.repeat_interleave(views.per_clip),
        )

    def _crops(self, frames: Tensor, views: Views) -> list[Tensor]:
        """Views of the resized frames ``(N, h, w, 3)``: what each crop shows of them."""
        if views.num_crops == _WIDE:
            return [wide_crop(frames, self.size)]
        return three_crops(frames, self.size) if views.num_crops == 3 else [center_crop(frames, self.size)]

    def to_clip(self, frames: Tensor) -> Tensor:
        """uint8 ``(T, H, W, 3)`` to normalised float32 ``(channels, T, H, W)``."""
        return to_clip(frames, self.mean, self.std)

    # Training ---------------------------------------------------------------------------------------------------------

    @property
    def working_resize(self) -> Resize:
        """The size at which frames for training are kept: 8/7 of what an evaluation uses, which is the public
        recipe's 256 for 224. A random crop then has room, and a small clip fits in memory."""
        short_side = None if self.short_side is None else _enlarged(self.short_side)
        return Resize(short_side, (_enlarged(self.size[0]), _enlarged(self.size[1])), self.antialias)

    def random_indices(self, times: Tensor, generator: Generator, speed_jitter: float = 0.0) -> Tensor:
        """The frames of one random clip for training: int64 ``(T,)``.

        ``speed_jitter``: the clip plays faster or slower by a factor drawn from ``[1 - j, 1 + j]``. For
        ``"uniform"``, where a clip is the whole video, it covers a random part of the video of ``[1 - j, 1]``
        instead. A clip that fits the video is not played so fast that it would have to loop.
        """
        factor = uniform(generator, 1 - speed_jitter, 1 + speed_jitter) if speed_jitter else 1.0
        count = len(times)
        if self.sampling == "uniform":
            part = max(1, round(count * (1 - abs(1 - factor))))
            start = int(torch.randint(count - part + 1, (), generator=generator))
            return start + sampling.random_uniform_clips(part, self.clip_len, 1, generator)[0]
        if self.sampling == "time":
            fps = self.fps or 0.0
            factor = min(factor, max(1.0, float(times[-1]) * fps / self.clip_len))
            return sampling.random_time_clips(times, self.clip_len, fps / factor, 1, generator)[0]
        # Sample a video of the same length in time but with fewer, or more, frames; then go back to the real ones.
        frames = max(round(count / factor), min(count, self.clip_len * self.frame_interval))
        indices = sampling.random_interval_clips(frames, self.clip_len, self.frame_interval, 1, generator)[0]
        return indices * count // frames


def check_shape(video: VideoLike, resize: Resize) -> None:
    """VideoError if the video's frames are too narrow to be resized."""
    try:
        resize.shape(video.info.height, video.info.width)
    except ConfigError as error:
        raise VideoError(video.info.path, str(error)) from error


def _enlarged(pixels: int) -> int:
    return math.ceil(pixels * 8 / 7)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6


def _require_whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}. Use a whole number from {low} to {high}.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
