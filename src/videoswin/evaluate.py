"""How good a classifier is on labelled videos it has not seen.

Every video counts. One that cannot be read is listed and counted as wrong: leaving it out, or putting another in its
place, would change the test. The checkpoint's threshold for "none of these" plays no part: each video has a class.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from videoswin.data.decode import Limits
from videoswin.data.index import Row
from videoswin.data.preprocessing import Views
from videoswin.errors import ConfigError, VideoError, nearest
from videoswin.predict import DEFAULT_LIMITS, Failure, LabelScore, Prediction, VideoClassifier, predict_each
from videoswin.profile import Profile
from videoswin.weights.files import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ClassResult", "Evaluation", "RowResult", "evaluate", "evaluate_rows"]

_TOP = 5
_MAX_COUNTED_CLASSES = 40  # beyond that the numbers in the picture's cells cannot be read
_MAX_NAMED_CLASSES = 120


@dataclass(frozen=True)
class RowResult:
    """One labelled video: what it is, the best labels with their scores (none if unreadable), and the error."""

    row: Row
    predictions: tuple[LabelScore, ...]
    error: VideoError | None = None

    @property
    def predicted(self) -> str | None:
        return self.predictions[0].label if self.predictions else None

    @property
    def correct(self) -> bool:
        return self.predicted == self.row.label

    @property
    def in_top5(self) -> bool:
        return any(label == self.row.label for label, _ in self.predictions[:_TOP])


@dataclass(frozen=True)
class ClassResult:
    """One class: ``n`` videos of it, ``correct`` ones recognised, ``unreadable`` ones; ``predicted`` were called it."""

    label: str
    n: int
    correct: int
    predicted: int
    unreadable: int

    @property
    def recall(self) -> float:
        """Part of the class's videos that were recognised; 0 if there are none."""
        return self.correct / self.n if self.n else 0.0

    @property
    def precision(self) -> float:
        """Part of the videos called this class that are of it; 0 if none was called so."""
        return self.correct / self.predicted if self.predicted else 0.0


@dataclass(frozen=True)
class Evaluation:
    """The outcome of :func:`evaluate`. Accuracies are parts of 1."""

    labels: tuple[str, ...]
    views: Views
    rows: tuple[RowResult, ...]

    @property
    def n(self) -> int:
        """Videos, the unreadable ones included."""
        return len(self.rows)

    @property
    def top1(self) -> float:
        return sum(r.correct for r in self.rows) / self.n

    @property
    def top5(self) -> float:
        """Part of the videos whose label is among the best five; 1 for readable videos if there are no more classes."""
        return sum(r.in_top5 for r in self.rows) / self.n

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
        for r in self.rows:
            if r.predicted is not None:
                counts[number[r.row.label], number[r.predicted]] += 1
        return counts

    @cached_property
    def per_class(self) -> tuple[ClassResult, ...]:
        called = self.confusion.sum(dim=0).tolist()
        results = []
        for i, label in enumerate(self.labels):
            mine = [r for r in self.rows if r.row.label == label]
            unreadable = sum(r.error is not None for r in mine)
            results.append(ClassResult(label, len(mine), int(self.confusion[i, i]), int(called[i]), unreadable))
        return tuple(results)

    def to_dict(self) -> dict[str, Any]:
        """What ``videoswin evaluate --json`` prints."""
        return {
            "n": self.n,
            "top1": round(self.top1, 6),
            "top5": round(self.top5, 6),
            "mean_class": round(self.mean_class, 6),
            "unreadable": [str(r.row.path) for r in self.unreadable],
        }

    def write_csv(self, path: str | Path) -> None:
        """One line per video: path, label, predicted label and its score, right or wrong, error if unreadable."""
        with replace_file(path) as new, new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label", "predicted", "score", "correct", "in_top5", "error"])
            for r in self.rows:
                score = f"{r.predictions[0].score:.6f}" if r.predictions else ""
                verdicts = int(r.correct), int(r.in_top5)
                writer.writerow([r.row.path, r.row.label, r.predicted or "", score, *verdicts, r.error or ""])

    def write_confusion(self, path: str | Path, title: str = "") -> None:
        """The confusion matrix as a PNG: colour is the part of the row's class, the number is the count of videos."""
        with replace_file(path) as new:
            _draw_confusion(self, title, new)


def evaluate(
    classifier: VideoClassifier, rows: Sequence[Row], views: Views | str = "1x1", *, limits: Limits = DEFAULT_LIMITS
) -> Evaluation:
    """Classify all rows (of :func:`videoswin.data.index.read_index`) and compare with their labels.

    Raises:
        ConfigError: no rows, or a label that the model does not know; before the first video is opened.
    """
    views = Views.of(views)
    return Evaluation(classifier.labels, views, tuple(evaluate_rows(classifier, rows, views, limits=limits)))


