"""Which frames of a running video are seen: by time, whatever the frame rate does."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videoswin.data.preprocessing import Preprocessing
from videoswin.data.sampling import time_clips
from videoswin.errors import ConfigError
from videoswin.live.sampler import Sampler, stream_fps

gaps = st.lists(st.floats(0.005, 0.4), min_size=1, max_size=80)


def times_of(gaps: list[float], start: float = 0.0) -> list[float]:
    times = [start]
    for gap in gaps:
        times.append(times[-1] + gap)
    return times


@given(gaps, st.floats(1, 40), st.floats(0, 100))
def test_each_instant_gets_the_nearest_frame(gaps: list[float], fps: float, start: float) -> None:
    times = times_of(gaps, start)
    sampler: Sampler[int] = Sampler(fps)
    chosen, began = [], []
    for number, time_s in enumerate(times):
        chosen += sampler.feed(time_s, number)
        began.append(sampler.began)
    assert began == [True] + [False] * (len(times) - 1)
    for place, frame in enumerate(chosen):
        instant = times[0] + place / fps
        nearest = min(abs(t - instant) for t in times)
        assert abs(times[frame] - instant) == pytest.approx(nearest, abs=1e-9)
    assert len(chosen) == int((times[-1] - times[0]) * fps + 1e-9) + 1 or abs(times[-1] - times[0]) * fps % 1 < 1e-6


def test_a_constant_rate_is_sampled_as_a_file_is() -> None:
    """Every second frame of 30, and the same frames as `sampling="time"` picks."""
    times = torch.arange(64, dtype=torch.float64) / 30
    sampler: Sampler[int] = Sampler(15.0)
    chosen = [c for number, t in enumerate(times.tolist()) for c in sampler.feed(t, number)]
    assert chosen[:31] == list(range(0, 62, 2))
    assert time_clips(times, 32, 15.0, 1)[0].tolist() == [*chosen[:31], 62]


def test_a_slow_source_repeats_and_a_fast_one_skips() -> None:
    slow: Sampler[int] = Sampler(10.0)
    assert [c for n in range(3) for c in slow.feed(n * 0.25, n)] == [0, 0, 1, 1, 2, 2]
    fast: Sampler[int] = Sampler(10.0)
    assert [c for n in range(21) for c in fast.feed(n * 0.025, n)] == [0, 4, 8, 12, 16, 20]


@pytest.mark.parametrize("jump", [5.0, -3.0])
def test_a_gap_and_a_jump_back_begin_afresh(jump: float) -> None:
    sampler: Sampler[str] = Sampler(10.0)
    sampler.feed(10.0, "a")
    sampler.feed(10.1, "b")
    assert sampler.feed(10.1 + jump, "c") == ["c"]
    assert sampler.began
    assert sampler.feed(10.2 + jump, "d") == ["d"]
    assert not sampler.began


@given(gaps, st.floats(1, 40), st.integers(1, 79))
def test_state_goes_on(gaps: list[float], fps: float, cut: int) -> None:
    times = times_of(gaps)
    cut = min(cut, len(times) - 1)
    one: Sampler[int] = Sampler(fps)
    expected = [c for number, time_s in enumerate(times) for c in one.feed(time_s, number)]
    first: Sampler[int] = Sampler(fps)
    found = [c for number, time_s in enumerate(times[:cut]) for c in first.feed(time_s, number)]
    second: Sampler[int] = Sampler(fps)
    second.restore(first.state(), times[cut - 1], cut - 1)
    found += [c for number, time_s in enumerate(times[cut:], cut) for c in second.feed(time_s, number)]
    assert found == expected


def test_the_rate_follows_from_the_checkpoint_the_source_or_the_user() -> None:
    assert stream_fps(Preprocessing(frame_interval=2), source_fps=30) == 15
    assert stream_fps(Preprocessing(sampling="time", fps=12.5), source_fps=30) == 12.5
    assert stream_fps(Preprocessing(clip_len=16, sampling="uniform"), 30, clip_seconds=2) == 8
    with pytest.raises(ConfigError, match="--clip-seconds"):
        stream_fps(Preprocessing(sampling="uniform"), 30)
    with pytest.raises(ConfigError, match="states no frame rate"):
        stream_fps(Preprocessing(), 0)
    with pytest.raises(ConfigError, match="clip_seconds"):
        stream_fps(Preprocessing(), 30, clip_seconds=-1)
