"""One or two people, of capsules: a skeleton with joints in space, seen from the front, the side or behind.

The picture is one height high and ``aspect`` wide, y points down. Bodies stand upright on a ground line; z points towards the
camera and decides what hides what.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from generated.dice import Dice
from generated.programs import (
    ARMS,
    GAIT_RATE,
    GAIT_SPEED,
    LEGS,
    ROOTS,
    TORSOS,
    Limb,
    Program,
    arm,
    beats,
    draw_program,
    envelope,
    legs,
    ramp,
)

__all__ = ["POINTS", "RELATIONS", "Body", "draw_bodies", "paint_bodies"]

POINTS = ("head", "neck", "pelvis", "sh_l", "sh_r", "el_l", "el_r", "ha_l", "ha_r", "kn_l", "kn_r", "ft_l", "ft_r")
"""Joints whose places are known in every frame."""
RELATIONS = ("alone", "approach", "part", "touch", "strike", "pass", "beside")
QUARTER = math.pi / 2


@dataclass
class Part:
    """A capsule: two ends (T, 2), radius (T,), colour (3,), depth (T,)."""

    start: Tensor
    end: Tensor
    radius: Tensor
    colour: Tensor
    depth: Tensor


@dataclass
class Body:
    """``at``: joints (T, 2) in picture heights by name; ``scale``: (T,) height of the body."""

    at: dict[str, Tensor]
    scale: Tensor
    parts: list[Part] = field(default_factory=list)

    @property
    def points(self) -> Tensor:
        """(T, len(POINTS), 2)."""
        return torch.stack([self.at[name] for name in POINTS], 1)


@dataclass(frozen=True)
class Place:
    """Where a body stands at first: x of its pelvis, its height, y of its feet. ``reach``: how far it goes at most."""

    x: float
    scale: float
    foot: float
    reach: float | None = None


def make_body(t: Tensor, program: Program, place: Place, dice: Dice) -> Body:
    """``t``: (T,) seconds."""
    rate = dice.uniform(*GAIT_RATE.get(LEGS[program.legs], (0.7, 1.8)))
    gait = 2 * math.pi * rate * t + dice.uniform(0, 2 * math.pi)
    if dice.chance(0.25):  # nobody keeps time
        gait = gait + dice.uniform(0, 0.6) * torch.sin(2 * math.pi * t / float(t[-1]) + dice.uniform(0, 6))
    joints, lift, leg_length = _skeleton(t, program, gait, dice)
    x, scale = _way(t, program, place, dice)
    low = torch.maximum(joints["ft_l"][:, 1], joints["ft_r"][:, 1])
    y = place.foot - scale * leg_length + scale * (leg_length - low - lift)  # the lower foot stays on the ground
    at = {n: torch.stack([x + scale * v[:, 0], y + scale * v[:, 1]], -1) for n, v in joints.items()}
    body = Body(at, scale)
    _dress(body, {n: v[:, 2] for n, v in joints.items()}, dice)
    return body


def _skeleton(t: Tensor, program: Program, gait: Tensor, dice: Dice) -> tuple[dict[str, Tensor], Tensor, float]:
    """Joints (T, 3) about the pelvis in body heights, the lift (T,), and the length of a leg."""
    zero = torch.zeros_like(t)
    bend, roll, turn = _torso(t, program, dice)
    steps = legs(program.legs, t, gait, dice)
    width = dice.uniform(0.85, 1.2)
    arm_lengths = dice.uniform(0.15, 0.18), dice.uniform(0.17, 0.21)
    leg_lengths = dice.uniform(0.22, 0.25), dice.uniform(0.22, 0.25)
    nod = dice.uniform(0.15, 0.5) * _swing(t, dice) if dice.chance(0.25) else zero
    shake = dice.uniform(0.3, 0.9) * _swing(t, dice) if dice.chance(0.2) else zero

    def point(px: float, py: float, pz: float) -> Tensor:
        return torch.tensor([px, py, pz]).expand(len(t), 3)

    def torso(v: Tensor) -> Tensor:
        return _about_y(_about_z(_about_x(v, bend), roll), turn)

    neck = torso(point(0, -0.29, 0))
    head = neck + torso(_about_x(point(0, -0.085, 0.01), nod))
    face = head + torso(_about_y(_about_x(point(0, 0.008, 0.028), nod), shake))
    joints = {"pelvis": torch.zeros(len(t), 3), "neck": neck, "head": head, "face": face}
    left, right = beats(program, t, gait, dice)
    for side, name, kind, beat, leg in (
        (-1.0, "l", program.arm_l, left, steps.left),
        (1.0, "r", program.arm_r, right, steps.right),
    ):
        bones = arm(kind, t, gait, beat, side, dice)
        shoulder = torso(point(side * 0.105 * width, -0.27, 0))
        elbow = shoulder + torso(_upper(bones, side)) * arm_lengths[0]
        hip = _about_y(point(side * 0.05 * width, 0.01, 0), turn)
        knee = hip + _about_y(_upper(leg, side), turn) * leg_lengths[0]
        foot = knee + _about_y(_lower(leg, side), turn) * leg_lengths[1]
        joints |= {
            f"sh_{name}": shoulder,
            f"el_{name}": elbow,
            f"ha_{name}": elbow + torso(_lower(bones, side)) * arm_lengths[1],
            f"hi_{name}": hip,
            f"kn_{name}": knee,
            f"ft_{name}": foot,
            f"to_{name}": foot + _about_y(point(0, 0.012, 0.055), turn),
        }
    return joints, steps.lift, sum(leg_lengths)


def _torso(t: Tensor, program: Program, dice: Dice) -> tuple[Tensor, Tensor, Tensor]:
    """(T,) angles: bent forward, rolled to a side, turned about the upright axis."""
    zero, length = torch.zeros_like(t), float(t[-1])
    bend, roll, turn = zero + dice.uniform(-0.05, 0.12), zero + dice.uniform(-0.05, 0.05), zero + program.facing
    match TORSOS[program.torso]:
        case "bend":
            bend = bend + dice.uniform(0.6, 1.9) * envelope(t, dice)
        case "lean":
            share = envelope(t, dice) * dice.uniform(0.25, 0.7)
            if dice.chance(0.5):
                bend = bend - 0.8 * share
            else:
                roll = roll + (share if dice.chance(0.5) else -share)
        case "sway":
            roll = roll + dice.uniform(0.1, 0.35) * _swing(t, dice)
        case "turn":
            way = 1 if dice.chance(0.5) else -1
            turned = ramp(t, dice.uniform(0, 0.4) * length, dice.uniform(0.5, 1.0) * length)
            turn = turn + way * dice.uniform(0.8, 3.2) * turned
    if LEGS[program.legs] == "run":
        bend = bend + dice.uniform(0.05, 0.3)
    return bend, roll, turn


def _swing(t: Tensor, dice: Dice) -> Tensor:
    return torch.sin(2 * math.pi * dice.uniform(0.4, 2.3) * t + dice.uniform(0, 6))


def _way(t: Tensor, program: Program, place: Place, dice: Dice) -> tuple[Tensor, Tensor]:
    """(T,) x of the pelvis and height of the body."""
    x, scale = torch.full_like(t, place.x), torch.full_like(t, place.scale)
    name = ROOTS[program.root]
    if name in ("left", "right"):
        gone = dice.uniform(*GAIT_SPEED.get(LEGS[program.legs], (0.15, 0.9))) * place.scale * t
        if place.reach is not None:
            gone = gone.clamp(max=max(place.reach, 0.0))
        elif dice.chance(0.12):
            gone = gone * ramp(t, 0, 0.7 * float(t[-1]))
        x = x + (gone if name == "right" else -gone)
    if name in ("nearer", "farther"):
        growth = dice.uniform(0.25, 0.9) * t / float(t[-1])
        scale = scale * torch.exp(growth if name == "nearer" else -growth)
    return x, scale


def _upper(limb: Limb, side: float) -> Tensor:
    return _direction(limb.upper_aside, limb.upper_ahead, side)


def _lower(limb: Limb, side: float) -> Tensor:
    return _direction(limb.lower_aside, limb.lower_ahead, side)


def _direction(aside: Tensor, ahead: Tensor, side: float) -> Tensor:
    """(T, 3) of length 1."""
    return torch.stack(
        [side * torch.sin(aside), torch.cos(aside) * torch.cos(ahead), torch.cos(aside) * torch.sin(ahead)], -1
    )


def _about_x(v: Tensor, angle: Tensor) -> Tensor:
    c, s = torch.cos(angle), torch.sin(angle)
    x, y, z = v.unbind(-1)
    return torch.stack([x, y * c + z * s, -y * s + z * c], -1)


def _about_y(v: Tensor, angle: Tensor) -> Tensor:
    c, s = torch.cos(angle), torch.sin(angle)
    x, y, z = v.unbind(-1)
    return torch.stack([x * c + z * s, y, -x * s + z * c], -1)


def _about_z(v: Tensor, angle: Tensor) -> Tensor:
    c, s = torch.cos(angle), torch.sin(angle)
    x, y, z = v.unbind(-1)
    return torch.stack([x * c - y * s, x * s + y * c, z], -1)


# Looks ----------------------------------------------------------------------------------------------------------------


def _dress(body: Body, depth: dict[str, Tensor], dice: Dice) -> None:
    """Capsules for the limbs, in skin and cloth."""
    skin = torch.lerp(torch.tensor([0.22, 0.13, 0.09]), torch.tensor([0.95, 0.76, 0.64]), dice.uniform(0, 1))
    shirt, trousers, shoe = (_cloth(dice) for _ in range(3))
    hair = dice.rand(3) * torch.tensor([0.5, 0.4, 0.3]) * dice.uniform(0.1, 1.3)
    if dice.chance(0.1):
        trousers = shirt
    forearm = skin if dice.chance(0.55) else shirt
    upper_arm = shirt if dice.chance(0.85) else skin
    shin = trousers if dice.chance(0.75) else skin
    dim = 0.15 if dice.chance(0.08) else 1.0  # against the light
    girth, width = dice.uniform(0.8, 1.3), dice.uniform(0.85, 1.2)

    def add(a: str, b: str, radius: float, colour: Tensor, nearer: float = 0.0) -> None:
        between = 0.5 * (depth[a] + depth[b]) + nearer
        body.parts.append(Part(body.at[a], body.at[b], radius * girth * body.scale, colour * dim, between))

    add("sh_l", "sh_r", 0.035, shirt)
    add("neck", "pelvis", 0.075 * width, shirt, 0.01)
    add("hi_l", "hi_r", 0.06 * width, trousers)
    add("neck", "head", 0.03, skin)
    add("head", "head", 0.058 / girth, hair)
    add("face", "face", 0.045 / girth, skin)
    for side in "lr":
        add(f"sh_{side}", f"el_{side}", 0.03, upper_arm)
        add(f"el_{side}", f"ha_{side}", 0.024, forearm)
        add(f"ha_{side}", f"ha_{side}", 0.03 / girth, skin, 0.01)
        add(f"hi_{side}", f"kn_{side}", 0.048, trousers)
        add(f"kn_{side}", f"ft_{side}", 0.034, shin)
        add(f"ft_{side}", f"to_{side}", 0.024, shoe)


def _cloth(dice: Dice) -> Tensor:
    if dice.chance(0.5):
        return 0.9 * dice.rand(3) + 0.05
    return dice.uniform(0.04, 0.94) + 0.04 * dice.normal(3)


def paint_bodies(picture: Tensor, at: Tensor, bodies: list[Body], plain: bool, dice: Dice) -> Tensor:
    """``picture`` (T, 3, H, W) with the bodies in it; ``at`` (H, W, 2): where each pixel is, in picture heights."""
    parts = [part for body in bodies for part in body.parts]
    start, end = (torch.stack([getattr(p, n) for p in parts], 1) for n in ("start", "end"))  # (T, N, 2)
    radius, depth = (torch.stack([getattr(p, n) for p in parts], 1) for n in ("radius", "depth"))  # (T, N)
    if len(bodies) == 2:  # one stands before the other
        depth[:, len(bodies[0].parts) :] += 0.3 if dice.chance(0.5) else -0.3
    colours = torch.stack([p.colour for p in parts])
    if plain:
        colours = torch.full_like(colours, dice.uniform(0.7, 1.0))
    along = (end - start)[:, :, None, None]
    offset = at[None, None] - start[:, :, None, None]
    share = ((offset * along).sum(-1) / (along.square().sum(-1) + 1e-9)).clamp(0, 1)[..., None]
    inside = (offset - share * along).norm(dim=-1) - radius[:, :, None, None]  # (T, N, H, W), negative inside
    nearest = torch.where(inside < 0, -10 - depth[:, :, None, None], inside).argmin(1)
    distance = inside.amin(1)
    colour = colours[nearest].permute(0, 3, 1, 2)
    soft = dice.uniform(0.004, 0.014)
    if not plain:
        light = 1 + dice.uniform(-0.4, 0.4) * (at[..., 0] - 0.6) + dice.uniform(-0.4, 0.4) * (at[..., 1] - 0.5)
        rounded = 1 - dice.uniform(0, 0.4) * torch.exp(distance / 0.02).clamp(max=1)
        colour = colour * (light * rounded).unsqueeze(1)
        if dice.chance(0.5):  # a pattern that goes with the body
            body, angle = bodies[0], dice.uniform(0, math.pi)
            u = (at[None] - body.at["pelvis"][:, None, None]) / body.scale[:, None, None, None]
            lines = torch.sin(dice.uniform(20, 90) * (u[..., 0] * math.cos(angle) + u[..., 1] * math.sin(angle)))
            colour = colour * (1 + dice.uniform(0, 0.35) * lines.unsqueeze(1))
        if dice.chance(0.35):
            picture = picture * (1 - dice.uniform(0.1, 0.4) * torch.sigmoid(-(distance - 0.02) / 0.03)).unsqueeze(1)
    return torch.lerp(picture, colour, torch.sigmoid(-distance / soft).unsqueeze(1))


# Who is there ---------------------------------------------------------------------------------------------------------


def draw_bodies(clip_len: int, aspect: float, dice: Dice) -> tuple[list[Body], dict[str, int]]:
    """One or two bodies over 0.8 to 5 seconds, and what they do: the names of scenes.HEADS with indices."""
    t = torch.linspace(0, 1, clip_len) * math.exp(dice.uniform(math.log(0.8), math.log(5.0)))
    whole = dice.chance(0.72)  # or from the hips up, as before a desk
    return _two(t, aspect, whole, dice) if dice.chance(0.35) else _one(t, aspect, whole, dice)


def _one(t: Tensor, aspect: float, whole: bool, dice: Dice) -> tuple[list[Body], dict[str, int]]:
    program = draw_program(dice)
    goes = ROOTS[program.root] in ("left", "right")
    scale, foot = _size(whole or goes, dice, 2.4)
    x = aspect * dice.uniform(0.3, 0.7)
    if goes:
        in_sight = max(0.8, aspect / scale * dice.uniform(0.4, 1.1))
        t = t * min(1.0, in_sight / float(t[-1]))
        x = aspect * (dice.uniform(0.6, 1.05) if ROOTS[program.root] == "left" else dice.uniform(-0.05, 0.4))
    labels = {"relation": 0, **_labels(program)}
    return [make_body(t, program, Place(x, scale, foot), dice)], labels


def _two(t: Tensor, aspect: float, whole: bool, dice: Dice) -> tuple[list[Body], dict[str, int]]:
    relation = 1 + dice.pick(RELATIONS[1:], [0.2, 0.12, 0.2, 0.28, 0.1, 0.1])
    name = RELATIONS[relation]
    scale, foot = _size(whole, dice, 1.6)
    apart = {
        "approach": (0.8, 1.6), "part": (0.3, 0.5), "touch": (0.3, 0.5), "strike": (0.35, 0.7), "pass": (0.8, 1.5),
        "beside": (0.3, 0.8),
    }  # fmt: skip
    gap, middle = scale * dice.uniform(*apart[name]), aspect * dice.uniform(0.4, 0.6)
    left, right, reach = _pair(name, gap, scale, dice)
    other_scale = scale * dice.uniform(0.88, 1.12)
    bodies = [
        make_body(t, left, Place(middle - gap / 2, scale, foot, reach), dice),
        make_body(
            t, right, Place(middle + gap / 2, other_scale, foot + dice.uniform(-0.03, 0.03) * scale, reach), dice
        ),
    ]
    second = {f"{n}2": v for n, v in _labels(right).items() if n not in ("root", "facing")}
    return bodies, {"relation": relation, **_labels(left), **second}


def _pair(name: str, gap: float, scale: float, dice: Dice) -> tuple[Program, Program, float | None]:
    """What the two do, and how far each goes at most."""
    left, right = draw_program(dice), draw_program(dice)
    if name == "beside":
        return left, Program(**vars(left)) if dice.chance(0.5) else right, None
    for program in (left, right):
        program.legs = program.root = program.torso = 0
    if dice.chance(0.5):
        left.arm_l = left.arm_r = 0
    if dice.chance(0.6):
        right.arm_l = right.arm_r = 0
    left.facing, right.facing = QUARTER + dice.uniform(-0.3, 0.3), -QUARTER + dice.uniform(-0.3, 0.3)
    reach = None
    if name in ("approach", "part", "pass"):
        gait = LEGS.index("walk" if dice.chance(0.75) else "run")
        if name == "part":
            left.facing, right.facing = -left.facing, -right.facing
        who = dice.integer(0, 2)
        ways = (1, 2) if name == "part" else (2, 1)
        for number, (program, way) in enumerate(zip((left, right), ways, strict=True)):
            if who in (number, 2):
                program.legs, program.root, program.arm_l, program.arm_r = gait, way, 1, 1
        if name == "approach":
            reach = (gap - 0.25 * scale) * (0.5 if who == 2 else 1.0)
            if dice.chance(0.5):  # and then they do something
                for program in (left, right):
                    if dice.chance(0.7):
                        program.arm_l = dice.pick(ARMS, [0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0])
                    if dice.chance(0.7):
                        program.arm_r = program.arm_l
    elif name == "touch":
        both = dice.pick(ARMS, [0, 0, 0, 0.5, 0, 0, 0, 0.4, 0, 0.1, 0, 0, 0])
        left.arm_r = right.arm_l = both
        if dice.chance(0.5):
            left.arm_l = right.arm_r = both
    else:  # strike
        first = dice.chance(0.5)
        actor, struck = (left, right) if first else (right, left)
        if dice.chance(0.4):
            actor.legs = LEGS.index("kick")
        else:
            actor.arm_r = ARMS.index("punch") if dice.chance(0.7) else ARMS.index("front")
            if dice.chance(0.4):
                actor.arm_l = actor.arm_r
        struck.torso = TORSOS.index("lean") if dice.chance(0.7) else 0
        if dice.chance(0.4):
            struck.legs, struck.root = LEGS.index("walk"), 2 if first else 1
            struck.arm_l, struck.arm_r = dice.pick(ARMS), dice.pick(ARMS)
    return left, right, reach


def _size(whole: bool, dice: Dice, largest: float) -> tuple[float, float]:
    """Height of a body and y of its feet, which may be far below the picture."""
    if not whole:
        scale = dice.uniform(1.0, largest)
        return scale, dice.uniform(0.02, 0.22) + scale
    scale = math.exp(dice.uniform(math.log(0.3), math.log(0.95)))
    return scale, dice.uniform(max(0.5, 0.9 * scale), 1.04)


def _labels(program: Program) -> dict[str, int]:
    names = ("arm_l", "arm_r", "legs", "root", "torso")
    return {n: getattr(program, n) for n in names} | {"facing": round(program.facing / QUARTER) % 4}
