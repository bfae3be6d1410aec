"""The recorder: whatever its encoder dies of, closing returns, and what cannot be recorded is refused."""

import math
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from videoswin.data import record
from videoswin.data.decode import open_video
from videoswin.data.record import Recorder
from videoswin.errors import VideoError

FRAME = np.zeros((48, 64, 3), np.uint8)


@pytest.mark.parametrize("time_s", [math.inf, -math.inf, math.nan, -1.0, 1e10, 1e15, 1e300])
def test_times_that_cannot_be_are_refused_and_the_rest_is_kept(tmp_path: Path, time_s: float) -> None:
    recorder = Recorder(tmp_path / "r.mp4")
    for number in range(5):
        recorder.add(number / 10, FRAME)
    with pytest.raises(VideoError, match="cannot be recorded"):
        recorder.add(time_s, FRAME)
    recorder.close()
    with open_video(tmp_path / "r.mp4") as video:
        assert len(video) + recorder.dropped == 5


def test_a_jump_of_a_day_is_refused(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r.mp4")
    recorder.add(0, FRAME)
    with pytest.raises(VideoError, match="cannot be recorded"):
        recorder.add(1e6, FRAME)
    recorder.close()


@pytest.mark.parametrize("error", [ValueError, MemoryError, SystemExit, KeyboardInterrupt, OverflowError])
def test_closing_returns_whatever_the_encoder_dies_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def dies(self: Recorder) -> None:
        self._queue.get()
        raise error("it died")

    monkeypatch.setattr(Recorder, "_encode", dies)
    recorder = Recorder(tmp_path / "r.mp4")
    recorder.add(0, FRAME)
    recorder._thread.join(60)
    for number in range(20):  # the queue would be full
        with pytest.raises(VideoError, match="it died"):
            recorder.add(number, FRAME)
    with pytest.raises(VideoError, match="it died") as caught:
        recorder.close()
    assert isinstance(caught.value.__cause__, error)


def test_closing_returns_from_an_encoder_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(record, "_CLOSING_S", 0.1)
    monkeypatch.setattr(Recorder, "_encode", lambda self: free.wait(60))
    recorder = Recorder(tmp_path / "r.mp4")
    for number in range(20):
        recorder.add(number / 10, FRAME)
    assert recorder.dropped == 12
    with pytest.raises(VideoError, match="has not ended"):
        recorder.close()
    free.set()
    recorder._thread.join(60)


def test_what_a_killed_process_leaves_can_be_played(tmp_path: Path) -> None:
    """A copy of the file while it is written is what a kill would leave."""
    path = tmp_path / "r.mp4"
    recorder = Recorder(path)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for number in range(100):
        recorder._queue.put((number / 10, np.roll(noise, number)))  # waits, where add() would drop
    while recorder.frames < 100:
        recorder._thread.join(0.01)
    (tmp_path / "left.mp4").write_bytes(path.read_bytes())
    recorder.close()
    with av.open(str(tmp_path / "left.mp4")) as left:
        assert 40 <= sum(1 for _ in left.decode(video=0)) <= 100
    with open_video(path) as video:
        assert len(video) == 100
    assert b"videoswin" in path.read_bytes()[-(2**16) :]
