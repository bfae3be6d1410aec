"""What `videoswin.data.decode` promises about healthy videos. The broken and hostile ones: tests/faults."""

import gc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition
from hypothesis import given
from hypothesis import strategies as st

from tests.media_helpers import MEDIA, encode, manifest, moving_picture
from videoswin.data.decode import Frames, Limits, Video, open_video
from videoswin.data.reader import Reader
from videoswin.errors import ConfigError, VideoError

SOUND_FILES = [
    name
    for name, row in manifest().items()
    if row["decoded_frames"] not in ("", "0") and row["container"] != "h264" and not row["error"]
]


def assert_all_ways_agree(video: Video, whole: Frames, draws: int = 4) -> None:
    """Random access, in any order, gives the bits that a walk gives."""
    generator = np.random.default_rng(len(whole))
    for _ in range(draws):
        indices = generator.integers(0, len(whole), generator.integers(1, 6)).tolist()
        some = video.get_frames(indices)
        assert torch.equal(some.data, whole.data[indices]), indices
        assert torch.equal(some.times, whole.times[indices])


@pytest.mark.parametrize("name", SOUND_FILES)
def test_real_files_match_the_manifest(name: str) -> None:
    expected = manifest()[name]
    with open_video(MEDIA / name) as video:
        assert len(video) == video.info.num_frames == int(expected["decoded_frames"])
        size = int(expected["width"]), int(expected["height"])
        turned = int(expected["rotation"]) % 180 != 0
        assert (video.info.width, video.info.height) == (size[::-1] if turned else size)
        assert video.info.rotation == int(expected["rotation"]) % 360
        assert video.times[0] == 0
        assert (video.times.diff() > 0).all()

        whole = video.read()
        assert whole.data.dtype == torch.uint8
        assert whole.data.shape == (len(video), video.info.height, video.info.width, 3)
        assert whole.data.is_contiguous()
        assert torch.equal(whole.times, video.times)
        assert_all_ways_agree(video, whole)
        for number, (seconds, frame) in enumerate(video):
            assert seconds == video.times[number]
            assert torch.equal(frame, whole.data[number])


