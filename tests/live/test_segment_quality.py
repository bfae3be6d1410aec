"""The figures of benchmarks/live_quality.py, on segments that can be counted by hand."""

import pytest
from benchmarks.segment_quality import score_segments

from videoswin.live.decisions import Segment

TRUTH = [Segment(0, 4, "a"), Segment(6, 10, "b")]


def test_the_truth_itself_is_right() -> None:
    assert score_segments(TRUTH, TRUTH, 10) == (1, 1, 1, 1)


def test_nothing_found_is_right_where_nothing_is() -> None:
    assert score_segments(TRUTH, [], 10) == (0.2, 0, 0, 0)


def test_a_segment_is_found_once_and_only_under_its_own_label() -> None:
    found = [Segment(0, 2, "a"), Segment(2, 4, "a"), Segment(6, 10, "a")]
    score = score_segments(TRUTH, found, 10)
    assert score.per_second == pytest.approx(0.6)
    assert (score.precision, score.recall) == (pytest.approx(1 / 3), 0.5)
    assert score.f1 == pytest.approx(0.4)
