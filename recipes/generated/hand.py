"""Generated motion: a hand-like shape whose finger draws a path over clutter, with the fingertip known at every frame.

Why: attention over space and time does not learn motion from a few hundred clips (docs/log.md has the figures). Here
the same task comes without end and with a dense answer, the fingertip's place in every frame, so a narrow Video Swin
learns to find and follow a moving hand first, and needs the real clips only for the rest. Nothing here is real data:
backgrounds, hands and paths are drawn from the generator.

Lengths are in frame heights, x to the right and y down, so a 4:3 picture spans (4/3, 1).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from generated.dice import Dice
from generated.pictures import background, camera, capsule

__all__ = ["ASPECT", "GESTURES", "MotionBatch", "draw_motion", "paint_hand", "tip_path"]

ASPECT = 4 / 3

Path = list[tuple[float, float]]

GESTURES: dict[str, Path] = {
    "caret": [(-1, 1), (0, -1), (1, 1)],
    "circle_ccw": [(math.sin(-a), -math.cos(a)) for a in torch.linspace(0, 2 * math.pi, 25).tolist()],
    "cross": [(-1, -1), (1, 1), (-1, 1), (1, -1)],
    "down": [(0, -1), (0, 1)],
    "left": [(1, 0), (-1, 0)],
    "right": [(-1, 0), (1, 0)],
    "square": [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)],
    "star": [(-0.7, 1), (0, -1), (0.7, 1), (-1, -0.2), (1, -0.2), (-0.7, 1)],
    "tick": [(-1, -0.3), (-0.4, 1), (1, -1)],
    "up": [(0, 1), (0, -1)],
}
"""Paths in a [-1, 1] box, in the order the finger draws them. One more label, the last, is "none": any other path."""


class MotionBatch(NamedTuple):
    """Generated clips."""

    frames: Tensor
    """uint8 (B, T, H, W, 3)."""
    tips: Tensor
    """(B, T, 2) fingertip (x, y) as shares of width and height; may lie a little outside [0, 1]."""
    labels: Tensor
    """(B,) index into GESTURES, or len(GESTURES) for another path."""


def draw_motion(
    batch: int, clip_len: int, size: tuple[int, int], generator: torch.Generator, clutter: float = 1.0
) -> MotionBatch:
    """``batch`` clips of ``clip_len`` frames of ``size`` (height, width) pixels.

    ``clutter`` is the share of clips with a background, a moving camera and a hand like a hand. The others are plain: a
    light hand over a dark, still, even ground. A model that starts from nothing learns motion on those first.
    """
    dice = Dice(generator)
    clips = [_draw_clip(clip_len, size, dice, plain=not dice.chance(clutter)) for _ in range(batch)]
    frames, tips, labels = zip(*clips, strict=True)
    return MotionBatch(torch.stack(frames), torch.stack(tips), torch.tensor(labels))


def _draw_clip(clip_len: int, size: tuple[int, int], dice: Dice, plain: bool) -> tuple[Tensor, Tensor, int]:
    label = dice.integer(0, len(GESTURES))
    tips = tip_path(label, clip_len, dice)  # (T, 2), heights
    if plain:
        ground = torch.full((clip_len, 3, *size), dice.uniform(0.05, 0.25))
        hand = paint_hand(torch.zeros(clip_len, 3, *size), tips, dice).mean(1, keepdim=True)
        picture = torch.lerp(ground, torch.tensor(dice.uniform(0.7, 1.0)), (hand > 0.01).float())
    else:
        picture = background(clip_len, size, dice)  # (T, 3, H, W), 0-1
        picture = paint_hand(picture, tips, dice)
        picture = camera(picture, dice)
    frames = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return frames, tips / torch.tensor([ASPECT, 1.0]), label


# Paths -----------------------------------------------------------------------------------------------------------------


def tip_path(label: int, clip_len: int, dice: Dice) -> Tensor:
    """(T, 2): where the fingertip is in every frame."""
    names = list(GESTURES)
    corners = _other_path(dice) if label == len(names) else _variant(names[label], dice)
    points = torch.tensor(corners, dtype=torch.float32)
    points = points + dice.normal(*points.shape) * 0.08
    half = torch.tensor([dice.uniform(0.2, 0.5), dice.uniform(0.18, 0.4)])
    if label < len(names) and len(corners) == 2:
        half = half.clamp(max=0.33)  # one straight stroke: people move less, and start anywhere
    angle = math.radians(dice.uniform(-12, 12))
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = (points * half) @ turn.T
    centre = torch.tensor([dice.uniform(0.42, 0.62) * ASPECT, dice.uniform(0.35, 0.6)])
    path = _along(points, _progress(clip_len, dice))
    tremor = torch.stack(
        [dice.smooth(clip_len, 0.008, knots=clip_len), dice.smooth(clip_len, 0.008, knots=clip_len)], 1
    )
    return centre + path + tremor


def _variant(name: str, dice: Dice) -> Path:
    """People differ: where a circle starts, in which order a cross is drawn."""
    path = list(GESTURES[name])
    if name == "circle_ccw":
        start, sweep = dice.uniform(-2.2, 1.2), 2 * math.pi * dice.uniform(0.85, 1.2)
        return [(-math.sin(start + sweep * i / 24), -math.cos(start + sweep * i / 24)) for i in range(25)]
    if name == "cross" and dice.chance(0.3):
        return [(-1, -1), (1, 1), (1, -1), (-1, 1)]
    if name == "cross" and dice.chance(0.2):
        return [(1, -1), (-1, 1), (-1, -1), (1, 1)]
    return path


def _other_path(dice: Dice) -> Path:
    kind = dice.integer(0, 3)
    if kind == 0:  # nearly still
        return [(dice.uniform(-0.1, 0.1), dice.uniform(-0.1, 0.1)) for _ in range(3)]
    if kind == 1:  # the other way round
        path = GESTURES[("circle_ccw", "square", "star", "tick", "caret")[dice.integer(0, 4)]]
        return path[::-1] if path[0][0] != -path[-1][0] else [(-x, -y) for x, y in path]
    return [(dice.uniform(-1, 1), dice.uniform(-1, 1)) for _ in range(dice.integer(3, 6))]


def _along(points: Tensor, progress: Tensor) -> Tensor:
    """Positions at shares ``progress`` (T,) of a polyline's length, corners slightly rounded."""
    steps = (points[1:] - points[:-1]).norm(dim=1).clamp(min=1e-4)
    at = torch.cat([torch.zeros(1), steps.cumsum(0)])
    fine = torch.linspace(0, float(at[-1]), 129)
    i = torch.searchsorted(at, fine, right=True).clamp(1, len(at) - 1)
    share = ((fine - at[i - 1]) / steps[i - 1]).clamp(0, 1).unsqueeze(1)
    line = points[i - 1] * (1 - share) + points[i] * share
    line = F.avg_pool1d(F.pad(line.T.unsqueeze(0), (4, 4), mode="replicate"), 9, stride=1)[0].T
    where = progress.clamp(0, 1) * 128
    low = where.floor().long().clamp(max=127)
    return line[low] + (line[low + 1] - line[low]) * (where - low).unsqueeze(1)


