"""How good detections are, by ActivityNet's definition: average precision of each class at a temporal IoU, and their mean.

As the challenge's own evaluation does it: detections of a class are taken over all videos, best score first; each takes the
segment of the truth that it overlaps most, if that is at least the threshold and no better detection has it; precision is made
to fall with recall, and summed at every step. Classes that the truth does not have are no part of the mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from videoswin.data.segments.tracks import Mark, Track, distinct_names
from videoswin.errors import ConfigError

__all__ = ["THRESHOLDS", "Detection", "average_precision", "detection_metrics", "matched", "temporal_iou"]

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)

Marks = Mapping[str, Sequence[Mark]]
"""Of each video, by name."""


@dataclass(frozen=True)
class Detection:
    """How good detections are."""

    thresholds: tuple[float, ...]
    by_class: dict[str, tuple[float, ...]]
    """Average precision at each threshold."""

    @property
    def means(self) -> tuple[float, ...]:
        """mAP at each threshold."""
        return tuple(float(np.mean(column)) for column in zip(*self.by_class.values(), strict=True))

    @property
    def mean(self) -> float:
        """The mean over the thresholds."""
        return float(np.mean(self.means))


def matched(truth: Sequence[Track], found: Sequence[Track]) -> tuple[Marks, Marks]:
    """Both by the names of the truth's videos: without suffix, and with folders in front where several would have one name.

    Raises:
        ConfigError: it cannot be told which video of the truth detections are about, or several are about one.
    """
    names = dict(zip(distinct_names([track.path for track in truth], "/"), truth, strict=True))
    by_stem: dict[str, list[str]] = {}
    for name in names:
        by_stem.setdefault(PurePath(name).stem, []).append(name)
    marks: dict[str, Sequence[Mark]] = {}
    for track in found:
        own = PurePath(track.path)
        ends = {
            "/".join([*own.parts[start:-1], last]) for start in range(len(own.parts)) for last in (own.stem, own.name)
        }
        meant = [name for name in ends if name in names]
        alike = meant or by_stem.get(own.stem, [])
        if len(alike) > 1 or (meant and meant[0] in marks):
            raise ConfigError(
                f'"{track.path}": it cannot be told which video is meant; several are called "{own.stem}". Give paths.'
            )
        marks[meant[0] if meant else f"{track.path} (not of the truth)"] = track.marks
    return {name: track.marks for name, track in names.items()}, marks


def detection_metrics(truth: Marks, found: Marks, thresholds: Sequence[float] = THRESHOLDS) -> Detection:
    """Compare detections with the truth. Detections need scores; videos that the truth does not name count as wrong.

    Raises:
        ConfigError: the truth is empty, or a detection has no score.
    """
    labels = sorted({mark.label for marks in truth.values() for mark in marks})
    if not labels:
        raise ConfigError("The truth holds no segments. Give a file with some.")
    unscored = next((m for marks in found.values() for m in marks if m.score is None), None)
    if unscored:
        raise ConfigError(f'A detection of "{unscored.label}" at {unscored.start_s:g} s has no score. Give detections.')
    by_class = {}
    for label in labels:
        mine = {video: [m for m in marks if m.label == label] for video, marks in truth.items()}
        theirs = [(video, m) for video, marks in sorted(found.items()) for m in marks if m.label == label]
        by_class[label] = tuple(average_precision(mine, theirs, threshold) for threshold in thresholds)
    return Detection(tuple(thresholds), by_class)


def average_precision(truth: Marks, found: Sequence[tuple[str, Mark]], threshold: float) -> float:
    """Of one class. ``found``: (video, detection), in any order; of equal scores the earlier one goes first."""
    count = sum(map(len, truth.values()))
    if not count:
        return 0.0
    taken: set[tuple[str, int]] = set()
    right = np.zeros(len(found))
    for place, (video, mark) in enumerate(sorted(found, key=lambda one: -(one[1].score or 0.0))):
        marks = truth.get(video, ())
        overlaps = [temporal_iou(mark, other) for other in marks]
        for number in sorted(range(len(marks)), key=lambda n: -overlaps[n]):
            if overlaps[number] < threshold:
                break
            if (video, number) not in taken:
                taken.add((video, number))
                right[place] = 1
                break
    hits = right.cumsum()
    precision, recall = hits / np.arange(1, len(found) + 1), hits / count
    precision = np.concatenate([[0.0], precision, [0.0]])
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(((recall[steps] - recall[steps - 1]) * precision[steps]).sum())


def temporal_iou(one: Mark, other: Mark) -> float:
    """Seconds that both show, of those that either shows."""
    both = max(0.0, min(one.end_s, other.end_s) - max(one.start_s, other.start_s))
    either = one.end_s - one.start_s + other.end_s - other.start_s - both
    return both / either if either > 0 else 0.0
