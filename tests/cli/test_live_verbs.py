"""The verbs stream and timeline as their users meet them."""

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from rich.console import Console

from tests.live.helpers import scene
from tests.media_helpers import encode
from tests.tiny import LABELS, tiny_classifier
from videoswin.cli.live_view import LiveView
from videoswin.cli.main import main
from videoswin.data.decode import open_video
from videoswin.data.preprocessing import Preprocessing
from videoswin.live.decisions import DecisionSettings, Event, Segment, Standing
from videoswin.live.session import SessionStats
from videoswin.live.sources import Health
from videoswin.live.timeline_files import clock_time, to_webvtt
from videoswin.live.tracker import Tracker, Update

LOW = ["--enter", "0.4", "--leave", "0.3", "--min-duration", "0.1", "--hop-seconds", "0.2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("live")
    tiny_classifier(labels=("<b>clap</b>", "nod", "wave --> x")).save(root / "ck")
    tiny_classifier(preprocessing=Preprocessing(8, "uniform", size=(32, 32), short_side=32)).save(root / "whole")
    encode(root / "a & b's.mp4", np.concatenate([scene(36, seed) for seed in range(3)]), rate=12)
    encode(root / "v.ts", scene(30, 0), rate=12, container="mpegts")
    return root


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "100")


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_timeline_writes_its_five_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["timeline", "a & b's.mp4", "--weights", "ck", *LOW, "--out", str(out)]) == 0
    text, err = capsys.readouterr()
    assert "2 cuts" in text
    assert str(out) in err
    assert sorted(p.name for p in out.iterdir()) == [
        f"timeline.{kind}" for kind in ("csv", "html", "json", "png", "vtt")
    ]
    found = json.loads((out / "timeline.json").read_text())
    rows = (out / "timeline.csv").read_text().splitlines()
    assert rows[0] == "start_s,end_s,label,score"
    assert len(rows) - 1 == len(found["segments"]) > 0
    assert (out / "timeline.vtt").read_text().count(" --> ") == len(found["segments"])
    assert (out / "timeline.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_escapes_and_finds_its_video(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["timeline", "a & b's.mp4", "--weights", "ck", *LOW, "--out", "page"])
    page = (place / "page" / "timeline.html").read_text()
    assert "<b>clap" not in page
    assert 'src="../a%20%26%20b%27s.mp4"' in page
    assert "http://" not in page
    assert "https://" not in page
    found = json.loads((place / "page" / "timeline.json").read_text())
    assert page.count('class="seg"') == len(found["segments"])


def test_timeline_json_and_the_length_of_an_action(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["timeline", "a & b's.mp4", "--weights", "whole", "--json"]) == 2
    assert "--clip-seconds" in capsys.readouterr().err
    assert main(["timeline", "a & b's.mp4", "--weights", "whole", "--clip-seconds", "3", *LOW, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["duration_s"] == 9.0
    assert {"path", "checkpoint", "cuts", "samples", "skipped", "segments"} < found.keys()


def test_subtitles_hold_no_markup() -> None:
    text = to_webvtt([Segment(3599.9996, 3661.5, "a --> <b>\n\nc", 0.5)])
    assert text.splitlines()[2:5] == ["1", "01:00:00.000 --> 01:01:01.500", "a --&gt; &lt;b&gt; c (50 %)"]
    assert clock_time(59.999) == "1:00.00"
    assert clock_time(3723.45) == "1:02:03.45"


def test_stream_json_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stream", "a & b's.mp4", "--weights", "ck", *LOW, "--fast", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = lines(out)
    assert {row["type"] for row in rows} == {"scores", "start", "end", "status"}
    assert rows[-1] | {"pictures": 108, "cuts": 2, "dropped": 0, "state": "ended"} == rows[-1]
    starts = [row for row in rows if row["type"] == "start"]
    assert len(starts) == len([row for row in rows if row["type"] == "end"]) >= 3
    assert all(abs(sum(row["scores"].values()) - 1) < 1e-3 for row in rows if row["type"] == "scores")


def test_stream_text_and_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "r.mp4"
    assert main(["stream", "a & b's.mp4", "--weights", "ck", *LOW, "--fast", "--record", str(record)]) == 0
    out, err = capsys.readouterr()
    assert "start" in out
    assert "108 frames, 2 cuts, 0 dropped" in err
    with open_video(record) as video:
        assert (video.info.width, video.info.height) == (128, 96)
        assert 0 < video.info.duration_s <= 9.5  # an encoder that is too slow leaves frames out


def test_a_recording_never_replaces_its_source_or_a_file_of_others(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "clip.mp4"
    shutil.copy(place / "a & b's.mp4", source)
    os.link(source, tmp_path / "same.mp4")
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "holiday.mp4").write_bytes(source.read_bytes()[:-1])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for name in ("clip.mp4", "same.mp4", "link.mp4", "holiday.mp4", "/dev/null"):
        record = str(tmp_path / name)
        assert main(["stream", str(source), "--weights", "ck", *LOW, "--fast", "--record", record]) == 2, name
        err = capsys.readouterr().err
        assert err.count("\n") == 1, err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_recording_replaces_an_older_one_when_it_is_whole(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "r.mp4"
    command = ["stream", "a & b's.mp4", "--weights", "ck", *LOW, "--fast", "--record", str(record)]
    assert main(command) == 0
    before = record.read_bytes()
    assert main(command) == 0
    assert list(tmp_path.iterdir()) == [record]
    broken = tmp_path / "broken.y4m"
    header = b"YUV4MPEG2 W64 H48 F10:1 C420jpeg\n"
    broken.write_bytes(header + 30 * (b"FRAME\n" + bytes(64 * 48 * 3 // 2)) + b"FRAME\nhalf")
    capsys.readouterr()
    with open(broken, "rb") as pipe, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
        assert main(["stream", "-", "--weights", "ck", *LOW, "--fast", "--record", str(record)]) == 2
    err = capsys.readouterr().err
    assert "30 frames" in err  # what came is told all the same
    assert "inside a frame" in err
    assert record.read_bytes() != before
    with open_video(record) as video:
        assert len(video) == 30  # the source broke; the recording of it is whole


def test_an_encoder_that_fails_is_told_at_once_and_the_stream_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from videoswin.data.record import Recorder

    def fails(self: Recorder) -> None:
        raise SystemExit("no space")

    monkeypatch.setattr(Recorder, "_encode", fails)
    record = tmp_path / "r.mp4"
    record.touch()
    assert main(["stream", "a & b's.mp4", "--weights", "ck", *LOW, "--fast", "--record", str(record)]) == 2
    out, err = capsys.readouterr()
    assert "start" in out
    assert "108 frames" in err
    assert "the recording stopped (no space)" in err
    assert [path.name for path in tmp_path.iterdir()] == ["r.mp4"]


def test_timeline_writes_over_nothing_of_others(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["timeline", str(place / "a & b's.mp4"), "--weights", "ck", *LOW, "--out"]
    (tmp_path / "file").touch()
    assert main([*command, str(tmp_path / "file")]) == 2
    out = tmp_path / "out"
    out.mkdir()
    (out / "timeline.csv").write_text("my own table\n")
    assert main([*command, str(out)]) == 2
    assert "timeline.csv" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["timeline.csv"]
    (out / "timeline.csv").unlink()
    for _ in range(2):  # and its own files it replaces
        assert main([*command, str(out)]) == 0


def test_labels_do_no_harm_in_files(place: Path, tmp_path: Path) -> None:
    labels = ("=HYPERLINK(1)", "a\u009b\u202egpj", "@SUM")
    tiny_classifier(labels=labels).save(tmp_path / "odd")
    out = tmp_path / "out"
    assert (
        main(["timeline", str(place / "a & b's.mp4"), "--weights", str(tmp_path / "odd"), *LOW, "--out", str(out)]) == 0
    )
    table = (out / "timeline.csv").read_text()
    cells = {row[2] for row in list(csv.reader(table.splitlines()))[1:]}
    assert cells <= {"'=HYPERLINK(1)", "a\\x9b\\u202egpj", "'@SUM"}
    for name in ("csv", "json", "vtt", "html"):
        text = (out / f"timeline.{name}").read_text()
        if name != "html":
            assert not {"\u009b", "\u202e"} & set(text), name
    found = json.loads((out / "timeline.json").read_text())
    assert {segment["label"] for segment in found["segments"]} <= set(labels)


def test_no_segments_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["timeline", "a & b's.mp4", "--weights", "ck", "--enter", "1", "--hop-seconds", "0.2"]) == 0
    err = capsys.readouterr().err
    assert "the best score was" in err
    assert "a label needs 100.0 % for 0.5 s" in err
    assert "--enter 0." in err


def test_old_names_of_options_still_work(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO(bytes(30 * 40 * 3) * 40)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=raw))
    assert main(["stream", "-", "--weights", "ck", "--size", "40x30", "--rate", "10", "--fast", "--json"]) == 0
    out, err = capsys.readouterr()
    assert lines(out)[-1]["pictures"] == 40
    assert "--size is now called --pipe-size" in err
    assert "--rate is now called --pipe-fps" in err


def test_stream_from_a_pipe(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Stdin:
        buffer = io.BytesIO((place / "v.ts").read_bytes())

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert main(["stream", "-", "--weights", "ck", "--queue-seconds", "100", "--clip-seconds", "1", "--json"]) == 0
    assert lines(capsys.readouterr().out)[-1]["pictures"] == 30


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["987"], "camera 987"),
        (["ftp://x/y"], "rtsp"),
        (["no.mp4"], "not found"),
        (["v.ts", "--pipe-size", "3x4"], "--pipe-size"),
        (["-", "--pipe-size", "big"], "640x480"),
        (["v.ts", "--enter", "0.1"], "leave"),
        (["v.ts", "--clip-seconds", "0"], "clip_seconds"),
        (["v.ts", "--record", "no/such/folder.mp4"], "folder"),
    ],
)
def test_stream_says_what_is_wrong(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stream", *arguments, "--weights", "ck"]) == 2
    err = capsys.readouterr().err
    assert hint in err
    assert err.count("\n") == 1


def test_the_view_shows_labels_latency_and_trouble() -> None:
    view, console = a_view()
    events = [Event("start", 1, 2.5, 3.0, 0.7)]
    view.add(Update(3.25, 3.25, [0.1, 0.7, 0.2], Standing(1), events, 0.0))
    health = Health(pictures=10, reconnects=2, width=640, height=480, state="running")
    tracker = cast(Tracker, SimpleNamespace(skipped=1, samples=4))
    console.print(view.content(SessionStats(0.0423, 29.97, 7.5, 3), health, tracker, cuts=1))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in (
        "nod",
        "70.0 %",
        "latency 42 ms",
        "30.0 fps",
        "dropped 3",
        "reconnects 2",
        "1 cut",
        "25 % of runs skipped",
        "start",
    ):
        assert part in text
    assert "clap" not in text


@pytest.mark.parametrize(
    ("standing", "why"),
    [
        (Standing(None), "waiting for the first answer"),
        (Standing(None, 2, 0.456), "best is wave 45.6 %; a label needs 70.0 %"),
        (Standing(None, 2, 0.75, 0.25), "wave 75.0 % has held for 0.2 of 0.5 s"),
    ],
)
def test_none_says_what_it_waits_for(standing: Standing, why: str) -> None:
    view, console = a_view()
    view.add(Update(1.0, 1.0, [0.2, 0.3, 0.456] if standing.best else [], standing, [], 0.0))
    tracker = cast(Tracker, SimpleNamespace(skipped=0, samples=4))
    console.print(view.content(SessionStats(0, 30, 7.5, 0), Health(), tracker, cuts=0))
    assert why in console.file.getvalue()  # type: ignore[attr-defined]


def a_view() -> tuple[LiveView, Console]:
    console = Console(width=90, file=io.StringIO())
    return LiveView("cam \x1b[31m", LABELS, 2, DecisionSettings(0.3, 0.7, 0.4, 0.5), console), console
