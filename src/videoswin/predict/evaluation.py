"""How good a classifier is on labelled videos it has not seen.

Every video counts. One that cannot be read is listed and counted as wrong: leaving it out, or putting another in its
place, would change the test. The checkpoint's threshold for "none of these" plays no part in the accuracies: each video has a
class. How often such a checkpoint says none, and is right to, is counted beside them: :class:`NoneAnswers`.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videoswin.data.clips import Clip
from videoswin.data.decode import Limits
from videoswin.data.preprocessing import Views
from videoswin.errors import ConfigError, OutOfMemoryError, VideoError, nearest
from videoswin.predict.answers import NONE, require_one_label
from videoswin.predict.calibration import auroc
from videoswin.predict.confusion import write_confusion
from videoswin.predict.plain_text import csv_cell
from videoswin.predict.profile import Profile
from videoswin.predict.results import Failure, LabelScore, Prediction
from videoswin.predict.scoring import DEFAULT_LIMITS, VideoClassifier, predict_each
from videoswin.storage.atomic import replace_file

__all__ = ["ClassResult", "Evaluation", "NoneAnswers", "RowResult", "evaluate", "evaluate_rows", "may_say_none"]
_TOP = 5


@dataclass(frozen=True)
class RowResult:
    """One labelled video: what it is, the best labels with their scores (none if unreadable), and the error."""

    row: Clip
    predictions: tuple[LabelScore, ...]
    error: VideoError | None = None
    none: bool = False
    """Whether the answer is "none of these": by the best label, or since its score is below the threshold."""

    @property
    def predicted(self) -> str | None:
        return self.predictions[0].label if self.predictions else None

    @property
    def correct(self) -> bool:
        """By the best label, whatever its score; of a clip of other things, whether the answer is none."""
        return self.predicted == self.row.label or (self.none and self.row.label == NONE)

    @property
    def in_top5(self) -> bool:
        return any(label == self.row.label for label, _ in self.predictions[:_TOP])


@dataclass(frozen=True)
class ClassResult:
    """One class: ``n`` videos of it, ``correct`` ones recognised, ``unreadable`` ones; ``predicted`` were called it; of ``none``
    the answer is "none of these"."""

    label: str
    n: int
    correct: int
    predicted: int
    unreadable: int
    none: int = 0

    @property
    def recall(self) -> float:
        """Part of the class's videos that were recognised; 0 if there are none."""
        return self.correct / self.n if self.n else 0.0

    @property
    def precision(self) -> float:
        """Part of the videos called this class that are of it; 0 if none was called so."""
        return self.correct / self.predicted if self.predicted else 0.0


@dataclass(frozen=True)
class NoneAnswers:
    """What a classifier that may answer "none of these" does with that."""

    answered: int
    """Videos of the classes that get this answer. It is wrong."""
    top1: float
    """Part of the videos of the classes that get their label as the answer, and not none."""
    others: int
    """Videos of other things."""
    others_refused: int
    """Those of them that get this answer. It is right."""
    auroc: float | None
    """How often the best score of a class is higher for a video of the classes than for one of other things; None without these."""


