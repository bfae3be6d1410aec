"""Sources as they misbehave: pipes, silent cameras, servers that go away, sizes that change, decoders that lag."""

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch

from tests.media_helpers import MEDIA, encode, moving_picture
from videoswin.data.live_decode import open_camera, open_pipe
from videoswin.data.live_wait import Watch
from videoswin.errors import ConfigError, Interrupted, VideoError
from videoswin.live.sources import FileSource, LiveSource, Picture, find_live_source


class FakeTime:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class FakeInput:
    """A connection that sends these stamps, and then fails or ends."""

    def __init__(self, stamps: list[float | None], fails: bool = False, size: int = 8) -> None:
        self.stamps, self.fails, self.size = stamps, fails, size
        self.fps, self.damaged, self.closed, self.name = 10.0, 0, False, "fake"
        self.is_file = self.finished = False
        self.head = b""

    def __iter__(self) -> Iterator[tuple[float | None, torch.Tensor]]:
        for stamp in self.stamps:
            yield (stamp, torch.zeros((self.size, self.size, 3), dtype=torch.uint8))
        if self.fails:
            raise VideoError("fake", "nothing came within the timeout", "Wait")

    def close(self) -> None:
        self.closed = True


# Pipes ----------------------------------------------------------------------------------------------------------------


def y4m(frames: np.ndarray) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="yuv4mpegpipe") as container:
        stream = container.add_stream("wrapped_avframe", rate=10)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return file.getvalue()


