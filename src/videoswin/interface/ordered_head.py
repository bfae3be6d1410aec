"""A head for classes that were taught by a few clips: it knows in which order things happen, and what it has not seen."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.errors import ConfigError

__all__ = ["NEVER", "OrderedHead", "nearness", "parts_of", "remember"]

_NEIGHBOURS = 3
NEVER = -30.0
"""A logit that says no: exp(-30) is no probability, and stays finite in half precision."""
_LEAST = 1e-6


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

    The memory holds the clips that taught: ``centre`` and ``scale`` (C,), with which they were standardised, and ``known``
    (memory, C), of length 1. How near a clip is to three of them says how far the linear layer is to be believed
    (Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", 2022): with nearness n, the probability of "none"
    is sigmoid(a (b - n)), where ``near`` holds (a, b), unless the layer itself says it is more.
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
            self.register_buffer("known", torch.zeros(memory, parts * num_features))
            self.register_buffer("centre", torch.zeros(parts * num_features))
            self.register_buffer("scale", torch.ones(parts * num_features))
            self.register_buffer("near", torch.zeros(2))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, T', H', W') -> (B, num_classes)."""
        return self.answer(parts_of(features, self.parts))

    def answer(self, parts: Tensor) -> Tensor:
        """(B, parts * C) -> (B, num_classes)."""
        logits = self.fc(self.dropout(parts))
        if not hasattr(self, "known"):
            return logits
        far = self.near[0] * (self.near[1] - nearness(parts, self.known, self.centre, self.scale))
        classes, none = logits[:, :-1], logits[:, -1]
        none = torch.logaddexp(none, classes.logsumexp(dim=1) + far)
        return torch.cat([classes, none[:, None]], dim=1)


def nearness(parts: Tensor, known: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
    """(B,) in [-1, 1]: cosines of (B, D) to the nearest three of ``known`` (N, D), averaged."""
    cosines = F.normalize((parts - centre) / scale, dim=1) @ known.T
    return cosines.topk(min(_NEIGHBOURS, known.shape[0]), dim=1).values.mean(dim=1)


def remember(parts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of clips (N, D): ``known``, ``centre`` and ``scale`` of a memory."""
    centre, scale = parts.mean(dim=0), parts.std(dim=0, correction=0).clamp(min=_LEAST)
    return F.normalize((parts - centre) / scale, dim=1), centre, scale
