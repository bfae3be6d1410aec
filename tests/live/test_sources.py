"""Sources as they misbehave: pipes, silent cameras, servers that go away, sizes that change, decoders that lag."""

import io
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.media_helpers import MEDIA, encode, moving_picture
from videoswin.data.live_decode import Picture, open_address, open_camera, open_pipe, without_password
from videoswin.errors import ConfigError, VideoError
from videoswin.live.sources import FileSource, LiveSource, Seen, find_live_source


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

    def __iter__(self) -> Iterator[Picture]:
        for stamp in self.stamps:
            yield Picture(stamp, torch.zeros((self.size, self.size, 3), dtype=torch.uint8))
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
    source = LiveSource(lambda: open_pipe(Pipe(path.read_bytes())), "the pipe", reconnect=False)  # type: ignore[arg-type]
    seen = list(source)
    assert len(seen) == 20
    assert source.health.state == "ended"
    assert np.diff([s.time_s for s in seen]) == pytest.approx(0.1, abs=1e-3)


def test_y4m_from_a_pipe() -> None:
    frames = moving_picture(5)
    pictures = list(open_pipe(Pipe(y4m(frames))))  # type: ignore[arg-type]
    assert [p.rgb.shape for p in pictures] == [(48, 64, 3)] * 5
    assert float((pictures[0].rgb.float() - torch.from_numpy(frames[0]).float()).abs().mean()) < 25


def test_raw_pictures_from_a_pipe() -> None:
    frames = moving_picture(4)
    pictures = list(open_pipe(Pipe(frames.tobytes()), size=(48, 64), rate=5))  # type: ignore[arg-type]
    assert [p.time_s for p in pictures] == pytest.approx([0, 0.2, 0.4, 0.6])
    assert all(torch.equal(p.rgb, torch.from_numpy(f)) for p, f in zip(pictures, frames, strict=True))


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
    source = LiveSource(lambda: open_pipe(io.BytesIO(file.getvalue())), "the pipe", reconnect=False)
    sizes = {tuple(seen.rgb.shape) for seen in source}
    assert len(sizes) > 1
    assert source.health.resolution_changes >= 1


# Addresses and cameras ------------------------------------------------------------------------------------------------


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server for ``tmp_path`` on this machine."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_an_http_address(server: str, tmp_path: Path) -> None:
    encode(tmp_path / "v.ts", moving_picture(12), rate=12, container="mpegts")
    connection = open_address(f"{server}/v.ts", timeout_s=5)
    assert len(list(connection)) == 12
    connection.close()


def test_a_playlist_behind_an_address_is_not_followed(server: str, tmp_path: Path) -> None:
    encode(tmp_path / "v.ts", moving_picture(12), rate=12, container="mpegts")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nv.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError):
        open_address(f"{server}/list.m3u8", timeout_s=5)


def test_addresses_that_fail(server: str) -> None:
    with pytest.raises(VideoError, match="cannot be read"):
        open_address(f"{server}/nothing.ts", timeout_s=5)
    with pytest.raises(ConfigError, match="not opened"):
        open_address("file:///etc/passwd", timeout_s=1)
    with pytest.raises(ConfigError, match="not opened"):
        open_address("concat://a|b", timeout_s=1)


def test_a_silent_server_times_out() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(VideoError, match=r"timeout|cannot be read"):
            open_address(f"http://127.0.0.1:{port}/x.ts", timeout_s=0.3)


def test_passwords_are_not_shown() -> None:
    assert without_password("rtsp://me:secret@10.0.0.1/live?token=x") == "rtsp://10.0.0.1/live"


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

    def connect() -> FakeInput:
        found = connections.pop(0)
        if found is None:
            raise VideoError("fake", "refused", "Wait")
        return found

    source = LiveSource(connect, "fake", True, give_up_s=20, clock=clock, sleep=clock.sleep)  # type: ignore[arg-type]
    pictures: list[Seen] = []
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

    def connect() -> FakeInput:
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
        def __iter__(self) -> Iterator[Picture]:
            for number in range(10):
                clock.now += 0.1 if number < 5 else 0.3
                yield Picture(number * 0.1, torch.zeros((4, 4, 3), dtype=torch.uint8))

    source = LiveSource(lambda: Late([]), "fake", False, clock=clock, sleep=clock.sleep)  # type: ignore[arg-type]
    lags = [clock.now - seen.due for seen in source]
    assert lags[:5] == pytest.approx([0] * 5, abs=0.01)
    assert lags[-1] == pytest.approx(1.0, abs=0.02)


def test_a_file_is_paced_by_its_stamps(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", moving_picture(6), stamps=[0, 100, 150, 400, 420, 900])
    clock = FakeTime()
    due = [seen.due - 100 for seen in FileSource(path, clock=clock, sleep=clock.sleep)]
    assert due == pytest.approx([0, 0.1, 0.15, 0.4, 0.42, 0.9])
    assert clock.now == pytest.approx(100.9)
    clock = FakeTime()
    assert len(list(FileSource(path, fast=True, clock=clock, sleep=clock.sleep))) == 6
    assert clock.slept == []


def test_what_a_source_is_called(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", moving_picture(3))
    assert isinstance(find_live_source(str(path)), FileSource)
    with pytest.raises(VideoError, match="camera 987"):
        find_live_source("987")
    with pytest.raises(ConfigError, match="--size"):
        find_live_source(str(path), rate=30)
    with pytest.raises(VideoError, match="not found"):
        find_live_source(str(tmp_path / "no.mp4"))
