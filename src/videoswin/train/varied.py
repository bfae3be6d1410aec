"""Features of clips as a training would see them: each several times, cut, lit and timed otherwise.

A head that learns from these too is less surprised by another person or scene: of ten gestures in scenes that it had not seen,
heads on eight views were right about .94 of the time, heads on one .91 (docs/log.md).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import Clip
from videoswin.data.dataset import ClipDataset, FrameCache
from videoswin.features.look import look
from videoswin.features.store import FeatureStore
from videoswin.train.augments import AUGMENTS

__all__ = ["varied"]

_HOW = "strong"
_TOGETHER = 4  # views that pass the model at once
_BATCH_BYTES = 2**30


def varied(
    classifier: Classifier,
    rows: Sequence[Clip],
    stage: int,
    views: int,
    folder: Path | None = None,
    step: Callable[[], None] = lambda: None,
) -> Tensor:
    """(views, N, T, C) of a stage, means over space. Which variations a clip gets depends on its content alone.

    ``folder``: of the store, by default the cache. ``step``: called after each clip.

    Raises:
        VideoError: a clip that cannot be decoded.
    """
    store = FeatureStore(classifier, {"varied": _HOW, "amounts": asdict(AUGMENTS[_HOW]), "stage": stage}, folder)  # type: ignore[arg-type]
    found = []
    for row in rows:
        path = store.path(row)
        kept = (store.read(path) or {}).get("times", torch.zeros(0))
        if len(kept) < views:
            drawn = _draws(classifier, row, views, int(path.stem[:12], 16))
            kept = torch.cat([look(classifier, part, [stage])[stage].mean(dim=(3, 4)).cpu() for part in drawn])
            kept = kept.transpose(1, 2).half().contiguous()  # (views, T, C)
            store.write(path, {"times": kept})
        found.append(kept[:views].float())
        step()
    return torch.stack(found, dim=1)


def _draws(classifier: Classifier, row: Clip, views: int, seed: int) -> Iterator[Tensor]:
    clips = ClipDataset([row], [row.label], classifier.preprocessing, AUGMENTS[_HOW], FrameCache(_BATCH_BYTES), seed)
    for first in range(0, views, _TOGETHER):
        drawn = []
        for number in range(first, min(first + _TOGETHER, views)):
            clips.set_epoch(number)
            drawn.append(clips[0][0])
        yield torch.stack(drawn)
