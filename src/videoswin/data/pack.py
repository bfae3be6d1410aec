"""Clips encoded anew, once, so that training reads them fast: small, with key frames close together, and checked.

A 1080-line recording is decoded in full for every clip that is drawn from it, from a key frame that may be ten seconds away. What
a model sees of it has 256 lines. So each file is decoded once, resized, and encoded with a key frame every few frames and none that
are shown in another order; then it is read back and compared.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import torch
from av.error import FFmpegError
from av.video.stream import VideoStream
from torch import Tensor

from videoswin.data.clips import Clip
from videoswin.data.containers import Limits
from videoswin.data.decode import Video
from videoswin.data.frame_folder import FrameFolder
from videoswin.data.part import Part, open_clip
from videoswin.data.transforms import Resize
from videoswin.errors import ConfigError, VideoError
from videoswin.storage.atomic import replace_file

__all__ = ["PackSettings", "Packed", "pack_video"]

_TICKS = 90_000
_AT_ONCE = 32  # frames in memory
_COMPARED = 8  # frames of each video, spread over it
_HIGHEST = 100.0  # dB: no difference at all
_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class PackSettings:
    """How videos are encoded."""

    short_side: int = 256
    """Pixels; smaller videos keep their size. 256 is what training crops 224 from."""
    key_every: int = 8
    """Frames from one key frame to the next: what has to be decoded at most to reach a frame."""
    quality: int = 18
    """x264's CRF: 0 loses nothing, 18 is hard to see, 23 usual."""
    least_psnr: float = 32.0
    """dB of the luma, of every frame that is compared; a video below it is encoded again, better, and is an error if that does not help."""

    def __post_init__(self) -> None:
        if not 16 <= self.short_side <= 4096:
            raise ConfigError(f"short_side={self.short_side} must be from 16 to 4096 pixels; 256 is usual.")
        if not 1 <= self.key_every <= 1000:
            raise ConfigError(f"key_every={self.key_every} must be from 1 to 1000 frames.")
        if not 0 <= self.quality <= 51:
            raise ConfigError(f"quality={self.quality} must be from 0 (nothing lost) to 51; 18 is hard to see.")


@dataclass(frozen=True)
class Packed:
    """One video, packed. ``psnr``: dB of the luma, of the worst frame that was compared. ``before``, ``after``: bytes."""

    frames: int
    width: int
    height: int
    psnr: float
    before: int
    after: int


def pack_video(source: Path, target: Path, settings: PackSettings, limits: Limits = _DEFAULT_LIMITS) -> Packed:
    """Encodes a video, or a folder of frames, into the mp4 ``target``, which is there afterwards whole or not at all.

    Raises:
        VideoError: it cannot be decoded, or what was encoded does not have the same frames at the same times, or has less than
            ``least_psnr`` at the best quality too.
        OutputError: it cannot be written there.
    """
    with open_clip(Clip(source, ""), limits=limits) as video, replace_file(target) as new:
        quality = settings.quality
        while True:
            size = _encode(video, new, settings, quality)
            psnr = _compare(video, new, size)
            if psnr >= settings.least_psnr or quality == 0:
                break
            quality = max(0, quality - 6)
        if psnr < settings.least_psnr:
            reason = f"the worst frame has {psnr:.1f} dB PSNR after encoding as well as can be, and {settings.least_psnr:g} are wanted"
            raise VideoError(source, reason, "Train on it as it is, or leave it out (--skip-bad)")
        after = new.stat().st_size
    files = [file for file in source.iterdir() if file.is_file()] if source.is_dir() else [source]
    return Packed(len(video), size[1], size[0], psnr, sum(file.stat().st_size for file in files), after)


def _resize(video: Video | Part | FrameFolder, settings: PackSettings) -> Resize:
    """Even sizes, which the encoder wants; never larger than the video."""
    height, width = video.info.height, video.info.width
    scale = min(1.0, settings.short_side / min(height, width))
    even = tuple(max(2, 2 * round(side * scale / 2)) for side in (height, width))
    return Resize(None, (even[0], even[1]))


def _frames(video: Video | Part | FrameFolder, resize: Resize) -> Iterator[Tensor]:
    for start in range(0, len(video), _AT_ONCE):
        yield from video.get_frames(range(start, min(start + _AT_ONCE, len(video))), each=resize).data


def _encode(video: Video | Part | FrameFolder, new: Path, settings: PackSettings, quality: int) -> tuple[int, int]:
    """Gives (height, width)."""
    resize = _resize(video, settings)
    height, width = resize.size
    rate = Fraction(video.info.fps).limit_denominator(1001) if video.info.fps > 0 else Fraction(25)
    try:
        with av.open(str(new), "w", format="mp4") as container:
            container.metadata["comment"] = "videoswin"
            stream = cast(VideoStream, container.add_stream("libx264", rate=rate))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = Fraction(1, _TICKS)
            stream.codec_context.gop_size = settings.key_every
            stream.options = {
                "crf": str(quality),
                "preset": "veryfast",
                "bf": "0",
                "sc_threshold": "0",
                "g": str(settings.key_every),
            }
            for number, frame in enumerate(_frames(video, resize)):
                picture: Any = av.VideoFrame.from_ndarray(frame.numpy(), format="rgb24")
                picture.pts = round(float(video.times[number]) * _TICKS)
                picture.time_base = Fraction(1, _TICKS)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    except FFmpegError as error:
        raise VideoError(
            video.info.path, f"it cannot be encoded anew ({error})", "Leave it out, or convert it"
        ) from error
    return height, width


def _compare(video: Video | Part | FrameFolder, new: Path, size: tuple[int, int]) -> float:
    """The worst PSNR of some frames, in dB, of the luma, as is usual. Raises :class:`VideoError` for other frames or times."""
    with open_clip(Clip(new, "")) as packed:
        if len(packed) != len(video):
            reason = f"it has {len(video)} frames, and {len(packed)} after encoding"
            raise VideoError(video.info.path, reason, "Leave it out, or convert it by hand")
        apart = float((packed.times - video.times).abs().max())
        if apart > 2e-3:
            reason = f"after encoding, a frame is shown {apart:.3f} s off"
            raise VideoError(video.info.path, reason, "Leave it out, or convert it by hand")
        picked = torch.linspace(0, len(video) - 1, min(_COMPARED, len(video))).round().long()
        luma = torch.tensor((0.299, 0.587, 0.114))
        one = video.get_frames(picked, each=Resize(None, size)).data.float() @ luma
        two = packed.get_frames(picked).data.float() @ luma
    errors = (one - two).square().mean(dim=(1, 2))
    return min(_HIGHEST, *(10 * math.log10(255**2 / error) if error > 0 else _HIGHEST for error in errors.tolist()))
