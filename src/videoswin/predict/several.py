"""How good a multi-label classifier is: average precision, thresholds, and the outcome of an evaluation."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videoswin.data.clips import Clip
from videoswin.data.decode import Limits
from videoswin.data.preprocessing import Views
from videoswin.errors import ConfigError, OutOfMemoryError, VideoError
from videoswin.predict.answers import SeveralLabels
from videoswin.predict.plain_text import csv_cell
from videoswin.predict.profile import Profile
from videoswin.predict.results import Failure, Prediction
from videoswin.predict.scoring import DEFAULT_LIMITS, VideoClassifier, predict_each
from videoswin.storage.atomic import replace_file

__all__ = [
    "LabelResult", "SeveralEvaluation", "SeveralRow", "average_precision", "best_thresholds", "evaluate_several_rows",
    "map_interval", "mean_average_precision", "truth_of",
]  # fmt: skip

_FEW = 5  # clips with a label, or without it; fewer say nothing on where to cut
_RESAMPLES = 1000
_AT_ONCE = 100  # drawings in memory
_FEWEST_GROUPS = 4


def average_precision(scores: Tensor, truth: Tensor) -> float | None:
    """Area under precision over recall, in steps: of scores (N,) for one label, and bool (N,), whether a clip has it. None if no
    clip has it. Clips of equal score count together, so that their order plays no part."""
    if not bool(truth.any()):
        return None
    order = scores.argsort(descending=True)
    scores, hits = scores[order], truth[order].double().cumsum(0)
    last = torch.cat([scores[1:] != scores[:-1], torch.ones(1, dtype=torch.bool)])  # of each run of equal scores
    hits, places = hits[last], torch.arange(1, len(scores) + 1, dtype=torch.float64)[last]
    steps = torch.cat([hits[:1], hits[1:] - hits[:-1]]) / hits[-1]
    return float((steps * hits / places).sum())


def mean_average_precision(scores: Tensor, truth: Tensor) -> float | None:
    """mAP of scores (N, K), over the labels that at least one clip has: truth, bool (N, K)."""
    found = [average_precision(scores[:, i], truth[:, i]) for i in range(truth.shape[1])]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None


def map_interval(scores: Tensor, truth: Tensor, groups: Sequence[str], seed: int = 0) -> tuple[float, float] | None:
    """In which range mAP would be on other groups of this kind, 19 times in 20: groups are drawn anew with replacement, each with all
    its clips, and mAP is that over the labels that the drawn clips have. None for fewer than four groups, which tell nothing.

    Scores (N, K), truth bool (N, K); ``groups``: (N,), what must not stand on both sides of a split (:attr:`Clip.unit`).
    """
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    if len(names) < _FEWEST_GROUPS or not bool(truth.any()):
        return None
    place = torch.tensor([names[group] for group in groups])
    drawn = torch.randint(len(names), (_RESAMPLES, len(names)), generator=torch.Generator().manual_seed(seed))
    times = torch.zeros(_RESAMPLES, len(names), dtype=torch.float64)
    times.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
    means = torch.cat([_drawn_map(scores, truth, some, place) for some in times.split(_AT_ONCE)])
    means = means[~means.isnan()]
    return float(means.quantile(0.025)), float(means.quantile(0.975))


def _drawn_map(scores: Tensor, truth: Tensor, times: Tensor, place: Tensor) -> Tensor:
    return torch.stack([_drawn_precision(*one, times, place) for one in zip(scores.T, truth.T, strict=True)]).nanmean(0)


def _drawn_precision(scores: Tensor, truth: Tensor, times: Tensor, place: Tensor) -> Tensor:
    """:func:`average_precision` (R,) of each drawing, NaN where no drawn clip has the label. ``times`` (R, G): how often a group was
    drawn; ``place`` (N,): the group of each clip."""
    order = scores.argsort(descending=True)
    scores, hit = scores[order], truth[order].double()
    last = torch.cat([scores[1:] != scores[:-1], torch.ones(1, dtype=torch.bool)])
    weights = times[:, place[order]]  # (R, N)
    hits, places = (weights * hit).cumsum(1)[:, last], weights.cumsum(1)[:, last]
    steps = torch.cat([hits[:, :1], hits[:, 1:] - hits[:, :-1]], 1)
    return (steps * hits / places.clamp(min=1)).sum(1) / hits[:, -1]  # 0 / 0 is NaN


def best_thresholds(scores: Tensor, truth: Tensor) -> tuple[float, ...]:
    """For each label the threshold with the best F1 on these clips, halfway to the next score below; 0.5 for labels that fewer
    than five clips have, or lack. Scores (N, K) in [0, 1]; truth, bool (N, K)."""
    return tuple(_threshold(scores[:, i].double(), truth[:, i]) for i in range(truth.shape[1]))


def _threshold(scores: Tensor, truth: Tensor) -> float:
    if min(int(truth.sum()), int((~truth).sum())) < _FEW:
        return 0.5
    order = scores.argsort(descending=True)
    scores, hits = scores[order], truth[order].double().cumsum(0)
    last = torch.cat([scores[1:] != scores[:-1], torch.ones(1, dtype=torch.bool)])
    f1 = 2 * hits / (torch.arange(1, len(scores) + 1) + hits[-1])
    at = int(torch.where(last, f1, -1.0).argmax())
    below = float(scores[at + 1]) if at + 1 < len(scores) else 0.0
    return round((float(scores[at]) + below) / 2, 6)


def truth_of(rows: Sequence[Clip], labels: Sequence[str]) -> Tensor:
    """bool (N, K): which labels each clip has."""
    places = {name: i for i, name in enumerate(labels)}
    truth = torch.zeros(len(rows), len(labels), dtype=torch.bool)
    for n, row in enumerate(rows):
        truth[n, [places[name] for name in row.classes]] = True
    return truth


@dataclass(frozen=True)
class SeveralRow:
    """One labelled video: what it is, the score of each label in their order (none if unreadable), the labels whose thresholds
    were reached, and the error."""

    row: Clip
    scores: tuple[float, ...]
    predicted: tuple[str, ...]
    error: VideoError | None = None
    thresholds: tuple[float, ...] = ()
    """Those by which the labels were given, where each part of the clips has its own; else the evaluation's."""

    @property
    def correct(self) -> bool:
        """Whether it was given all its labels and no others."""
        return self.error is None and set(self.predicted) == set(self.row.classes)


