"""A running average of the weights (EMA), which is often a little better than any of them (Polyak and Juditsky, 1992)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from videoswin.train.adapt import learning
from videoswin.train.processes import settle

__all__ = ["Average"]


class Average:
    """The average of what learns in ``model``: after each step ``decay`` of the old and the rest of the new.

    Early averages would remember the start for long; so the decay is at most ``(1 + steps) / (10 + steps)``.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in learning(model).items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """After optimiser step number ``steps`` of the run, counted from 1."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        for name, value in learning(self.model).items():
            self.values[name].mul_(decay).add_(value.detach(), alpha=1 - decay)

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Goes on from what was saved.

        Raises:
            KeyError: other parameters learnt then.
        """
        if values.keys() != self.values.keys():
            raise KeyError(", ".join(sorted(values.keys() ^ self.values.keys())[:3]))
        for name, value in values.items():
            self.values[name].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the model has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        settle(self.model)
        for name, value in learning(self.model).items():
            kept = value.detach().clone()
            value.copy_(self.values[name])
            self.values[name] = kept