@dataclass(frozen=True)
class Evaluation:
    """The outcome of :func:`evaluate`. Accuracies are parts of 1."""

    labels: tuple[str, ...]
    views: Views
    rows: tuple[RowResult, ...]
    says_none: bool = False
    """Whether the classifier may answer "none of these" (:func:`may_say_none`). Videos with that label are then of no class: they
    count in :attr:`none` alone."""
    others_label: str = NONE
    """What the list calls videos of no class; shown wherever "none of these" is a label or an answer."""

    def shown(self, label: str) -> str:
        """A label, or an answer, as the list has it."""
        return self.others_label if label == NONE and self.says_none else label

    @cached_property
    def known(self) -> tuple[RowResult, ...]:
        """Videos of the classes."""
        return tuple(r for r in self.rows if not (self.says_none and r.row.label == NONE))

    @property
    def n(self) -> int:
        """Videos of the classes, the unreadable ones included."""
        return len(self.known)

    @property
    def top1(self) -> float:
        return sum(r.correct for r in self.known) / self.n

    @property
    def top5(self) -> float:
        """Part of the videos whose label is among the best five; 1 for readable videos if there are no more classes."""
        return sum(r.in_top5 for r in self.known) / self.n

    @property
    def mean_class(self) -> float:
        """Mean over the classes that occur of the part recognised: rare classes count as much as frequent ones."""
        present = [c.recall for c in self.per_class if c.n]
        return sum(present) / len(present)

    @property
    def unreadable(self) -> list[RowResult]:
        return [r for r in self.rows if r.error]

    @cached_property
    def confusion(self) -> Tensor:
        """int64 (K, K): videos of the row's class taken for the column's. Unreadable ones are in no column."""
        number = {label: i for i, label in enumerate(self.labels)}
        counts = torch.zeros((len(self.labels), len(self.labels)), dtype=torch.int64)
        for r in self.known:
            if r.predicted is not None:
                counts[number[r.row.label], number[r.predicted]] += 1
        return counts

    @cached_property
    def per_class(self) -> tuple[ClassResult, ...]:
        called = self.confusion.sum(dim=0).tolist()
        results = []
        for i, label in enumerate(self.labels):
            mine = [r for r in self.known if r.row.label == label]
            unreadable, none = sum(r.error is not None for r in mine), sum(r.none for r in mine)
            results.append(ClassResult(label, len(mine), int(self.confusion[i, i]), int(called[i]), unreadable, none))
        return tuple(results)

    @cached_property
    def none(self) -> NoneAnswers | None:
        """None of a classifier that never says so."""
        if not self.says_none:
            return None
        others = [r for r in self.rows if r.row.label == NONE]
        inside, outside = ([_best_of_a_class(r) for r in rows if r.predictions] for rows in (self.known, others))
        return NoneAnswers(
            answered=sum(r.none for r in self.known),
            top1=sum(r.correct and not r.none for r in self.known) / self.n,
            others=len(others),
            others_refused=sum(r.none for r in others),
            auroc=auroc(torch.tensor(inside), torch.tensor(outside)) if inside and outside else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """What ``videoswin evaluate --json`` prints."""
        figures = {
            "n": self.n,
            "top1": round(self.top1, 6),
            "top5": round(self.top5, 6),
            "mean_class": round(self.mean_class, 6),
            "unreadable": [str(r.row.path) for r in self.unreadable],
        }
        if self.none is None:
            return figures
        none = {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(self.none).items()}
        return {**figures, "none": none}

    def write_csv(self, path: str | Path) -> None:
        """One line per video: path, label, predicted label and its score, right or wrong, error if unreadable.

        Where clips are parts of videos, the columns start and end say which. Of a classifier that may say so, the column none
        tells whether the answer is "none of these". Texts are safe: see :func:`csv_cell`.
        """
        with replace_file(path) as new, new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            parts = ["start", "end"] if any(r.row.is_part for r in self.rows) else []
            none = ["none"] if self.says_none else []
            writer.writerow(["path", *parts, "label", "predicted", "score", *none, "correct", "in_top5", "error"])
            for r in self.rows:
                seconds = [r.row.start, "" if r.row.end is None else r.row.end] if parts else []
                score = f"{r.predictions[0].score:.6f}" if r.predictions else ""
                labels = (self.shown(r.row.label), self.shown(r.predicted or ""))
                texts = [csv_cell(text) for text in (r.row.path, *labels, r.error or "")]
                said = [int(r.none)] if none else []
                writer.writerow(
                    [texts[0], *seconds, *texts[1:3], score, *said, int(r.correct), int(r.in_top5), texts[3]]
                )

    def write_confusion(self, path: str | Path, title: str = "") -> None:
        """The confusion matrix as a PNG: colour is the part of the row's class, the number is the count of videos."""
        summary = (
            f"top-1 {self.top1:.1%}  ·  mean class {self.mean_class:.1%}  ·  {self.n} videos  ·  {self.views} views"
        )
        unreadable = [c.unreadable for c in self.per_class]
        labels = [self.shown(label) for label in self.labels]
        write_confusion(path, self.confusion, labels, unreadable, title, summary)


def evaluate(
    classifier: VideoClassifier, rows: Sequence[Clip], views: Views | str = "1x1", *, limits: Limits = DEFAULT_LIMITS
) -> Evaluation:
    """Classify all rows (of :func:`videoswin.data.annotations.read_index`) and compare with their labels.

    Rows with the label :data:`~videoswin.predict.answers.NONE` are of other things, if the classifier may say so.

    Raises:
        ConfigError: no rows, or a label that the model does not know; before the first video is opened.
    """
    views = Views.of(views)
    results = tuple(evaluate_rows(classifier, rows, views, limits=limits))
    return Evaluation(classifier.labels, views, results, may_say_none(classifier))


def may_say_none(classifier: VideoClassifier) -> bool:
    """Whether it may answer "none of these": by a label of its own, or by a threshold."""
    return classifier.none_threshold is not None or NONE in classifier.labels


def evaluate_rows(
    classifier: VideoClassifier,
    rows: Sequence[Clip],
    views: Views | str = "1x1",
    *,
    limits: Limits = DEFAULT_LIMITS,
    profile: Profile | None = None,
) -> Iterator[RowResult]:
    """As :func:`evaluate`, one result at a time, for callers that show progress. Checks everything when called.

    ``profile``: gets to know where the time went. Raises :class:`OutOfMemoryError` where memory runs out: a video that this
    machine could not read is not a wrong answer of the model.
    """
    require_one_label(classifier.answer, classifier.name, "this evaluation")
    _check_labels(rows, classifier.labels, may_say_none(classifier))
    results = predict_each(classifier, rows, views, _TOP, limits=limits, profile=profile)
    return (_row_result(row, result) for row, result in zip(rows, results, strict=True))


def _row_result(row: Clip, result: Prediction | Failure) -> RowResult:
    if not isinstance(result, Failure):
        return RowResult(row, result.predictions, none=result.label in (None, NONE))
    if isinstance(result.error, OutOfMemoryError):  # that says something about the machine, and nothing about the model
        raise result.error
    return RowResult(row, (), result.error)


def _best_of_a_class(result: RowResult) -> float:
    return next(score for label, score in result.predictions if label != NONE)


def _check_labels(rows: Sequence[Clip], labels: Sequence[str], says_none: bool) -> None:
    if not rows:
        raise ConfigError("There are no videos to evaluate. Check the data and the split.")
    known = [label for label in labels if label != NONE]
    if says_none and all(row.label == NONE for row in rows):
        raise ConfigError(f"None of these videos is of a class. Add some of the classes: {', '.join(known[:5])}.")
    for row in rows:
        if row.label not in labels and not (says_none and row.label == NONE):
            where = f" (line {row.line})" if row.line else ""
            raise ConfigError(f'{row.path}{where}: the model has no label "{row.label}". {nearest(row.label, labels)}')
