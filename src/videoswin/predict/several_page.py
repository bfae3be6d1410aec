"""What the page of an evaluation shows of a multi-label classifier."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

from videoswin.data.clips import name_of
from videoswin.data.containers import Limits
from videoswin.predict.films import Film, both_films
from videoswin.predict.scoring import VideoClassifier
from videoswin.predict.several import SeveralEvaluation, SeveralRow, map_interval, truth_of

__all__ = ["several_figures"]

_MOST_WRONG = 24


@dataclass(frozen=True)
class _Wrong:
    """A label that a clip has and was not given (``missed``), or was given and does not have."""

    name: str
    group: str
    label: str
    missed: bool
    score: float
    threshold: float
    truth: str
    films: tuple[Film, Film] | None
    size: str


def several_figures(e: SeveralEvaluation, classifier: VideoClassifier, limits: Limits) -> dict[str, Any]:
    """The values of the template."""
    rows = [r.row for r in e.rows]
    scores = torch.tensor([r.scores or (0.0,) * len(e.labels) for r in e.rows])
    counts = Counter(name for row in rows for name in row.classes)
    wrong = sorted(
        (
            (abs(r.scores[i] - _threshold(e, r, i)), r, i)
            for r in e.rows
            if r.scores
            for i in _wrong_labels(r, e.labels)
        ),
        key=lambda found: -found[0],
    )
    return {
        "interval": map_interval(scores, truth_of(rows, e.labels), [row.unit for row in rows]),
        "groups": any(row.group for row in rows),
        "chance": sum(counts.values()) / len(counts) / e.n if counts else None,
        "wrong": [_wrong(e, r, i, classifier, limits) for _, r, i in wrong[:_MOST_WRONG]],
        "wrong_total": len(wrong),
        "labels": sorted(e.per_label, key=lambda c: (c.average_precision is None, c.average_precision or 0.0, -c.n)),
    }


def _wrong_labels(result: SeveralRow, labels: tuple[str, ...]) -> list[int]:
    unlike = set(result.predicted) ^ set(result.row.classes)
    return [i for i, label in enumerate(labels) if label in unlike]


def _threshold(e: SeveralEvaluation, result: SeveralRow, i: int) -> float:
    return (result.thresholds or e.thresholds)[i]


def _wrong(e: SeveralEvaluation, result: SeveralRow, i: int, classifier: VideoClassifier, limits: Limits) -> _Wrong:
    row, p = result.row, classifier.preprocessing
    return _Wrong(
        name=name_of(row),
        group=row.group,
        label=e.labels[i],
        missed=e.labels[i] in row.classes,
        score=result.scores[i],
        threshold=_threshold(e, result, i),
        truth=", ".join(row.classes) or "no label",
        films=both_films(row, p, limits),
        size=f"{p.size[1]} × {p.size[0]}",
    )