class Pipe(io.RawIOBase):
    """Gives a few bytes at a time and cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 1000) if size > 0 else 1000)


def test_a_transport_stream_from_a_pipe(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.ts", moving_picture(20), rate=10, container="mpegts")
    source = LiveSource(lambda _: open_pipe(Pipe(path.read_bytes())), "the pipe", reconnect=False)  # type: ignore[arg-type]
    seen = list(source)
    assert len(seen) == 20
    assert source.health.state == "ended"
    assert np.diff([s.time_s for s in seen]) == pytest.approx(0.1, abs=1e-3)


def piped(data: bytes, **options: Any) -> list[tuple[float | None, torch.Tensor]]:
    with closing(open_pipe(Pipe(data), **options)) as found:  # type: ignore[arg-type]
        return list(found)


def test_y4m_from_a_pipe() -> None:
    frames = moving_picture(5)
    pictures = piped(y4m(frames))
    assert [rgb.shape for _, rgb in pictures] == [(48, 64, 3)] * 5
    assert float((pictures[0][1].float() - torch.from_numpy(frames[0]).float()).abs().mean()) < 25


def test_raw_pictures_from_a_pipe() -> None:
    frames = moving_picture(4)
    pictures = piped(frames.tobytes(), size=(48, 64), rate=5)
    assert [time_s for time_s, _ in pictures] == pytest.approx([0, 0.2, 0.4, 0.6])
    assert all(torch.equal(p[1], torch.from_numpy(f)) for p, f in zip(pictures, frames, strict=True))


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "nothing came in"), (b"#EXTM3U\nhttp://x/y.ts\n" * 20, "neither Y4M")]
)
def test_pipes_that_hold_something_else(data: bytes, reason: str) -> None:
    with pytest.raises(VideoError, match=reason):
        open_pipe(io.BytesIO(data))


def test_a_resolution_that_changes() -> None:
    data = (MEDIA / "res_change_midstream.h264").read_bytes()
    file = io.BytesIO()
    with av.open(io.BytesIO(data), "r", format="h264") as raw, av.open(file, "w", format="mpegts") as out:
        stream = out.add_stream_from_template(raw.streams.video[0])
        for number, packet in enumerate(raw.demux(video=0)):
            if packet.size:
                packet.pts = packet.dts = number * 3600
                packet.stream = stream
                out.mux(packet)
    source = LiveSource(lambda _: open_pipe(io.BytesIO(file.getvalue())), "the pipe", reconnect=False)
    sizes = {tuple(seen.rgb.shape) for seen in source}
    assert len(sizes) > 1
    assert source.health.resolution_changes >= 1


@pytest.mark.parametrize("kind", ["raw", "y4m", "ts"])
def test_a_pipe_that_ends_inside_a_frame_says_so_after_the_whole_ones(kind: str, tmp_path: Path) -> None:
    frames = moving_picture(4)
    options: dict[str, Any] = {"size": (48, 64), "rate": 5} if kind == "raw" else {}
    if kind == "raw":
        data = frames.tobytes()[:-100]
    elif kind == "y4m":
        data = y4m(frames)[:-100]
    else:
        path = encode(tmp_path / "v.ts", moving_picture(20), rate=10, container="mpegts")
        data = path.read_bytes()[:-100]
    seen = []
    with closing(open_pipe(Pipe(data), **options)) as found, pytest.raises(VideoError, match="inside a frame"):  # type: ignore[arg-type]
        seen.extend(found)
    assert len(seen) == 3 if kind in ("raw", "y4m") else len(seen) >= 18


def test_a_pipe_of_the_system_is_read_as_it_fills_and_let_go_when_asked() -> None:
    frames = moving_picture(60)
    reading, writing = os.pipe()
    watch = Watch("the pipe", None)
    writer = threading.Thread(target=lambda: os.write(writing, frames.tobytes()))
    writer.start()
    with open(reading, "rb") as pipe, closing(open_pipe(pipe, (48, 64), 5, watch=watch)) as found:
        pictures = iter(found)
        assert torch.equal(next(pictures)[1], torch.from_numpy(frames[0]))
        threading.Timer(0.2, watch.stop).start()
        with pytest.raises(Interrupted):  # after the others, and not for ever
            list(pictures)
        writer.join(60)
    os.close(writing)


def test_standard_input_that_is_closed_or_a_terminal_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(VideoError, match="standard input is closed"):
        find_live_source("-")

    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Terminal()))
    with pytest.raises(VideoError, match="nothing is piped in"):
        find_live_source("-")


# Cameras --------------------------------------------------------------------------------------------------------------


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(VideoError, match="no /dev/video987"):
        open_camera(987, "linux", timeout_s=1)


# Time -----------------------------------------------------------------------------------------------------------------


def test_reconnecting_waits_longer_each_time_and_time_goes_on() -> None:
    clock = FakeTime()
    connections: list[FakeInput | None] = [
        FakeInput([0.0, 0.1], fails=True),
        None,
        None,
        FakeInput([50.0, 50.1], size=6),
    ]

    def connect(_: object) -> FakeInput:
        found = connections.pop(0)
        if found is None:
            raise VideoError("fake", "refused", "Wait")
        return found

    source = LiveSource(connect, "fake", True, give_up_s=20, clock=clock, sleep=clock.sleep)  # type: ignore[arg-type]
    pictures: list[Picture] = []
    with pytest.raises(IndexError):  # there is no further connection
        pictures.extend(source)
    times = [seen.time_s for seen in pictures]
    assert clock.slept[:3] == [0.5, 1.0, 2.0]
    assert times == sorted(times)
    assert times[2] == pytest.approx(3.5)
    assert source.health.reconnects == 1
    assert source.health.stalls >= 3
    assert source.health.resolution_changes == 1


def test_a_source_that_never_comes_back_is_given_up() -> None:
    clock = FakeTime()
    first = [FakeInput([0.0])]

    def connect(_: object) -> FakeInput:
        if first:
            return first.pop()
        raise VideoError("fake", "refused", "Wait")

    source = LiveSource(connect, "fake", True, give_up_s=60, clock=clock, sleep=clock.sleep)  # type: ignore[arg-type]
    with pytest.raises(VideoError, match="refused"):
        list(source)
    assert max(clock.slept) <= 30
    assert 60 < clock.now - 100 < 130


def test_a_backlog_shows_as_latency() -> None:
    """Pictures that arrive late, by their own stamps, are due when they should have come."""
    clock = FakeTime()

    class Late(FakeInput):
        def __iter__(self) -> Iterator[tuple[float | None, torch.Tensor]]:
            for number in range(10):
                clock.now += 0.1 if number < 5 else 0.3
                yield (number * 0.1, torch.zeros((4, 4, 3), dtype=torch.uint8))

    source = LiveSource(lambda _: Late([]), "fake", False, clock=clock, sleep=clock.sleep)  # type: ignore[arg-type]
    lags = [clock.now - seen.due for seen in source]
    assert lags[:5] == pytest.approx([0] * 5, abs=0.01)
    assert lags[-1] == pytest.approx(1.0, abs=0.02)


def test_a_file_is_paced_by_its_stamps(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", moving_picture(6), stamps=[0, 100, 150, 400, 420, 900])
    clock = FakeTime()
    source = FileSource(path, clock=clock, sleep=clock.sleep)
    due = [seen.due - 100 for seen in source]
    source.close()
    assert due == pytest.approx([0, 0.1, 0.15, 0.4, 0.42, 0.9])
    assert clock.now == pytest.approx(100.9)
    clock = FakeTime()
    source = FileSource(path, fast=True, clock=clock, sleep=clock.sleep)
    assert len(list(source)) == 6
    source.close()
    assert clock.slept == []


def test_a_file_source_lets_go_while_it_waits(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", moving_picture(2), stamps=[0, 3_600_000])
    source = FileSource(path)
    pictures = iter(source)
    next(pictures)
    threading.Timer(0.05, source.stop).start()
    assert next(pictures, None) is None  # an hour early
    source.close()
    source = FileSource(path)
    source.stop()
    with pytest.raises(Interrupted):
        source.open()


def test_what_a_source_is_called(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", moving_picture(3))
    assert isinstance(find_live_source(str(path)), FileSource)
    with pytest.raises(VideoError, match="camera 987"):
        find_live_source("987").open()
    with pytest.raises(ConfigError, match="--pipe-size"):
        find_live_source(str(path), rate=30)
    with pytest.raises(VideoError, match="not found"):
        find_live_source(str(tmp_path / "no.mp4")).open()