ENCODINGS = {
    "b-frames.mp4": {"codec": "libx264", "options": {"g": "12", "bf": "3", "b-pyramid": "normal"}},
    "open-gop.mp4": {"codec": "libx264", "options": {"g": "10", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}},
    "open-gop.ts": {"codec": "libx264", "options": {"g": "10", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}},
    "all-intra.mov": {"codec": "libx264", "options": {"g": "1"}},
    "one-gop.mkv": {"codec": "libx264", "options": {"g": "500", "bf": "2"}},
    "short-gop.mkv": {"codec": "libx264", "options": {"g": "5", "bf": "2"}},
    "short-gop.flv": {"codec": "libx264", "options": {"g": "7", "bf": "2"}},
    "h264-b-frames.avi": {"codec": "libx264", "options": {"g": "7", "bf": "2"}},
    "mpeg4-b-frames.avi": {"codec": "mpeg4", "options": {"g": "8", "bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "8"}},
    "mpeg2-b-frames.mpg": {"codec": "mpeg2video", "options": {"g": "9", "bf": "2"}},
    "mpeg2-b-frames.ts": {"codec": "mpeg2video", "options": {"g": "9", "bf": "2"}},
    "windows.wmv": {"codec": "wmv2", "options": {"g": "9"}},
    "hidden-frames.webm": {"codec": "libvpx", "options": {"g": "15", "auto-alt-ref": "1", "lag-in-frames": "10"}},
    "superframes.webm": {"codec": "libvpx-vp9", "options": {"g": "15", "lag-in-frames": "10"}},
    "open-gop-hevc.mp4": {"codec": "libx265", "options": {"x265-params": "keyint=10:bframes=3:open-gop=1:log-level=0"}},
    "picture.gif": {"codec": "gif", "pix_fmt": "rgb8", "rate": 10},
}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One 60-frame video in every container, with every way of ordering frames."""
    folder = tmp_path_factory.mktemp("encoded")
    return {name: encode(folder / name, moving_picture(60), **how) for name, how in ENCODINGS.items()}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_container_gives_all_frames_in_order(name: str, encoded: dict[str, Path]) -> None:
    original = torch.from_numpy(moving_picture(60)).double()
    with open_video(encoded[name]) as video:
        whole = video.read()
        assert len(whole) == 60
        assert_all_ways_agree(video, whole, draws=8)
    errors = torch.stack([(whole.data.double() - picture).abs().mean((1, 2, 3)) for picture in original])
    assert errors.argmin(0).tolist() == list(range(60))  # each frame looks most like its own original


@given(data=st.data())
def test_sparse_equals_dense(data: st.DataObject, encoded: dict[str, Path]) -> None:
    name = data.draw(st.sampled_from(sorted(ENCODINGS)))
    indices = data.draw(st.lists(st.integers(0, 59), min_size=1, max_size=8))
    with open_video(encoded[name]) as video:
        whole, some = video.read(), video.get_frames(indices)
    assert torch.equal(some.data, whole.data[indices])


@pytest.mark.parametrize("name", ENCODINGS)
def test_bytes_equal_file(name: str, encoded: dict[str, Path]) -> None:
    with open_video(encoded[name]) as from_file, open_video(encoded[name].read_bytes(), name="upload") as from_bytes:
        assert from_bytes.info.path == "upload"
        assert torch.equal(from_file.read(20, 40).data, from_bytes.read(20, 40).data)


def test_sparse_reads_seek_instead_of_walking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "long.mp4", moving_picture(3000, 32, 32), options={"g": "30", "preset": "ultrafast"})
    decoded = 0

    def counted(_: object, frame: av.VideoFrame) -> av.VideoFrame:
        nonlocal decoded
        decoded += 1
        return frame

    with open_video(path) as video:
        monkeypatch.setattr(Reader, "_undamaged", counted)
        video.get_frames(range(2500, 2532))
        assert decoded < 100
        decoded = 0
        video.get_frames([5, 1000, 2999])
        assert decoded < 150


def test_variable_frame_rate_keeps_presentation_times(tmp_path: Path) -> None:
    stamps = [0, 33, 66, 633, 666, 700, 1267, 1300]
    with open_video(encode(tmp_path / "vfr.mp4", moving_picture(8), stamps=stamps)) as video:
        assert video.times.tolist() == pytest.approx([stamp / 1000 for stamp in stamps], abs=1e-3)
        assert video.info.fps == pytest.approx(7 / 1.3, rel=1e-2)
        assert torch.equal(video.get_frames([6, 3]).times, video.times[[6, 3]])


def test_times_start_at_zero_whatever_the_file_says(tmp_path: Path) -> None:
    stamps = [5000 + 40 * number for number in range(10)]
    for name in ("late.mp4", "late.mkv", "late.ts"):
        with open_video(encode(tmp_path / name, moving_picture(10), stamps=stamps)) as video:
            assert video.times.tolist() == pytest.approx([0.04 * number for number in range(10)], abs=2e-3)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_is_applied_once(rotation: int, tmp_path: Path) -> None:
    """One encoding, copied with another display matrix: an encoder does not give the same bits twice for certain."""
    first = encode(tmp_path / "upright.mp4", moving_picture(4, 48, 80))
    with av.open(str(first)) as source, av.open(str(tmp_path / "turned.mp4"), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        if rotation:
            stream.set_display_rotation(rotation)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    upright = open_video(first).read()
    with open_video(tmp_path / "turned.mp4") as video:
        turned = video.read()
        assert video.info.rotation == rotation
        assert (video.info.height, video.info.width) == turned.data.shape[1:3]
    assert torch.equal(turned.data, torch.rot90(upright.data, rotation // 90, (1, 2)))


def test_phone_recording_comes_out_upright() -> None:
    """A phone held upright filmed roofs under a bright sky; the sensor stored them lying on their side."""
    frame = open_video(MEDIA / "rot_dolbyvision_hevc10.mov").get_frames([0]).data[0].float()
    sky, roofs = frame.chunk(2)
    left, right = frame.chunk(2, dim=1)
    assert sky.mean() - roofs.mean() > 30 > abs(left.mean() - right.mean())


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "tolerance"),
    [
        ("libx264", "yuv420p", 4),
        ("libx264", "yuvj420p", 4),
        ("libx264", "yuv444p", 4),
        ("libx264", "yuv420p10le", 4),
        ("libx265", "yuv420p10le", 5),
        ("ffv1", "yuv444p12le", 3),
        ("ffv1", "yuva444p", 3),
        ("ffv1", "bgra", 0),
    ],
)
def test_pixel_formats_become_rgb(codec: str, pix_fmt: str, tolerance: int, tmp_path: Path) -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [128, 64, 200]], np.uint8)
    bars = colours.repeat(16, axis=0)[None].repeat(48, axis=0)
    options = {"crf": "5"} if codec == "libx264" else {"x265-params": "crf=5:log-level=0"} if codec == "libx265" else {}
    path = encode(tmp_path / "bars.mkv", [bars] * 2, codec=codec, pix_fmt=pix_fmt, options=options)
    with open_video(path) as video:
        seen = video.get_frames([1]).data[0, 24, 8::16]
    assert (seen.int() - torch.from_numpy(colours).int()).abs().max() <= tolerance


def test_grey_video_has_equal_channels(tmp_path: Path) -> None:
    with open_video(encode(tmp_path / "grey.mkv", moving_picture(3), codec="ffv1", pix_fmt="gray")) as video:
        frames = video.read().data
    assert torch.equal(frames[..., 0], frames[..., 1])
    assert torch.equal(frames[..., 0], frames[..., 2])


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (17, 33), (600, 32)])
def test_odd_and_tiny_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    picture = moving_picture(3, *size)
    with open_video(encode(tmp_path / "odd.mkv", picture, codec="ffv1", pix_fmt="bgr0")) as video:
        assert torch.equal(video.read().data, torch.from_numpy(picture))


def test_resolution_change_is_scaled_to_the_first_size(tmp_path: Path) -> None:
    path = tmp_path / "change.mkv"  # a raw stream that changes from 848x464 to 424x232, given a container
    with av.open(str(MEDIA / "res_change_midstream.h264")) as raw, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(raw.streams.video[0])
        for number, packet in enumerate(packet for packet in raw.demux() if packet.size):
            packet.pts = packet.dts = number * 40_000
            packet.time_base = Fraction(1, 1_000_000)
            packet.stream = stream
            output.mux(packet)
    with open_video(path) as video:
        assert len(video) == 96
        whole = video.read(each=lambda frame: frame[::4, ::4])
        assert whole.data.shape == (96, 116, 212, 3)
        assert (video.info.width, video.info.height) == (848, 464)
        assert torch.equal(video.get_frames([95, 3], each=lambda frame: frame[::4, ::4]).data, whole.data[[95, 3]])


def test_best_of_several_video_streams(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    pictures = moving_picture(5, 32, 32), moving_picture(7, 64, 96)
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("libx264", rate=30) for _ in pictures]
        for stream, picture in zip(streams, pictures, strict=True):
            stream.height, stream.width = picture.shape[1:3]
            stream.disposition = Disposition.default if stream is streams[1] else Disposition(0)
        for stream, picture in zip(streams, pictures, strict=True):
            for frame in picture:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            output.mux(stream.encode(None))
    with open_video(path) as video:
        assert (len(video), video.info.width, video.info.height) == (7, 96, 64)


def test_each_sees_every_frame_once_and_may_resize() -> None:
    calls = []

    def shrink(frame: torch.Tensor) -> torch.Tensor:
        calls.append(frame.shape)
        return frame[::2, ::2].float()

    with open_video(MEDIA / "hevc.mp4") as video:
        frames = video.get_frames([3, 3, 0, 3], each=shrink)
        assert calls == [(128, 128, 3)] * 2
        assert frames.data.shape == (4, 64, 64, 3)
        assert frames.data.dtype == torch.float32
        assert torch.equal(frames.data[0], video.get_frames([3]).data[0, ::2, ::2].float())
        with pytest.raises(ConfigError, match="one shape"):
            video.get_frames([0, 1], each=lambda frame: frame[: len(calls) + 1] if calls.append(0) is None else frame)
        with pytest.raises(ZeroDivisionError):  # an error of the caller's own stays what it is
            video.get_frames([0], each=lambda frame: frame * (1 // 0))


def test_indices_may_be_any_sequence_or_tensor() -> None:
    with open_video(MEDIA / "hevc.mp4") as video:
        expected = video.get_frames([2, 9, 4])
        for indices in ((2, 9, 4), torch.tensor([2, 9, 4]), np.array([2, 9, 4]), iter([2, 9, 4])):
            assert torch.equal(video.get_frames(indices).data, expected.data)
        nothing = video.get_frames([])
        assert nothing.data.shape == (0, 128, 128, 3)
        assert len(nothing) == len(nothing.times) == 0
        assert len(video.read(4, 4)) == 0


@pytest.mark.parametrize("index", [-1, 10, 2**40])
def test_numbers_outside_the_video_are_refused(index: int) -> None:
    with (
        open_video(MEDIA / "hevc.mp4") as video,
        pytest.raises(VideoError, match=r"the video has 10 frames \(0 to 9\)"),
    ):
        video.get_frames([0, index])


def test_an_iteration_leaves_get_frames_alone() -> None:
    with open_video(MEDIA / "one_keyframe_125f.mp4") as video:
        expected = video.read(0, 12).data
        for number, (_, frame) in enumerate(video):
            assert torch.equal(frame, expected[number])
            assert torch.equal(video.get_frames([11 - number]).data[0], expected[11 - number])
            if number == 11:
                break


def test_close_releases_the_file() -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()  # files that other tests left to the collector must not be closed between the two counts
    before = open_files()
    with open_video(MEDIA / "hevc.mp4") as video:
        frames = video.get_frames([0])
        steps = iter(video)
        next(steps)
    assert (frames.data.shape[0], len(video)) == (1, 10)
    for use in (lambda: video.get_frames([0]), lambda: next(iter(video)), lambda: next(steps)):
        with pytest.raises(VideoError, match="was closed"):
            use()
    video.close()
    for name in ("bad_encrypted.mp4", "bad_zero_stsc.mp4", "audio_only.ts"):
        with pytest.raises(VideoError):
            open_video(MEDIA / name)
    assert open_files() == before


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    for name in manifest():
        try:
            with open_video(MEDIA / name) as video:
                video.get_frames([0])
        except VideoError:
            continue
    assert capfd.readouterr() == ("", "")


def test_info_of_one_frame() -> None:
    with open_video(MEDIA / "tiny_av1_1f_64.mp4") as video:
        assert (video.info.num_frames, video.info.fps, video.info.duration_s) == (1, 0.0, 0.0)
        assert video.info.codec == "av1"


@pytest.mark.parametrize("value", [0, -1, "10", None, float("nan")])
def test_limits_are_checked(value: object) -> None:
    with pytest.raises(ConfigError, match=r"Limits\.max_pixels must be a number above 0"):
        Limits(max_pixels=value)  # pyright: ignore[reportArgumentType]
