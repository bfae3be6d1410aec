"""A narrow model learns: four tiny clips by heart, and a task that only motion can solve."""

import torch
from torch import Tensor
from torch.nn import functional as F

from videoswin.model import SwinConfig, VideoSwin

NARROW = SwinConfig(
    embed_dim=16,
    depths=(2, 2),
    num_heads=(1, 2),
    window_size=(4, 3, 3),
    num_classes=4,
    drop_path=0.0,
    head_dropout=0.0,
    init="local",
)


def train(model: VideoSwin, clips: Tensor, labels: Tensor, steps: int) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(clips), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_four_clips_are_learnt_by_heart() -> None:
    model, clips, labels = VideoSwin(NARROW).train(), torch.randn(4, 3, 8, 24, 24), torch.arange(4)
    losses = train(model, clips, labels, steps=40)
    assert abs(losses[0] - 1.386) < 0.2  # ln 4: nothing is known at first
    assert losses[-1] < 0.05
    assert model.eval()(clips).argmax(dim=1).equal(labels)


def moving_bars() -> tuple[Tensor, Tensor]:
    """Bars that move left, right, up or down. Clips 0 and 1 hold the same frames in opposite order, as do 2 and 3."""
    clips = torch.zeros(4, 3, 8, 32, 32)
    for frame in range(8):
        clips[0, :, frame, :, 4 * frame : 4 * frame + 4] = 1
        clips[2, :, frame, 4 * frame : 4 * frame + 4, :] = 1
    clips[1], clips[3] = clips[0].flip(1), clips[2].flip(1)
    return (clips - 0.125) * 3, torch.arange(4)


def test_the_direction_of_motion_is_learnt() -> None:
    """Nothing but attention over time and its relative positions can tell a clip from its reverse."""
    clips, labels = moving_bars()
    model = VideoSwin(NARROW).train()
    losses = train(model, clips, labels, steps=60)
    assert losses[-1] < 0.1
    assert model.eval()(clips).argmax(dim=1).equal(labels)
