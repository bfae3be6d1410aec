"""What all users of PyAV share: its errors, and which way up a frame is."""

import itertools
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.error import MemoryError as FFmpegMemoryError

from tests.media_helpers import encode, moving_picture
from videoswin.data import ffmpeg
from videoswin.data.decode import open_video
from videoswin.data.ffmpeg import as_video_error, video_error
from videoswin.errors import ConfigError, OutOfMemoryError, VideoError

PLAIN = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


@pytest.fixture(scope="module")
def upright(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return encode(tmp_path_factory.mktemp("video") / "plain.mp4", moving_picture(3, 48, 64)).read_bytes()


def placed(a: int, b: int, c: int, d: int, frame: torch.Tensor) -> torch.Tensor:
    """A frame, pixel by pixel at its place: x' = a x + c y, y' = b x + d y, moved to start at 0."""
    height, width = frame.shape[:2]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    to_x, to_y = a * x + c * y, b * x + d * y
    to_x, to_y = to_x - to_x.min(), to_y - to_y.min()
    result = torch.empty((int(to_y.max()) + 1, int(to_x.max()) + 1, 3), dtype=frame.dtype)
    result[to_y, to_x] = frame
    return result


EIGHT = [
    (a, b, c, d)
    for a, b, c, d in itertools.product((-1, 0, 1), repeat=4)
    if abs(a * d - b * c) == 1 and abs(a) + abs(b) == 1 and abs(c) + abs(d) == 1
]


@pytest.mark.parametrize(("a", "b", "c", "d"), EIGHT)
def test_all_eight_ways_a_picture_can_lie(a: int, b: int, c: int, d: int, upright: bytes) -> None:
    assert len(EIGHT) == 8
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    content = upright.replace(PLAIN, matrix)  # that of the movie, which FFmpeg multiplies with that of the track
    place = upright.rindex(PLAIN)  # so only the track's is changed
    content = upright[:place] + matrix + upright[place + len(PLAIN) :]
    with open_video(upright) as video:
        stored = video.read().data
    with open_video(content) as video:
        frames = video.read().data
        assert (video.info.height, video.info.width) == tuple(frames.shape[1:3])
        assert video.info.mirrored == (a * d - b * c < 0)
    for before, after in zip(stored, frames, strict=True):
        assert torch.equal(after, placed(a, b, c, d, before))


def test_a_matrix_of_zeros_is_none(upright: bytes) -> None:
    place = upright.rindex(PLAIN)
    with open_video(upright[:place] + bytes(36) + upright[place + 36 :]) as video:
        assert (video.info.rotation, video.info.mirrored) == (0, False)


def test_unknown_errors_become_the_files_and_ours_pass() -> None:
    said = r"a.mp4: FFmpeg cannot read it \(unexpected KeyError: 'x'\).*--debug"
    with pytest.raises(VideoError, match=said) as caught, as_video_error("a.mp4"):
        raise KeyError("x")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ConfigError, match="ours"), as_video_error("a.mp4"):
        raise ConfigError("ours")
    with pytest.raises(KeyboardInterrupt), as_video_error("a.mp4"):
        raise KeyboardInterrupt


def test_which_memory_errors_are_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = FFmpegMemoryError(12, "Cannot allocate memory")
    assert isinstance(video_error("a", MemoryError()), OutOfMemoryError)
    assert isinstance(video_error("a", RuntimeError("DefaultCPUAllocator: can't allocate memory")), OutOfMemoryError)
    assert not isinstance(video_error("a", RuntimeError("odd")), OutOfMemoryError)
    # FFmpeg says so to any request above 2 GiB, as damaged files make: it counts only if there really is none.
    assert not isinstance(video_error("a", refused), OutOfMemoryError)
    monkeypatch.setattr(ffmpeg, "_memory_is_left", lambda: False)
    assert isinstance(video_error("a", refused), OutOfMemoryError)


def test_the_oldest_pyav_is_the_floor_of_the_package() -> None:
    floor = next(
        line for line in (Path(__file__).parents[2] / "pyproject.toml").read_text().splitlines() if '"av>=' in line
    )
    oldest = tuple(map(int, floor.split('"')[1].removeprefix("av>=").split(".")))
    assert tuple(map(int, av.__version__.split(".")[: len(oldest)])) >= oldest


def test_a_rotation_is_the_same_as_before() -> None:
    pixels = np.arange(24).reshape(4, 6)
    assert np.array_equal(ffmpeg.Orientation(1, False).apply(pixels), np.rot90(pixels))
    assert np.array_equal(ffmpeg.Orientation(0, True).apply(pixels), pixels[:, ::-1])
