"""The average over the latest time steps, kept up to date step by step."""

from collections.abc import Sequence
from copy import copy
from typing import Literal, Self

import torch
from torch import Tensor

from videoswin.errors import ConfigError

__all__ = ["Pool"]


class Pool:
    """Mean of the latest ``size`` feature vectors of each row, or of all of them since its start.

    The latest are kept and averaged anew each time; a running sum would drift. Of all, only a sum can be kept: in float64.
    """

    def __init__(self, size: int | str, features: int) -> None:
        if size != "all" and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
            raise ConfigError(f'pool={size!r} must be a whole number of time steps, 1 or more, or "all".')
        self.size: int | Literal["all"] = "all" if isinstance(size, str) else size
        self.features = features
        self._kept = torch.empty(0)

    def allocate(self, batch: int, like: Tensor) -> None:
        """Memory for ``batch`` rows, on the device of ``like``."""
        rows = 1 if self.size == "all" else self.size
        dtype = torch.float64 if self.size == "all" else like.dtype
        self._kept = torch.zeros((batch, rows, self.features), dtype=dtype, device=like.device)

    def push(self, features: Tensor, times: Sequence[int]) -> Tensor:
        """(B, K, C), the next K steps of rows that have seen ``times`` steps -> means (B, C) after the last of them."""
        steps, device = features.shape[1], features.device
        seen = torch.tensor(times, device=device)
        if self.size == "all":
            self._kept[seen == 0] = 0
            self._kept += features.sum(dim=1, keepdim=True, dtype=torch.float64)
            return (self._kept[:, 0] / (seen[:, None] + steps)).to(features.dtype)
        new = torch.arange(max(0, steps - self.size), steps, device=device)
        places = (seen[:, None] + new) % self.size
        self._kept[torch.arange(len(times), device=device)[:, None], places] = features[:, new]
        counts = (seen[:, None] + steps).clamp(max=self.size)
        counted = torch.arange(self.size, device=device) < counts  # (B, size): the others hold what is long past
        return torch.where(counted[:, :, None], self._kept, 0).sum(dim=1) / counts

    def fork(self) -> Self:
        """The same with a memory of its own."""
        twin = copy(self)
        twin._kept = self._kept.clone()
        return twin

    def state_dict(self) -> dict[str, Tensor]:
        """What is kept, (B, rows, C); not a copy."""
        return {"kept": self._kept}