def evaluate_rows(
    classifier: VideoClassifier,
    rows: Sequence[Row],
    views: Views | str = "1x1",
    *,
    limits: Limits = DEFAULT_LIMITS,
    profile: Profile | None = None,
) -> Iterator[RowResult]:
    """As :func:`evaluate`, one result at a time, for callers that show progress. Checks everything when called.

    ``profile``: gets to know where the time went.
    """
    _check_labels(rows, classifier.labels)
    results = predict_each(classifier, [row.path for row in rows], views, _TOP, limits=limits, profile=profile)
    return (_row_result(row, result) for row, result in zip(rows, results, strict=True))


def _row_result(row: Row, result: Prediction | Failure) -> RowResult:
    return RowResult(row, (), result.error) if isinstance(result, Failure) else RowResult(row, result.predictions)


def _check_labels(rows: Sequence[Row], labels: Sequence[str]) -> None:
    if not rows:
        raise ConfigError("There are no videos to evaluate. Check the data and the split.")
    for row in rows:
        if row.label not in labels:
            where = f" (line {row.line})" if row.line else ""
            raise ConfigError(f'{row.path}{where}: the model has no label "{row.label}". {nearest(row.label, labels)}')


# The picture ----------------------------------------------------------------------------------------------------------


def _draw_confusion(evaluation: Evaluation, title: str, path: Path) -> None:
    from matplotlib.figure import Figure  # takes half a second, and most callers want no picture

    counts, columns = _columns(evaluation)
    share = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    named = len(columns) <= _MAX_NAMED_CLASSES
    side = max(4.2, 0.42 * len(columns) + 1.2) if len(columns) <= _MAX_COUNTED_CLASSES else 16.0 if named else 9.0
    figure = Figure(figsize=(side + 1.2, side), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted", fontsize=9.5)
    axes.set_ylabel("true", fontsize=9.5)
    axes.spines[:].set_visible(False)
    if named:
        _name_classes(axes, evaluation.labels, columns)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    if len(columns) <= _MAX_COUNTED_CLASSES:
        _write_counts(axes, counts, share)
    axes.set_title(_plain(title) or "Confusion matrix", loc="left", fontsize=12, fontweight="bold", pad=22)
    summary = f"top-1 {evaluation.top1:.1%}  ·  mean class {evaluation.mean_class:.1%}  ·  {evaluation.n} videos"
    summary += f"  ·  {evaluation.views} views"
    axes.annotate(summary, (0, 1), (0, 7), "axes fraction", "offset points", fontsize=8.5, color="#555555")
    bar = figure.colorbar(
        image, ax=axes, shrink=0.6, aspect=28, pad=0.02, ticks=[0, 0.25, 0.5, 0.75, 1], format="{x:.0%}"
    )
    bar.set_label("part of the true class", fontsize=8.5)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)  # type: ignore[operator]  # matplotlib's stub calls it a spine dictionary
    figure.savefig(path, format="png")


def _columns(evaluation: Evaluation) -> tuple[Tensor, list[str]]:
    """The counts, with a last column for unreadable videos if there are any, so that rows add up to their class."""
    lost = torch.tensor([c.unreadable for c in evaluation.per_class])
    if not lost.any():
        return evaluation.confusion, list(evaluation.labels)
    return torch.cat([evaluation.confusion, lost[:, None]], dim=1), [*evaluation.labels, "(unreadable)"]


def _name_classes(axes: "Axes", rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_xticks(range(len(columns)), [_plain(c) for c in columns], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), [_plain(r) for r in rows])
    axes.tick_params(length=0, labelsize=8.5 if len(columns) <= _MAX_COUNTED_CLASSES else 5)
    axes.set_xticks([i - 0.5 for i in range(1, len(columns))], minor=True)
    axes.set_yticks([i - 0.5 for i in range(1, len(rows))], minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)


def _write_counts(axes: "Axes", counts: Tensor, share: Tensor) -> None:
    for (i, row), shares in zip(enumerate(counts.tolist()), share.tolist(), strict=True):
        for j, count in enumerate(row):
            if count:
                colour = "white" if shares[j] > 0.55 else "#1b2a41"
                axes.text(j, i, str(count), ha="center", va="center", fontsize=8.5, color=colour)


def _plain(text: str) -> str:
    """Shortened, and safe from matplotlib's formulas: a label may hold dollar signs."""
    short = text if len(text) <= 40 else text[:39] + "…"
    return short.replace("$", r"\$")
