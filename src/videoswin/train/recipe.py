"""What a recipe is: the defaults of a run, as data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from videoswin.data.preprocessing import Preprocessing

__all__ = ["Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Defaults of a run; every value can be given instead. Names are those of ``TrainSettings``."""

    about: str
    steps: int
    """Optimiser steps to aim for. Few clips are seen more often for it, many clips less often."""
    epochs: tuple[int, int]
    """Never fewer and never more than these."""
    batch_size: int
    lr: float
    backbone_lr_ratio: float
    weight_decay: float
    warmup_epochs: float
    label_smoothing: float
    augment: str
    drop_path: float | None
    """None: the model's own."""
    flip: bool = False
    """Mirror half of the clips."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of ``TrainSettings``."""
    clips_per_step: int = 0
    """For which ``lr`` was found: a step of more or fewer clips scales it in proportion. 0: it is not scaled."""
    model: str = ""
    """The architecture that it was published for; "": any."""
    start: str = ""
    """The weights that it was published with, for people; "": fresh ones, where ``model`` says of what."""
    preprocessing: Preprocessing | None = None
    """None: the start's own."""

    def epochs_for(self, clips: int, batch_size: int) -> int:
        """Epochs that ``clips`` training clips are to be seen, in steps of ``batch_size`` clips."""
        per_epoch = math.ceil(clips / batch_size)
        least, most = self.epochs
        return min(max(math.ceil(self.steps / per_epoch), least), most)
