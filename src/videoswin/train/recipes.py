"""How to train, as data: one row of numbers for each kind of start.

A recipe says how many optimiser steps a run needs at least, not only how many epochs: 60 clips in batches of 16 are four
steps an epoch, and 30 epochs of these leave any model where it was.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from videoswin.errors import ConfigError, nearest

__all__ = ["RECIPES", "Recipe", "get_recipe"]


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

    def epochs_for(self, clips: int, batch_size: int) -> int:
        """Epochs that ``clips`` training clips are to be seen."""
        per_epoch = math.ceil(clips / batch_size)
        least, most = self.epochs
        return min(max(math.ceil(self.steps / per_epoch), least), most)


RECIPES: Mapping[str, Recipe] = {
    "motion": Recipe(
        about="small sets, from the start that knows motion",
        steps=320,
        epochs=(12, 80),
        batch_size=16,
        lr=7e-4,
        backbone_lr_ratio=1.0,
        weight_decay=0.05,
        warmup_epochs=2.5,
        label_smoothing=0.1,
        augment="strong",
        drop_path=0.1,
    ),
    "finetune": Recipe(
        about="from a checkpoint of videos; the backbone learns a tenth as fast as the head (paper, table 7)",
        steps=600,
        epochs=(15, 60),
        batch_size=8,
        lr=5e-4,
        backbone_lr_ratio=0.1,
        weight_decay=0.05,
        warmup_epochs=2.5,
        label_smoothing=0.1,
        augment="strong",
        drop_path=None,
    ),
    "scratch": Recipe(
        about="from fresh weights, which needs thousands of clips",
        steps=3000,
        epochs=(30, 200),
        batch_size=8,
        lr=5e-4,
        backbone_lr_ratio=1.0,
        weight_decay=0.05,
        warmup_epochs=2.5,
        label_smoothing=0.1,
        augment="strong",
        drop_path=None,
    ),
}


def get_recipe(name: str) -> Recipe:
    """A recipe by name; an unknown one is a :class:`ConfigError` with the nearest valid name."""
    if name not in RECIPES:
        raise ConfigError(f'recipe="{name}" is unknown. {nearest(name, RECIPES)}')
    return RECIPES[name]
