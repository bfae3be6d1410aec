"""Generated motion: the finger is where the tips say, and moves as the label says."""

import math

import pytest
import torch
from generated.hand import ASPECT, GESTURES, MotionBatch, draw_motion
from torch import Tensor

NAMES = [*GESTURES, "none"]
SIZE = (48, 64)


def draw(
    batch: int, clip_len: int = 8, size: tuple[int, int] = SIZE, seed: int = 0, clutter: float = 1.0
) -> MotionBatch:
    return draw_motion(batch, clip_len, size, torch.Generator().manual_seed(seed), clutter)


@pytest.fixture(scope="module")
def plain() -> MotionBatch:
    """Read only."""
    return draw(120, clip_len=16, clutter=0.0)


def paths(batch: MotionBatch, name: str) -> Tensor:
    """(N, T, 2) tips of one gesture, in frame heights."""
    return batch.tips[batch.labels == NAMES.index(name)] * torch.tensor([ASPECT, 1.0])


def test_shapes_and_types():
    frames, tips, labels = draw(3, clip_len=6, size=(40, 56))
    assert (frames.shape, frames.dtype) == ((3, 6, 40, 56, 3), torch.uint8)
    assert (tips.shape, tips.dtype) == ((3, 6, 2), torch.float32)
    assert (labels.shape, labels.dtype) == ((3,), torch.int64)
    assert tips.isfinite().all()
    assert frames.float().std() > 5


def test_same_seed_same_clips():
    first, again, other = draw(2, seed=1), draw(2, seed=1), draw(2, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.frames, other.frames)
    torch.manual_seed(77)  # the global generator has no say, and is left alone
    before = torch.get_rng_state()
    assert torch.equal(draw(2, seed=1).frames, first.frames)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_label_is_drawn_alike():
    labels = draw(660, clip_len=2, size=(8, 8), clutter=0.0).labels
    counts = labels.bincount(minlength=len(NAMES))
    assert len(counts) == len(NAMES)
    assert counts.min() > 35
    assert counts.max() < 95


def test_tips_stay_in_the_frame(plain: MotionBatch):
    inside = ((plain.tips >= 0) & (plain.tips <= 1)).all(-1).float()
    assert inside.mean() > 0.9
    assert (plain.tips > -0.6).all()
    assert (plain.tips < 1.6).all()


def test_the_finger_ends_at_the_tip(plain: MotionBatch):
    """The hand is light on a dark ground: there is light at the tip, and the hand moves with it."""
    height, width = SIZE
    light, seen = [], 0
    for frames, tips in zip(plain.frames.float().mean(-1), plain.tips, strict=True):
        ground = frames.median() if (frames == frames.median()).float().mean() > 0.5 else frames.min()
        for picture, (x, y) in zip(frames, (tips * torch.tensor([width, height])).tolist(), strict=True):
            if not (2 <= x < width - 3 and 2 <= y < height - 3):
                continue
            seen += 1
            near = picture[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3]
            light.append(bool(near.max() > ground + 60) and bool(near.min() <= ground + 1))
    assert seen > 1200
    assert sum(light) / seen > 0.97  # within two pixels there is hand as well as ground


def test_plain_clips_have_two_tones(plain: MotionBatch):
    for frames in plain.frames[:20]:
        values = frames.flatten().unique()
        assert len(values) <= 2
        assert values[0] < 70
        assert values[-1] > 170


def test_cluttered_clips_are_the_wanted_share():
    frames = draw(60, clip_len=2, size=(16, 16), clutter=0.5, seed=3).frames
    plain = sum(len(clip.flatten().unique()) <= 2 for clip in frames)
    assert 18 <= plain <= 42
    assert all(len(clip.flatten().unique()) > 2 for clip in draw(10, clip_len=2, clutter=1.0).frames)


def test_straight_strokes_go_where_they_are_named(plain: MotionBatch):
    for name, axis, sign in (("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)):
        moved = paths(plain, name)[:, -1] - paths(plain, name)[:, 0]
        assert len(moved) > 3, name
        assert (sign * moved[:, axis] > 0.2).all(), name
        assert (moved[:, axis].abs() > 1.5 * moved[:, 1 - axis].abs()).all(), name


def test_circles_turn_counter_clockwise(plain: MotionBatch):
    circles = paths(plain, "circle_ccw")
    assert len(circles) > 3
    offset = circles - (circles.amax(1, keepdim=True) + circles.amin(1, keepdim=True)) / 2
    angle = torch.atan2(-offset[..., 1], offset[..., 0])  # y is down: counter-clockwise as a person sees it
    turned = torch.diff(angle, dim=1)
    turned = ((turned + math.pi) % (2 * math.pi) - math.pi).sum(1)
    assert (turned > 1.4 * math.pi).all()


def test_closed_and_open_paths(plain: MotionBatch):
    square, tick = paths(plain, "square"), paths(plain, "tick")
    assert ((square[:, 0] - square[:, -1]).norm(dim=1) < 0.25).all()
    assert (tick[:, -1, 0] - tick[:, 0, 0] > 0.1).all()  # a tick goes to the right
    lowest = tick[..., 1].argmax(1)
    assert ((lowest > 0) & (lowest < tick.shape[1] - 1)).float().mean() > 0.8
