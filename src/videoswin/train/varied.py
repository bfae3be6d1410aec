"""Features of clips as a training would see them: each several times, cut, lit and timed otherwise.

A head that learns from these too is less surprised by another person or scene: of ten gestures in scenes that it had not seen,
heads on eight views were right about .94 of the time, heads on one .91 (docs/log.md).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import Clip
from videoswin.data.dataset import ClipDataset, FrameCache
from videoswin.features.look import look, vectors
from videoswin.features.store import FeatureStore
from videoswin.train.augments import AUGMENTS

__all__ = ["Varied", "varied"]

_HOW = "strong"
_TOGETHER = 4  # views that pass the model at once
_BATCH_BYTES = 2**30


@dataclass(frozen=True)
class Varied:
    """V views of N clips, a stage's ``pooled`` (V, N, C), and ``times`` (V, N, T, C), means over space."""

    pooled: Tensor
    times: Tensor


def varied(
    classifier: Classifier,
    rows: Sequence[Clip],
    stage: int,
    views: int,
    folder: Path | None = None,
    step: Callable[[], None] = lambda: None,
) -> Varied:
    """So many views of each clip. Which variations a clip gets depends on its content alone.

    ``folder``: of the store, by default the cache. ``step``: called after each clip.

    Raises:
        VideoError: a clip that cannot be decoded.
    """
    store = FeatureStore(classifier, {"varied": _HOW, "amounts": asdict(AUGMENTS[_HOW]), "stage": stage}, folder)  # type: ignore[arg-type]
    found = []
    for row in rows:
        path = store.path(row)
        kept = store.read(path)
        if kept is None or not {"times", "pooled"} <= kept.keys() or len(kept["times"]) < views:
            parts = _draws(classifier, row, views, int(path.stem[:12], 16))
            maps = [look(classifier, part, [stage])[stage] for part in parts]
            times = torch.cat([one.mean(dim=(3, 4)).transpose(1, 2).cpu() for one in maps])  # (views, T, C)
            pooled = torch.cat([vectors(classifier, one) for one in maps])
            kept = {"times": times.half().contiguous(), "pooled": pooled.half().contiguous()}
            store.write(path, kept)
        found.append({name: tensor[:views].float() for name, tensor in kept.items()})
        step()
    return Varied(*(torch.stack([one[name] for one in found], dim=1) for name in ("pooled", "times")))


def _draws(classifier: Classifier, row: Clip, views: int, seed: int) -> Iterator[Tensor]:
    clips = ClipDataset([row], [row.label], classifier.preprocessing, AUGMENTS[_HOW], FrameCache(_BATCH_BYTES), seed)
    for first in range(0, views, _TOGETHER):
        drawn = []
        for number in range(first, min(first + _TOGETHER, views)):
            clips.set_epoch(number)
            drawn.append(clips[0][0])
        yield torch.stack(drawn)