@dataclass(frozen=True)
class LabelResult:
    """One label: ``n`` videos have it, ``predicted`` were given it, ``correct`` of them rightly, by its ``threshold``."""

    label: str
    n: int
    predicted: int
    correct: int
    threshold: float
    average_precision: float | None

    @property
    def precision(self) -> float:
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        return self.correct / self.n if self.n else 0.0


@dataclass(frozen=True)
class SeveralEvaluation:
    """The outcome for a multi-label classifier. An unreadable video has score 0 for every label, and none of them."""

    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    views: Views
    rows: tuple[SeveralRow, ...]

    @property
    def n(self) -> int:
        """Videos, the unreadable ones included."""
        return len(self.rows)

    @property
    def unreadable(self) -> list[SeveralRow]:
        return [r for r in self.rows if r.error]

    @property
    def exact(self) -> float:
        """Part of the videos that were given all their labels and no others."""
        return sum(r.correct for r in self.rows) / self.n

    @cached_property
    def per_label(self) -> tuple[LabelResult, ...]:
        truth = truth_of([r.row for r in self.rows], self.labels)
        given = truth_of([_with(r.row, r.predicted) for r in self.rows], self.labels)
        scores = torch.tensor([r.scores or (0.0,) * len(self.labels) for r in self.rows], dtype=torch.float64)
        return tuple(
            LabelResult(
                label=label,
                n=int(truth[:, i].sum()),
                predicted=int(given[:, i].sum()),
                correct=int((truth[:, i] & given[:, i]).sum()),
                threshold=self.thresholds[i],
                average_precision=average_precision(scores[:, i], truth[:, i]),
            )
            for i, label in enumerate(self.labels)
        )

    @property
    def mean_average_precision(self) -> float | None:
        """mAP over the labels that at least one video has; None if no video has any."""
        known = [one.average_precision for one in self.per_label if one.average_precision is not None]
        return sum(known) / len(known) if known else None

    @property
    def f1(self) -> float:
        """Of all labels of all videos together (micro), by the thresholds."""
        right = sum(one.correct for one in self.per_label)
        return 2 * right / max(sum(one.n + one.predicted for one in self.per_label), 1)

    def to_dict(self) -> dict[str, Any]:
        """What ``videoswin evaluate --json`` prints."""
        mean = self.mean_average_precision
        return {
            "n": self.n,
            "map": None if mean is None else round(mean, 6),
            "f1": round(self.f1, 6),
            "exact": round(self.exact, 6),
            "unreadable": [str(r.row.path) for r in self.unreadable],
        }

    def write_csv(self, path: str | Path) -> None:
        """One line per video: path, labels, predicted labels, right or wrong, error if unreadable, and a column for the score of
        each label. Texts are safe: see :func:`csv_cell`."""
        with replace_file(path) as new, new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            parts = ["start", "end"] if any(r.row.is_part for r in self.rows) else []
            scores = [csv_cell(f"score of {label}") for label in self.labels]
            writer.writerow(["path", *parts, "labels", "predicted", "correct", "error", *scores])
            for r in self.rows:
                seconds = [r.row.start, "" if r.row.end is None else r.row.end] if parts else []
                texts = [csv_cell(text) for text in (r.row.path, "|".join(r.row.classes), "|".join(r.predicted))]
                values = [f"{score:.6f}" for score in r.scores] or [""] * len(self.labels)
                writer.writerow([texts[0], *seconds, *texts[1:], int(r.correct), csv_cell(r.error or ""), *values])


def evaluate_several_rows(
    classifier: VideoClassifier,
    rows: Sequence[Clip],
    views: Views | str = "1x1",
    *,
    limits: Limits = DEFAULT_LIMITS,
    profile: Profile | None = None,
) -> Iterator[SeveralRow]:
    """Classify all rows of a multi-label list, one result at a time; as :func:`~videoswin.predict.evaluation.evaluate_rows`.

    Raises:
        ConfigError: no rows, or the classifier gives one label only.
    """
    if not rows:
        raise ConfigError("There are no videos to evaluate. Check the data and the split.")
    if not isinstance(classifier.answer, SeveralLabels):
        raise ConfigError(f"{classifier.name} gives one label to a video. Evaluate it by a list with one for each.")
    results = predict_each(classifier, rows, views, len(classifier.labels), limits=limits, profile=profile)
    return (_row_of(row, result, classifier.labels) for row, result in zip(rows, results, strict=True))


def _row_of(row: Clip, result: Prediction | Failure, labels: Sequence[str]) -> SeveralRow:
    if isinstance(result, Failure):
        if isinstance(
            result.error, OutOfMemoryError
        ):  # that says something about the machine, and nothing about the model
            raise result.error
        return SeveralRow(row, (), (), result.error)
    score = dict(result.predictions)
    return SeveralRow(row, tuple(score[label] for label in labels), result.labels or ())


def _with(row: Clip, classes: tuple[str, ...]) -> Clip:
    return Clip(row.path, row.label, several=classes)
