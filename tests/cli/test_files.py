"""Files as people name them on the command line, and what it says about those that cannot be read."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.media_helpers import MEDIA
from tests.tiny import LABELS, tiny_classifier, write_video
from videoswin.cli.main import main

CUTS = MEDIA / "cuts"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("files")
    tiny_classifier().save(root / "ck")
    for name in ("-abc123.mp4", "b.mp4"):
        write_video(root / name, frames=18)
    return root


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def predict(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, object]], str]:
    code = main(["predict", *arguments, "--weights", "ck", "--json"])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def test_a_file_whose_name_begins_with_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    code, (first, second), _ = predict(capsys, "-abc123.mp4", "-gone.MP4")
    assert code == 1
    assert first["error"] is None
    assert first["path"] == os.path.join(".", "-abc123.mp4")
    assert "the file was not found" in str(second["error"])


def test_a_pattern_that_no_shell_has_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = predict(capsys, "*.mp4")
    assert (code, [line["path"] for line in lines]) == (0, ["-abc123.mp4", "b.mp4"])
    code, (line,), _ = predict(capsys, "*.mkv")
    assert code == 2
    assert (
        line["error"]
        == "*.mkv: the file was not found. No file matches this pattern; check the folder, or name the files"
    )


@pytest.mark.parametrize("name", ["C:\\x.mp4", "C:/x.mp4", "take 2: final.mp4"])
def test_a_colon_makes_no_address(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, (line,), _ = predict(capsys, name)
    assert str(line["error"]).endswith("the file was not found. Check the path")


def test_what_cannot_be_known_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "cut.ts").write_bytes((CUTS / "whole.ts").read_bytes()[: 188 * 60])
    (tmp_path / "cut.flv").write_bytes((CUTS / "whole.flv").read_bytes()[:-200])
    names = [str(CUTS / "whole.mp4"), str(tmp_path / "cut.ts"), str(tmp_path / "cut.flv")]
    code, lines, _ = predict(capsys, *names)
    assert (code, [line["complete"] for line in lines]) == (1, [True, None, False])
    assert main(["predict", *names[:2], "--weights", "ck"]) == 0
    whole, cut = (line for line in capsys.readouterr().out.splitlines() if "looked at" in line)
    assert "nothing in the file says where it ends" in cut
    assert "nothing in the file" not in whole


def test_limits_can_be_raised_by_who_trusts_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    code, (line,), _ = predict(capsys, "b.mp4", "--limits", "seconds=0.1")
    assert code == 2
    assert "--limits seconds=N" in str(line["error"])
    assert predict(capsys, "b.mp4", "--limits", "none")[0] == 0
    assert main(["predict", "b.mp4", "--weights", "ck", "--limits", "hours=3"]) == 2
    assert 'The limits "hours=3" are not understood' in capsys.readouterr().err


def test_debug_shows_the_cause(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes((CUTS / "whole.mp4").read_bytes()[:40] + b"\xff" * 4000)
    _, _, plain = predict(capsys, str(bad))
    assert "Traceback" not in plain
    assert len(plain.splitlines()) == 1
    _, _, full = predict(capsys, str(bad), "--debug")
    assert full.startswith(plain)
    assert "Traceback" in full
    assert "direct cause" in full


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_sigterm_while_clips_are_read_is_130(tmp_path: Path) -> None:
    for number in range(2):
        for label in LABELS[:2]:
            write_video(tmp_path / "data" / label / f"{number}.mp4", frames=400, size=(64, 64))
    wait = "import videoswin.data.part as p, time; real = p.open_video\n"
    slow = "def open_video(*a, **k):\n    print('reading', flush=True); time.sleep(30); return real(*a, **k)\n"
    run = "p.open_video = open_video\nimport sys; from videoswin.cli.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["train", str(tmp_path / "data"), "--weights", "ck", "--out", str(tmp_path / "run"), "--val-share", "0"]
    with subprocess.Popen(
        [sys.executable, "-c", wait + slow + run, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "reading\n"
        time.sleep(0.1)  # into the sleep
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 130
        assert "interrupted" in process.stderr.read()
