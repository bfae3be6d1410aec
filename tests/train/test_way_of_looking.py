"""Which way of choosing frames suits a set: asked of features, by groups that had no say."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_classifier, write_video
from videoswin.classifier.classifier import Classifier
from videoswin.cli.main import main
from videoswin.data.annotations import Clip
from videoswin.data.decode import Limits
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import VideoError
from videoswin.features.clips import Found
from videoswin.train import start, way_of_looking
from videoswin.train.footage import Footage
from videoswin.train.preferences import Preferences
from videoswin.train.way_of_looking import choose_way, clips_to_ask, ways_to_try

WHOLE = Preprocessing(clip_len=16, sampling="uniform", size=(32, 32), short_side=32)
FOOTAGE = Footage(clips=40, classes=2, groups=4, seconds=3.0, longest=4.0, fps=25.0)
ROWS = [Clip(Path(f"{number}.mp4"), "ab"[number % 2], "", f"person {number // 10}") for number in range(40)]


def test_both_ways_are_tried_where_nothing_is_asked() -> None:
    whole, part = ways_to_try(Preferences(), WHOLE, FOOTAGE)
    assert whole == WHOLE
    assert (part.sampling, part.fps, part.clip_len) == ("time", 12.5, 16)


@pytest.mark.parametrize(
    "wanted",
    [
        {"sampling": "uniform"},
        {"clip_len": 8},
        {"sampling": "time", "fps": 5.0},
        {"causal": True},
        {"recipe": "scratch"},
    ],
)
def test_what_the_caller_wants_is_not_overruled(wanted: dict) -> None:
    assert ways_to_try(Preferences(**wanted), WHOLE, FOOTAGE) == (WHOLE,)


@pytest.mark.parametrize("changes", [{"seconds": 1.5}, {"fps": 10.0}, {"seconds": 0.0}])
def test_short_or_slow_clips_leave_no_choice(changes: dict) -> None:
    assert len(ways_to_try(Preferences(), WHOLE, replace(FOOTAGE, **changes))) == 1


def test_too_few_clips_are_not_asked() -> None:
    assert clips_to_ask(ROWS) == ROWS
    assert clips_to_ask(ROWS[:20]) == []
    assert clips_to_ask([replace(row, group="one") for row in ROWS]) == []
    assert clips_to_ask([]) == []
    assert len(clips_to_ask(ROWS * 20)) == 300


def features_that_know(way: str, known: float, monkeypatch: pytest.MonkeyPatch, bad: tuple[Clip, ...] = ()) -> None:
    """Features of the way with sampling ``way`` show the class of the share ``known`` of the clips; of the other way, of all but
    one in ten."""

    def look(classifier: Classifier, rows: list[Clip], limits: Limits):
        share = known if classifier.preprocessing.sampling == way else 0.9
        for number, row in enumerate(rows):
            if row in bad:
                yield VideoError(row.path, "it is damaged", "Leave it out")
                continue
            told = (number * 7 % 10) / 10 < share
            sign = 1.0 if (row.label == "a") == told else -1.0
            vector = torch.tensor([sign, 0.1 * (number % 3)])
            yield Found(
                row,
                row.path,
                {f"{kind}.1": vector if kind == "pooled" else vector[None] for kind in ("pooled", "times", "tokens")},
                True,
            )

    monkeypatch.setattr(way_of_looking, "clip_features", look)


def chosen(parts: list[list[Clip]] | None = None, rows: list[Clip] = ROWS) -> way_of_looking.Way:
    ways = ways_to_try(Preferences(), WHOLE, FOOTAGE)
    return choose_way(tiny_classifier(), ways, rows, parts or [])


def test_the_part_is_chosen_where_it_shows_more(monkeypatch: pytest.MonkeyPatch) -> None:
    features_that_know("uniform", 0.6, monkeypatch)
    way = chosen()
    assert way.changes == {"clip_len": 16, "sampling": "time", "fps": 12.5, "by_the_clips": True}
    assert "1.3 s at 12.5 frames a second of each clip" in way.note
    assert "40 held-out clips" in way.note


def test_all_of_each_clip_where_the_part_hides_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    features_that_know("time", 0.6, monkeypatch)
    way = chosen()
    assert way.changes == {}
    assert "all of each clip" in way.note


def test_folds_that_say_otherwise_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    features_that_know("time", 0.6, monkeypatch)
    agreeing = [row for number, row in enumerate(ROWS) if number < 30]
    assert "say the same" not in chosen([agreeing]).note
    known = [row for number, row in enumerate(ROWS) if (number * 7 % 10) / 10 < 0.6]
    assert "0 of 1 say the same" in chosen([known]).note


def test_two_persons_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fold learns from one of them alone."""
    features_that_know("uniform", 0.6, monkeypatch)
    rows = [replace(row, group=f"person {number // 20}") for number, row in enumerate(ROWS)]
    assert chosen([rows[:20]], rows).changes["sampling"] == "time"


def test_unreadable_clips_are_left_to_the_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    features_that_know("uniform", 0.6, monkeypatch, bad=(ROWS[3],))
    assert "39 held-out clips" in chosen().note
    features_that_know("uniform", 0.6, monkeypatch, bad=tuple(ROWS[:30]))
    assert chosen() == way_of_looking.Way({}, "")


def test_clips_may_cost_what_the_caller_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``train --limits`` holds for this look as for all others."""
    asked = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(way_of_looking, "clip_features", lambda seen, rows, limits: asked.append(limits) or [])
    tiny = tiny_classifier()
    tiny.preprocessing = replace(tiny.preprocessing, sampling="uniform")
    tiny.save(tmp_path / "start")
    monkeypatch.setattr(start, "DEFAULT_START", str(tmp_path / "start"))
    for number in range(24):
        write_video(tmp_path / "data" / "ab"[number % 2] / f"{number}.mp4", frames=30, fps=15, seed=number)
    command = ["train", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--limits", "seconds=50000,timeout=9"]
    with pytest.raises(ValueError, match="shorter"):  # no features came, which is what ends it here
        main(command)
    assert asked == [Limits(max_seconds=50000, timeout_s=9)]
