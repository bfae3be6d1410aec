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
from videoswin.train.few_shot import FOLDS, NONE, few_shot_for
from videoswin.train.split import k_folds
from videoswin.train.varied import varied

__all__ = ["NONE", "Taught", "teach"]

MIN_CLIPS = 3
_LEAST_LEFT = 2  # clips of a class that a head learns from while others are held out
_FEW_GROUPS = 4  # fewer tell nothing of how far others would differ
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
    held_out: tuple[int, int]
    """Clips and persons or scenes that ``accuracy`` stands on; 0 of the latter: clips were held out one by one."""
    confused: tuple[tuple[str, str, int], ...]
    """What was taken for what, and how often, the commonest first."""
    seconds: float
    notes: tuple[str, ...]

    @property
    def estimate(self) -> str:
        """The accuracy in a sentence: on how many clips of how many persons or scenes it stands, and what it says of others."""
        (clips, groups), (low, high) = self.held_out, (f"{100 * end:.1f}" for end in self.interval)
        right = f"{100 * self.accuracy:.1f} % of {clips} held-out clips right"
        if not groups:
            return f"{right} ({low} to {high} % on other clips of the persons and scenes that taught it; of new ones nothing is known)"
        if groups < _FEW_GROUPS:
            return (
                f"{right}, of {groups} persons or scenes: too few to say what it is on others ({low} to {high} % by the clips alone, "
                "which is too narrow)"
            )
        return f"{right}, of {groups} persons or scenes ({low} to {high} % on others of this kind)"

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
            "held_out_clips": self.held_out[0],
            "held_out_groups": self.held_out[1],
            "estimate": self.estimate,
            "confused": [list(one) for one in self.confused],
            "seconds": round(self.seconds, 1),
            "notes": list(self.notes),
        }


def teach(
    start: Classifier,
    rows: Sequence[Clip],
    name: str = "taught",
    *,
    none: str = NONE,
    features: Path | None = None,
    step: Callable[[], None] = lambda: None,
) -> Taught:
    """Teach the classes of ``rows``; those with the label ``none``, or :data:`NONE`, are of none of them.

    Args:
        start: whose features are used; it stays as it is.
        none: the checkpoint answers by :data:`NONE` instead; what is told of its clips has the caller's word.
        features: a folder that keeps them, by default the cache.
        step: called after each clip.

    Raises:
        ConfigError: fewer than two classes, or too few clips of one.
        VideoError: a clip that cannot be decoded.
    """
    began = time.perf_counter()
    rows = [replace(row, label=NONE) if row.label == none else row for row in rows]
    labels = tuple(sorted({row.label for row in rows} - {NONE}))
    counts = Counter(row.label for row in rows)
    _require_enough(labels, counts)
    groups = len({row.group for row in rows if row.group})
    notes = _notes(labels, rows, groups, none)
    judged = rows
    if not _groups_can_be_held_out(rows, labels):  # then single clips are, and the notes say so
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
    accuracy = float(right[known].float().mean())
    classifier = Classifier(
        few_shot.model(start).eval(),
        start.preprocessing,
        few_shot.outputs,
        name,
        none_threshold=min(threshold, 0.999),
        metrics={"teach_cross_validation_top1": round(accuracy, 4), "clips": len(rows)},
        notes=f"A linear head on the frozen features of {start.name}: {few_shot.setting}. " + " ".join(notes),
    )
    asked = [row for row, one in zip(rows, known.tolist(), strict=True) if one]
    return Taught(
        classifier=classifier,
        accuracy=accuracy,
        interval=accuracy_interval(right[known].tolist(), [row.group for row in asked]),
        none_auroc=told_apart,
        none_from=none_from,
        clips={none if label == NONE else label: count for label, count in counts.items()},
        groups=groups,
        held_out=(len(asked), len({row.group for row in asked if row.group})),
        confused=_confused(
            tuple([none if output == NONE else output for output in few_shot.outputs]), few_shot.targets, answers
        ),
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


def _groups_can_be_held_out(rows: Sequence[Clip], labels: Sequence[str]) -> bool:
    """Whether most clips of the classes are answered by heads that learnt two clips or more of each class. Where one person or scene
    has nearly all of them, they are not, and a figure of what a single clip teaches would stand for the whole."""
    if (units := len({row.unit for row in rows})) < 2:
        return False
    if not any(row.group for row in rows):
        return True
    answered = 0
    for held in k_folds(rows, min(FOLDS, units)):
        left = Counter(row.label for row in rows) - Counter(row.label for row in held)
        if all(left[label] >= _LEAST_LEFT for label in labels):
            answered += sum(row.label != NONE for row in held)
    return 2 * answered > sum(row.label != NONE for row in rows)


def _confused(labels: tuple[str, ...], targets: Tensor, answers: Tensor) -> tuple[tuple[str, str, int], ...]:
    pairs = Counter((labels[t], labels[a]) for t, a in zip(targets.tolist(), answers.tolist(), strict=True) if t != a)
    return tuple((true, taken, count) for (true, taken), count in pairs.most_common(5))


def _notes(labels: Sequence[str], rows: Sequence[Clip], groups: int, none: str) -> tuple[str, ...]:
    """What belongs to the figure."""
    notes, counts = [], Counter(row.label for row in rows)
    by_groups = groups > 1 and _groups_can_be_held_out(rows, labels)
    if by_groups:
        parts = min(FOLDS, len({row.unit for row in rows}))
        notes.append(f"Judged in {parts} parts by whole persons or scenes ({groups} of them).")
    elif groups > 1:
        most, count = Counter(row.group for row in rows if row.label != NONE).most_common(1)[0]
        notes.append(
            f'Single clips were held out, not persons or scenes: "{most}" has {count} of {len(rows) - counts[NONE]} clips, and the '
            "others are too few to learn every class from. For a figure of new persons or scenes add some clips of each class "
            "by others."
        )
    else:
        notes.append(
            "No persons or scenes were named: clips of one may stand on both sides, and the figure holds for these "
            "persons and scenes, not for new ones."
        )
    few = [label for label in labels if counts[label] < _FEW]
    if few:
        notes.append(
            f"Few clips ({', '.join(f'{label} {counts[label]}' for label in few)}): the figure is rough. 10 each do better."
        )
    if not counts[NONE]:
        notes.append(f'There are no clips of other things; some, as "{none}", teach what is none of the classes.')
    alone = [label for label in (*labels, NONE) if len({row.unit for row in rows if row.label == label}) == 1]
    if by_groups and alone:
        named = ", ".join(f'"{none if label == NONE else label}"' for label in alone)
        notes.append(
            f"All clips of {named} are of one person or scene, so they are judged by heads that have seen none of them, and the "
            "figure is too low. Give such a class clips of other persons or scenes, or leave the column group out."
        )
    return tuple(notes)