def _progress(clip_len: int, dice: Dice) -> Tensor:
    """(T,) monotone from 0 to 1: a rest at both ends, and a hand that slows down and speeds up."""
    speed = torch.exp(dice.smooth(clip_len - 1, 0.5, knots=6))
    walked = torch.cat([torch.zeros(1), speed.cumsum(0)]) / speed.sum()
    before, after = dice.uniform(-0.02, 0.15), dice.uniform(-0.02, 0.15)
    return ((walked - before) / (1 - before - after)).clamp(0, 1)


# Pictures --------------------------------------------------------------------------------------------------------------


def paint_hand(picture: Tensor, tips: Tensor, dice: Dice) -> Tensor:
    """(T, 3, H, W) with an arm, a fist, a thumb and a stretched finger over it; the finger ends at ``tips``."""
    frames, _, height, width = picture.shape
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width * ASPECT, indexing="ij"
    )
    at = torch.stack([x, y], -1)  # (H, W, 2)
    side = -1.0 if dice.chance(0.12) else 1.0  # mostly right hands
    size = dice.uniform(0.7, 1.35)
    finger, girth, palm = (
        size * dice.uniform(0.13, 0.24),
        size * dice.uniform(0.02, 0.033),
        size * dice.uniform(0.055, 0.085),
    )

    anchor = torch.tensor([0.5 * ASPECT + side * dice.uniform(-0.1, 0.9), dice.uniform(1.2, 1.7)])
    elbow = anchor + 0.5 * (tips - tips.mean(0))
    down = F.normalize(elbow - tips, dim=1)
    lean = dice.uniform(0.2, 1.0)
    wiggle = dice.smooth(frames, 0.12)
    down_hand = F.normalize(
        lean * down + (1 - lean) * torch.tensor([0.0, 1.0]) + torch.stack([wiggle, torch.zeros(frames)], 1), dim=1
    )  # (T, 2) from the tip towards the knuckle
    across = torch.stack([-down_hand[:, 1], down_hand[:, 0]], 1) * -side
    knuckle = tips + down_hand * finger
    wrist = knuckle + down_hand * palm * dice.uniform(1.6, 2.6) + across * palm * dice.uniform(-0.2, 0.6)

    parts: list[tuple[Tensor, Tensor, float]] = [
        (wrist, elbow, palm * dice.uniform(0.65, 1.0)),
        (knuckle + across * palm * 0.5 + down_hand * palm * 0.4, wrist, palm * dice.uniform(0.8, 1.05)),
        (tips + down_hand * girth, knuckle + down_hand * palm * 0.6, girth),
    ]
    for i in range(dice.integer(1, 3)):  # curled fingers beside the stretched one
        bump = knuckle + across * girth * (1.6 + 1.7 * i) + down_hand * girth * dice.uniform(-0.8, 1.2)
        parts.append((bump, bump + down_hand * palm, girth * dice.uniform(0.9, 1.3)))
    if dice.chance(0.7):  # a thumb
        root = wrist - across * palm * 0.5 - down_hand * palm * 0.3
        tip = knuckle - across * palm * dice.uniform(0.6, 1.5) + down_hand * palm * dice.uniform(-0.2, 0.8)
        parts.append((root, tip, girth * 1.1))

    soft = dice.uniform(0.004, 0.014)
    skin, light, blotches = _skin(frames, height, width, dice)
    flesh = torch.stack([capsule(at, a, b) - r for a, b, r in parts]).amin(0)  # (T, H, W) signed distance
    if dice.chance(0.4):
        shade_at = at + torch.tensor([dice.uniform(-0.15, 0.15), dice.uniform(-0.05, 0.15)])
        shadow = torch.stack([capsule(shade_at, a, b) - r for a, b, r in parts[:3]]).amin(0)
        picture = picture * (1 - dice.uniform(0.1, 0.5) * torch.sigmoid(-shadow / (3 * soft))).unsqueeze(1)
    tone = skin.view(3, 1, 1) * (1 + light[0] * (x - 0.6) + light[1] * (y - 0.5)) + blotches
    rounded = 1 - dice.uniform(0, 0.35) * torch.exp(flesh / 0.02).clamp(max=1).unsqueeze(1)  # darker towards the edge
    picture = torch.lerp(picture, tone * rounded, torch.sigmoid(-flesh / soft).unsqueeze(1))
    if dice.chance(0.45):  # a sleeve
        cuff = wrist + (elbow - wrist) * dice.uniform(0.02, 0.4)
        cloth = capsule(at, cuff, elbow + 0.3 * (elbow - cuff)) - palm * dice.uniform(0.95, 1.4)
        colour = dice.rand(3).view(1, 3, 1, 1).expand(frames, 3, height, width)
        if dice.chance(0.5):
            checks = torch.sin(dice.uniform(40, 110) * (at - tips[:, None, None]).sum(-1))
            colour = colour * (1 + 0.4 * checks.unsqueeze(1))
        picture = torch.lerp(picture, colour, torch.sigmoid(-cloth / soft).unsqueeze(1))
    return picture


def _skin(frames: int, height: int, width: int, dice: Dice) -> tuple[Tensor, tuple[float, float], Tensor]:
    """Skin from dark to light (or a silhouette against the light), its shading and its unevenness."""
    dark, fair = torch.tensor([0.20, 0.12, 0.09]), torch.tensor([0.95, 0.76, 0.64])
    skin = torch.lerp(dark, fair, dice.uniform(0, 1)) + 0.04 * dice.normal(3)
    if dice.chance(0.12):
        skin = skin * 0.25
    blotches = 0.05 * F.interpolate(dice.normal(1, 1, 5, 5), size=(height, width), mode="bilinear")[0]
    return skin.clamp(0.02, 1), (dice.uniform(-0.5, 0.5), dice.uniform(-0.5, 0.5)), blotches
