"""Segments of other tools: there and back to a millisecond, hostile files refused, and detections judged as ActivityNet does."""

import json
from pathlib import Path

import pytest

from tests.media_helpers import encode, moving_picture
from tests.tiny import write_video
from videoswin.cli.main import main
from videoswin.data.annotations import read_index
from videoswin.data.decode import open_video
from videoswin.data.segments.formats import FORMATS, format_of
from videoswin.data.segments.tracks import Mark, Track, frame_span
from videoswin.errors import ConfigError
from videoswin.features.extract import rows_of
from videoswin.predict.segment_metrics import average_precision, detection_metrics

LABELS = ("wave & <nod>", "clap", '=1+1, "q"', "é 手")
MARKS = tuple(Mark(n * 7.1234, n * 7.1234 + 1.0006, label, 0.25 + n / 10) for n, label in enumerate(LABELS))


@pytest.mark.parametrize("name", FORMATS)
def test_there_and_back(name: str, tmp_path: Path) -> None:
    form = FORMATS[name]
    track = Track("some clip.mp4", MARKS, 40.0, 25.0)
    path = tmp_path / f"x{form.suffix}"
    path.write_text(form.write([track]), encoding="utf-8")
    assert format_of(path).name == name
    (found,) = form.read(path)
    assert Path(found.path).stem == "some clip"
    assert [mark.label for mark in found.marks] == list(LABELS)
    for mine, theirs in zip(MARKS, found.marks, strict=True):
        assert theirs.start_s == pytest.approx(mine.start_s, abs=5.1e-4)
        assert theirs.end_s == pytest.approx(mine.end_s, abs=5.1e-4)
    path.write_text(form.write([found]), encoding="utf-8")
    assert form.read(path) == [found]  # the second time nothing moves


