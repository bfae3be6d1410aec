"""Frame choice: the public code's numbers, and what must hold for any video."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from videoswin.data.sampling import (
    interval_clips,
    random_interval_clips,
    random_time_clips,
    random_uniform_clips,
    time_clips,
    uniform_clips,
)
from videoswin.errors import ConfigError

FRAMES = st.integers(1, 400)
CLIP_LEN = st.integers(1, 40)
INTERVAL = st.integers(1, 8)
CLIPS = st.integers(1, 6)
SEED = st.integers(0, 2**31)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def steady(num_frames: int, fps: float) -> Tensor:
    return torch.arange(num_frames, dtype=torch.float64) / fps


def public_test_clips(num_frames: int, clip_len: int, frame_interval: int, num_clips: int) -> np.ndarray:
    """The rule of the public code in its own terms (anchor: SampleFrames._get_test_clips, out_of_bound_opt="loop")."""
    ori_clip_len = clip_len * frame_interval
    avg_interval = (num_frames - ori_clip_len + 1) / float(num_clips)
    if num_frames > ori_clip_len - 1:
        offsets = (np.arange(num_clips) * avg_interval + avg_interval / 2.0).astype(np.int64)
    else:
        offsets = np.zeros(num_clips, dtype=np.int64)
    return np.mod(offsets[:, None] + np.arange(clip_len)[None] * frame_interval, num_frames)


def public_uniform_clip(num_frames: int, clip_len: int) -> list[int]:
    seg_size = float(num_frames - 1) / clip_len
    edges = [int(np.round(seg_size * i)) for i in range(clip_len + 1)]
    return [(start + end) // 2 for start, end in pairwise(edges)]


def test_the_kinetics_test_views_of_ten_seconds():
    clips = interval_clips(300, clip_len=32, frame_interval=2, num_clips=4)
    assert clips.shape == (4, 32)
    assert clips.dtype == torch.int64
    assert clips[:, 0].tolist() == [29, 88, 148, 207]
    assert clips[0].tolist() == list(range(29, 29 + 64, 2))
    assert int(clips.max()) == 269


def test_one_clip_is_the_middle_one():
    assert interval_clips(300, 32, 2, 1)[0, [0, -1]].tolist() == [118, 180]


@pytest.mark.parametrize(("num_frames", "offset"), [(63, 0), (64, 0), (65, 1), (66, 1)])
def test_a_video_as_long_as_the_clip(num_frames: int, offset: int):
    assert int(interval_clips(num_frames, 32, 2, 1)[0, 0]) == offset


def test_a_short_video_loops():
    assert interval_clips(5, clip_len=4, frame_interval=2, num_clips=2).tolist() == [[0, 2, 4, 1]] * 2


@given(FRAMES, CLIP_LEN, INTERVAL, CLIPS)
def test_interval_clips_are_the_public_ones(num_frames: int, clip_len: int, interval: int, num_clips: int):
    expected = public_test_clips(num_frames, clip_len, interval, num_clips)
    assert interval_clips(num_frames, clip_len, interval, num_clips).tolist() == expected.tolist()


@given(FRAMES, CLIP_LEN, INTERVAL, CLIPS, SEED)
def test_random_interval_clips(num_frames: int, clip_len: int, interval: int, num_clips: int, seed: int):
    clips = random_interval_clips(num_frames, clip_len, interval, num_clips, generator(seed))
    assert clips.shape == (num_clips, clip_len)
    assert bool(((clips >= 0) & (clips < num_frames)).all())
    assert bool(((clips.diff(dim=1) - interval) % num_frames == 0).all())
    assert bool((clips[:, 0].diff() >= 0).all())
    if num_frames >= clip_len * interval + num_clips - 1:  # every clip has a start of its own
        assert bool((clips.diff(dim=1) == interval).all()), "a clip that fits does not loop"
    assert torch.equal(clips, random_interval_clips(num_frames, clip_len, interval, num_clips, generator(seed)))


def test_random_starts_reach_both_ends():
    draws = generator()
    starts = {int(random_interval_clips(70, 32, 2, 1, draws)[0, 0]) for _ in range(300)}
    assert starts == set(range(7))


def test_more_clips_than_starts_are_drawn_and_sorted():
    starts = random_interval_clips(66, 32, 2, 5, generator())[:, 0].tolist()
    assert starts == sorted(starts)
    assert set(starts) <= {0, 1, 2}
    assert random_interval_clips(64, 32, 2, 4, generator())[:, 0].tolist() == [0, 0, 0, 1]  # around(k * 1 / 4)


def test_uniform_literal():
    assert uniform_clips(41, clip_len=8, num_clips=1).tolist() == [[2, 7, 12, 17, 22, 27, 32, 37]]
    assert uniform_clips(4, clip_len=8, num_clips=1).tolist() == [[0, 0, 1, 1, 2, 2, 2, 3]]
    assert uniform_clips(1, clip_len=3, num_clips=1).tolist() == [[0, 0, 0]]


@given(FRAMES, CLIP_LEN)
def test_one_uniform_clip_is_the_public_one(num_frames: int, clip_len: int):
    assert uniform_clips(num_frames, clip_len, 1)[0].tolist() == public_uniform_clip(num_frames, clip_len)


@given(FRAMES, CLIP_LEN, CLIPS, SEED)
def test_uniform_clips_stay_in_their_segments(num_frames: int, clip_len: int, num_clips: int, seed: int):
    size = (num_frames - 1) / clip_len
    edges = torch.tensor([round(size * i) for i in range(clip_len + 1)])
    fixed = uniform_clips(num_frames, clip_len, num_clips)
    drawn = random_uniform_clips(num_frames, clip_len, num_clips, generator(seed))
    for clips in (fixed, drawn):
        assert clips.shape == (num_clips, clip_len)
        assert bool(((clips >= edges[:-1]) & (clips <= edges[1:])).all())
        assert bool((clips.diff(dim=1) >= 0).all())
    assert bool((fixed.diff(dim=0) >= 0).all()), "clip k lies later in each segment than clip k - 1"
    assert torch.equal(drawn, random_uniform_clips(num_frames, clip_len, num_clips, generator(seed)))


def test_random_uniform_includes_both_ends_of_a_segment():
    draws = generator()
    first = {int(random_uniform_clips(41, 8, 1, draws)[0, 0]) for _ in range(300)}
    assert first == {0, 1, 2, 3, 4, 5}


@given(FRAMES, CLIP_LEN, INTERVAL, CLIPS, st.sampled_from([10.0, 24.0, 25.0, 29.97, 30.0, 60.0]))
def test_at_a_steady_rate_time_is_an_interval(
    num_frames: int, clip_len: int, interval: int, num_clips: int, fps: float
):
    by_time = time_clips(steady(num_frames, fps), clip_len, fps / interval, num_clips)
    assert by_time.tolist() == interval_clips(num_frames, clip_len, interval, num_clips).tolist()


def test_the_same_seconds_at_any_rate():
    slow, fast = steady(100, 10.0), steady(300, 30.0)
    at_slow = slow[time_clips(slow, 8, 5.0, 3)]
    at_fast = fast[time_clips(fast, 8, 5.0, 3)]
    assert float((at_slow - at_fast).abs().max()) < 0.2


def test_uneven_times_are_followed():
    """14 frames, 0.033 s or 0.567 s apart: a stride in frames would run at changing speed."""
    gaps = torch.tensor([0.033, 0.567] * 6 + [0.033], dtype=torch.float64)
    times = torch.cat([torch.zeros(1, dtype=torch.float64), gaps.cumsum(0)])
    clip = time_clips(times, clip_len=6, fps=2.0, num_clips=1)[0]
    shown = times[clip]
    wanted = shown[0] + torch.arange(6) / 2.0
    assert float((shown - wanted).abs().max()) <= 0.567 / 2 + 1e-9


def test_the_nearest_frame_is_taken_and_the_earlier_of_two():
    times = torch.tensor([0.0, 0.9, 2.0, 3.0, 4.0], dtype=torch.float64)
    assert time_clips(times, clip_len=3, fps=1.0, num_clips=1).tolist() == [[1, 2, 3]]
    assert time_clips(steady(2, 1.0), clip_len=3, fps=2.0, num_clips=1).tolist() == [[0, 0, 1]]


def test_a_short_video_loops_in_time():
    assert time_clips(steady(4, 10.0), clip_len=6, fps=10.0, num_clips=1).tolist() == [[0, 1, 2, 3, 0, 1]]
    assert time_clips(torch.zeros(1, dtype=torch.float64), 3, 15.0, 2).tolist() == [[0, 0, 0]] * 2


@given(
    st.lists(st.floats(0.0, 2.0), min_size=0, max_size=60),
    CLIP_LEN,
    st.floats(0.5, 120.0),
    CLIPS,
    SEED,
)
def test_time_clips_of_any_timeline(gaps: list[float], clip_len: int, fps: float, num_clips: int, seed: int):
    times = torch.tensor([0.0, *gaps], dtype=torch.float64).cumsum(0)
    fixed = time_clips(times, clip_len, fps, num_clips)
    drawn = random_time_clips(times, clip_len, fps, num_clips, generator(seed))
    for clips in (fixed, drawn):
        assert clips.shape == (num_clips, clip_len)
        assert clips.dtype == torch.int64
        assert bool(((clips >= 0) & (clips < len(times))).all())
        for clip in clips:
            ends = float(times[clip[0]]) + (clip_len - 1) / fps
            if ends <= float(times[-1]):
                assert bool((clip.diff() >= 0).all()), "a clip that fits does not loop"
    assert torch.equal(drawn, random_time_clips(times, clip_len, fps, num_clips, generator(seed)))


@given(st.integers(2, 200), CLIP_LEN, st.floats(1.0, 90.0), CLIPS, SEED)
def test_a_clip_that_fits_in_time_never_loops(num_frames: int, clip_len: int, fps: float, num_clips: int, seed: int):
    times = steady(num_frames, 30.0)
    if (clip_len / fps) <= float(times[-1]):
        fixed = time_clips(times, clip_len, fps, num_clips)
        drawn = random_time_clips(times, clip_len, fps, num_clips, generator(seed))
        for clips in (fixed, drawn):
            assert bool((clips.diff(dim=1) >= 0).all())


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: interval_clips(0, 32, 2, 1), "num_frames is 0"),
        (lambda: interval_clips(10, 32, 0, 1), "frame_interval is 0"),
        (lambda: uniform_clips(10, 0, 1), "clip_len is 0"),
        (lambda: random_uniform_clips(10, 4, -1, generator()), "num_clips is -1"),
        (lambda: time_clips(steady(10, 1.0), 4, float("nan"), 1), "fps is nan"),
        (lambda: time_clips(steady(10, 1.0).flip(0), 4, 15.0, 1), "frame times"),
    ],
)
def test_counts_below_one_are_refused(call, names: str):
    with pytest.raises(ConfigError, match=names):
        call()
