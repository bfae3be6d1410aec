"""A head for classes that were taught by a few clips: it knows in which order things happen, and what it has not seen."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.errors import ConfigError

__all__ = ["NEVER", "Memory", "OrderedHead", "nearness", "parts_of", "remember"]

_NEIGHBOURS = 3
NEVER = -30.0
"""A logit that says no: exp(-30) is no probability, and stays finite in half precision."""
_LEAST = 1e-6
_STILL = 1e-3
"""Of the spread of a part: a course that spreads less is rounding, not movement."""
_LINE = 3
"""Fewer classes' scores, less their mean, lie on one line, and the nearest three of them always agree."""


def parts_of(features: Tensor, parts: int) -> Tensor:
    """(B, C, T', H', W') -> (B, parts * C): the means over space of ``parts`` stretches of time, one after the other.

    Raises:
        ConfigError: T' is no multiple of ``parts``.
    """
    steps = features.shape[2]
    if steps % parts:
        raise ConfigError(
            f"This head reads {parts} parts of a clip in their order, and the clip has {steps} steps. "
            "Use clips as long as those it was taught by."
        )
    by_time = features.mean(dim=(3, 4)).transpose(1, 2)  # (B, T', C)
    return by_time.unflatten(1, (parts, -1)).mean(dim=2).flatten(1)


class OrderedHead(nn.Module):
    """Features -> logits, the last of which is of none of the classes if ``memory`` clips are remembered.

    ``fc`` is a linear layer on ``parts`` stretches of time in their order. The mean over time of a plain head does not know
    whether a hand first went up or first went right.

    The memory holds the clips that taught (:class:`Memory`). How near a clip is to three of them says how far the linear layer
    is to be believed (Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", 2022): with nearness n, the
    probability of "none" is sigmoid(a (b - n)), where ``near`` holds (a, b), unless the layer itself says it is more.

    Heads that were taught before the memory held courses and scores load, and answer as they did: the width of ``known`` tells.
    """

    known: Tensor
    centre: Tensor
    scale: Tensor
    near: Tensor

    def __init__(self, num_features: int, num_classes: int, dropout: float, parts: int, memory: int) -> None:
        super().__init__()
        self.parts = parts
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(parts * num_features, num_classes)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)
        if memory:
            width = parts * num_features
            self.register_buffer("known", torch.zeros(memory, 2 * width + num_classes - 1))
            self.register_buffer("centre", torch.zeros(2 * width))
            self.register_buffer("scale", torch.ones(2 * width))
            self.register_buffer("near", torch.zeros(2))

    @property
    def memory(self) -> "Memory":
        """Of a head that has one."""
        return Memory(self.known, self.centre, self.scale, self.parts)

    def suit_memory(self, known: tuple[int, ...]) -> None:
        """Make room for a memory whose ``known`` has this shape; one that is no memory of such a head changes nothing."""
        parts, classes = self.fc.in_features, self.fc.out_features - 1
        widths = {parts: parts, 2 * parts + classes: 2 * parts}  # of known: of centre and scale
        if not hasattr(self, "known") or known == self.known.shape or len(known) != 2 or known[1] not in widths:
            return
        self.known = self.known.new_zeros(self.known.shape[0], known[1])
        self.centre = self.centre.new_zeros(widths[known[1]])
        self.scale = self.scale.new_ones(widths[known[1]])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if (known := state_dict.get(f"{prefix}known")) is not None:
            self.suit_memory(tuple(known.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, T', H', W') -> (B, num_classes)."""
        return self.answer(parts_of(features, self.parts))

    def answer(self, parts: Tensor) -> Tensor:
        """(B, parts * C) -> (B, num_classes)."""
        logits = self.fc(self.dropout(parts))
        if not hasattr(self, "known"):
            return logits
        classes, none = logits[:, :-1], logits[:, -1]
        far = self.near[0] * (self.near[1] - nearness(parts, classes, self.memory))
        none = torch.logaddexp(none, classes.logsumexp(dim=1) + far)
        return torch.cat([classes, none[:, None]], dim=1)


class Memory(NamedTuple):
    """Clips (N) as a head saw them: their D = ``steps`` * C parts, their courses, and their scores of K classes."""

    known: Tensor
    """(N, D + D + K), each of the three of length 1; (N, D) in heads that were taught by the parts alone."""
    centre: Tensor
    """(2 D,) or (D,): the mean of parts and courses, with which they were standardised."""
    scale: Tensor
    """Their spread, of the same shape."""
    steps: int


def nearness(parts: Tensor, classes: Tensor, memory: Memory) -> Tensor:
    """(B,) in [-3, 3]: how near clips are to those of a memory, in three ways that are added.

    Each is the mean of the three largest cosines: of the parts; of the course, which is the parts less the clip's mean over
    time, so that the look of a room counts less than what happens in it; and of the scores less their mean over the classes.

    Args:
        parts: (B, D), see :func:`parts_of`.
        classes: (B, K), the linear layer's answers to them, that for "none" left out. What they are multiplied by changes
            nothing.
    """
    alone = memory.centre.shape[0] == parts.shape[1]
    standard = ((parts if alone else _with_course(parts, memory.steps)) - memory.centre) / memory.scale
    ways = [standard] if alone else [*standard.chunk(2, dim=1)]
    seen = [F.normalize(ways[0], dim=1)] if alone else _directions(ways[0], ways[1], classes)
    near = parts.new_zeros(parts.shape[0])
    for way, known in zip(seen, memory.known.split([way.shape[1] for way in seen], dim=1), strict=True):
        near = near + (way @ known.T).topk(min(_NEIGHBOURS, known.shape[0]), dim=1).values.mean(dim=1)
    return near


def remember(parts: Tensor, classes: Tensor, steps: int) -> Memory:
    """A memory of clips, of their parts (N, D) and scores (N, K) as :func:`nearness` takes them."""
    both = _with_course(parts, steps)
    centre, spread = both.mean(dim=0), both.std(dim=0, correction=0).clamp(min=_LEAST)
    of_parts, of_course = spread.chunk(2)
    scale = torch.cat([of_parts, of_course.maximum(_STILL * of_parts)])
    of_parts, of_course = ((both - centre) / scale).chunk(2, dim=1)
    return Memory(torch.cat(_directions(of_parts, of_course, classes), dim=1), centre, scale, steps)


def _with_course(parts: Tensor, steps: int) -> Tensor:
    """(B, D) -> (B, 2 D)"""
    by_time = parts.unflatten(1, (steps, -1))
    return torch.cat([parts, (by_time - by_time.mean(dim=1, keepdim=True)).flatten(1)], dim=1)


def _directions(parts: Tensor, course: Tensor, classes: Tensor) -> list[Tensor]:
    """Of length 1. A course that is shorter than 1 in its standard deviations is next to none, and stays short."""
    scores = classes - classes.mean(dim=1, keepdim=True) if classes.shape[1] >= _LINE else torch.ones_like(classes)
    return [F.normalize(parts, dim=1), F.normalize(course, dim=1, eps=1.0), F.normalize(scores, dim=1)]
