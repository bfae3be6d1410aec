"""Things that move: one to four boxes and ellipses on paths that have a name."""

import math

import torch
from torch import Tensor

from generated.dice import Dice
from generated.programs import ramp

__all__ = ["OBJECTS", "draw_objects", "paint_objects"]

OBJECTS = (
    "still", "left", "right", "up", "down", "circle_cw", "circle_ccw", "swing_h", "swing_v", "nearer", "farther", "turn_cw",
    "turn_ccw", "bounce", "fall", "collide", "cross", "scatter",
)  # fmt: skip
_WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}

Thing = tuple[Tensor, Tensor, Tensor]
"""Centre (T, 2) in picture heights, size (T,), angle (T,)."""


def draw_objects(name: str, clip_len: int, aspect: float, dice: Dice) -> list[Thing]:
    """The things of one of OBJECTS."""
    t = torch.linspace(0, 1, clip_len)
    progress = t if dice.chance(0.6) else ramp(t, dice.uniform(-0.2, 0.3), dice.uniform(0.6, 1.2))
    if name in ("collide", "cross"):
        return [_meet(name, side, progress, aspect, dice) for side in (-1, 1)]
    if name == "scatter":
        return _scatter(progress, aspect, dice)
    return [_alone(name, t, progress, aspect, dice)]


def _alone(name: str, t: Tensor, progress: Tensor, aspect: float, dice: Dice) -> Thing:
    x, y = aspect * dice.uniform(0.3, 0.7) + 0 * t, dice.uniform(0.3, 0.7) + 0 * t
    size, angle = torch.ones_like(t), torch.zeros_like(t)
    rate, phase, far = dice.uniform(0.6, 3.0), dice.uniform(0, 2 * math.pi), dice.uniform(0.12, 0.38)
    match name:
        case "left" | "right" | "up" | "down":
            (dx, dy), slant, length = _WAYS[name], dice.uniform(-0.35, 0.35), dice.uniform(0.3, 1.0)
            x = x + (dx * math.cos(slant) - dy * math.sin(slant)) * length * aspect * (progress - 0.5)
            y = y + (dx * math.sin(slant) + dy * math.cos(slant)) * length * (progress - 0.5)
        case "circle_cw" | "circle_ccw":
            round_ = 2 * math.pi * 0.7 * rate * progress * (1 if name == "circle_cw" else -1) + phase
            x, y = x + far * torch.cos(round_), y + far * torch.sin(round_)
        case "swing_h":
            x = x + far * torch.sin(2 * math.pi * rate * t + phase)
        case "swing_v":
            y = y + far * torch.sin(2 * math.pi * rate * t + phase)
        case "nearer" | "farther":
            growth = dice.uniform(0.4, 1.5) * (progress - 0.5)
            size = torch.exp(growth if name == "nearer" else -growth)
        case "turn_cw" | "turn_ccw":
            angle = 2 * math.pi * dice.uniform(0.2, 1.5) * progress * (1 if name == "turn_cw" else -1)
        case "bounce":
            y = 0.85 - dice.uniform(0.3, 0.6) * torch.sin(math.pi * (rate * t + phase)).abs()
            x = x + dice.uniform(-0.5, 0.5) * (t - 0.5)
        case "fall":
            fallen = dice.uniform(0.8, 2.0) * (t - dice.uniform(0, 0.4)).clamp(min=0).square()
            x, y = x + dice.uniform(-0.3, 0.3) * t, dice.uniform(0, 0.3) + fallen.clamp(max=0.75)
    if not name.startswith("turn") and dice.chance(0.2):
        angle = angle + dice.uniform(-2, 2) * t
    return torch.stack([x, y], 1), size, angle


def _meet(name: str, side: int, progress: Tensor, aspect: float, dice: Dice) -> Thing:
    """Two come from both sides; they pass each other, or touch and go back."""
    way = 1 - 2 * progress
    way = way if name == "cross" else way.abs().clamp(min=0.25)
    x = 0.5 * aspect + side * dice.uniform(0.3, 0.45) * aspect * way
    y = torch.full_like(x, 0.5 + dice.uniform(-0.08, 0.08))
    return torch.stack([x, y], 1), torch.ones_like(x), torch.zeros_like(x)


def _scatter(progress: Tensor, aspect: float, dice: Dice) -> list[Thing]:
    """Several leave one place, or come to it."""
    count, phase = dice.integer(3, 4), dice.uniform(0, 2 * math.pi)
    middle = aspect * dice.uniform(0.35, 0.65), dice.uniform(0.35, 0.65)
    gone = progress if dice.chance(0.5) else 1 - progress
    things = []
    for i in range(count):
        angle = 2 * math.pi * i / count + phase
        x = middle[0] + math.cos(angle) * (0.4 * aspect * gone + 0.06)
        y = middle[1] + math.sin(angle) * (0.4 * gone + 0.06)
        things.append((torch.stack([x, y], 1), torch.ones_like(x), torch.zeros_like(x)))
    return things


def paint_objects(picture: Tensor, at: Tensor, things: list[Thing], turns: bool, plain: bool, dice: Dice) -> Tensor:
    """``picture`` (T, 3, H, W) with the things in it; ``at`` (H, W, 2): where each pixel is. ``turns``: the turning is what
    matters, so the thing must not look alike from all sides."""
    for centre, size, angle in things:
        width = dice.uniform(0.05, 0.2)
        height = width * dice.uniform(0.5, 2.0)
        offset = at[None] - centre[:, None, None]
        turned = (angle + dice.uniform(0, 2 * math.pi))[:, None, None]
        u = (offset[..., 0] * torch.cos(turned) + offset[..., 1] * torch.sin(turned)) / size[:, None, None]
        v = (-offset[..., 0] * torch.sin(turned) + offset[..., 1] * torch.cos(turned)) / size[:, None, None]
        if turns or dice.chance(0.5):
            distance = torch.maximum(u.abs() - width, v.abs() - 0.7 * height)
        else:
            distance = (((u / width).square() + (v / height).square() + 1e-9).sqrt() - 1) * min(width, height)
        colour = torch.full((3,), dice.uniform(0.7, 1.0)) if plain else dice.rand(3)
        colour = colour.view(1, 3, 1, 1).expand_as(picture)
        if not plain and dice.chance(0.5):
            colour = colour * (1 + 0.4 * torch.sin(dice.uniform(15, 60) * u + dice.uniform(0, 6)).unsqueeze(1))
        if turns and not plain:
            colour = torch.where((u > 0).unsqueeze(1), colour, 0.6 * colour)
        picture = torch.lerp(picture, colour, torch.sigmoid(-distance / dice.uniform(0.004, 0.014)).unsqueeze(1))
    return picture
