"""Recordings that were joined by copying one behind the other: all frames in their order, at times that go on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.media_helpers import MEDIA, encode, moving_picture
from videoswin.data.decode import Frames, open_video
from videoswin.data.frame_index import going_on, is_set_back
from videoswin.errors import VideoError

CUTS = MEDIA / "cuts"
KINDS = [
    ("ts", "libx264"),
    ("ts", "mpeg2video"),
    ("mkv", "libx264"),
    ("mkv", "mpeg4"),
    ("webm", "libvpx"),
    ("mpg", "mpeg2video"),
]


def frames_of(content: bytes) -> Frames:
    with open_video(content) as video:
        return video.read()


@pytest.mark.parametrize(("suffix", "codec"), KINDS)
@pytest.mark.parametrize("counts", [(20, 20), (20, 7), (3, 20)])
def test_joined_recordings(suffix: str, codec: str, counts: tuple[int, int], tmp_path: Path) -> None:
    parts = [
        encode(tmp_path / f"{seed}.{suffix}", moving_picture(count, seed=seed), codec=codec).read_bytes()
        for seed, count in enumerate(counts)
    ]
    expected = torch.cat([frames_of(part).data for part in parts])
    with open_video(b"".join(parts)) as video:
        frames = video.read()
        assert torch.equal(frames.data, expected)
        assert video.times.diff().numpy() == pytest.approx(1 / 30, abs=2e-3)
        last = len(expected) - 1
        assert torch.equal(video.get_frames([last, 1]).data, expected[[last, 1]])
        assert [float(time) for time, _ in video] == frames.times.tolist()


def test_three_times_the_same() -> None:
    content = (CUTS / "whole.ts").read_bytes()
    once = frames_of(content)
    thrice = frames_of(content * 3)
    assert torch.equal(thrice.data, once.data.repeat(3, 1, 1, 1))
    assert (thrice.times.diff() > 0).all()


def test_lost_packets_are_no_joint() -> None:
    content = (CUTS / "whole.ts").read_bytes()
    packets = [content[start : start + 188] for start in range(0, len(content), 188)]
    video = [number for number, packet in enumerate(packets) if packet[1] & 0x1F == 1 and packet[2] == 0]
    for lost in video[len(video) // 4 : -2 : 3]:
        with pytest.raises(VideoError):
            frames_of(b"".join(packets[:lost] + packets[lost + 1 :]))


def test_times_go_on() -> None:
    def joined(*stamps: int, wraps: bool = False) -> list[int]:
        return going_on(np.array(stamps, np.int64), 45_000, wraps).tolist()

    assert joined(0, 10, 20, 0, 10, 20) == [0, 10, 20, 30, 40, 50]
    assert joined(500, 510, 0, 10) == [500, 510, 520, 530], "the second recording may start earlier than the first"
    assert joined(0, 10, 100_000, 20_000, 20_010) == [0, 10, 100_000, 100_010, 100_020], "or in the middle of it"
    assert joined(0, 20, 10, 30) == [0, 10, 20, 30], "a little disorder is no joint"
    assert joined(0, 10, 2**33, 2**33 + 10, wraps=True) == [0, 10, 20, 30], "FFmpeg reads a clock set back as run over"
    assert joined(0, 10, 2**33) == [0, 10, 2**33]
    assert joined(7) == [7]


def test_a_clock_that_was_set_back() -> None:
    assert is_set_back(10, 9, wraps=False)
    assert not is_set_back(10, 10, wraps=True)
    assert not is_set_back(None, 9, wraps=True)
    assert is_set_back(0, 2**32, wraps=True)
    assert not is_set_back(0, 2**32, wraps=False)
