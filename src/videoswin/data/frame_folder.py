"""A folder of frames as a video: pictures with numbers in their names, one a frame.

Pictures carry no times. They are taken to be 25 a second, which has no say with sampling "interval" or "uniform".
"""

import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from videoswin.data.containers import Limits
from videoswin.data.decode import Frames, VideoInfo
from videoswin.data.folders import PICTURES
from videoswin.errors import ConfigError, VideoError

__all__ = ["FRAMES_PER_SECOND", "FrameFolder", "pictures_in"]

FRAMES_PER_SECOND = 25.0
_NUMBER = re.compile(r"(\d+)(?!.*\d)")
_DEFAULT = Limits()


def pictures_in(folder: Path) -> list[Path]:
    """The frames of a folder in their order: pictures by the last number in their names. Of several series (img_00001.jpg beside
    flow_x_00001.jpg, as tools for optical flow leave them) that which is called img, frame or image, or else the first."""
    series: dict[str, list[tuple[int, str]]] = {}
    for entry in folder.iterdir():
        if entry.suffix.lower() in PICTURES and not entry.name.startswith("."):
            found = _NUMBER.search(entry.stem)
            prefix = entry.stem[: found.start()] if found else entry.stem
            series.setdefault(prefix.rstrip("_-0").lower(), []).append((int(found[1]) if found else 0, entry.name))
    if not series:
        return []
    numbered = {prefix: names for prefix, names in series.items() if len(names) > 1}
    if not numbered:  # names without numbers, or each with a prefix of its own
        return sorted(folder / name for names in series.values() for _, name in names)
    named = next((prefix for prefix in ("img", "image", "frame") if prefix in numbered), min(numbered))
    return [folder / name for _, name in sorted(numbered[named])]


class FrameFolder:
    """Read as :class:`~videoswin.data.decode.Video` is: ``info``, ``times`` and ``get_frames``.

    Raises:
        VideoError: no pictures, or one that cannot be read or has another size than the first.
    """

    def __init__(self, folder: Path, limits: Limits = _DEFAULT) -> None:
        self._limits = limits
        try:
            self._files = pictures_in(folder)
        except OSError as error:
            raise VideoError(folder, f"the folder cannot be read ({error.strerror})", "Check its rights") from error
        if not self._files:
            raise VideoError(folder, "the folder holds no pictures", "Give a video, or a folder of numbered pictures")
        self.times = torch.arange(len(self._files), dtype=torch.float64) / FRAMES_PER_SECOND
        first = self._read(0)
        self.info = VideoInfo(
            path=str(folder),
            codec="pictures",
            width=first.shape[1],
            height=first.shape[0],
            rotation=0,
            fps=FRAMES_PER_SECOND,
            duration_s=len(self._files) / FRAMES_PER_SECOND,
            num_frames=len(self._files),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing stays open."""

    def __len__(self) -> int:
        return len(self._files)

    def get_frames(self, indices: Iterable[int] | Tensor, each: Callable[[Tensor], Tensor] | None = None) -> Frames:
        """The frames with these numbers, in the order asked for; repeats are read once."""
        numbers = torch.as_tensor(indices if isinstance(indices, Tensor) else list(indices), dtype=torch.int64).reshape(
            -1
        )
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(self):
            reason = f"frames {int(numbers.min())} to {int(numbers.max())} were asked for, the folder has {len(self)}"
            raise VideoError(self.info.path, reason, "Ask for frames inside the video")
        if len(numbers) > self._limits.max_frames:
            reason = f"{len(numbers):,} frames were asked for at once, the limit is {self._limits.max_frames:,.0f}"
            raise VideoError(self.info.path, reason, "Raise the limit, or ask for fewer")
        read: dict[int, Tensor] = {}
        for number in sorted(set(numbers.tolist())):
            frame = self._read(number)
            if frame.shape[:2] != (self.info.height, self.info.width):
                sizes = f"{frame.shape[1]}x{frame.shape[0]}, the first one {self.info.width}x{self.info.height}"
                reason = f"its picture {self._files[number].name} has {sizes} pixels"
                raise VideoError(self.info.path, reason, "Frames of a video have one size")
            read[number] = each(frame) if each else frame
            if len({tuple(one.shape) for one in read.values()}) > 1:
                raise ConfigError("`each` returned frames of several shapes. Let it return one shape for all frames.")
        empty = torch.empty((0, self.info.height, self.info.width, 3), dtype=torch.uint8)
        data = torch.stack([read[number] for number in numbers.tolist()]) if len(numbers) else empty
        return Frames(data, self.times[numbers])

    def read(self, each: Callable[[Tensor], Tensor] | None = None) -> Frames:
        """All frames."""
        return self.get_frames(range(len(self)), each)

    def _read(self, number: int) -> Tensor:
        """uint8 (H, W, 3)."""
        path = self._files[number]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(path) as picture:
                    return torch.from_numpy(np.array(picture.convert("RGB")))
        except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise VideoError(path, f"this is no picture that can be read ({error})", "Replace or remove it") from error
        except (OSError, ValueError, SyntaxError) as error:
            raise VideoError(path, f"the picture is damaged ({error})", "Replace or remove it") from error
