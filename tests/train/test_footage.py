"""What clips are like."""

from pathlib import Path

import pytest

from tests.tiny import write_video
from videoswin.data.annotations import Clip
from videoswin.train.footage import look_at


def row(path: Path, label: str = "nod", group: str = "") -> Clip:
    return Clip(path, label, "", group, 0)


def test_lengths_and_rates(videos: Path):
    footage = look_at([row(path, path.parent.name, "eva") for path in sorted(videos.glob("*/*.mp4"))])
    assert (footage.clips, footage.classes, footage.groups) == (12, 2, 1)
    assert footage.seconds == pytest.approx(10 / footage.fps, rel=0.01)
    assert "12 clips of 2 classes in 1 groups" in str(footage)


def test_clips_that_cannot_be_read_are_left_to_others(tmp_path: Path):
    (tmp_path / "no.mp4").write_bytes(b"no video")
    assert look_at([row(tmp_path / "no.mp4")]).seconds == 0
    write_video(tmp_path / "one.mp4", frames=1)
    assert look_at([row(tmp_path / "one.mp4"), row(tmp_path / "no.mp4")]).fps == 0
