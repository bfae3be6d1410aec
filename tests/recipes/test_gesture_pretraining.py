"""Pretraining on generated motion, in the smallest size that learns something."""

import math
from dataclasses import replace

import pytest
import torch
from generated import gesture_pretraining as module
from generated.gesture_pretraining import MotionFigures, Phase, learn, pretrain
from generated.hand import GESTURES, draw_motion
from generated.pointing import pointers_for

from tests.tiny import CONFIG
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, TrainingError
from videoswin.zoo import create_model

PREPROCESSING = Preprocessing(clip_len=4, sampling="uniform", size=(24, 32), short_side=None)
PHASES = [
    Phase(clips=8, steps=60, clutter=0.0, batch_size=4, lr=3e-3, warmup_steps=3),
    Phase(clips=8, steps=5, clutter=1.0, batch_size=4, lr=1e-3, warmup_steps=3),
]


def tiny_model():
    torch.manual_seed(0)
    return create_model(CONFIG, num_classes=len(GESTURES) + 1, drop_path=0.0, head_dropout=0.0)


def run(phases: list[Phase], seed: int = 0) -> tuple[torch.nn.Module, list[tuple[Phase, MotionFigures]]]:
    model, seen = tiny_model(), []
    pretrain(model, PREPROCESSING, phases, seed, 1, lambda phase, figures: seen.append((phase, figures)))
    return model, seen


@pytest.fixture
def drawn_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips are drawn in this process: starting others takes seconds."""

    def draw(phase: Phase, preprocessing: Preprocessing, seed: int, number: int, processes: int):
        generator = torch.Generator().manual_seed(10 * seed + number)
        size = preprocessing.working_resize.size
        return draw_motion(phase.clips, preprocessing.clip_len, size, generator, phase.clutter)

    monkeypatch.setattr(module, "draw_clips", draw)


@pytest.mark.usefixtures("drawn_here")
def test_the_loss_falls():
    model, seen = run(PHASES)
    assert [phase for phase, _ in seen] == [PHASES[0]] * 60 + [PHASES[1]] * 5
    assert [figures.step for _, figures in seen] == [*range(1, 61), *range(1, 6)]
    first, last = seen[0][1], seen[59][1]
    assert last.loss < 0.8 * first.loss
    assert last.heat_loss < first.heat_loss
    assert all(0 <= figures.accuracy <= 1 and math.isfinite(figures.loss) for _, figures in seen)
    assert set(model.state_dict()) == set(tiny_model().state_dict())  # nothing stays of the pointers


@pytest.mark.usefixtures("drawn_here")
def test_same_seed_same_weights():
    first, again, other = (run(PHASES[1:], seed)[0].state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.usefixtures("drawn_here")
def test_a_loss_that_is_no_number():
    with pytest.raises(TrainingError, match="became nan at step"):
        run([Phase(clips=8, steps=8, clutter=0.0, batch_size=4, lr=math.inf, warmup_steps=1)])


def test_clips_come_from_another_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_CHUNK", 3)
    clips = module.draw_clips(PHASES[0], PREPROCESSING, seed=0, number=0, processes=1)
    size = PREPROCESSING.working_resize.size
    assert clips.frames.shape == (9, 4, *size, 3)
    assert clips.tips.shape == (9, 4, 2)
    second = draw_motion(3, 4, size, torch.Generator().manual_seed(1001), 0.0)
    assert torch.equal(clips.frames[3:6], second.frames)
    assert torch.equal(clips.labels[3:6], second.labels)


def test_crops_move_the_tips_along():
    """The pixel under a tip stays under it."""
    clips = draw_motion(4, 2, (30, 40), torch.Generator().manual_seed(0), 0.0)
    frames, tips, labels = next(module._batches(clips, (24, 32), Phase(clips=4, steps=1, clutter=0.0, batch_size=4)))
    assert frames.shape == (4, 2, 24, 32, 3)
    assert 0 <= frames.min() <= frames.max() <= 255
    scale = torch.tensor([40.0, 30.0]) / torch.tensor([32.0, 24.0])
    for moved, label in zip(tips, labels, strict=True):
        shifts = [
            (moved - clips.tips[i] * scale) * torch.tensor([32, 24]) for i in range(4) if clips.labels[i] == label
        ]
        # The same whole number of pixels for all frames of one of the drawn clips.
        assert any((s - s[0].round()).abs().max() < 1e-3 and s.max() < 1e-3 and s[0, 0] > -9 for s in shifts)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("r3d_micro", {"width": 4}),
        ("i3d_r50_gc_micro", {"width": 8, "dropout": 0}),
        ("timesformer_micro_space", {"embed_dim": 12, "crop_size": 24, "clip_len": 4}),
        ("vivit_micro_model1", {"embed_dim": 12, "crop_size": 24, "clip_len": 4}),
        *((f"swin3d_micro_{what}", {"embed_dim": 8, "crop_size": 32}) for what in ("joint", "factorised", "split")),
    ],
)
def test_other_systems_learn_it_too(name: str, changes: dict[str, int]):
    """All point at it, in float32, and nothing listens to the model afterwards."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=len(GESTURES) + 1, **changes)
    phase = Phase(clips=8, steps=40, clutter=0.0, batch_size=4, lr=3e-3, warmup_steps=3)
    square = replace(PREPROCESSING, size=(24, 24))  # ViViT's positions are a table
    clips = draw_motion(8, 4, square.working_resize.size, torch.Generator().manual_seed(0), 0.0)
    seen: list[MotionFigures] = []
    learn(model, square, [(phase, clips)], 0, lambda _, figures: seen.append(figures))
    assert seen[-1].loss < 0.8 * seen[0].loss
    assert seen[-1].tip_loss < seen[0].tip_loss
    assert 0 < seen[-1].heat_loss < seen[0].heat_loss
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_system_without_places_is_refused():
    """MViT's blocks hand on tokens whose grid is not told."""
    with pytest.raises(ConfigError, match="No block of this MViT has places of 8x8 pixels"):
        pointers_for(create_model("mvit_v2_micro", crop_size=32), 16, (32, 32))
