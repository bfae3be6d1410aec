"""What a run's figures say."""

from pathlib import Path

import pytest
import torch

from videoswin.data.annotations import Clip
from videoswin.train.advice import advise, at_chance, resolution
from videoswin.train.metrics import EpochRow


def rows(**counts: int) -> list[Clip]:
    return [Clip(Path(f"{label}{i}.mp4"), label, "", "", 0) for label, n in counts.items() for i in range(n)]


def epochs(losses: list[float], train: float, val: float | None = None) -> list[EpochRow]:
    return [EpochRow(i, loss, train, None, val, 1e-4, 1.0, 1.0) for i, loss in enumerate(losses, 1)]


@pytest.mark.parametrize(("right", "poor"), [(5, True), (8, True), (20, False), (36, False)])
def test_chance_is_told_from_knowledge(right: int, poor: bool):
    clips = rows(a=6, b=6, c=6, d=6, e=6, f=6)
    assert at_chance([i < right for i in range(36)], clips) is poor


def test_the_commonest_class_is_no_knowledge():
    assert at_chance([True] * 80 + [False] * 20, rows(often=80, rare=20))


def test_what_one_clip_is_worth():
    assert resolution(13) == "13 clips: one clip is 7.7 points"


FLAT = [1.0] * 20


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (epochs([2.0 - 0.08 * i for i in range(20)], 0.9), "still falling"),
        (epochs(FLAT, 0.7), "stayed at 70%"),
        (epochs(FLAT, 0.99, 0.5), "by heart"),
        (epochs(FLAT, 0.99, 0.95), None),
        (epochs([1.0], 0.99), None),
    ],
)
def test_learning(run: list[EpochRow], said: str | None):
    lines = advise(run, rows(a=10, b=10), None, ("a", "b"))
    assert len(lines) == (said is not None)
    assert said is None or said in lines[0]


def test_classes():
    few = advise([], rows(a=3, b=30), None, ("a", "b"))
    assert "a 3" in few[0]
    assert '"b" has 30' in few[1]
    eaten = advise([], rows(a=10, b=10), torch.tensor([[2, 8], [1, 9]]), ("a", "b"))
    assert eaten == ['"a" is taken for "b" in 8 of 10 clips: are they told apart?']
