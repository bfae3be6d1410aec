"""What a clip looks like to a search for copies: a small grey film at a rate of its own, and a sum of the file's bytes.

A film is ``SIDE`` x ``SIDE`` pixels at ``RATE`` frames a second, whatever the video's own size and rate: an encoder, another
resolution or another frame rate hardly change it. The frame is stretched to the square, so a film says nothing of its shape.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import torch
import torch.nn.functional as F
from torch import Tensor

from videoswin.data.clips import Clip
from videoswin.data.containers import Limits
from videoswin.data.decode import DECODER_THREADS
from videoswin.data.part import open_clip
from videoswin.data.transforms import Resize

__all__ = ["RATE", "SIDE", "Fingerprint", "bytes_sum", "film_of", "fingerprint"]

SIDE = 64
"""Pixels of a film's height and width."""
RATE = 30.0
"""Frames of a film for each second of the clip."""
MAX_FRAMES = 900
"""Of a film; what comes later in a clip is not looked at."""
_GREY = (0.299, 0.587, 0.114)
_DEFAULT = Limits()


@dataclass(frozen=True)
class Fingerprint:
    """``film``: uint8 (T, SIDE, SIDE). ``seconds``, ``fps``, ``width``, ``height``: of the clip. ``sha256``: of the file's bytes
    and, for a part of a file, its start and end."""

    film: Tensor
    seconds: float
    fps: float
    width: int
    height: int
    sha256: str


def fingerprint(
    clip: Clip, limits: Limits = _DEFAULT, threads: int = DECODER_THREADS, stop: Event | None = None
) -> Fingerprint:
    """Decodes a clip.

    Raises:
        VideoError: it cannot be decoded.
    """
    with open_clip(clip, limits=limits, threads=threads, stop=stop) as video:
        wanted, places = torch.unique(_grid(video.times), return_inverse=True)
        small = video.get_frames(wanted, each=Resize(None, (SIDE, SIDE)))
        film = _grey(small.data)[places]
        info = video.info
        return Fingerprint(film, info.duration_s, info.fps, info.width, info.height, bytes_sum(clip))


def film_of(frames: Tensor, times: Tensor) -> Tensor:
    """A film from frames that are in memory already: uint8 (T, H, W, 3) with their times, (T,) seconds."""
    return _grey(Resize(None, (SIDE, SIDE))(frames[_grid(times)]))


def bytes_sum(clip: Clip) -> str:
    """SHA-256 of the file's bytes in hexadecimal, followed by start and end if the clip is a part of it."""
    with Path(clip.path).open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{content}:{clip.start:g}-{'' if clip.end is None else f'{clip.end:g}'}" if clip.is_part else content


def _grid(times: Tensor) -> Tensor:
    """int64 (n,): which frames are shown at instants ``1 / RATE`` seconds apart."""
    times = times - times[0]
    count = min(int(float(times[-1]) * RATE + 1e-6) + 1, MAX_FRAMES)
    instants = torch.arange(count, dtype=times.dtype) / RATE
    return (torch.searchsorted(times, instants + 1e-6, right=True) - 1).clamp(min=0)


def _grey(frames: Tensor) -> Tensor:
    """uint8 (T, H, W, 3) -> uint8 (T, H, W)."""
    return (frames.float() @ torch.tensor(_GREY)).round().to(torch.uint8)


def resampled(films: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Parts of films, float (N, T, h, w) -> (N, T, side, side).

    ``boxes``: (N, 4), x and y of the middle, width and height, as shares of the frame; a negative width mirrors.
    """
    n, t = films.shape[:2]
    grid = F.affine_grid(_affine(boxes), [n, 1, side, side], align_corners=False)
    return F.grid_sample(films, grid, mode="bilinear", padding_mode="border", align_corners=False).reshape(
        n, t, side, side
    )


def _affine(boxes: Tensor) -> Tensor:
    x, y, w, h = boxes.unbind(1)
    zero = torch.zeros_like(x)
    rows = [torch.stack([w, zero, 2 * x - 1], 1), torch.stack([zero, h, 2 * y - 1], 1)]
    return torch.stack(rows, 1)