BOMB = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>
<ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>"""
OUTSIDE = """<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><ANNOTATION_DOCUMENT>&x;</ANNOTATION_DOCUMENT>"""


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.eaf", BOMB, "document type"),
        ("a.eaf", OUTSIDE, "document type"),
        ("a.eaf", "<a>" * 100 + "</a>" * 100, "deep"),
        ("a.eaf", "<HTML/>", "not ANNOTATION_DOCUMENT"),
        ("a.eaf", "<ANNOTATION_DOCUMENT>", "no XML"),
        ("a.json", "[" * 100_000, "no JSON"),
        ("a.json", '{"database": {}, "database": {}}', "twice"),
        ("a.json", '{"database": {"v": {"annotations": [{"segment": [NaN, 1], "label": "x"}]}}}', "NaN"),
        ("a.json", '{"database": {"v": {"annotations": [{"segment": [2, 1], "label": "x"}]}}}', "before it begins"),
        ("a.json", '{"database": {"v": {"annotations": [{"segment": [-2, 1], "label": "x"}]}}}', "no time"),
        ("a.json", '{"database": {"v": {"annotations": [{"segment": [0], "label": "x"}]}}}', "lacks"),
        ("a.json", '{"database": []}', "lacks"),
        ("a.json", '{"other": 1}', "no known format"),
        ("a.vtt", "WEBVTT\n\n1\n00:01 --> 99\nx\n", "times"),
        ("a.csv", "a,b\n1,2\n", "no columns"),
        ("a.csv", "video,label,start,end,note\nv.mp4,x,1,2,-\nv.mp4,x,3\n", "row 3 has 3 cells"),
        ("a.csv", "video,label,start,end\nv.mp4," + "x" * 200_000 + ",1,2\n", "lacks"),
        ("a.json", '{"results": {"v": [{"segment": [0, 1], "label": "x", "score": "nan"}]}}', "the score 'nan'"),
        ("a.json", '{"results": {"v": [{"segment": [0, 1], "label": "x", "score": 1e999}]}}', "the score 'inf'"),
        ("a.json", '{"database": {"v": {"duration": "long"}}}', "a duration is 'long'"),
        ("a.json", '[{"data": {"sound": "a.wav"}, "annotations": []}]', "lacks"),
        (
            "a.json",
            '{"classes": ["x"], "labels": {"v": [{"label": -1, "timestamps": [0, 1]}]}}',
            "none of its 1 classes",
        ),
        ("a.vtt", f"WEBVTT\n\n{'9' * 5000}:00:00.000 --> 00:01.000\nx\n", "lacks"),
    ],
)
def test_hostile_and_broken_files_are_one_line(tmp_path: Path, name: str, text: str, reason: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason) as caught:
        format_of(path).read(path)
    assert "\n" not in str(caught.value)


def test_frame_numbers_are_exact_at_a_varying_rate(tmp_path: Path) -> None:
    stamps = [0, 40, 80, 200, 210, 220, 500, 540]
    path = encode(tmp_path / "v.mp4", moving_picture(8), stamps=stamps)
    with open_video(path) as video:
        track = Track("v.mp4", times=video.times.tolist(), fps=video.info.fps)
    assert frame_span(Mark(0.08, 0.21, "x"), track) == (2, 3)
    assert frame_span(Mark(0.2, 0.541, "x"), track) == (3, 7)
    assert frame_span(Mark(0.0, 1.0, "x"), Track("v.mp4")) is None


def test_a_list_for_training_comes_from_any_of_them(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", frames=36)
    track = Track("v.mp4", (Mark(0.5, 1.0, "clap"), Mark(1.5, 2.25, "nod")))
    for name in FORMATS:
        path = tmp_path / f"{name}{FORMATS[name].suffix}"
        path.write_text(FORMATS[name].write([track]))
        for rows in (read_index(path).rows, rows_of([path])):
            assert [(row.path.name, row.label, row.start, row.end) for row in rows] == [
                ("v.mp4", "clap", 0.5, 1.0),
                ("v.mp4", "nod", 1.5, 2.25),
            ]
    away = tmp_path / "away.json"
    away.write_text(FORMATS["activitynet"].write([Track("../../etc/passwd", track.marks)]))
    with pytest.raises(ConfigError, match="is not below"):
        read_index(away)


def test_average_precision_by_hand() -> None:
    truth = {"v": [Mark(0, 10, "x"), Mark(20, 30, "x")]}
    found = [("v", Mark(0, 10, "x", 0.9)), ("v", Mark(50, 60, "x", 0.8)), ("v", Mark(21, 30, "x", 0.7))]
    assert average_precision(truth, found, 0.5) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert average_precision(truth, found, 0.95) == pytest.approx(0.5)
    twice = [("v", Mark(0, 10, "x", 0.9)), ("v", Mark(0, 10, "x", 0.8))]
    assert average_precision(truth, twice, 0.5) == pytest.approx(0.5)
    assert average_precision(truth, [("w", Mark(0, 10, "x", 0.9))], 0.3) == 0
    perfect = detection_metrics(truth, {"v": [m._replace(score=1.0) for m in truth["v"]]})
    assert perfect.means == (1, 1, 1, 1, 1)
    assert detection_metrics({**truth, "w": [Mark(0, 1, "y")]}, {}).mean == 0
    with pytest.raises(ConfigError, match="no score"):
        detection_metrics(truth, truth)


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "v.mp4", frames=36)
    path = tmp_path / "a.json"
    path.write_text(FORMATS["activitynet"].write([Track("v.mp4", (Mark(0.5, 1.0, "clap", 0.9),))]))
    assert main(["annotations", str(path), str(tmp_path / "b.csv"), "--to", "boris"]) == 0
    assert ",6,11\n" in (tmp_path / "b.csv").read_text()  # frames at 12 a second
    assert main(["annotations", str(path), str(tmp_path / "eaf"), "--to", "elan"]) == 0
    assert main(["annotations", str(path), str(tmp_path / "l.csv"), "--to", "list"]) == 0
    assert read_index(tmp_path / "l.csv").rows[0].end == 1.0
    assert main(["annotations", str(path), str(tmp_path / "l.csv"), "--to", "list"]) == 2  # left alone
    for folder in (tmp_path.parent, tmp_path / "elsewhere"):  # the videos are found from where the list lies
        folder.mkdir(exist_ok=True)
        assert main(["annotations", str(path), str(folder / f"{tmp_path.name}.csv"), "--to", "list"]) == 0
        assert read_index(folder / f"{tmp_path.name}.csv").rows[0].path == tmp_path / "v.mp4"
    capsys.readouterr()
    truth = str(tmp_path / "eaf" / "v.eaf")
    scored = tmp_path / "timeline.json"
    segments = [{"start_s": 0.5, "end_s": 1.0, "label": "clap", "score": 0.9}]
    scored.write_text(json.dumps({"path": "v.mp4", "duration_s": 3.0, "segments": segments}))
    assert main(["annotations", str(scored), "--truth", truth, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == 1.0
    assert main(["annotations", str(path)]) == 2


FOLDERS = [
    Track("nod/1.mp4", (Mark(0.5, 1.0, "nod", 0.9),)),
    Track("wave/1.mp4", (Mark(1.5, 2.0, "wave", 0.8),)),
    Track("2.mp4", (Mark(0.0, 1.0, "wave", 0.7),)),
]


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if not form.one_video])
def test_videos_of_one_name_in_several_folders_are_all_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{FORMATS[name].suffix}"
    path.write_text(FORMATS[name].write(FOLDERS), encoding="utf-8")
    found = FORMATS[name].read(path)
    assert sorted(mark.label for track in found for mark in track.marks) == ["nod", "wave", "wave"]
    for track in FOLDERS:
        video = tmp_path / track.path
        video.parent.mkdir(exist_ok=True)
        video.touch()
    index = read_index(path)
    assert {(row.path.relative_to(tmp_path).as_posix(), row.label, row.start) for row in index.rows} == {
        (track.path, mark.label, mark.start_s) for track in FOLDERS for mark in track.marks
    }


def test_detections_in_videos_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = tmp_path / "truth.json", tmp_path / "found.json"
    truth.write_text(FORMATS["activitynet"].write(FOLDERS))
    results = {str(tmp_path / track.path): track.marks for track in FOLDERS}

    def write(results: dict[str, tuple[Mark, ...]]) -> None:
        content = {
            name: [{"segment": [m.start_s, m.end_s], "label": m.label, "score": m.score} for m in marks]
            for name, marks in results.items()
        }
        found.write_text(json.dumps({"results": content}))

    write(results)
    assert main(["annotations", str(found), "--truth", str(truth), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == 1.0
    for wrong in ({"1": FOLDERS[0].marks}, {"a/2.mp4": FOLDERS[2].marks, "b/2.mp4": FOLDERS[2].marks}):
        write(wrong)
        assert main(["annotations", str(found), "--truth", str(truth), "--json"]) == 2
        assert "cannot be told which video is meant" in capsys.readouterr().err
    assert main(["annotations", str(truth), str(tmp_path / "eaf"), "--to", "elan"]) == 0
    assert sorted(path.name for path in (tmp_path / "eaf").iterdir()) == ["2.eaf", "nod__1.eaf", "wave__1.eaf"]


def test_a_file_that_elan_aligned_with_others_begins_later(tmp_path: Path) -> None:
    """TIME_ORIGIN is how much of the file lies before ELAN's time 0."""
    path = tmp_path / "x.eaf"
    text = FORMATS["elan"].write([Track("v.mp4", (Mark(0.5, 1.0, "clap"),))])
    path.write_text(text.replace("<MEDIA_DESCRIPTOR ", '<MEDIA_DESCRIPTOR TIME_ORIGIN="2000" '))
    (track,) = FORMATS["elan"].read(path)
    assert track.marks == (Mark(2.5, 3.0, "clap"),)


def test_a_second_entry_of_a_video_adds_to_the_first(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(FORMATS["label-studio"].write([FOLDERS[0], FOLDERS[0]]))
    (track,) = FORMATS["label-studio"].read(path)
    assert track.marks == FOLDERS[0].marks * 2


def test_a_list_of_ours_is_no_table_of_another_tool(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", frames=36)
    for header in ("path,label,start,end,group", "\nPath,Label,start,end,group", "video,label,start,end,path,group"):
        cells = {"path": "v.mp4", "label": "nod", "start": "0.5", "end": "1.5", "group": "anna", "video": "w"}
        row = ",".join(cells[name] for name in header.strip().lower().split(","))
        (tmp_path / "l.csv").write_text(f"{header}\n{row}\n")
        (clip,) = read_index(tmp_path / "l.csv").rows
        assert (clip.label, clip.start, clip.end, clip.group) == ("nod", 0.5, 1.5, "anna")
