"""timeline and features write the files of annotation tools, which annotations reads again."""

import json
from pathlib import Path

import pytest

from tests.tiny import tiny_classifier, write_video
from videoswin.cli.main import main
from videoswin.data.preprocessing import Preprocessing
from videoswin.data.segments.formats import FORMATS, format_of

TIME = Preprocessing(clip_len=8, sampling="time", fps=6, size=(32, 32), short_side=32)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotations")
    tiny_classifier(preprocessing=TIME).save(folder / "m")
    write_video(folder / "v.mp4", frames=60, fps=12)
    return folder


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_timeline_in_every_format(place: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"made{FORMATS[name].suffix}"
    command = ["timeline", str(place / "v.mp4"), "--weights", str(place / "m"), "--enter", "0.3", "--leave", "0.2"]
    assert main([*command, "--min-duration", "0.1", "--json", "--annotations", str(path), "--format", name]) == 0
    segments = json.loads(capsys.readouterr().out)["segments"]
    assert segments
    assert format_of(path).name == name
    (track,) = format_of(path).read(path)
    assert Path(track.path).stem == "v" or name == "webvtt"  # which names no video
    assert [mark.label for mark in track.marks] == [s["label"] for s in segments]
    for mark, segment in zip(track.marks, segments, strict=True):
        assert (mark.start_s, mark.end_s) == pytest.approx((segment["start_s"], segment["end_s"]), abs=1.1e-3)


def test_the_ending_says_the_format_and_what_is_there_stays(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["timeline", str(place / "v.mp4"), "--weights", str(place / "m"), "--enter", "0.3", "--annotations"]
    for ending, name in ((".json", "activitynet"), (".eaf", "elan"), (".vtt", "webvtt")):
        assert main([*command, str(tmp_path / f"a{ending}")]) == 0
        assert format_of(tmp_path / f"a{ending}").name == name
    assert main([*command, str(tmp_path / "a.vtt")]) == 2
    assert "left alone" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "a.vtt" / "b.vtt")]) == 2
    assert "below a file" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "a.csv")]) == 2
    assert "boris" in capsys.readouterr().err
    assert main([*command[:-1], "--format", "elan"]) == 2
    assert "--annotations FILE" in capsys.readouterr().err


def test_features_writes_the_segments_of_its_list(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "list.csv").write_text("path,label,start,end\nv.mp4,nod,0.5,1.25\nv.mp4,wave,2,3.5\n")
    command = ["features", str(place / "list.csv"), "--weights", str(place / "m"), "--out", str(tmp_path / "f")]
    assert main([*command, "--device", "cpu", "--annotations", str(tmp_path / "a.eaf")]) == 0
    (track,) = format_of(tmp_path / "a.eaf").read(tmp_path / "a.eaf")
    assert [(m.start_s, m.end_s, m.label) for m in track.marks] == [(0.5, 1.25, "nod"), (2.0, 3.5, "wave")]
    two = [str(place / "v.mp4"), str(write_video(tmp_path / "w.mp4", frames=24, fps=12))]
    command = ["features", *two, "--weights", str(place / "m"), "--out", str(tmp_path / "g"), "--annotations"]
    assert main([*command, str(tmp_path / "b.eaf")]) == 2
    assert "about one video, and these are 2" in capsys.readouterr().err
    assert not (tmp_path / "g").exists()  # asked for before the work
