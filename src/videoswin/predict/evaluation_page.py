"""An evaluation as one page that stands alone: how good, on what, where it errs, how sure it is, and with which settings.

Readable at any number of classes: beyond :data:`MOST_IN_MATRIX` a list of the pairs that are taken for each other stands in place
of the matrix.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from videoswin.data.clips import name_of
from videoswin.data.containers import Limits
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError
from videoswin.predict.answers import NONE
from videoswin.predict.calibration import accuracy_interval, few_groups, reliability
from videoswin.predict.charts import Line, line_chart, reliability_chart
from videoswin.predict.evaluation import Evaluation, RowResult
from videoswin.predict.films import Film, both_films
from videoswin.predict.pages import render_page
from videoswin.predict.scoring import VideoClassifier
from videoswin.predict.several import SeveralEvaluation
from videoswin.predict.several_page import several_figures
from videoswin.storage.atomic import replace_file

__all__ = ["MOST_IN_MATRIX", "Epochs", "require_page", "write_evaluation_page"]

MOST_IN_MATRIX = 60
"""Classes; the matrix of more cannot be read."""
_MOST_COUNTED = 25
_MOST_WRONG = 24
_MOST_PAIRS = 25
_STEPS = (0.5, 0.7, 0.8, 0.9, 0.95)
_DEFAULT = Limits()


@dataclass(frozen=True)
class Epochs:
    """The figures of a run, one for each epoch; ``chosen``: the epoch that is kept; ``parts``: held-out losses of its folds."""

    train_loss: Sequence[float]
    train_top1: Sequence[float]
    val_loss: Sequence[float] = ()
    val_top1: Sequence[float] = ()
    chosen: int | None = None
    part_losses: Sequence[Sequence[float]] = ()
    part_top1: Sequence[Sequence[float]] = ()
    val_map: Sequence[float] = ()
    """Of multi-label runs, whose ``top1`` says how often the label with the highest score is one of the clip's."""
    part_map: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class _Wrong:
    name: str
    group: str
    label: str
    predicted: str
    score: float
    right: str
    films: tuple[Film, Film] | None
    size: str


