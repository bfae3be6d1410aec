"""Cuts and stillness on made pictures; `benchmarks/cuts.py` measures them on real ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.live.helpers import scene
from tests.media_helpers import moving_picture
from videoswin.live.scenes import CutDetector, MotionGate, thumbnail


def cuts_in(frames: np.ndarray, fps: float = 25) -> list[int]:
    detector = CutDetector()
    return [number for number, frame in enumerate(frames) if detector.feed(number / fps, thumbnail(frame))]


def test_every_cut_and_nothing_else() -> None:
    frames = np.concatenate([scene(20, seed) for seed in range(6)])
    assert cuts_in(frames) == [20, 40, 60, 80, 100]


def test_motion_and_the_first_frame_are_no_cuts() -> None:
    assert cuts_in(moving_picture(60, 96, 128)) == []


def test_a_fade_is_no_cut() -> None:
    picture = scene(1, 0)[0].astype(np.float32)
    assert cuts_in(np.stack([picture * (1 - step / 40) for step in range(40)]).astype(np.uint8)) == []


def test_a_flash_is_not_two_cuts() -> None:
    frames = scene(40, 1)
    frames[20] = 255
    assert len(cuts_in(frames)) <= 1


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (24, 32), (97, 131), (480, 640)])
def test_a_thumbnail_of_any_size(size: tuple[int, int]) -> None:
    picture = thumbnail(np.full((*size, 3), (10, 20, 30), np.uint8))
    assert picture.shape == (24, 32, 3)
    assert np.array_equal(picture[5, 7], [10, 20, 30])


def test_a_change_of_resolution_is_no_cut() -> None:
    small = scene(1, 3)[0]
    large = small.repeat(3, axis=0).repeat(3, axis=1)
    assert cuts_in_pair(small, large) is False


def cuts_in_pair(first: np.ndarray, second: np.ndarray) -> bool:
    detector = CutDetector()
    detector.feed(0.0, thumbnail(first))
    return detector.feed(1.0, thumbnail(second))


def test_noise_is_still_and_a_finger_is_not() -> None:
    rng = np.random.default_rng(0)
    ground = scene(1, 4)[0].astype(np.float32)
    gate = MotionGate()
    noisy = [(ground + rng.normal(0, 3, ground.shape)).clip(0, 255).astype(np.uint8) for _ in range(20)]
    assert [gate.feed(thumbnail(frame)) for frame in noisy] == [True] + [False] * 19
    noisy[-1][40:56, 60:76] = 255
    assert gate.feed(thumbnail(noisy[-1])) is True


def test_slow_motion_adds_up() -> None:
    gate = MotionGate(threshold=8)
    moved = [gate.feed(np.full((24, 32, 3), level, np.float32)) for level in range(20)]
    assert [number for number, one in enumerate(moved) if one] == [0, 8, 16]


@given(arrays(np.uint8, (12, 9, 16, 3)), st.integers(1, 11))
def test_state_goes_on(frames: np.ndarray, cut: int) -> None:
    detector = CutDetector()
    expected = [detector.feed(n / 5, thumbnail(frame)) for n, frame in enumerate(frames)]
    first, second = CutDetector(), CutDetector()
    found = [first.feed(n / 5, thumbnail(frame)) for n, frame in enumerate(frames[:cut])]
    second.restore(first.state(), thumbnail(frames[cut - 1]))
    found += [second.feed(n / 5, thumbnail(frame)) for n, frame in enumerate(frames[cut:], cut)]
    assert found == expected
