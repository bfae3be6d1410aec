"""Attention inside boxes from PyTorch's own operators: gather, attend within each group of equal boxes, scatter.

What is exported, differentiated twice, transformed by ``torch.func``, and computed wherever no other kernel serves.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from videoswin.kernels.boxes import BoxGroup, Partition
from videoswin.kernels.operator import wanted_gradients
from videoswin.kernels.ordinary import transformed

__all__ = ["attend", "bias_of", "differentiable_gradients"]


def attend(qkv: Tensor, pad: Tensor, table: Tensor, boxes: Partition, num_heads: int, explicit: bool = False) -> Tensor:
    """As :func:`videoswin.kernels.attend`, with ``pad`` (B, 3C); it may be empty where no box is padded.

    ``explicit``: by products and a softmax, which can be differentiated any number of times.
    """
    if boxes.padded:
        qkv = torch.cat([qkv, pad[:, None]], dim=1)  # the token that every padding index reads
    explicit = explicit or transformed(qkv, table)
    product = explicit_attention if explicit else F.scaled_dot_product_attention
    out = []
    for group in boxes.groups:
        q, k, v = _in_boxes(qkv.index_select(1, group.tokens), group, num_heads)
        mixed = product(q, k, v, attn_mask=bias_of(table, group).to(q.dtype))
        out.append(mixed.transpose(1, 2).reshape(qkv.shape[0], group.tokens.shape[0], qkv.shape[2] // 3))
    return torch.cat(out, dim=1).index_select(1, boxes.inverse)


def differentiable_gradients(
    d_out: Tensor,
    qkv: Tensor,
    pad: Tensor,
    table: Tensor,
    boxes: Partition,
    num_heads: int,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of qkv, pad and table as functions of all four that PyTorch can differentiate again: what the backward pass
    of the other engines gives where a second derivative may be asked for. None where a gradient is not ``wanted``."""
    with torch.enable_grad():
        out = attend(qkv, pad, table, boxes, num_heads, explicit=True)
        return wanted_gradients(out, (qkv, pad, table), d_out, wanted)


def bias_of(table: Tensor, group: BoxGroup) -> Tensor:
    """(rows, heads) -> (1, heads, n, n), shared by all boxes of the group; -inf where a token may not look."""
    n, rows = group.tokens_per_box, group.bias_index.flatten()
    picked = table.index_select(0, rows.clamp(min=0) if group.causal else rows)
    bias = picked.view(n, n, table.shape[1]).permute(2, 0, 1).unsqueeze(0).contiguous()
    return bias.masked_fill(group.bias_index < 0, float("-inf")) if group.causal else bias


def explicit_attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor) -> Tensor:
    """What ``scaled_dot_product_attention`` computes; its fused forms know no forward-mode and no second derivatives."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + attn_mask
    return scores.softmax(dim=-1) @ v


def _in_boxes(qkv: Tensor, group: BoxGroup, num_heads: int) -> tuple[Tensor, ...]:
    """(B, boxes * n, 3C) -> queries, keys and values, (B * boxes, heads, n, C / heads) each."""
    batch, _, width = qkv.shape  # sizes are spelled out: -1 cannot be inferred for an empty batch
    split = qkv.reshape(batch * group.count, group.tokens_per_box, 3, num_heads, width // 3 // num_heads)
    return split.permute(2, 0, 3, 1, 4).unbind(0)
