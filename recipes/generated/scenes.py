"""Clips of many kinds of motion, each with all that is known about it: a hand that draws, people, things."""

from typing import NamedTuple

import torch
from torch import Tensor

from generated.bodies import POINTS, RELATIONS, draw_bodies, paint_bodies
from generated.dice import Dice
from generated.hand import ASPECT, GESTURES, paint_hand, tip_path
from generated.objects import OBJECTS, draw_objects, paint_objects
from generated.pictures import background, camera
from generated.programs import ARMS, LEGS, ROOTS, TORSOS

__all__ = ["ABSENT", "HEADS", "MARKS", "Scenes", "draw_scenes"]

HEADS = {
    "scene": 3, "path": len(GESTURES) + 1, "arm_l": len(ARMS), "arm_r": len(ARMS), "legs": len(LEGS), "root": len(ROOTS),
    "torso": len(TORSOS), "facing": 4, "relation": len(RELATIONS), "arm_l2": len(ARMS), "arm_r2": len(ARMS),
    "legs2": len(LEGS), "torso2": len(TORSOS), "object": len(OBJECTS),
}  # fmt: skip
"""Questions that have one answer a clip, and how many answers there are."""
MARKS = ("hand", "foot", "head", "tip", "object")
"""What is to be found in every frame."""
ABSENT = -9.0
"""A coordinate of what is not there."""
_SLOTS = 4
_SHARES = (0.25, 0.55, 0.2)  # of hands, people and things
_ASPECTS = (1.0, 4 / 3, 16 / 9)


class Scenes(NamedTuple):
    """Generated clips. Places are shares of width and height."""

    frames: Tensor
    """uint8 (N, T, H, W, 3)."""
    points: Tensor
    """(N, T, 2, POINTS + 1, 2): joints of two bodies; the last point is the body's height."""
    marks: Tensor
    """(N, T, MARKS, 4, 2): up to four places of each."""
    labels: Tensor
    """(N, HEADS): the answers, -100 where a question makes no sense."""


def draw_scenes(count: int, clip_len: int, size: tuple[int, int], generator: torch.Generator, clutter: float) -> Scenes:
    """``count`` clips of ``clip_len`` frames of ``size`` (height, width). ``clutter`` is the share of clips with a background,
    colours and a camera; the others are light on even dark ground, on which a model that knows nothing learns motion first."""
    dice = Dice(generator)
    clips = [_draw(clip_len, size, not dice.chance(clutter), dice) for _ in range(count)]
    return Scenes(*(torch.stack(column) for column in zip(*clips, strict=True)))


def _draw(clip_len: int, size: tuple[int, int], plain: bool, dice: Dice) -> Scenes:
    points = torch.full((clip_len, 2, len(POINTS) + 1, 2), ABSENT)
    marks = torch.full((clip_len, len(MARKS), _SLOTS, 2), ABSENT)
    kind = dice.pick(_SHARES, _SHARES)
    aspect = ASPECT if kind == 0 else _ASPECTS[dice.integer(0, 2)]
    at, shape = _grid(size, aspect), torch.tensor([aspect, 1.0])
    if kind == 0:
        label = dice.integer(0, len(GESTURES))
        tips = tip_path(label, clip_len, dice)
        picture = paint_hand(_ground(clip_len, size, plain, False, dice), tips, dice)
        if plain:
            hand = paint_hand(torch.zeros_like(picture), tips, dice).mean(1, keepdim=True)
            ground = _ground(clip_len, size, plain, False, dice)
            picture = torch.lerp(ground, torch.full_like(ground, dice.uniform(0.7, 1.0)), (hand > 0.01).float())
        marks[:, 3, 0] = tips / shape
        answers = {"path": label}
    elif kind == 1:
        bodies, answers = draw_bodies(clip_len, aspect, dice)
        picture = paint_bodies(_ground(clip_len, size, plain, True, dice), at, bodies, plain, dice)
        for i, body in enumerate(bodies):
            points[:, i, : len(POINTS)] = body.points / shape
            points[:, i, len(POINTS)] = body.scale[:, None] / shape
            marks[:, 0, 2 * i : 2 * i + 2] = points[:, i, POINTS.index("ha_l") : POINTS.index("ha_r") + 1]
            marks[:, 1, 2 * i : 2 * i + 2] = points[:, i, POINTS.index("ft_l") : POINTS.index("ft_r") + 1]
            marks[:, 2, i] = points[:, i, POINTS.index("head")]
    else:
        label = dice.integer(0, len(OBJECTS) - 1)
        things = draw_objects(OBJECTS[label], clip_len, aspect, dice)
        ground = _ground(clip_len, size, plain, True, dice)
        picture = paint_objects(ground, at, things, OBJECTS[label].startswith("turn"), plain, dice)
        for i, (centre, _, _) in enumerate(things):
            marks[:, 4, i] = centre / shape
        answers = {"object": label}
    if not plain:
        picture = camera(picture, dice)
    frames = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    answers["scene"] = kind
    return Scenes(frames, points, marks, torch.tensor([answers.get(name, -100) for name in HEADS]))


def _ground(clip_len: int, size: tuple[int, int], plain: bool, tripod: bool, dice: Dice) -> Tensor:
    """(T, 3, H, W). ``tripod``: the camera may stand still."""
    if plain:
        return torch.full((clip_len, 3, *size), dice.uniform(0.05, 0.25))
    picture = background(clip_len, size, dice)
    if tripod and dice.chance(0.55):
        return picture[:1].expand_as(picture).contiguous()
    return picture


def _grid(size: tuple[int, int], aspect: float) -> Tensor:
    """(H, W, 2): x and y of every pixel, in picture heights."""
    y, x = torch.meshgrid(
        (torch.arange(size[0]) + 0.5) / size[0], (torch.arange(size[1]) + 0.5) / size[1] * aspect, indexing="ij"
    )
    return torch.stack([x, y], -1)
