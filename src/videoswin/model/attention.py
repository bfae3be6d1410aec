"""Multi-head self-attention inside boxes, with the 3D relative position bias (paper section 3.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.kernels import cpu as native
from videoswin.kernels import gpu as triton_engine
from videoswin.kernels.boxes import BoxGroup, Partition
from videoswin.model.config import Grid

__all__ = ["BoxAttention"]


class BoxAttention(nn.Module):
    """Attention of every token to the tokens of its own box (3D (S)W-MSA).

    The bias table has one row per possible offset inside a full window, (2P-1)(2M-1)(2M-1) rows, one column per head.
    """

    def __init__(self, dim: int, num_heads: int, window_size: Grid) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        rows = (2 * window_size[0] - 1) * (2 * window_size[1] - 1) * (2 * window_size[2] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, num_heads))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, partition: Partition) -> Tensor:
        """(B, N, C) normalised tokens in grid order -> (B, N, C), also in grid order."""
        if native.suits(x):
            qkv = native.linear(x, self.qkv)
            out = native.attend(qkv, self.qkv.bias, self.relative_position_bias_table, partition, self.num_heads)
            return native.linear(out, self.proj)
        if triton_engine.suits(x):
            qkv, table = self.qkv(x), self.relative_position_bias_table
            return self.proj(triton_engine.attend(qkv, self.qkv.bias, table, partition, self.num_heads))
        if partition.padded:
            x = F.pad(x, (0, 0, 0, 1))  # the one zero token that every padding index reads
        qkv = self.qkv(x.index_select(1, partition.order))  # (B, M, 3C)
        boxes = qkv.split([g.count * g.tokens_per_box for g in partition.groups], dim=1)
        out = [self._attend(part, group) for part, group in zip(boxes, partition.groups, strict=True)]
        return self.proj(torch.cat(out, dim=1).index_select(1, partition.inverse))

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

    def _attend(self, qkv: Tensor, group: BoxGroup) -> Tensor:
        """(B, boxes * n, 3C) -> (B, boxes * n, C): attention within each of a group's equal boxes."""
        batch, tokens, _ = qkv.shape
        n, dim = group.tokens_per_box, self.proj.in_features  # spelled out: -1 cannot be inferred for an empty batch
        q, k, v = (
            qkv.reshape(batch * group.count, n, 3, self.num_heads, dim // self.num_heads)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )  # (B * boxes, heads, n, C / heads) each
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self._bias(group).to(q.dtype))
        return out.transpose(1, 2).reshape(batch, tokens, dim)

    def _bias(self, group: BoxGroup) -> Tensor:
        """(1, heads, n, n), shared by all boxes of the group."""
        n = group.tokens_per_box
        rows = self.relative_position_bias_table.index_select(0, group.bias_index.flatten())
        bias = rows.view(n, n, self.num_heads).permute(2, 0, 1).unsqueeze(0).contiguous()
        return bias if group.visible is None else bias.masked_fill(~group.visible, float("-inf"))
