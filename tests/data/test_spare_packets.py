"""Frames that no other refers to are passed over when they are not wanted, and nothing else changes."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from videoswin.data.decode import open_video
from videoswin.data.reader import Reader
from videoswin.data.spare_packets import spare_test

FRAMES = 72


def moving(number: int) -> np.ndarray:
    """A textured ground that drifts, with a box that crosses it."""
    ground = np.random.default_rng(0).integers(0, 256, (12, 32, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    picture = np.roll(ground, number, axis=1)[:64, :96].copy()
    picture[20:40, number % 76 : number % 76 + 20] = (250, 40, 60)
    return picture


def encoded(path: Path, **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = {"preset": "medium", "g": "48", "sc_threshold": "0", **options}
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(moving(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts of packets that passed, one for each walk."""
    counts: list[int] = []
    needed = Reader._needed

    def counting(self: Reader, packets, is_needed):
        counts.append(0)
        for packet in needed(self, packets, is_needed):
            counts[-1] += 1
            yield packet

    monkeypatch.setattr(Reader, "_needed", counting)
    return counts


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize(
    "options",
    [
        {"bf": "3", "b-adapt": "0", "x264-params": "b-pyramid=none"},
        {"bf": "5", "b-adapt": "0", "x264-params": "b-pyramid=normal"},
        {"bf": "3", "x264-params": "b-pyramid=strict:slices=3:open-gop=1:weightp=2:direct=temporal"},
        {"bf": "0"},
        {"bf": "0", "g": "8"},  # as a pack has it
        {"bf": "2", "g": "5", "b-adapt": "0"},
        {"bf": "2", "g": "6", "x264-params": "open-gop=1"},
    ],
)
def test_the_same_bits(tmp_path: Path, suffix: str, options: dict[str, str], fed: list[int]):
    path = encoded(tmp_path / f"a{suffix}", **options)
    with open_video(path) as video:
        everything = video.read().data
        assert len(everything) == FRAMES
        assert not fed  # all frames are wanted
        for wanted in (range(3, 70, 5), range(0, 72, 2), [71], [0, 1, 40], range(1, 72, 3), [50, 49, 7, 49]):
            places = torch.tensor(list(wanted))
            assert torch.equal(video.get_frames(places).data, everything[places])


def test_packets_are_passed_over(tmp_path: Path, fed: list[int]):
    """Of two frames in three that no other refers to, those that are not wanted."""
    path = encoded(tmp_path / "a.mp4", bf="2", g="999", **{"b-adapt": "0", "x264-params": "b-pyramid=none"})
    with open_video(path, threads=1) as video:
        video.get_frames([0, 70])
    assert len(fed) == 1
    assert fed[0] <= FRAMES // 3 + 4  # the last ones may come in another pattern


def test_a_pack_is_read_by_key_frames(tmp_path: Path, fed: list[int]):
    """From each wanted frame to the next key frame in front of a wanted one nothing is decoded, however near that is."""
    path = encoded(tmp_path / "a.mp4", bf="0", g="8", preset="veryfast")
    wanted = [9, 18, 27, 36, 45]
    with open_video(path, threads=1) as video:
        video.get_frames(wanted)
    assert sum(fed) == sum(n % 8 + 1 for n in wanted)


def test_in_doubt_a_packet_is_needed(tmp_path: Path):
    for codec, extradata in (("hevc", b"\1" * 9), ("h264", None), ("h264", b""), ("h264", b"\0\0\0\1\x67\0\0\0")):
        assert spare_test(codec, extradata) is None
    is_spare = spare_test("h264", bytes([1, 100, 0, 30, 0xFF, 0xE1, 0]))
    assert is_spare is not None

    def packet(*heads: int, extra: bytes = b"") -> memoryview:
        return memoryview(b"".join(b"\0\0\0\3" + bytes([head, 7, 7]) for head in heads) + extra)

    assert is_spare(packet(0x01))
    assert is_spare(packet(0x06, 0x01, 0x01))  # some words on the picture, and two slices
    assert not is_spare(packet(0x01, 0x21))  # another slice is referred to
    assert not is_spare(packet(0x06))  # no slice at all
    assert not is_spare(packet(0x01, extra=b"\0"))  # lengths that do not add up
    assert not is_spare(memoryview(b""))
