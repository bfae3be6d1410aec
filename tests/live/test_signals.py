"""Ctrl-C, SIGTERM and kill -9 at random moments: a stream that stalls ends well, and a timeline loses nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.live.helpers import scene
from tests.live.servers import http, rtsp, server, until_closed
from tests.media_helpers import encode, moving_picture
from tests.tiny import tiny_classifier
from videoswin.cli.main import main
from videoswin.data.preprocessing import Preprocessing

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("signals")
    tiny_classifier(preprocessing=Preprocessing(8, "time", fps=6.0, size=(32, 32), short_side=32)).save(root / "ck")
    encode(root / "v.ts", moving_picture(720, 16, 16), rate=12, container="mpegts")
    encode(root / "long.mp4", np.concatenate([scene(60, seed) for seed in range(12)]), rate=12)
    return root


@pytest.fixture
def stalled(request: pytest.FixtureRequest, place: Path) -> Iterator[tuple[str, str]]:
    """What to stream, and what comes through standard input."""
    data = (place / "v.ts").read_bytes()
    with ExitStack() as stack:
        if request.param == "pipe":
            yield "-", str(place / "v.ts")
            return
        if request.param == "empty pipe":
            (place / "empty").touch()
            yield "-", str(place / "empty")
            return

        def http_answer(connection: object, text: str) -> None:
            http(data)(connection, text)  # type: ignore[arg-type]
            until_closed(connection)  # type: ignore[arg-type]

        kind, _, when = request.param.partition(" ")
        answer = http_answer if kind == "http" else rtsp(data, then=when)
        yield f"{kind}://127.0.0.1:{stack.enter_context(server(answer))}/x", "-"


def ended(count: int, signal: str, longest_s: float, stdin: str, *arguments: str) -> tuple[list[int | str], str]:
    command = [sys.executable, "-m", "tests.live.fork_runs", str(count), signal, str(longest_s), stdin, *arguments]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=True)
    answer = json.loads(found.stdout)
    return answer["codes"], answer["stderr"]


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("stalled", ["pipe", "empty pipe", "http", "rtsp silence", "rtsp hang"], indirect=True)
def test_twenty_stalls(stalled: tuple[str, str], signal: str, place: Path) -> None:
    """0 each time, at once, and nothing on stderr but the summary: no "Fatal Python error", no abort."""
    source, stdin = stalled
    codes, words = ended(20, signal, 2.5, stdin, "stream", source, "--weights", str(place / "ck"), "--json")
    assert codes == [0] * 20
    assert words == ""


@pytest.mark.slow
def test_thirty_kills_of_a_timeline(place: Path) -> None:
    """The same command, killed at thirty random moments, goes on each time and ends as an undisturbed one does."""
    command = ["timeline", str(place / "long.mp4"), "--weights", str(place / "ck"), "--hop-seconds", "0.4"]
    command += ["--enter", "0.4", "--leave", "0.3", "--min-duration", "0.1", "--out"]
    codes, words = ended(30, "SIGKILL", 2.0, "-", *command, str(place / "killed"))
    assert -9 in codes
    assert set(codes) <= {0, -9}
    assert "Traceback" not in words
    assert main([*command, str(place / "killed")]) == 0
    assert main([*command, str(place / "whole")]) == 0
    for path in (place / "whole").iterdir():
        other = place / "killed" / path.name
        assert other.read_bytes() == path.read_bytes(), path.name
    assert {path.name for path in (place / "killed").iterdir()} == {path.name for path in (place / "whole").iterdir()}
