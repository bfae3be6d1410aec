"""Clips through a model, stage by stage, and what is kept of each stage's map."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from videoswin.classifier.classifier import Classifier
from videoswin.errors import ConfigError, WeightsError
from videoswin.interface.video_model import VideoModel, need

__all__ = ["Pool", "chosen_stages", "evaluating", "look", "num_stages", "pooled", "require_finite_features", "vectors"]

Pool = Literal["mean", "spatial", "none"]
"""Of a stage's map (C, T', H', W'): its mean (C,), its mean over space (T', C), or the map itself."""


def num_stages(model: VideoModel) -> int:
    """Of how many maps features are kept: every stage's of a model with a pyramid, the last one's of others."""
    return len(model.config.depths) if "pyramid" in model.capabilities else 1


def chosen_stages(text: str, count: int) -> tuple[int, ...]:
    """``4``, ``3,4``, ``1-4`` or ``last`` as numbers from 1, of ``count`` stages.

    >>> chosen_stages("1-3", 4)
    (1, 2, 3)

    Raises:
        ConfigError: no such text, or no such stage.
    """
    if text.strip() == "last":
        return (count,)
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise ConfigError(f'stages="{text}" is not understood. Write last, or numbers from 1: 4, 3,4 or 1-4.')
        found.update(range(int(first), int(last or first) + 1) if len(first + last) < 6 else (0,))
    if not found or not all(1 <= stage <= count for stage in found):
        raise ConfigError(f'stages="{text}": this model shows stages 1 to {count}.')
    return tuple(sorted(found))


def look(classifier: Classifier, clips: Tensor, stages: Sequence[int]) -> dict[int, Tensor]:
    """Normalised clips (B, 3, T, H, W) -> each stage's map (B, C, T', H', W'), float32, where the model is. Systems without
    such maps have one stage: their last map, or their features as one of a single place, (B, C, 1, 1, 1).

    Raises:
        WeightsError: a number is NaN or infinite.
    """
    model, weight = classifier.model, next(p for p in classifier.model.parameters() if p.ndim > 3)
    clips = clips.to(weight.device, weight.dtype)
    with evaluating(model), torch.inference_mode():
        if "pyramid" in model.capabilities:
            maps = {stage: one for stage, one in enumerate(model.forward_pyramid(clips), 1) if stage in stages}
        else:
            if tuple(stages) != (1,):
                need(model, "pyramid", "Features of several stages")
            last = model.forward_features(clips)
            maps = {1: last if last.ndim == 5 else model.pool(last)[:, :, None, None, None]}
    return {stage: require_finite_features(one.float(), classifier.name) for stage, one in maps.items()}


def pooled(one: Tensor, pool: Pool) -> Tensor:
    """(B, C, T', H', W') -> (B, C), (B, T', C) or itself, on the CPU."""
    if pool == "mean":
        one = one.mean(dim=(2, 3, 4))
    elif pool == "spatial":
        one = one.mean(dim=(3, 4)).transpose(1, 2)
    return one.cpu().contiguous()


def vectors(classifier: Classifier, one: Tensor) -> Tensor:
    """A stage's map (B, C, T', H', W') -> (B, C), on the CPU: its mean, or for systems with a way of their own, that."""
    if "pyramid" in classifier.model.capabilities or one.shape[2:].numel() == 1:
        return pooled(one, "mean")
    with torch.inference_mode():
        return classifier.model.pool(one).float().cpu()


def require_finite_features(features: Tensor, name: str) -> Tensor:
    """The features themselves, or a :class:`WeightsError`."""
    if not bool(features.isfinite().all()):
        hint = "Its weights, its preprocessing or its precision do not fit; try float32, or an earlier checkpoint"
        raise WeightsError(name, "the model gives NaN or infinity in place of features", hint)
    return features


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In evaluation mode; modules that were in training mode are so again afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
