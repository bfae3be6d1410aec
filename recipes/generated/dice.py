"""Random draws from one generator, so that a seed gives the same clips everywhere."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Dice"]


class Dice:
    """Random draws from one generator, so that a seed gives the same clips everywhere."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=self.generator).item()

    def chance(self, p: float) -> bool:
        return self.uniform(0, 1) < p

    def integer(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator).item())

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator)

    def smooth(self, length: int, scale: float, knots: int = 5) -> Tensor:
        """(length,) values that wander smoothly around 0."""
        coarse = self.normal(1, 1, knots) * scale
        return F.interpolate(coarse, size=length, mode="linear", align_corners=True)[0, 0]

    def pick(self, names: Sequence[object], weights: Sequence[float] | None = None) -> int:
        """A place in ``names``, all alike or by their weights."""
        if weights is None:
            return self.integer(0, len(names) - 1)
        return int(torch.multinomial(torch.tensor(weights, dtype=torch.float32), 1, generator=self.generator))
