"""What held-out clips said, all parts together: how good a model will be on clips of groups that it has not seen, and what is chosen
by that for the model that is kept.

One class for each clip: accuracy, a temperature, and a threshold for "none of these". Several: mAP, and a threshold for each label.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import Clip
from videoswin.data.preprocessing import Views
from videoswin.interface.video_model import VideoModel
from videoswin.predict.answers import SeveralLabels
from videoswin.predict.calibration import accuracy_interval, calibration_error, fit_temperature, none_threshold
from videoswin.predict.evaluation import Evaluation, RowResult
from videoswin.predict.results import LabelScore
from videoswin.predict.several import (
    SeveralEvaluation,
    SeveralRow,
    best_thresholds,
    map_interval,
    mean_average_precision,
    truth_of,
)
from videoswin.storage.atomic import replace_file
from videoswin.train.advice import at_chance
from videoswin.train.metrics import EpochRow

__all__ = ["FoldResult", "Measured", "MeasuredSeveral", "cool", "evaluation_of", "measured_of", "several_evaluation_of"]

_TOP = 5
_FEW = 50  # held-out clips; fewer say nothing on how sure to be
_SMOOTH = 3  # epochs over which the loss is averaged before its lowest point is looked for
_WORTH = 0.02  # a lower loss than this share is worth more epochs


@dataclass(frozen=True)
class FoldResult:
    """One part: its held-out rows, their logits (N, K), its epochs."""

    rows: tuple[Clip, ...]
    logits: Tensor
    epochs: tuple[EpochRow, ...]

    def correct(self, labels: Sequence[str]) -> list[bool]:
        """For each held-out clip with one class."""
        answers = self.logits.argmax(1).tolist()
        return [labels[answer] == row.label for answer, row in zip(answers, self.rows, strict=True)]


@dataclass(frozen=True)
class Measured:
    """All parts together, of clips with one class each. Figures are shares of 1."""

    labels: tuple[str, ...]
    folds: tuple[FoldResult, ...]

    name = "top1"
    """Of the figure, in files."""
    noun = "accuracy"
    """The same, for people."""

    @property
    def rows(self) -> list[Clip]:
        return [row for fold in self.folds for row in fold.rows]

    @property
    def logits(self) -> Tensor:
        return torch.cat([fold.logits for fold in self.folds])

    @property
    def targets(self) -> Tensor:
        return torch.tensor([self.labels.index(row.label) for row in self.rows])

    @property
    def correct(self) -> list[bool]:
        return [right for fold in self.folds for right in fold.correct(self.labels)]

    @property
    def figure(self) -> float | None:
        """Over all held-out clips. None if they tell nothing."""
        return sum(self.correct) / len(self.correct)

    def figure_of(self, fold: FoldResult) -> float | None:
        """The same over one part."""
        correct = fold.correct(self.labels)
        return sum(correct) / len(correct)

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """Of the figure: see :func:`~videoswin.predict.calibration.accuracy_interval`. None where so few groups tell nothing."""
        return accuracy_interval(self.correct, [row.unit for row in self.rows])

    @property
    def poor(self) -> bool:
        """Whether it is no better than chance, as far as these clips can tell."""
        return at_chance(self.correct, self.rows)

    @property
    def temperature(self) -> float:
        """1 if too few clips were held out to tell."""
        return fit_temperature(self.logits, self.targets) if len(self.rows) >= _FEW else 1.0

    @property
    def none_threshold(self) -> float | None:
        """None if too few clips were held out to tell, or one part only was."""
        if len(self.rows) < _FEW or len(self.folds) < 2:
            return None
        return none_threshold((self.logits / self.temperature).softmax(1))

    @property
    def calibration_error(self) -> float:
        """After the temperature; in [0, 1]."""
        return calibration_error((self.logits / self.temperature).softmax(1), self.targets)

    def epochs(self, planned: int) -> int:
        """How many epochs suit these clips: the planned ones, unless the held-out loss says clearly that fewer do."""
        shortest = min(len(fold.epochs) for fold in self.folds)
        losses = torch.tensor([[row.val_loss or 0.0 for row in fold.epochs[:shortest]] for fold in self.folds])
        sizes = torch.tensor([float(len(fold.rows)) for fold in self.folds])
        curve = (losses * sizes[:, None]).sum(0) / sizes.sum()
        if shortest < planned:  # all had stopped by then
            return int(curve.argmin()) + 1
        if shortest <= _SMOOTH:
            return planned
        smooth = curve.unfold(0, _SMOOTH, 1).mean(1)
        near = (smooth <= smooth.min() * (1 + _WORTH)).nonzero().flatten()
        latest = int(near[-1]) + _SMOOTH  # of epochs that are as good, the later one has learnt more
        return planned if latest >= 0.9 * planned else latest

    def evaluation(self) -> Evaluation | SeveralEvaluation:
        """The pooled answers as the outcome of an evaluation, for tables and pictures."""
        return evaluation_of(self.labels, self.rows, self.logits / self.temperature)

    def settle(self, classifier: Classifier) -> dict[str, Any]:
        """Gives ``classifier`` what was chosen by these clips; what else they say is for its card."""
        cool(classifier.model, self.temperature)
        classifier.none_threshold = self.none_threshold
        return {"calibration_error": round(self.calibration_error, 4)} if self.none_threshold is not None else {}

    def to_dict(self) -> dict[str, Any]:
        """What ``summary.json`` holds."""
        return {
            "n": len(self.rows),
            self.name: self.figure,
            "interval": None if self.interval is None else list(self.interval),
            "folds": [{"n": len(fold.rows), self.name: self.figure_of(fold)} for fold in self.folds],
            **self.chosen(),
        }

    def chosen(self) -> dict[str, Any]:
        """What was chosen, and how well it does, for ``summary.json``."""
        return {
            "temperature": self.temperature,
            "none_threshold": self.none_threshold,
            "calibration_error": self.calibration_error,
        }

    def write(self, folder: Path) -> None:
        """summary.json, predictions.csv, and of clips with one class confusion.png."""
        evaluation = self.evaluation()
        evaluation.write_csv(folder / "predictions.csv")
        if isinstance(evaluation, Evaluation):
            evaluation.write_confusion(folder / "confusion.png", title="held-out clips of all folds")
        with replace_file(folder / "summary.json") as new:
            new.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class MeasuredSeveral(Measured):
    """The same of clips with any number of classes: the figure is mAP."""

    name = "map"
    noun = "mAP"

    @property
    def scores(self) -> Tensor:
        """(N, K), in [0, 1]."""
        return self.logits.sigmoid()

    @property
    def truth(self) -> Tensor:
        """bool (N, K)."""
        return truth_of(self.rows, self.labels)

    @property
    def figure(self) -> float | None:
        return mean_average_precision(self.scores, self.truth)

    def figure_of(self, fold: FoldResult) -> float | None:
        return mean_average_precision(fold.logits.sigmoid(), truth_of(fold.rows, self.labels))

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """See :func:`~videoswin.predict.several.map_interval`."""
        return map_interval(self.scores, self.truth, [row.unit for row in self.rows])

    @property
    def poor(self) -> bool:
        """Scores drawn by chance have about the share of the clips with a label as its average precision."""
        counts = Counter(name for row in self.rows for name in row.classes)
        share = sum(counts.values()) / max(len(counts), 1) / len(self.rows)
        low = self.figure if self.interval is None else self.interval[0]
        return low is None or low <= share

    @property
    def thresholds(self) -> tuple[float, ...]:
        """One for each label, by all held-out clips."""
        return best_thresholds(self.scores, self.truth)

    def evaluation(self) -> SeveralEvaluation:
        """Labels are given by thresholds that the other parts chose: a part's own would flatter it. A single part has no others."""
        rows: list[SeveralRow] = []
        for fold in self.folds:
            others = [other for other in self.folds if other is not fold] or [fold]
            scores = torch.cat([other.logits.sigmoid() for other in others])
            truth = truth_of([row for other in others for row in other.rows], self.labels)
            thresholds = best_thresholds(scores, truth)
            rows += several_evaluation_of(self.labels, fold.rows, fold.logits, thresholds).rows
        return SeveralEvaluation(self.labels, self.thresholds, Views(1, 1), tuple(rows))

    def settle(self, classifier: Classifier) -> dict[str, Any]:
        classifier.answer = SeveralLabels(self.thresholds)
        return {}

    def chosen(self) -> dict[str, Any]:
        evaluation = self.evaluation()
        return {
            "f1": evaluation.f1,
            "exact": evaluation.exact,
            "thresholds": dict(zip(self.labels, self.thresholds, strict=True)),
            "average_precision": {one.label: one.average_precision for one in evaluation.per_label},
        }


