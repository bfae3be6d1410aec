"""The page of an evaluation: everything on it, escaped, at any number of classes."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.tiny import tiny_classifier, write_video
from videoswin.data.clips import Clip
from videoswin.data.preprocessing import Views
from videoswin.errors import ConfigError, VideoError
from videoswin.predict.answers import NONE
from videoswin.predict.evaluation import Evaluation, RowResult
from videoswin.predict.evaluation_page import Epochs, require_page, write_evaluation_page
from videoswin.predict.results import LabelScore

MADE = datetime(2026, 11, 26, tzinfo=UTC)


def outcome(path: Path, classes: int) -> Evaluation:
    """Each class three times; every fourth clip is taken for the next class."""
    labels = tuple(f"class {i} <b>" for i in range(classes))
    rows = []
    for i in range(3 * classes):
        label = labels[i % classes]
        named = labels[(i + 1) % classes] if i % 4 == 0 else label
        scores = LabelScore(named, 0.5 + 0.4 * i / (3 * classes)), LabelScore(labels[(i + 2) % classes], 0.1)
        rows.append(RowResult(Clip(path, label, "test", f"person {i % 5}"), scores))
    return Evaluation(labels, Views(1, 1), tuple(rows))


def test_three_people_say_nothing_of_others(tmp_path: Path):
    result = outcome(write_video(tmp_path / "a.mp4"), 2)
    few = [replace(r, row=replace(r.row, group=f"person {i % 3}")) for i, r in enumerate(result.rows)]
    write_evaluation_page(
        tmp_path / "page.html", tiny_classifier(), replace(result, rows=tuple(few)), "test", made=MADE
    )
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "for these groups alone: fewer than four say nothing of others" in text
    assert "over groups" not in text


@pytest.mark.parametrize("classes", [2, 6, 50, 61])
def test_every_part_is_there(tmp_path: Path, classes: int):
    video = write_video(tmp_path / "a.mp4")
    page = tmp_path / "page.html"
    epochs = Epochs([2.0, 1.0, 0.5], [0.3, 0.6, 0.9], [2.0, 1.5, 1.6], [0.2, 0.5, 0.5], 2)
    result = outcome(video, classes)
    write_evaluation_page(
        page, tiny_classifier(), result, "test", warnings=["Few <i>."], epochs=epochs, made=MADE,
        settings={"Run": {"adapt": "lora:8"}},
    )  # fmt: skip
    text = page.read_text(encoding="utf-8")
    assert f"{100 * result.top1:.1f} %" in text
    assert "95 % interval" in text
    assert "over groups" in text
    assert ("right label among the best five" in text) is (classes > 5)
    assert ('<table class="matrix"' in text) is (classes <= 60)
    assert ("too many for a matrix" in text) is (classes > 60)
    assert "Most confused pairs" in text
    assert "chosen: 2" in text
    assert "(ECE)" in text
    assert "lora:8" in text
    assert "Few &lt;i&gt;." in text
    assert "<b>&" not in text
    assert "class 1 &lt;b&gt;" in text
    assert text.count('style="--w:') == 2 * min(24, sum(not r.correct for r in result.rows))
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert "<script" not in text


def test_what_cannot_be_read_counts_and_has_a_column(tmp_path: Path):
    video = write_video(tmp_path / "a.mp4")
    whole = outcome(video, 3)
    lost = RowResult(Clip(video, whole.labels[0], "test"), (), VideoError("b.mp4", "it is empty"))
    write_evaluation_page(
        tmp_path / "page.html", tiny_classifier(), Evaluation(whole.labels, whole.views, (*whole.rows, lost)), ""
    )
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "1 clips could not be read" in text
    assert "(unreadable)" in text


def test_without_held_out_clips_there_are_curves_and_settings(tmp_path: Path):
    write_evaluation_page(tmp_path / "page.html", tiny_classifier(), None, "run", epochs=Epochs([1.0], [0.5]))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Learning" in text
    assert "Configuration" in text
    assert "Classes" not in text


def test_a_place_where_nothing_can_be_written_is_said_before_the_work(tmp_path: Path):
    for path in (tmp_path, tmp_path / "none" / "page.html"):
        with pytest.raises(ConfigError, match="cannot be written"):
            require_page(path)


def test_answers_of_none_have_their_own_figures(tmp_path: Path):
    labels = ("wave", "nod", NONE)
    video = write_video(tmp_path / "a.mp4")
    scores = LabelScore("wave", 0.7), LabelScore("nod", 0.2)
    rows = (
        RowResult(Clip(video, "wave"), scores),
        RowResult(Clip(video, "nod"), (LabelScore(NONE, 0.8), LabelScore("nod", 0.1)), none=True),
        RowResult(Clip(video, NONE), scores),
    )
    page = tmp_path / "page.html"
    evaluation = Evaluation(labels, Views(1, 1), rows, says_none=True)
    write_evaluation_page(page, tiny_classifier(), evaluation, "test", made=MADE)
    text = page.read_text(encoding="utf-8")
    assert "50.0 %</div><div>accuracy on 2 clips" in text
    assert "“none of these”, as 1 of 2 were" in text
    assert "0 of 1</div><div>clips of other things" in text
    assert 'taken for <span class="wrong">wave</span>' in text
    assert "said none</th>" in text
