"""How to train, as data: one row of numbers for each kind of start.

A recipe says how many optimiser steps a run needs at least, not only how many epochs: 60 clips in batches of 16 are four
steps an epoch, and 30 epochs of these leave any model where it was.
"""

from collections.abc import Mapping

from videoswin.errors import ConfigError, nearest
from videoswin.train.published_recipes import PUBLISHED
from videoswin.train.recipe import Recipe

__all__ = ["RECIPES", "Recipe", "get_recipe"]

RECIPES: Mapping[str, Recipe] = {
    "motion": Recipe(
        about="small sets, from the start that knows motion",
        steps=320,
        epochs=(12, 80),
        batch_size=16,
        lr=1e-3,
        backbone_lr_ratio=1.0,
        weight_decay=0.05,
        warmup_epochs=2.5,
        label_smoothing=0.1,
        augment="strong",
        flip=True,
        drop_path=None,  # its start has 0.1
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
        flip=True,
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
        flip=True,
        drop_path=None,
    ),
}


def get_recipe(name: str) -> Recipe:
    """A recipe by name, of this file or a published one; an unknown one is a :class:`ConfigError` with the nearest valid name."""
    known = {**RECIPES, **PUBLISHED}
    if name not in known:
        raise ConfigError(f'recipe="{name}" is unknown. {nearest(name, known)}')
    return known[name]