def measured_of(labels: tuple[str, ...], folds: Sequence[FoldResult]) -> Measured:
    """What suits the clips."""
    several = any(row.several is not None for fold in folds for row in fold.rows)
    return (MeasuredSeveral if several else Measured)(labels, tuple(folds))


def evaluation_of(labels: Sequence[str], rows: Sequence[Clip], logits: Tensor) -> Evaluation:
    """Answers, logits (N, K), as the outcome of an evaluation."""
    best, which = logits.softmax(1).topk(min(_TOP, len(labels)), dim=1)
    results = []
    for row, values, places in zip(rows, best.tolist(), which.tolist(), strict=True):
        results.append(
            RowResult(row, tuple(LabelScore(labels[int(i)], v) for i, v in zip(places, values, strict=True)))
        )
    return Evaluation(tuple(labels), Views(1, 1), tuple(results))


def several_evaluation_of(
    labels: Sequence[str], rows: Sequence[Clip], logits: Tensor, thresholds: tuple[float, ...]
) -> SeveralEvaluation:
    """The same for clips with any number of classes."""
    answer = SeveralLabels(thresholds)
    results = [
        SeveralRow(row, tuple(scores.tolist()), answer.named(scores, labels), thresholds=thresholds)
        for row, scores in zip(rows, logits.sigmoid(), strict=True)
    ]
    return SeveralEvaluation(tuple(labels), thresholds, Views(1, 1), tuple(results))


def cool(model: VideoModel, temperature: float) -> None:
    """Divides the logits of ``model`` by ``temperature`` from now on, in place: the last layer of every head is linear, and takes
    it in."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if model.is_of_head(name) and ".fc." in name:
                parameter.div_(temperature)
