"""Multi-head self-attention inside boxes, with the 3D relative position bias (paper section 3.3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.model.config import Grid
from videoswin.model.windows import BoxGroup, Partition

__all__ = ["BoxAttention"]


class BoxAttention(nn.Module):
    """Attention of every token to the tokens of its own box (3D (S)W-MSA).

    The bias table has one row per possible offset inside a full window, (2P-1)(2M-1)(2M-1) rows, one column per head.
    """

    def __init__(self, dim: int, num_heads: int, window_size: Grid) -> None:
        super().__init__()
        self.num_heads = num_heads
        rows = (2 * window_size[0] - 1) * (2 * window_size[1] - 1) * (2 * window_size[2] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, num_heads))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, partition: Partition) -> Tensor:
        """(B, N, C) normalised tokens in grid order -> (B, N, C), also in grid order."""
        if partition.padded:
            x = F.pad(x, (0, 0, 0, 1))  # the one zero token that every padding index reads
        qkv = self.qkv(x.index_select(1, partition.order))  # (B, M, 3C)
        boxes = qkv.split([g.count * g.tokens_per_box for g in partition.groups], dim=1)
        out = [self._attend(part, group) for part, group in zip(boxes, partition.groups, strict=True)]
        return self.proj(torch.cat(out, dim=1).index_select(1, partition.inverse))

    def _attend(self, qkv: Tensor, group: BoxGroup) -> Tensor:
        """(B, boxes * n, 3C) -> (B, boxes * n, C): attention within each of a group's equal boxes."""
        batch, tokens, _ = qkv.shape
        n = group.tokens_per_box
        q, k, v = (
            qkv.view(batch * group.count, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        )  # (B * boxes, heads, n, C / heads) each
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self._bias(group).to(q.dtype))
        return out.transpose(1, 2).reshape(batch, tokens, -1)

    def _bias(self, group: BoxGroup) -> Tensor:
        """(1, heads, n, n), shared by all boxes of the group."""
        n = group.tokens_per_box
        rows = self.relative_position_bias_table.index_select(0, group.bias_index.flatten())
        return rows.view(n, n, self.num_heads).permute(2, 0, 1).unsqueeze(0).contiguous()
