"""Moving thumbnails for web pages: frames side by side in one picture, which a page shows one after the other.

A style sheet moves the picture, so that no script is needed, two films that are shown together stay in step, and whoever asks
the system for less motion sees them stand still.
"""

import base64
import io
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from videoswin.data.clips import Clip
from videoswin.data.containers import Limits
from videoswin.data.part import open_clip
from videoswin.data.preprocessing import Preprocessing
from videoswin.data.transforms import Resize, center_crop
from videoswin.errors import VideoError

__all__ = ["Film", "both_films", "film_between", "film_of", "seen_by"]

_FRAMES = 14
_BOX = (110, 150)  # height, width in pixels
_QUALITY = 55
_DEFAULT = Limits()


@dataclass(frozen=True)
class Film:
    """``uri``: the picture, of ``frames`` frames of ``width`` x ``height`` pixels beside each other; ``seconds``: what they span."""

    uri: str
    frames: int
    width: int
    height: int
    seconds: float


def film_of(frames: Tensor, seconds: float) -> Film:
    """From frames, uint8 (T, H, W, 3)."""
    count, height, width, _ = frames.shape
    strip = frames.permute(1, 0, 2, 3).reshape(height, count * width, 3)
    file = io.BytesIO()
    Image.fromarray(strip.contiguous().numpy()).save(file, "WEBP", quality=_QUALITY, method=4)
    encoded = base64.b64encode(file.getvalue()).decode("ascii")
    return Film(f"data:image/webp;base64,{encoded}", count, width, height, max(seconds, 0.1))


def film_between(
    clip: Clip, start: float = 0.0, end: float | None = None, mirrored: bool = False, limits: Limits = _DEFAULT
) -> Film:
    """Some frames of a clip from ``start`` to ``end`` seconds, whole and small.

    Raises:
        VideoError: it cannot be decoded.
    """
    with open_clip(clip, limits=limits) as video:
        last = float(video.times[-1])
        stop = last if end is None else min(end, last)
        instants = torch.linspace(min(start, last), stop, _FRAMES, dtype=video.times.dtype)
        wanted = (torch.searchsorted(video.times, instants + 1e-6, right=True) - 1).clamp(min=0)
        height, width = video.info.height, video.info.width
        scale = min(_BOX[0] / height, _BOX[1] / width, 1.0)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        frames = video.get_frames(wanted, each=Resize(None, size)).data
        return film_of(frames.flip(2) if mirrored else frames, stop - start)


def seen_by(clip: Clip, preprocessing: Preprocessing, limits: Limits = _DEFAULT) -> Film:
    """What a model sees of a clip: the frames that are sampled, resized and cropped as for it.

    Raises:
        VideoError: it cannot be decoded.
    """
    with open_clip(clip, limits=limits) as video:
        chosen = preprocessing.indices(video.times)[0]
        frames = video.get_frames(chosen, each=preprocessing.view_resize).data
        seconds = float(video.times[chosen].max() - video.times[chosen].min())
    frames = center_crop(frames, preprocessing.size)
    if frames.shape[1] > _BOX[0]:
        frames = Resize(None, (_BOX[0], round(_BOX[0] * frames.shape[2] / frames.shape[1])))(frames)
    return film_of(frames, seconds)


def both_films(clip: Clip, preprocessing: Preprocessing, limits: Limits = _DEFAULT) -> tuple[Film, Film] | None:
    """The clip, and what a model sees of it; None if it can no longer be read."""
    try:
        return film_between(clip, limits=limits), seen_by(clip, preprocessing, limits)
    except VideoError:
        return None
