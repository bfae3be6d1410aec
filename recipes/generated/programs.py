"""What bodies do: for every limb a few programs, and angles over time for each.

Angles are in radians, times in seconds, lengths in body heights. A limb's direction is given by two angles: how far it is
lifted aside (outwards is positive) and how far forward; (0, 0) hangs straight down.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from generated.dice import Dice

__all__ = [
    "ARMS",
    "LEGS",
    "ROOTS",
    "TORSOS",
    "Beat",
    "Legs",
    "Limb",
    "Program",
    "arm",
    "beats",
    "draw_program",
    "envelope",
    "legs",
    "ramp",
]

ARMS = ("hang", "swing", "side", "front", "up", "wave", "flap", "beckon", "punch", "circle", "chest", "shrug", "clap")
LEGS = ("still", "walk", "run", "skip", "hop", "hop_one", "jack", "squat", "kick", "side")
ROOTS = ("stay", "left", "right", "nearer", "farther")
TORSOS = ("upright", "bend", "lean", "sway", "turn")

GAIT_SPEED = {
    "walk": (0.35, 0.9), "run": (1.0, 2.2), "skip": (0.7, 1.7), "hop": (0.3, 1.0), "hop_one": (0.3, 1.0), "side": (0.3, 1.0),
}  # fmt: skip
"""Body heights a second."""
GAIT_RATE = {
    "walk": (0.7, 1.2), "run": (1.1, 1.8), "skip": (1.0, 2.0), "hop": (0.9, 2.2), "hop_one": (0.9, 2.2), "jack": (0.6, 1.4),
    "squat": (0.3, 1.0), "side": (0.8, 1.8),
}  # fmt: skip
"""Cycles a second."""


class Limb(NamedTuple):
    """(T,) angles of an upper and a lower segment."""

    upper_aside: Tensor
    upper_ahead: Tensor
    lower_aside: Tensor
    lower_ahead: Tensor


class Legs(NamedTuple):
    """Both legs, and how high the body is off the ground, (T,)."""

    left: Limb
    right: Limb
    lift: Tensor


@dataclass
class Program:
    """Indices into the tuples above. ``facing``: 0 looks into the camera, a quarter turn to the right of the picture."""

    arm_l: int = 0
    arm_r: int = 0
    legs: int = 0
    root: int = 0
    torso: int = 0
    facing: float = 0.0


def ramp(t: Tensor, start: float, end: float) -> Tensor:
    """(T,) smoothly from 0 at ``start`` to 1 at ``end``."""
    return 0.5 - 0.5 * torch.cos(math.pi * ((t - start) / max(end - start, 1e-3)).clamp(0, 1))


def envelope(t: Tensor, dice: Dice) -> Tensor:
    """(T,) something that begins, is held, and ends again or not."""
    length = float(t[-1])
    start, rise = dice.uniform(-0.1, 0.45) * length, dice.uniform(0.15, 0.5) * min(1.0, length)
    share = ramp(t, start, start + rise)
    if dice.chance(0.55):
        end = start + rise + dice.uniform(0.05, 0.6) * length
        share = share * (1 - ramp(t, end, end + rise * dice.uniform(0.8, 1.5)))
    return share


def _pulses(t: Tensor, rate: float, phase: float, sharpness: float) -> Tensor:
    return (0.5 + 0.5 * torch.sin(2 * math.pi * rate * t + phase)) ** sharpness


class Beat(NamedTuple):
    """When an arm moves: its phase (T,), and how much of the gesture there is at a time (T,), 0 to 1."""

    phase: Tensor
    share: Tensor


def beats(program: Program, t: Tensor, gait: Tensor, dice: Dice) -> tuple[Beat, Beat]:
    """Of both arms. Arms that do the same mostly do it together, jumping jacks to the step of the legs."""
    first, second = (
        Beat(2 * math.pi * dice.uniform(0.7, 2.8) * t + dice.uniform(0, 2 * math.pi), envelope(t, dice))
        for _ in range(2)
    )
    if LEGS[program.legs] == "jack" and dice.chance(0.8):
        first = Beat(gait + dice.uniform(-0.4, 0.4), torch.ones_like(t))
    if program.arm_l == program.arm_r and (ARMS[program.arm_l] == "clap" or dice.chance(0.75)):
        second = first
        if dice.chance(0.2) and ARMS[program.arm_l] != "clap":  # in turns
            second = Beat(first.phase + math.pi, first.share)
    return first, second


def arm(kind: int, t: Tensor, gait: Tensor, beat: Beat, side: float, dice: Dice) -> Limb:
    """One arm; ``gait`` is the phase of the legs, ``side`` -1 for the left arm and 1 for the right one."""
    zero, name, share = torch.zeros_like(t), ARMS[kind], beat.share
    wave = torch.sin(beat.phase)
    rest = (
        *(zero + dice.uniform(0.03, 0.2), zero + dice.uniform(-0.1, 0.15)),
        *(zero + dice.uniform(0, 0.2), zero + dice.uniform(0, 0.5)),
    )

    def about(angle: float) -> float:
        return angle + dice.uniform(-0.25, 0.25)

    def raised(*angles: Tensor | float) -> Limb:
        return Limb(*(torch.lerp(r, torch.as_tensor(a) + zero, share) for r, a in zip(rest, angles, strict=True)))

    match name:
        case "hang":
            return Limb(*rest)
        case "swing":
            upper = side * dice.uniform(0.3, 1.0) * torch.sin(gait)
            return Limb(zero + 0.1, upper, zero + 0.05, upper + dice.uniform(0.1, 1.6))
        case "side":
            return raised(about(1.5), about(0), about(1.5), about(0))
        case "front":
            return raised(about(0.1), about(1.5), about(0), about(1.6))
        case "up":
            if dice.chance(0.5):
                return raised(about(2.8), about(0), about(2.9), about(0))
            return raised(about(0.2), about(2.7), about(0.1), about(2.8))
        case "wave":
            upper = dice.uniform(0.6, 2.5)
            lower = upper + dice.uniform(0.2, 1.4) + dice.uniform(0.25, 0.8) * wave
            return raised(upper, about(0.2), lower, about(0.2))
        case "flap":
            aside = dice.uniform(0.9, 1.8) + dice.uniform(0.4, 1.2) * wave
            return raised(aside, about(0), aside, about(0))
        case "beckon":
            if dice.chance(0.6):
                return raised(about(0.15), about(0.5), about(0), dice.uniform(1.2, 2.0) + dice.uniform(0.3, 0.8) * wave)
            return raised(about(0.3), about(0.3), dice.uniform(-0.4, 0.6) + dice.uniform(0.3, 0.7) * wave, about(1.5))
        case "punch":
            blow = (0.5 + 0.5 * wave) ** dice.uniform(1, 4)
            return Limb(zero + 0.15, 0.3 + 1.2 * blow, zero - 0.1, 2.2 - 0.7 * blow)
        case "circle":
            size, way = dice.uniform(0.3, 0.9), 1 if dice.chance(0.5) else -1
            across, aside = torch.cos(beat.phase), dice.uniform(0.3, 1.6)
            return raised(
                *(aside + 0.7 * size * wave, 0.4 + 0.7 * way * size * across),
                *(aside + size * wave, 0.6 + way * size * across),
            )
        case "clap":
            apart = 0.5 + 0.5 * wave
            ahead = dice.uniform(0.5, 1.4)
            return raised(0.05 + 0.5 * apart, ahead, -0.75 + 0.9 * apart, ahead + dice.uniform(0.0, 0.5))
        case "chest":
            return raised(about(0.5), about(0.3), about(-1.1), about(1.2))
        case _:  # shrug
            return raised(about(0.25), about(0.1), about(0.9), about(0.9))


def legs(kind: int, t: Tensor, gait: Tensor, dice: Dice) -> Legs:
    """Both legs in the phase ``gait`` (T,)."""
    zero, name = torch.zeros_like(t), LEGS[kind]
    sine, cosine = torch.sin(gait), torch.cos(gait)
    stance = zero + dice.uniform(0, 0.12)
    still = Limb(stance, zero, stance, zero)
    swap = False
    match name:
        case "still":
            left, right, lift = still, still, zero
        case "walk" | "run":
            stride = dice.uniform(0.3, 0.5) if name == "walk" else dice.uniform(0.5, 0.9)
            knee = dice.uniform(0.5, 0.9) if name == "walk" else dice.uniform(1.0, 1.8)
            left = Limb(zero + 0.02, stride * sine, zero + 0.02, stride * sine - knee * cosine.clamp(min=0))
            right = Limb(zero + 0.02, -stride * sine, zero + 0.02, -stride * sine - knee * (-cosine).clamp(min=0))
            lift = dice.uniform(0.02, 0.06) * torch.sin(2 * gait + 0.8).abs() if name == "run" else zero
        case "skip":
            stride, lift = dice.uniform(0.3, 0.6), dice.uniform(0.05, 0.12) * torch.sin(gait + dice.uniform(0, 1)).abs()
            push = torch.sin(gait + 0.4)
            left = Limb(zero + 0.02, 0.15 + stride * push, zero + 0.02, stride * push - 0.1 - 0.25 * (1 - push))
            right = Limb(zero + 0.02, -0.4 * stride * push, zero + 0.02, -0.5 * stride * push - 0.7)
            swap = dice.chance(0.5)
        case "hop" | "hop_one":
            up = sine.clamp(min=0)
            lift, bent = dice.uniform(0.05, 0.16) * up, dice.uniform(0.2, 0.7) * (1 - up)
            left = right = Limb(zero + 0.03, 0.6 * bent, zero + 0.03, -0.6 * bent)
            if name == "hop_one":
                raised = dice.uniform(0.1, 0.9)
                right = Limb(zero + 0.03, zero + 0.6 * raised, zero + 0.03, zero - 1.5 * raised)
                swap = dice.chance(0.5)
        case "jack":
            aside = dice.uniform(0.3, 0.6) * (0.5 + 0.5 * sine)
            left = right = Limb(aside, zero, aside, zero)
            lift = dice.uniform(0.03, 0.1) * cosine.abs()
        case "squat":
            once = dice.chance(0.6)
            bent = envelope(t, dice) * dice.uniform(0.5, 1.3) if once else dice.uniform(0.4, 1.2) * (0.5 + 0.5 * sine)
            left = right = Limb(zero + 0.1, bent, zero + 0.1, -bent)
            lift = zero
        case "kick":
            blow = _pulses(t, dice.uniform(0.3, 1.3), dice.uniform(0, 2 * math.pi), 4.0)
            far = dice.uniform(0.8, 1.7)
            left = Limb(zero + 0.03, far * blow, zero + 0.03, far * blow - dice.uniform(0, 0.8) * blow)
            right, lift, swap = still, zero, dice.chance(0.5)
        case _:  # side steps
            width = dice.uniform(0.2, 0.4)
            one, other = width * (0.5 + 0.5 * sine), width * (0.5 - 0.5 * sine)
            left, right = Limb(one, zero, one, zero), Limb(other, zero, other, zero)
            lift = dice.uniform(0, 0.06) * cosine.abs()
    return Legs(right, left, lift) if swap else Legs(left, right, lift)


def draw_program(dice: Dice) -> Program:
    """Someone who goes somewhere, or someone who does something on the spot."""
    return _goes(dice) if dice.chance(0.45) else _stays(dice)


def _goes(dice: Dice) -> Program:
    legs_index = dice.pick(LEGS, [0, 0.3, 0.22, 0.15, 0.1, 0.1, 0, 0, 0, 0.13])
    program = Program(legs=legs_index, root=1 if dice.chance(0.5) else 2, arm_l=1, arm_r=1)
    for side in ("arm_l", "arm_r"):
        if dice.chance(0.3):
            setattr(program, side, dice.pick(ARMS))
    if dice.chance(0.15):
        program.torso = dice.pick(TORSOS)
    ahead = math.pi / 2 if ROOTS[program.root] == "right" else -math.pi / 2
    program.facing = dice.uniform(-0.4, 0.4) if LEGS[program.legs] == "side" else ahead + dice.uniform(-0.5, 0.5)
    if dice.chance(0.12):
        program.root = 0  # the camera goes along
    if LEGS[program.legs].startswith("hop") and dice.chance(0.4):
        program.root, program.facing = 0, dice.uniform(-1.8, 1.8)
    return program


def _stays(dice: Dice) -> Program:
    program = Program(arm_l=dice.pick(ARMS), arm_r=dice.pick(ARMS))
    if dice.chance(0.4):
        program.legs = dice.pick(LEGS, [0, 0.05, 0.05, 0.03, 0.15, 0.1, 0.2, 0.2, 0.17, 0.05])
    if dice.chance(0.15):
        program.root = dice.pick(ROOTS, [0, 0.15, 0.15, 0.35, 0.35])
    if dice.chance(0.35):
        program.arm_l = 0
    elif dice.chance(0.45):
        program.arm_r = 0
    elif dice.chance(0.5):
        program.arm_r = program.arm_l
    if LEGS[program.legs] == "jack" and dice.chance(0.5):
        program.arm_l = program.arm_r = ARMS.index("flap")
    if "clap" in (ARMS[program.arm_l], ARMS[program.arm_r]):  # it takes two
        program.arm_l = program.arm_r = ARMS.index("clap")
    if dice.chance(0.4):
        program.torso = dice.pick(TORSOS)
    program.facing = dice.uniform(-0.5, 0.5) if dice.chance(0.6) else dice.uniform(-math.pi, math.pi)
    return program
