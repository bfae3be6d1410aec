"""What is behind the things that move, and the camera before them. Pictures are float (T, 3, H, W), 0 to 1."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from generated.dice import Dice

__all__ = ["background", "camera", "capsule"]


def background(clip_len: int, size: tuple[int, int], dice: Dice) -> Tensor:
    """(T, 3, H, W): clutter seen by a head that is never quite still."""
    height, width = size
    big = (height * 3 // 2, width * 3 // 2)
    y, x = torch.meshgrid(torch.linspace(0, 1, big[0]), torch.linspace(0, 1, big[1]), indexing="ij")
    canvas = (
        dice.rand(3, 1, 1) * 0.8 + 0.1 + 0.3 * dice.normal(3, 1, 1) * (x - 0.5) + 0.3 * dice.normal(3, 1, 1) * (y - 0.5)
    )
    for cells in (3, 6, 12, 24, 48):
        if dice.chance(0.6):
            noise = F.interpolate(dice.normal(1, 3, cells, cells), size=big, mode="bilinear", align_corners=True)[0]
            grey = noise.mean(0, keepdim=True) * 1.7
            colour = dice.uniform(0, 1)
            canvas = canvas + dice.uniform(0, 0.18) * (colour * noise + (1 - colour) * grey)
    if dice.chance(0.35):
        angle, waves = dice.uniform(0, math.pi), dice.uniform(2, 16)
        stripes = torch.sin(2 * math.pi * waves * (x * math.cos(angle) + y * math.sin(angle)) + dice.uniform(0, 6))
        if dice.chance(0.5):
            stripes = torch.sign(stripes)
        canvas = canvas + 0.25 * dice.normal(3, 1, 1) * stripes
    for _ in range(dice.integer(0, 14) if dice.chance(0.7) else 0):
        cx, cy, w, h = dice.uniform(0, 1), dice.uniform(0, 1), dice.uniform(0.02, 0.25), dice.uniform(0.02, 0.35)
        angle = dice.uniform(-0.3, 0.3) if dice.chance(0.5) else 0.0
        u = (x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)
        v = (y - cy) * math.cos(angle) - (x - cx) * math.sin(angle)
        inside = (u.abs() < w) & (v.abs() < h) if dice.chance(0.7) else (u / w) ** 2 + (v / h) ** 2 < 1
        canvas = torch.where(inside, dice.rand(3, 1, 1) * (0.7 + 0.3 * canvas), canvas)
    # Rooms and gardens are mostly greyish.
    canvas = torch.lerp(canvas.mean(0, keepdim=True), canvas, dice.uniform(0, 0.8))
    sway = dice.uniform(0, 0.06) if dice.chance(0.7) else dice.uniform(0, 0.25)
    zoom = 0.62 * (1 + dice.smooth(clip_len, sway / 2))
    turn = dice.smooth(clip_len, sway / 2)
    theta = torch.stack(
        [
            torch.stack([zoom * torch.cos(turn), -zoom * torch.sin(turn), dice.smooth(clip_len, sway)], 1),
            torch.stack([zoom * torch.sin(turn), zoom * torch.cos(turn), dice.smooth(clip_len, sway)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [clip_len, 3, height, width], align_corners=False)
    return F.grid_sample(canvas.expand(clip_len, -1, -1, -1), grid, padding_mode="reflection", align_corners=False)


def capsule(at: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """(T, H, W) distance of every pixel to the segments start-end (T, 2)."""
    along = (end - start)[:, None, None]  # (T, 1, 1, 2)
    offset = at - start[:, None, None]
    share = ((offset * along).sum(-1) / (along.square().sum(-1) + 1e-9)).clamp(0, 1).unsqueeze(-1)
    return (offset - share * along).norm(dim=-1)


def camera(picture: Tensor, dice: Dice) -> Tensor:
    """Exposure that drifts, white balance, gamma, blur and noise."""
    frames = picture.shape[0]
    drift: Callable[[float], Tensor] = lambda scale: dice.smooth(frames, scale).view(-1, 1, 1, 1)  # noqa: E731
    picture = (
        picture * dice.uniform(0.6, 1.25) * torch.exp(drift(dice.uniform(0, 0.25))) * (1 + 0.08 * dice.normal(3, 1, 1))
    )
    picture = picture.clamp(0.001, 1) ** dice.uniform(0.75, 1.5)
    if dice.chance(0.4):
        share = dice.uniform(0, 0.6)
        picture = torch.lerp(picture, F.avg_pool2d(picture, 3, stride=1, padding=1, count_include_pad=False), share)
    return picture + dice.normal(*picture.shape) * dice.uniform(0, 0.035)
