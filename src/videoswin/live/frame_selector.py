"""Which pictures of a source become samples for the model: by time, from cut to cut, and whether anything moves in them.

Cheap, and done for every picture, where the decoder runs.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from videoswin.data.preprocessing import Preprocessing
from videoswin.data.transforms import center_crop
from videoswin.live.sampler import Sampler
from videoswin.live.scenes import CutDetector, MotionGate, Thumbnail, thumbnail
from videoswin.live.sources import Picture

__all__ = ["FrameSelector", "Sample"]


@dataclass(frozen=True)
class Sample:
    """A frame on its way to the model."""

    time_s: float
    """Seconds of the video."""
    due: float
    """The moment, on the clock's scale, at which it was there to be looked at."""
    frame: Tensor
    """uint8 ``(H, W, 3)``, resized and cropped."""
    fresh: bool = False
    """Nothing before it belongs to it: the start, a gap, a cut."""
    cut: bool = False
    """Fresh because a new shot begins."""
    moved: bool = True
    """Whether anything in it moved."""


class FrameSelector:
    """Pictures in, samples out.

    Args:
        fps: samples per second.
        cuts: look for cuts, and begin afresh at each.
    """

    def __init__(self, preprocessing: Preprocessing, fps: float, cuts: bool = True) -> None:
        self._resize = preprocessing.view_resize
        self._size = preprocessing.size
        self._sampler: Sampler[tuple[Picture, Thumbnail]] = Sampler(fps)
        self._detector = CutDetector() if cuts else None
        self._gate = MotionGate()
        self.pictures = 0
        self.cuts = 0

    def feed(self, picture: Picture) -> list[Sample]:
        """The samples that are certain now that this picture is here, in order; most often none or one."""
        self.pictures += 1
        thumb = thumbnail(picture.rgb)
        cut = self._detector is not None and self._detector.feed(picture.time_s, thumb)
        if cut:
            self.cuts += 1
            self._sampler.restart()
        chosen = self._sampler.feed(picture.time_s, (picture, thumb))
        return [self._sample(one, thumb_of_one, self._sampler.began, cut, picture.due) for one, thumb_of_one in chosen]

    def _sample(self, picture: Picture, thumb: Thumbnail, fresh: bool, cut: bool, due: float) -> Sample:
        frame = center_crop(self._resize(picture.rgb)[None], self._size)[0]
        moved = self._gate.feed(thumb) or fresh
        return Sample(picture.time_s, due, frame.contiguous(), fresh, cut and fresh, moved)

    def state(self) -> dict[str, Any]:
        """Numbers for :meth:`restore`."""
        return {
            "sampler": self._sampler.state(),
            "detector": self._detector.state() if self._detector else None,
            "reference": None if self._gate.reference is None else self._gate.reference.tolist(),
            "pictures": self.pictures,
            "cuts": self.cuts,
        }

    def restore(self, state: dict[str, Any], last: Picture) -> None:
        """Go on from :meth:`state`; ``last`` is the picture that was fed last."""
        thumb = thumbnail(last.rgb)
        self._sampler.restore(state["sampler"], last.time_s, (last, thumb))
        if self._detector and state["detector"]:
            self._detector.restore(state["detector"], thumb)
        if state["reference"] is not None:
            self._gate.reference = torch.tensor(state["reference"], dtype=torch.float32).numpy()
        self.pictures, self.cuts = int(state["pictures"]), int(state["cuts"])
