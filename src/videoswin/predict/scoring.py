"""A video in, labels with scores and times out.

Every view of the video goes through the model, each view's logits become probabilities, and the views' probabilities
are averaged (the paper's 4x3 protocol averages twelve; 1x1 is one clip from the middle, centre crop). How many videos
keep the machine busy is the business of :mod:`videoswin.predict.batches`.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor

from videoswin.data.decode import Limits
from videoswin.data.folders import FOLDER_SUFFIXES, find_videos
from videoswin.data.preprocessing import Preprocessing, Views
from videoswin.errors import ConfigError, VideoError, WeightsError
from videoswin.predict.answers import ONE_LABEL, Answer
from videoswin.predict.batches import (
    Looked,
    VideoReader,
    VideoSource,
    name_of,
    read_ahead,
    score_in_groups,
    views_at_once,
)
from videoswin.predict.profile import Profile, running, timed, waited
from videoswin.predict.provenance import Training
from videoswin.predict.results import Failure, LabelScore, Prediction, Span

__all__ = [
    "DEFAULT_LIMITS", "VideoClassifier", "find_videos", "predict", "predict_each", "predict_many", "require_finite_logits", "require_top_k",
    "score_each_view", "to_prediction",
]  # fmt: skip
DEFAULT_LIMITS = Limits()
_SUFFIX_HINT = f"Known are {' '.join(sorted(FOLDER_SUFFIXES))}; other files can be named one by one"


class VideoClassifier(ABC):
    """What predictions need, whatever computes the logits: a PyTorch model (:class:`~videoswin.classifier.classifier.Classifier`) or
    an exported file (:class:`~videoswin.export.runtime.ExportedClassifier`).
    """

    preprocessing: Preprocessing
    labels: tuple[str, ...]
    name: str
    none_threshold: float | None
    answer: Answer = ONE_LABEL
    """What its logits mean: one label for a video, or several."""
    training: Training | None = None
    """What it learnt from, if that is known."""

    @property
    def device(self) -> torch.device:
        """Where clips are scored."""
        return torch.device("cpu")

    @property
    @abstractmethod
    def num_parameters(self) -> int: ...

    @abstractmethod
    def logits(self, clips: Tensor) -> Tensor:
        """Normalised clips (B, 3, T, H, W) -> logits (B, num_classes), float32 on the CPU."""

    def __call__(self, source: str | Path | bytes, views: Views | str = "1x1", top_k: int = 5) -> Prediction:
        """Classify one video: a local file, or the bytes of one. See :func:`videoswin.predict.scoring.predict`.

        >>> prediction = classifier("clip.mp4", views="4x3")  # doctest: +SKIP
        >>> prediction.label, prediction.span  # doctest: +SKIP
        ('circle', Span(start=0.0, end=2.1))
        """
        return predict(self, source, views, top_k)

    def decide(self, best: LabelScore) -> str | None:
        """The label, or None ("none of these") if its score is below ``none_threshold``."""
        return None if self.none_threshold is not None and best.score < self.none_threshold else best.label


def predict(
    classifier: VideoClassifier,
    source: str | Path | bytes,
    views: Views | str = "1x1",
    top_k: int = 5,
    *,
    film: int = 0,
    limits: Limits = DEFAULT_LIMITS,
) -> Prediction:
    """Classify one video.

    Args:
        source: a local file, or the bytes of one.
        views: clips x crops to average, such as "1x1" or "4x3".
        top_k: how many labels to report; all of them if there are fewer.
        film: how many of the frames that were looked at to keep in ``Prediction.film``.
        limits: what one untrusted file may cost.

    Raises:
        VideoError: the video cannot be opened or decoded.
        ConfigError: ``views`` or ``top_k`` make no sense.
    """
    (result,) = predict_each(classifier, [source], views, top_k, film=film, limits=limits)
    if isinstance(result, Failure):
        raise result.error
    return result


def predict_many(
    classifier: VideoClassifier,
    paths: Iterable[str | Path],
    views: Views | str = "1x1",
    top_k: int = 5,
    *,
    film: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    profile: Profile | None = None,
) -> Iterator[Prediction | Failure]:
    """Classify videos in their order, as :func:`predict`; a video that cannot be read gives a :class:`Failure`.

    Folders stand for the videos in them (:func:`find_videos`). Some videos are read while the model looks at others.
    ``profile``: gets to know where the time went.
    """
    found = find_videos(paths)
    results = predict_each(classifier, found, views, top_k, film=film, limits=limits, profile=profile)
    for path, result in zip(found, results, strict=True):
        if isinstance(result, Failure) and os.path.isdir(path):
            error = VideoError(path, "no videos found in this folder", _SUFFIX_HINT)
            result = Failure(str(path), result.views, error)
        yield result


def predict_each(
    classifier: VideoClassifier,
    sources: Sequence[VideoSource],
    views: Views | str = "1x1",
    top_k: int = 5,
    *,
    film: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    profile: Profile | None = None,
) -> Iterator[Prediction | Failure]:
    """As :func:`predict_many`, one result for each source: a file, the bytes of one, or a row of a list of clips.

    Checks the settings when called.
    """
    views = Views.of(views)
    require_top_k(top_k)
    read = VideoReader(classifier.preprocessing, views, film, limits, profile)
    return _predict_each(classifier, sources, read, top_k)


def _predict_each(
    classifier: VideoClassifier, sources: Sequence[VideoSource], read: VideoReader, top_k: int
) -> Iterator[Prediction | Failure]:
    def score(clips: Tensor) -> Tensor:
        with timed(read.profile, "model"):
            return score_each_view(classifier, clips)

    at_once = views_at_once(read.clip_shape, classifier.device)
    looks = read_ahead(read, sources, read.bytes_each, group=at_once // len(read.views))
    with running(read.profile, len(sources)), closing(looks):
        scored = score_in_groups(waited(read.profile, looks), score, at_once)
        for source, result in zip(sources, scored, strict=True):
            if isinstance(result, VideoError):
                yield Failure(result.path if isinstance(source, bytes) else name_of(source), read.views, result)
            else:
                yield to_prediction(classifier, read.views, top_k, *result)


def to_prediction(classifier: VideoClassifier, views: Views, top_k: int, look: Looked, scores: Tensor) -> Prediction:
    """What the scores of its views, (V, num_classes), say about a video that was read."""
    mean = scores.mean(dim=0)
    best = _best(mean, classifier.labels, top_k)
    several = classifier.answer.named(mean, classifier.labels)
    return Prediction(
        path=look.path,
        duration_s=look.duration_s,
        views=views,
        label=classifier.decide(best[0]) if several is None else next(iter(several), None),
        predictions=best,
        spans=tuple(Span(start, end) for start, end in look.batch.spans.tolist()),
        repeated=int(look.batch.repeated.max()),
        film=look.film,
        complete=look.complete,
        labels=several,
    )


def score_each_view(classifier: VideoClassifier, clips: Tensor) -> Tensor:
    """Normalised clips (V, 3, T, H, W) -> the scores of each, (V, num_classes), float32 on the CPU.

    Raises:
        WeightsError: a logit is NaN or infinite.
    """
    chunks = clips.split(views_at_once(clips.shape[1:], classifier.device))
    logits = torch.cat([classifier.logits(chunk) for chunk in chunks])
    return classifier.answer.scores(require_finite_logits(logits, classifier.name))


def require_finite_logits(logits: Tensor, name: str) -> Tensor:
    """The logits themselves, or a :class:`WeightsError`: NaN has a largest entry too, which would become a label.

    Args:
        logits: of any shape.
        name: of the model, for the error.
    """
    if not bool(logits.isfinite().all()):
        reason = "the model gives NaN or infinity in place of scores"
        hint = "Its weights, its preprocessing or its precision do not fit; try float32, or an earlier checkpoint"
        raise WeightsError(name, reason, hint)
    return logits


def _best(scores: Tensor, labels: tuple[str, ...], top_k: int) -> tuple[LabelScore, ...]:
    top = scores.topk(min(top_k, len(labels)))
    return tuple(LabelScore(labels[i], s) for i, s in zip(top.indices.tolist(), top.values.tolist(), strict=True))


def require_top_k(top_k: int) -> None:
    if top_k < 1:
        raise ConfigError(f"top_k={top_k} asks for no labels at all; use 1 or more.")
