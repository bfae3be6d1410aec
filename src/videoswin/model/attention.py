"""Multi-head self-attention inside boxes, with the 3D relative position bias (paper section 3.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.kernels import Partition, attend
from videoswin.kernels.linear import linear
from videoswin.model.config import Grid

__all__ = ["BoxAttention"]


class BoxAttention(nn.Module):
    """Window attention, 3D (S)W-MSA: every token attends to the tokens of its own box.

    The bias table has one row per possible offset inside a full window, (2P-1)(2M-1)(2M-1) rows, one column per head.
    """

    def __init__(self, dim: int, num_heads: int, window_size: Grid) -> None:
        super().__init__()
        self.dim = dim
        self.num_heads = num_heads
        self.window_size = window_size
        rows = (2 * window_size[0] - 1) * (2 * window_size[1] - 1) * (2 * window_size[2] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, num_heads))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, boxes: Partition) -> Tensor:
        """(B, N, C) normalised tokens in grid order -> (B, N, C), also in grid order; ``boxes``: which of them meet."""
        qkv, pad = self._queries_keys_values(x, boxes.padded)
        out = attend(qkv, pad, self.relative_position_bias_table, boxes, self.num_heads)
        del qkv, pad  # three times as large as what follows
        return linear(out, self.proj)

    def _queries_keys_values(self, x: Tensor, padded: bool) -> tuple[Tensor, Tensor | None]:
        """(B, N, 3C), and where boxes are ``padded`` the same of a padding token, (B, 3C).

        A padding token is a zero. It goes through the layer behind the others of its clip, in the same call: so adapters and
        hooks count for it too, those that treat clips of a batch differently included, and hooks fire once.
        """
        if not padded:
            return linear(x, self.qkv), None
        qkv = linear(F.pad(x, (0, 0, 0, 1)), self.qkv)
        return qkv[:, :-1], qkv[:, -1]

    @torch.no_grad()
    def look_at_neighbours(self) -> None:
        """Start each head's bias as a bump around one nearby offset, drawn at random: a step back or ahead in time and at
        most one token aside. So attention begins as a set of directed motion detectors, as convolutions do (the idea of
        ConViT, d'Ascoli et al., 2021), and training is free to undo it.
        """
        axes = [torch.arange(1 - n, n, dtype=torch.float32) for n in self.window_size]
        offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).view(-1, 1, 3)  # (rows, 1, 3)
        aside = torch.randint(-1, 2, (self.num_heads, 3)).float()
        aside[:, 0] = torch.arange(self.num_heads) % 2 * 2 - 1  # half of the heads look back, half ahead
        far = -4.0  # a small but living share for everything else
        bumps = (-0.5 * (offsets - aside).square().sum(-1)).clamp(min=far)
        self.relative_position_bias_table.copy_(bumps)
