"""New classes from a few clips, in minutes: a linear head on frozen features, judged by clips that it has not learnt from.

The figure that is reported comes from folds: each clip is answered by a head that has not seen it, nor any clip of its person
or scene where these are known. The head that is kept learns from all clips. "None of these" is an answer too: clips of other
things, if there are any, become a class of their own, and a score that nine tenths of the held-out clips reach is asked of the
others.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import Clip
from videoswin.errors import ConfigError
from videoswin.predict.calibration import accuracy_interval
from videoswin.train.features import extract
from videoswin.train.few_shot import NONE, few_shot_for
from videoswin.train.varied import varied

__all__ = ["NONE", "Taught", "teach"]

MIN_CLIPS = 3
_FEW = 5
_KEPT_OUT = 0.1
_VIEWS = 8
_LOOKS = 1600  # of all clips together: a minute or two


@dataclass(frozen=True)
class Taught:
    """A classifier for the new classes, and how good it is on clips that were held out."""

    classifier: Classifier
    accuracy: float
    """Share of held-out clips that got their label; clips of none of the classes are not counted."""
    interval: tuple[float, float]
    """In which it would be on other clips of this kind, 19 times in 20."""
    none_auroc: float | None
    """How well clips of other things are told apart by the best score, 0.5 (not at all) to 1. From the clips of other things,
    or else by leaving each class out in turn; None if there are only two classes and no such clips."""
    none_from: str
    """"clips", "classes left out" or ""."""
    clips: dict[str, int]
    groups: int
    """Persons or scenes; 0: not known."""
    confused: tuple[tuple[str, str, int], ...]
    """What was taken for what, and how often, the commonest first."""
    seconds: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "accuracy": round(self.accuracy, 4),
            "interval": [round(value, 4) for value in self.interval],
            "none_auroc": None if self.none_auroc is None else round(self.none_auroc, 4),
            "none_from": self.none_from,
            "none_threshold": self.classifier.none_threshold,
            "labels": list(self.classifier.labels),
            "clips": self.clips,
            "groups": self.groups,
            "confused": [list(one) for one in self.confused],
            "seconds": round(self.seconds, 1),
            "notes": list(self.notes),
        }


def teach(
    start: Classifier,
    rows: Sequence[Clip],
    name: str = "taught",
    *,
    features: Path | None = None,
    step: Callable[[], None] = lambda: None,
) -> Taught:
    """Teach the classes of ``rows``; those with the label :data:`NONE` are of none of them.

    Args:
        start: whose features are used; it stays as it is.
        features: a folder that keeps them, by default the cache.
        step: called after each clip.

    Raises:
        ConfigError: fewer than two classes, or too few clips of one.
        VideoError: a clip that cannot be decoded.
    """
    began = time.perf_counter()
    labels = tuple(sorted({row.label for row in rows} - {NONE}))
    counts = Counter(row.label for row in rows)
    _require_enough(labels, counts)
    judged = rows
    if (
        len({row.unit for row in rows}) < 2
    ):  # one person, scene or file: then single clips are held out, and the notes say so
        rows = [replace(row, group="") for row in rows]
        judged = [replace(row, group=f"clip {number}") for number, row in enumerate(rows)]
    found = extract(start, rows, features)
    views = max(1, min(_VIEWS, _LOOKS // len(rows)))
    few_shot = few_shot_for(start)(found, varied(start, rows, max(found.pooled), views, features, step), judged, labels)
    scores, known = few_shot.scores, few_shot.known
    answers = scores.argmax(1)
    right = answers == few_shot.targets
    best = scores[known, : len(labels)].amax(1)
    threshold = math.floor(1000 * float(best.quantile(_KEPT_OUT))) / 1000  # down: nine tenths shall pass
    told_apart, none_from = few_shot.told_apart()
    groups = len({row.group for row in rows if row.group})
    accuracy = float(right[known].float().mean())
    notes = _notes(labels, rows, groups, len(few_shot.folds))
    classifier = Classifier(
        few_shot.model(start).eval(),
        start.preprocessing,
        few_shot.outputs,
        name,
        none_threshold=min(threshold, 0.999),
        metrics={"teach_cross_validation_top1": round(accuracy, 4), "clips": len(rows)},
        notes=f"A linear head on the frozen features of {start.name}: {few_shot.setting}. " + " ".join(notes),
    )
    kept = known.tolist()
    return Taught(
        classifier=classifier,
        accuracy=accuracy,
        interval=accuracy_interval(right[known].tolist(), [r.group for r, one in zip(rows, kept, strict=True) if one]),
        none_auroc=told_apart,
        none_from=none_from,
        clips=dict(counts),
        groups=groups,
        confused=_confused(few_shot.outputs, few_shot.targets, answers),
        seconds=time.perf_counter() - began,
        notes=notes,
    )


def _require_enough(labels: Sequence[str], counts: Counter[str]) -> None:
    if len(labels) < 2:
        what = f'There is one class, "{labels[0]}",' if labels else "There is no class"
        raise ConfigError(f"{what} to be taught. Name two or more, and give each some clips.")
    few = [label for label in labels if counts[label] < MIN_CLIPS]
    if few:
        raise ConfigError(f'"{few[0]}" has {counts[few[0]]} clips, and {MIN_CLIPS} are the least. Give it some more.')


def _confused(labels: tuple[str, ...], targets: Tensor, answers: Tensor) -> tuple[tuple[str, str, int], ...]:
    pairs = Counter((labels[t], labels[a]) for t, a in zip(targets.tolist(), answers.tolist(), strict=True) if t != a)
    return tuple((true, taken, count) for (true, taken), count in pairs.most_common(5))


def _notes(labels: Sequence[str], rows: Sequence[Clip], groups: int, folds: int) -> tuple[str, ...]:
    """What whoever reads the figure has to know."""
    notes, counts = [], Counter(row.label for row in rows)
    if groups < 2:
        notes.append(
            "No persons or scenes were named: clips of one may stand on both sides, and the figure holds for these "
            "persons and scenes, not for new ones."
        )
    else:
        notes.append(f"Judged in {folds} parts by whole persons or scenes ({groups} of them).")
    few = [label for label in labels if counts[label] < _FEW]
    if few:
        notes.append(
            f"Few clips ({', '.join(f'{label} {counts[label]}' for label in few)}): the figure is rough. 10 each do better."
        )
    if not counts[NONE]:
        notes.append(f'There are no clips of other things; some, as "{NONE}", teach what is none of the classes.')
    alone = [label for label in (*labels, NONE) if len({row.unit for row in rows if row.label == label}) == 1]
    if groups > 1 and alone:
        named = ", ".join(f'"{label}"' for label in alone)
        notes.append(
            f"All clips of {named} are of one person or scene, so they are judged by heads that have seen none of them, and the "
            "figure is too low. Give such a class clips of other persons or scenes, or leave the column group out."
        )
    return tuple(notes)