def require_page(path: Path) -> None:
    """A :class:`ConfigError` now if a page cannot be written there, not after the work."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: a page cannot be written there. Give a file name in an existing folder.")


def write_evaluation_page(
    path: Path,
    classifier: VideoClassifier,
    evaluation: Evaluation | SeveralEvaluation | None,
    title: str,
    *,
    warnings: Sequence[str] = (),
    epochs: Epochs | None = None,
    spent: Mapping[str, float] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    limits: Limits = _DEFAULT,
    made: datetime | None = None,
) -> None:
    """Writes the page; an older one is replaced only when the new one is complete.

    Args:
        evaluation: None if nothing was held out: then the page has the curves and the configuration.
        warnings: what limits the figures, a sentence each.
        spent: seconds of the run by what they went to, for people.
        settings: tables of the configuration by their headings, beside those of the classifier.
    """
    values: dict[str, Any] = {
        "name": classifier.name,
        "title": title,
        "facts": _facts(classifier, evaluation),
        "made": made or datetime.now().astimezone(),
        "warnings": list(warnings),
        "curves": _curves(epochs) if epochs else [],
        "held": bool(epochs and (epochs.val_loss or epochs.part_losses)),
        "chosen": epochs.chosen if epochs else None,
        "settings": _settings(classifier, settings or {}),
        "version": _version(),
        "spent": _spent(spent) if spent and sum(spent.values()) else None,
        "e": evaluation,
    }
    template = "evaluation_base.html"
    if isinstance(evaluation, SeveralEvaluation):
        template, values = "evaluation_several.html", values | several_figures(evaluation, classifier, limits)
    elif evaluation is not None:
        template, values = "evaluation.html", values | _figures(evaluation, classifier, limits)
    text = render_page(template, **values)
    with replace_file(path) as new:
        new.write_text(text, encoding="utf-8", errors="backslashreplace")


def _facts(classifier: VideoClassifier, evaluation: Evaluation | SeveralEvaluation | None) -> list[tuple[str, str]]:
    p = classifier.preprocessing
    facts = [
        ("Parameters", f"{classifier.num_parameters:,}"),
        ("Labels", str(len(classifier.labels))),
        ("Clip", f"{p.clip_len} frames of {p.size[1]} × {p.size[0]} px"),
    ]
    if evaluation is not None:
        facts.append(("Views averaged", str(evaluation.views)))
    return facts


def _figures(e: Evaluation, classifier: VideoClassifier, limits: Limits) -> dict[str, Any]:
    low, high = accuracy_interval([r.correct for r in e.known], [r.row.unit for r in e.known])
    commonest, count = Counter(r.row.label for r in e.known).most_common(1)[0]
    read = [r for r in e.known if r.predictions]
    confidence = torch.tensor([r.predictions[0].score for r in read])
    bins = reliability(confidence, torch.tensor([r.correct for r in read])) if read else []
    wrong = sorted((r for r in e.rows if r.predictions and not r.correct), key=lambda r: -r.predictions[0].score)
    return {
        "low": low,
        "high": high,
        "groups": any(r.row.group for r in e.known),
        "few_groups": few_groups([r.row.group for r in e.known]),
        "chance": count / e.n,
        "commonest": commonest,
        "resolution": f"One clip is {100 / e.n:.1f} points." if e.n < 500 else "",
        "wrong": [_wrong(e, r, classifier.preprocessing, limits) for r in wrong[:_MOST_WRONG]],
        "wrong_total": len(wrong),
        "matrix": _matrix(e) if len(e.labels) <= MOST_IN_MATRIX else None,
        "pairs": _pairs(e),
        "classes": sorted(
            (c for c in e.per_class if not (e.says_none and c.label == NONE)), key=lambda c: (not c.n, c.recall, -c.n)
        ),
        "reliability": reliability_chart(bins),
        "ece": sum(abs(score - right) * n for score, right, n in bins) / max(len(read), 1),
        "thresholds": _thresholds(read, classifier.none_threshold),
        "threshold": classifier.none_threshold,
    }


def _wrong(e: Evaluation, result: RowResult, preprocessing: Preprocessing, limits: Limits) -> _Wrong:
    row, best = result.row, result.predictions[0]
    right = next((f"{100 * p.score:.0f} %" for p in result.predictions if p.label == row.label), "below the best five")
    films = both_films(row, preprocessing, limits)
    size = f"{preprocessing.size[1]} × {preprocessing.size[0]}"
    return _Wrong(name_of(row), row.group, e.shown(row.label), e.shown(best.label), best.score, right, films, size)


def _matrix(e: Evaluation) -> dict[str, Any]:
    """Rows of classes that occur; columns of these, of what they were taken for, and of unreadable clips if there are any."""
    counts = e.confusion
    used = [
        i for i in range(len(e.labels)) if int(counts[i].sum()) or int(counts[:, i].sum()) or e.per_class[i].unreadable
    ]
    lost = any(c.unreadable for c in e.per_class)
    cell = 34 if len(used) <= 12 else 24 if len(used) <= _MOST_COUNTED else 15
    rows = []
    for number, i in enumerate(used):
        total = max(e.per_class[i].n, 1)
        cells = [{"n": int(counts[i, j]), "share": int(counts[i, j]) / total} for j in used]
        if lost:
            missing = e.per_class[i].unreadable
            cells.append({"n": missing, "share": missing / total})
        rows.append({"label": e.shown(e.labels[i]), "number": number, "cells": cells})
    columns = [e.shown(e.labels[i]) for i in used] + ["(unreadable)"] * lost
    longest = max((len(label) for label in columns), default=0)
    return {
        "rows": rows,
        "columns": columns,
        "cell": cell,
        "type": 13 if cell > 30 else 11 if cell > 20 else 8,
        "head": min(longest, 22) * 7 + 12,
        "counted": len(used) <= _MOST_COUNTED,
    }


def _pairs(e: Evaluation) -> list[dict[str, Any]]:
    counts = e.confusion.clone()
    counts.fill_diagonal_(0)
    best, places = counts.flatten().topk(min(_MOST_PAIRS, counts.numel()))
    found = []
    for n, place in zip(best.tolist(), places.tolist(), strict=True):
        if n:
            i, j = divmod(place, len(e.labels))
            found.append({"label": e.shown(e.labels[i]), "other": e.shown(e.labels[j]), "n": n, "of": e.per_class[i].n})
    return found


def _thresholds(read: Sequence[RowResult], chosen: float | None) -> list[dict[str, Any]]:
    rows = []
    thresholds: set[float] = {*_STEPS, chosen if chosen is not None else _STEPS[0]}
    for threshold in sorted(thresholds):
        sure = [r for r in read if r.predictions[0].score >= threshold]
        right = sum(r.correct for r in sure) / len(sure) if sure else 0.0
        rows.append(
            {
                "threshold": threshold,
                "answered": len(sure) / max(len(read), 1),
                "right": right,
                "chosen": threshold == chosen,
            }
        )
    return rows


def _curves(epochs: Epochs) -> list[tuple[str, Any]]:
    charts = []
    several = bool(epochs.val_map or epochs.part_map)
    for heading, train, held, parts, top in (
        ("loss", epochs.train_loss, epochs.val_loss, epochs.part_losses, None),
        ("mAP", (), epochs.val_map, epochs.part_map, 1.0),
        ("best label is right" if several else "accuracy", epochs.train_top1, epochs.val_top1, epochs.part_top1, 1.0),
    ):
        lines = [Line(f"held-out part {n}", tuple(part), "part") for n, part in enumerate(parts, 1) if part]
        lines += [Line("training clips", tuple(train), "train")] if train else []
        lines += [Line("held-out clips", tuple(held), "held")] if held else []
        if lines:
            charts.append((heading, line_chart(heading, lines, epochs.chosen, top)))
    return charts


def _spent(spent: Mapping[str, float]) -> dict[str, Any]:
    total = sum(spent.values())
    rows = [(what, _duration(seconds), seconds / total) for what, seconds in spent.items()]
    return {"sum": f"{_duration(total)} in all", "rows": rows}


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _settings(
    classifier: VideoClassifier, given: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, list[tuple[str, str]]]]:
    tables: list[tuple[str, Mapping[str, Any]]] = [(heading, rows) for heading, rows in given.items() if rows]
    if training := classifier.training:
        learnt = {name: value for name, value in training.to_dict().items() if name not in ("settings", "sums")}
        tables += [("Learnt from", learnt), ("Training", training.settings)]
    tables.append(("Preprocessing", classifier.preprocessing.to_dict()))
    config = getattr(getattr(classifier, "model", None), "config", None)
    if config is not None:
        tables.append(("Model", config.to_dict()))
    return [(heading, [(str(k).replace("_", " "), _plain(v)) for k, v in rows.items()]) for heading, rows in tables]


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else "–" if value is None else str(value)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("videoswin")
    except PackageNotFoundError:  # a source tree that was not installed
        return ""
