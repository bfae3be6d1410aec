"""Where a video changes scene, and when nothing moves: both from a thumbnail of 32 x 24 pixels.

A cut changes two things at once: the picture, place by place, and its stock of colours. Fast motion changes the first much
more than the second; a flicker of the lamp the second more than the first. And a cut is a jump: much larger than the changes
just before it. :class:`CutDetector` asks for all three and decides with the frame itself, without waiting for later ones.
`docs/stream.md` has its figures beside PySceneDetect's.
"""

import math
from collections import deque
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["CutDetector", "MotionGate", "thumbnail"]

_HEIGHT, _WIDTH, _OVERSAMPLED = 24, 32, 4
_BINS = 8
_RECENT = 12  # frames

Thumbnail = np.ndarray
"""float32 ``(24, 32, 3)``, 0 to 255."""


def thumbnail(frame: Tensor | np.ndarray) -> Thumbnail:
    """A frame, uint8 ``(H, W, 3)``, as means of up to 16 pixels for each cell of a 24 x 32 grid.

    The pixels are picked, not smoothed: 12,288 of them, whatever the size of the frame, which costs microseconds.
    """
    pixels = frame.numpy() if isinstance(frame, Tensor) else frame
    rows = np.arange(_HEIGHT * _OVERSAMPLED) * pixels.shape[0] // (_HEIGHT * _OVERSAMPLED)
    columns = np.arange(_WIDTH * _OVERSAMPLED) * pixels.shape[1] // (_WIDTH * _OVERSAMPLED)
    picked = pixels[rows[:, None], columns[None, :]].astype(np.float32)
    return picked.reshape(_HEIGHT, _OVERSAMPLED, _WIDTH, _OVERSAMPLED, 3).mean(axis=(1, 3))


class CutDetector:
    """Says of each frame whether a new shot begins with it.

    ``min_difference``: mean change of a thumbnail's values, in grey levels. ``min_colours``: share of the picture whose
    colour class changed stock (0: same histogram, 1: disjoint). ``ratio``: how much larger than the recent changes.
    ``min_shot_s``: after a cut, seconds without another: a flash is not two cuts.
    """

    def __init__(
        self,
        min_difference: float = 20.0,
        min_colours: float = 0.08,
        ratio: float = 4.0,
        min_shot_s: float = 0.3,
    ) -> None:
        self._min_difference, self._min_colours, self._ratio = min_difference, min_colours, ratio
        self._min_shot_s = min_shot_s
        self._before: tuple[Thumbnail, np.ndarray] | None = None
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._shot_s = -math.inf
        self.difference = self.colours = 0.0  # of the last frame, for choosing the thresholds

    def feed(self, time_s: float, picture: Thumbnail) -> bool:
        """Whether the frame shown at ``time_s`` is the first of a new shot; the very first frame is not."""
        colours = _histogram(picture)
        before, self._before = self._before, (picture, colours)
        if before is None:
            self._shot_s = time_s
            return False
        self.difference = float(np.abs(picture - before[0]).mean())
        self.colours = float(np.abs(colours - before[1]).sum()) / 2
        usual = sum(self._recent) / len(self._recent) if self._recent else 0.0
        self._recent.append(self.difference)
        is_cut = (
            self.difference >= self._min_difference
            and self.colours >= self._min_colours
            and self.difference >= self._ratio * usual
            and not 0 <= time_s - self._shot_s < self._min_shot_s
        )
        if is_cut:
            self._shot_s = time_s
            self._recent.clear()
        return is_cut

    def state(self) -> dict[str, Any]:
        return {"recent": list(self._recent), "shot_s": self._shot_s}

    def restore(self, state: dict[str, Any], before: Thumbnail) -> None:
        """Go on from :meth:`state`; ``before`` is the last thumbnail that was fed."""
        self._recent = deque(state["recent"], maxlen=_RECENT)
        self._shot_s = float(state["shot_s"])
        self._before = before, _histogram(before)


class MotionGate:
    """Says whether anything moves: whether any cell differs from how it looked when things last moved.

    Measured against that moment and not against the frame before, so that slow motion adds up and is seen.
    ``threshold``: grey levels that a cell has to change, about four times the noise of an indoor camera in such a cell.
    """

    def __init__(self, threshold: float = 8.0) -> None:
        self._threshold = threshold
        self.reference: Thumbnail | None = None

    def feed(self, picture: Thumbnail) -> bool:
        if self.reference is not None:
            change = np.abs(picture - self.reference).mean(axis=2).max()
            if change < self._threshold:
                return False
        self.reference = picture
        return True


def _histogram(picture: Thumbnail) -> np.ndarray:
    """Shares of the picture in 8 x 8 x 8 classes of colour, ``(512,)``."""
    classes = (picture / (256 / _BINS)).astype(np.int64).clip(0, _BINS - 1)
    flat = (classes[..., 0] * _BINS + classes[..., 1]) * _BINS + classes[..., 2]
    return np.bincount(flat.ravel(), minlength=_BINS**3) / flat.size
