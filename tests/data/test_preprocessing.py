"""Settings that refuse what cannot work, and the views of a video."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from videoswin.data.preprocessing import Preprocessing, Views
from videoswin.data.sampling import interval_clips, time_clips, uniform_clips
from videoswin.errors import ConfigError, VideoError


@dataclass(frozen=True)
class FakeInfo:
    path: str
    height: int
    width: int


@dataclass(frozen=True)
class FakeFrames:
    data: Tensor


class FakeVideo:
    """Frame i is grey i, left to right a little brighter. Records what is decoded."""

    def __init__(self, count: int = 300, height: int = 64, width: int = 96, fps: float = 30.0) -> None:
        self.times = torch.arange(count, dtype=torch.float64) / fps
        self.info = FakeInfo("fake.mp4", height, width)
        self.decoded: list[int] = []

    def get_frames(self, indices: Tensor, each: Callable[[Tensor], Tensor] | None = None) -> FakeFrames:
        frames = []
        for number in indices.tolist():
            assert 0 <= number < len(self.times)
            self.decoded.append(number)
            ramp = torch.linspace(0, 20, self.info.width).round()[None, :, None]
            frame = (number % 200 + ramp).expand(self.info.height, -1, 3).to(torch.uint8)
            frames.append(each(frame) if each else frame)
        return FakeFrames(torch.stack(frames))


SMALL = Preprocessing(clip_len=8, size=(32, 32), short_side=32, mean=(0, 0, 0), std=(1, 1, 1))


def test_views_are_clip_by_clip_left_right_middle():
    video = FakeVideo()
    batch = SMALL.views(video, Views(4, 3))
    assert batch.clips.shape == (12, 3, 8, 32, 32)
    assert batch.clips.dtype == torch.float32
    assert batch.times.shape == (12, 8)
    indices = interval_clips(300, 8, 2, 4)
    for clip in range(4):
        left, right, middle = batch.clips[3 * clip : 3 * clip + 3].mean(dim=(1, 2, 3, 4))
        assert left < middle < right
        assert torch.equal(batch.times[3 * clip], video.times[indices[clip]])
    assert batch.spans[0].tolist() == [float(video.times[indices[0, 0]]), float(video.times[indices[0, -1]])]
    assert batch.repeated.tolist() == [0] * 12
    assert len(batch) == 12


def test_overlapping_clips_share_their_frames():
    video = FakeVideo(count=20)
    SMALL.views(video, Views(4, 3))
    assert len(video.decoded) == len(set(video.decoded)) <= 20


def test_one_view_is_the_centre_of_the_middle_clip():
    video = FakeVideo()
    one = SMALL.views(video, Views()).clips
    three = SMALL.views(video, Views(1, 3)).clips
    assert torch.equal(one[0], three[2])


def test_a_short_video_says_how_many_frames_it_repeats():
    batch = SMALL.views(FakeVideo(count=5), Views(2, 1))
    assert batch.repeated.tolist() == [3, 3]
    assert batch.spans[0].tolist() == [0.0, pytest.approx(4 / 30)]


def test_values_are_normalised():
    plain = SMALL.views(FakeVideo(), Views()).clips
    scaled = Preprocessing(clip_len=8, size=(32, 32), short_side=32, mean=(10, 20, 30), std=(2, 4, 5))
    clips = scaled.views(FakeVideo(), Views()).clips
    expected = (plain - torch.tensor([10.0, 20, 30]).view(3, 1, 1, 1)) / torch.tensor([2.0, 4, 5]).view(3, 1, 1, 1)
    assert torch.allclose(clips, expected)


def test_stretch_sees_the_whole_width():
    stretch = Preprocessing(clip_len=4, size=(32, 32), short_side=None, mean=(0, 0, 0), std=(1, 1, 1))
    clip = stretch.views(FakeVideo(), Views()).clips[0]
    assert float(clip[0, 0, 0, -1] - clip[0, 0, 0, 0]) >= 19


def test_three_crops_of_a_stretched_frame_come_from_a_wider_one():
    stretch = Preprocessing(clip_len=4, size=(35, 35), short_side=None, mean=(0, 0, 0), std=(1, 1, 1))
    left, right, middle = stretch.views(FakeVideo(), Views(1, 3)).clips[:, 0, 0, 0]
    assert stretch.resize_for(3).size == (35, 40)
    assert float(left[0]) < float(middle[0]) < float(right[0])
    assert float(left[-1]) < float(middle[-1]) < float(right[-1])


def test_a_sliver_is_an_error_about_the_video():
    with pytest.raises(VideoError, match=r"^fake.mp4: .*too narrow"):
        SMALL.views(FakeVideo(height=1, width=4000), Views())


def test_each_sampling_uses_its_rule():
    times = FakeVideo().times
    assert torch.equal(SMALL.indices(times, 3), interval_clips(300, 8, 2, 3))
    uniform = Preprocessing(clip_len=8, sampling="uniform")
    assert torch.equal(uniform.indices(times, 3), uniform_clips(300, 8, 3))
    timed = Preprocessing(clip_len=8, sampling="time", fps=15.0)
    assert torch.equal(timed.indices(times, 3), time_clips(times, 8, 15.0, 3))


@given(
    st.sampled_from(
        [
            Preprocessing(clip_len=8),
            Preprocessing(clip_len=8, sampling="uniform"),
            Preprocessing(clip_len=8, sampling="time", fps=12.0),
        ]
    ),
    st.integers(1, 120),
    st.floats(0.0, 0.9),
    st.integers(0, 2**31),
)
def test_random_indices_are_in_range_and_repeatable(preprocessing: Preprocessing, count: int, jitter: float, seed: int):
    times = torch.arange(count, dtype=torch.float64) / 30
    drawn = preprocessing.random_indices(times, Generator().manual_seed(seed), jitter)
    assert drawn.shape == (8,)
    assert drawn.dtype == torch.int64
    assert bool(((drawn >= 0) & (drawn < count)).all())
    fits = count > {"interval": 16, "uniform": 0, "time": 8 / 12 * 30 + 1}[preprocessing.sampling]
    if fits:
        assert bool((drawn.diff() >= 0).all()), "a clip that fits does not loop, whatever its speed"
    assert torch.equal(drawn, preprocessing.random_indices(times, Generator().manual_seed(seed), jitter))


def test_speed_jitter_changes_the_stride():
    times = torch.arange(300, dtype=torch.float64) / 30
    draws = Generator().manual_seed(0)
    spans = [int(SMALL.random_indices(times, draws, 0.5).diff().sum()) for _ in range(200)]
    assert min(spans) <= 9
    assert max(spans) >= 19
    assert {int(SMALL.random_indices(times, draws).diff().sum()) for _ in range(20)} == {14}


def test_working_size_is_the_public_256_for_224():
    assert Preprocessing().working_resize.shape(720, 1280) == (256, 455)
    assert Preprocessing(short_side=None, size=(112, 140)).working_resize.shape(720, 1280) == (128, 160)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"clip_len": 0}, "clip_len is 0"),
        ({"clip_len": True}, "clip_len is True"),
        ({"clip_len": 8.0}, "clip_len is 8.0"),
        ({"frame_interval": -2}, "frame_interval is -2"),
        ({"sampling": "intervall"}, 'sampling is "intervall". Did you mean "interval"'),
        ({"sampling": "time"}, "fps is None"),
        ({"sampling": "time", "fps": float("nan")}, "fps is nan"),
        ({"fps": 15.0}, 'Set sampling="time", or no fps'),
        ({"size": 224}, "size is 224"),
        ({"size": (224, 0)}, "size is 0"),
        ({"short_side": 200}, "Set short_side to at least 224, or to None"),
        ({"size": (112, 200), "short_side": 112}, "at least 200"),
        ({"antialias": "no"}, "antialias is 'no'"),
        ({"mean": (1.0, 2.0)}, "mean is"),
        ({"std": (1.0, 0.0, 1.0)}, "std is"),
        ({"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}, "Multiply mean and std by 255"),
        ({"clip_length": 32}, 'no setting "clip_length". Did you mean "clip_len"'),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict, says: str):
    with pytest.raises(ConfigError) as refusal:
        Preprocessing.from_dict(settings)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "preprocessing",
    [Preprocessing(), Preprocessing(sampling="time", fps=12.5, size=(96, 112), short_side=None, antialias=False)],
)
def test_settings_survive_json(preprocessing: Preprocessing):
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


@pytest.mark.parametrize(
    ("text", "views"), [("4x3", Views(4, 3)), (" 1X1 ", Views()), ("10x1", Views(10, 1)), ("4xWide", Views(4, "wide"))]
)
def test_views_parse(text: str, views: Views):
    assert Views.parse(text) == views
    assert Views.parse(str(views)) == views


@pytest.mark.parametrize(
    "text", ["", "4", "4x", "x3", "4x2", "0x3", "4x3x1", "-1x3", "4xwider", "widex1", "99999x1", "٤x3", "4*3"]
)
def test_views_that_are_refused(text: str):
    with pytest.raises(ConfigError):
        Views.parse(text)


def test_number_of_views():
    assert len(Views(4, 3)) == 12
    assert len(Views(4, "wide")) == 4
    with pytest.raises(ConfigError, match=r"num_crops is 2. Use 1 \(centre\), 3"):
        Views(1, 2)
