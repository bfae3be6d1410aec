"""What is none of the taught classes: clips that are like none of those that taught.

A linear layer is sure of much that it has never seen. How near a clip is to the nearest of the clips that taught says more: of
gestures that are none of ten taught ones, it told .94 apart where the layer's best score told .78 (docs/log.md).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from videoswin.interface.ordered_head import NEVER, Memory, OrderedHead, nearness, remember

__all__ = ["HeldOut", "Nearness", "fit_nearness", "look_from_outside"]

_PASS = 0.98
"""Of held-out clips of the classes, so many keep their class."""
_MOST_HEADS = 50
"""Of many classes, not each is left out of every fold: a head takes about a third of a second."""
_TINY = 1e-30
_STEPS = 100
_FLATTEST, _STEEPEST = 1.0, 200.0


@dataclass(frozen=True)
class HeldOut:
    """Clips (N,) as heads and memories saw them that had not learnt from them."""

    logits: Tensor
    """(N, K + 1), the last of them "none"."""
    near: Tensor
    """(N,), to the clips that taught."""
    known: Tensor
    """bool (N,): of one of the classes."""

    def scores(self, nearness_: "Nearness") -> Tensor:
        """(N, K + 1), as the model that is kept gives them."""
        classes, none = self.logits[:, :-1], self.logits[:, -1]
        far = nearness_.slope * (nearness_.middle - self.near)
        none = torch.logaddexp(none, classes.logsumexp(dim=1) + far)
        return torch.cat([classes, none[:, None]], dim=1).softmax(dim=1)


@dataclass(frozen=True)
class Nearness:
    """``sigmoid(slope * (middle - n))`` is the probability that a clip of nearness n is of none of the classes."""

    slope: float
    middle: float


Layer = tuple[Tensor, Tensor]
"""Weights (K, D) and bias (K,)."""


def memory_of(parts: Tensor, layer: Layer, steps: int) -> Memory:
    """Of clips (N, D) that a linear layer learnt from."""
    weight, bias = layer
    return remember(parts, parts @ weight.T + bias, steps)


def look_from_outside(
    parts: Tensor,
    targets: Tensor,
    known: Tensor,
    folds: Sequence[Tensor],
    fit: Callable[[Tensor, int], Layer],
    steps: int,
) -> Tensor:
    """Nearness of clips whose class is left out of memory and head: what a class that was never taught will look like. (M,)

    A head that had learnt the class would place its clips by themselves, and they would look too far away, or too near.

    ``parts`` (N, D), of ``steps`` stretches of time; ``targets`` (N,); ``known`` bool (N,): of a class at all; ``folds``: bool
    (N,) each, held out in turn; ``fit(learn, fold)``: the layer of the clips ``learn``, bool (N,), for their classes alone.
    """
    pairs = [(fold, one) for fold, held in enumerate(folds) for one in targets[held & known].unique().tolist()]
    found = [torch.zeros(0)]
    for fold, target in pairs[:: math.ceil(len(pairs) / _MOST_HEADS) or 1]:
        others = known & ~folds[fold] & (targets != target)
        if others.any():
            layer = weight, bias = fit(others, fold)
            asked = parts[folds[fold] & known & (targets == target)]
            found.append(nearness(asked, asked @ weight.T + bias, memory_of(parts[others], layer, steps)))
    return torch.cat(found)


def fit_nearness(held_out: HeldOut, outside: Tensor) -> Nearness:
    """The slope that tells the known clips from those ``outside`` (M,), both kinds weighing the same; and the middle at which so
    many of the known ones keep their class as are meant to."""
    inside = held_out.near[held_out.known]
    slope = _slope(inside, outside) if len(outside) else _FLATTEST
    logits = held_out.logits[held_out.known]
    classes = logits[:, :-1]
    # "None" is the answer if log(e^none + sum(e^classes) e^(slope (middle - near))) exceeds the best class's logit.
    best = classes.amax(1)
    room = (1 - (logits[:, -1] - best).exp()).clamp(min=_TINY).log() + best - classes.logsumexp(1)
    latest = inside + room / slope
    return Nearness(slope, float(latest.quantile(1 - _PASS)))


@torch.no_grad()
def set_memory(head: OrderedHead, parts: Tensor, fitted: Nearness) -> None:
    """Let ``head``, which has its weights, remember the clips ``parts`` (N, D)."""
    memory = memory_of(parts, (head.fc.weight[:-1], head.fc.bias[:-1]), head.parts)
    head.suit_memory(tuple(memory.known.shape))
    head.known.copy_(memory.known)
    head.centre.copy_(memory.centre)
    head.scale.copy_(memory.scale)
    head.near.copy_(torch.tensor([fitted.slope, fitted.middle]))


def without_none(weights: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A layer (K, D), (K,) with a row more, for "none", which never says so by itself."""
    return torch.cat([weights, torch.zeros(1, weights.shape[1])]), torch.cat([bias, torch.tensor([NEVER])])


def _slope(inside: Tensor, outside: Tensor) -> float:
    """Of a logistic regression on one number. Newton's method: two parameters, and a curvature that is never flat."""
    near = torch.cat([inside, outside]).double()
    target = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))]).double()
    weight = torch.cat([torch.full((len(part),), 0.5 / len(part)) for part in (inside, outside)]).double()
    x = torch.stack([-near, torch.ones_like(near)], dim=1)
    w = torch.zeros(2, dtype=torch.float64)
    ridge = torch.diag(torch.tensor([1e-5, 1e-5], dtype=torch.float64))
    for _ in range(_STEPS):
        p = (x @ w).sigmoid()
        gradient = x.T @ (weight * (p - target)) + ridge @ w
        curvature = x.T @ (x * (weight * (p * (1 - p)).clamp(min=1e-6))[:, None]) + ridge
        step = torch.linalg.solve(curvature, gradient)
        w = w - step * min(1.0, 10.0 / float(step.norm().clamp(min=1e-9)))
    return float(w[0].clamp(_FLATTEST, _STEEPEST))
