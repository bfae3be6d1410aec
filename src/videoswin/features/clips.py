"""Features of clips: the centre view of each through the model once, what was computed before read from the store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import torch
from torch import Tensor
from torch.nn import functional as F

from videoswin.classifier.classifier import Classifier
from videoswin.data.clips import Clip
from videoswin.data.decode import Limits
from videoswin.data.preprocessing import Views
from videoswin.errors import VideoError
from videoswin.features.look import Pool, evaluating, look, num_stages, pooled, vectors
from videoswin.features.store import FeatureStore
from videoswin.predict.batches import Looked, VideoReader, num_readers, read_ahead
from videoswin.predict.parallel import cores_shared

__all__ = ["Found", "clip_features", "clip_question", "mean_of"]

_PARTS = (8, 2, 2)  # time, height, width: beside the mean, a stage's tokens are averaged to so many at most
_SECONDS = "seconds"
_LIMITS = Limits()


@dataclass(frozen=True)
class Found:
    """What is known of one clip."""

    row: Clip
    path: Path
    """Its file in the store."""
    tensors: dict[str, Tensor]
    """With ``pool="mean"``: ``pooled.N`` (C,), ``times.N`` (T, C) and ``tokens.N`` (P, C), float16, of every stage N: means
    over all, over space, and over parts. Else ``stageN``. With both ``seconds``."""
    computed: bool
    """It was not there yet."""

    @property
    def seconds(self) -> float:
        """How long the clip is."""
        return float(self.tensors[_SECONDS])


def clip_question(pool: Pool) -> dict[str, object]:
    """What :class:`FeatureStore` is asked for."""
    return {"clips": pool, "parts": _PARTS if pool == "mean" else None, "times": pool == "mean"}


def clip_features(
    classifier: Classifier,
    rows: Sequence[Clip],
    pool: Pool = "mean",
    folder: Path | None = None,
    limits: Limits = _LIMITS,
    fetch: Callable[[Path], object] = lambda path: None,
) -> Iterator[Found | VideoError]:
    """One result for each clip, in order; a clip that cannot be read gives its error.

    Args:
        folder: of the store; None is the cache.
        fetch: as :class:`FeatureStore` has it; several threads call it.
    """
    store = FeatureStore(classifier, clip_question(pool), folder, fetch)
    reader = VideoReader(classifier.preprocessing, Views(), 0, limits)
    stages = range(1, num_stages(classifier.model) + 1)

    def kept_or_read(row: Clip, stop: Event | None) -> Found | VideoError | _Read:
        try:
            path = store.path(row)
        except VideoError as error:
            return error
        kept = store.read(path)
        if kept is not None:
            return Found(row, path, kept, computed=False)
        looked = reader(row, stop)
        return looked if isinstance(looked, VideoError) else _Read(row, path, looked)

    def computed(result: Found | VideoError | _Read) -> Found | VideoError:
        if not isinstance(result, _Read):
            return result
        maps = look(classifier, result.looked.batch.clips, stages)
        tensors = _kept(classifier, maps, pool)
        tensors[_SECONDS] = torch.tensor(result.looked.duration_s, dtype=torch.float64)
        store.write(result.path, tensors)
        return Found(result.row, result.path, tensors, computed=True)

    with evaluating(classifier.model):  # once for all threads: one that is done would change it for the others
        if len(rows) < 2 or next(classifier.model.parameters()).device.type != "cpu":
            with closing(read_ahead(kept_or_read, rows, reader.bytes_each)) as results:
                yield from map(computed, results)
            return
        # Each thread sees a clip through, decoding and model, with its share of the cores.
        through = read_ahead(lambda row, stop: computed(kept_or_read(row, stop)), rows, reader.bytes_each)
        with cores_shared(num_readers(reader.bytes_each)), closing(through) as results:
            yield from results


@dataclass(frozen=True)
class _Read:
    """A clip that was read and is not in the store."""

    row: Clip
    path: Path
    looked: Looked


def mean_of(found: Found, stage: int, pool: Pool = "mean") -> Tensor:
    """The features of one stage as they are kept for ``pool``."""
    return found.tensors[f"pooled.{stage}" if pool == "mean" else f"stage{stage}"]


def _kept(classifier: Classifier, maps: dict[int, Tensor], pool: Pool) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for stage, one in maps.items():
        if pool != "mean":
            tensors[f"stage{stage}"] = pooled(one, pool)[0].clone()
            continue
        time, height, width = (min(n, most) for n, most in zip(one.shape[2:], _PARTS, strict=True))
        parts = F.adaptive_avg_pool3d(one, (time, height, width))
        tensors[f"times.{stage}"] = (
            F.adaptive_avg_pool3d(one, (time, 1, 1)).flatten(2)[0].T.half().cpu().clone()
        )  # (T, C)
        tensors[f"pooled.{stage}"] = vectors(classifier, one)[0].clone()
        tensors[f"tokens.{stage}"] = parts.flatten(2)[0].T.half().cpu().contiguous().clone()  # (P, C)
    return tensors
