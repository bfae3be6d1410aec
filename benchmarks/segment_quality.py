"""How good segments are, where the truth is known: seconds that are right, and segments that are found."""

from collections.abc import Sequence
from typing import NamedTuple

from videoswin.live.decisions import Segment

__all__ = ["SegmentScore", "score_segments"]


class SegmentScore(NamedTuple):
    """``per_second``: share of the video's seconds (their middles) with the right label, "none" included. ``f1``: harmonic
    mean of precision and recall of segments; one is found if a segment of its label overlaps it by ``iou``.
    """

    per_second: float
    precision: float
    recall: float
    f1: float


def score_segments(
    truth: Sequence[Segment], found: Sequence[Segment], duration_s: float, iou: float = 0.5
) -> SegmentScore:
    """Compare; neither list may overlap itself. Where no span is, the answer is "none"."""
    seconds = [second + 0.5 for second in range(int(duration_s))] or [duration_s / 2]
    right = sum(_label_at(truth, second) == _label_at(found, second) for second in seconds)
    left = list(truth)
    hits = 0
    for span in found:
        match = next((t for t in left if t.label == span.label and _iou(t, span) >= iou), None)
        if match is not None:
            left.remove(match)
            hits += 1
    precision = hits / len(found) if found else 0.0
    recall = hits / len(truth) if truth else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return SegmentScore(right / len(seconds), precision, recall, f1)


def _label_at(spans: Sequence[Segment], time_s: float) -> str | None:
    return next((span.label for span in spans if span.start_s <= time_s < span.end_s), None)


def _iou(a: Segment, b: Segment) -> float:
    overlap = min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
    return max(0.0, overlap) / (max(a.end_s, b.end_s) - min(a.start_s, b.start_s))
