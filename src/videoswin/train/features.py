"""What a frozen model sees in each clip, as heads are fitted on it: read from the feature store, computed where it is not there
(:mod:`videoswin.features`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import Clip
from videoswin.errors import VideoError
from videoswin.features.clips import Found, clip_features
from videoswin.features.look import num_stages

__all__ = ["Features", "extract", "gathered", "num_stages"]


@dataclass(frozen=True)
class Features:
    """Of N clips, by stage (counted from 1). ``pooled``: (N, C), the mean over space and time. ``times``: (N, T, C), means over
    space. ``tokens``: (N, P, C), means over parts of it. ``computed``: how many clips were not there yet."""

    pooled: dict[int, Tensor]
    tokens: dict[int, Tensor]
    computed: int
    times: dict[int, Tensor] = field(default_factory=dict)


def extract(
    classifier: Classifier, rows: Sequence[Clip], folder: Path | None = None, step: Callable[[], None] = lambda: None
) -> Features:
    """One centre view of every clip through the backbone. ``folder``: of the store, by default the cache.

    Raises:
        VideoError: a clip that cannot be decoded.
    """
    found: list[Found] = []
    for result in clip_features(classifier, rows, folder=folder):
        if isinstance(result, VideoError):
            raise result
        found.append(result)
        step()
    return gathered(found)


def gathered(found: Sequence[Found]) -> Features:
    """Of clips that were looked at, one after the other in one set of tensors."""
    stages = sorted(int(name.partition(".")[2]) for name in found[0].tensors if name.startswith("pooled."))
    return Features(
        {s: torch.stack([f.tensors[f"pooled.{s}"].float() for f in found]) for s in stages},
        {s: torch.stack([f.tensors[f"tokens.{s}"].float() for f in found]) for s in stages},
        sum(f.computed for f in found),
        {s: torch.stack([f.tensors[f"times.{s}"].float() for f in found]) for s in stages},
    )
