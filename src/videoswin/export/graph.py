"""The model as other runtimes want it: everything that depends only on weights and clip size is computed beforehand.

A copy of the model in which each block's attention knows its own boxes:

- The bias of each group of boxes is a constant, so nothing is looked up in the bias tables at run time.
- q, k and v come from three linear layers, the scale folded into the first, and each group gathers its tokens from their
  outputs. So the graph holds, for each group, the plain pattern reshape, transpose, attention that compilers know and fuse.
  One layer for all three (good for PyTorch) made OpenVINO copy for the split and once more for the transpose
  (docs/export.md).

The numbers are those of the model, which the check after every export proves on real clips.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.kernels import Partition
from videoswin.kernels.plain import bias_of
from videoswin.model import VideoSwin
from videoswin.model.attention import BoxAttention
from videoswin.model.backbone import Stage
from videoswin.model.blocks import SwinBlock
from videoswin.model.config import Grid
from videoswin.model.macs import stage_grids

__all__ = ["FixedAttention", "inference_graph"]


def inference_graph(model: VideoSwin, frames: int, height: int, width: int) -> VideoSwin:
    """A copy for one clip size, in evaluation mode, float32, on the CPU, without gradients; batches of any length.

    Its outputs are those of ``model`` up to rounding.
    """
    graph = copy.deepcopy(model).to("cpu", torch.float32).eval().requires_grad_(False)
    for stage, grid in zip(graph.backbone.stages, stage_grids(graph.config, frames, height, width), strict=True):
        _fix(stage, (grid[0], grid[1], grid[2]))
    return graph


def _fix(stage: Stage, grid: Grid) -> None:
    for i, block in enumerate(stage.blocks):
        block = cast(SwinBlock, block)
        block.attn = FixedAttention(block.attn, stage.boxes(grid, i, torch.device("cpu")))  # type: ignore[assignment]
    # The blocks have their boxes; a tracer must not meet the cached look-up.
    stage.boxes = lambda *_: None  # type: ignore[method-assign,assignment]


class FixedAttention(nn.Module):
    """:class:`~videoswin.model.attention.BoxAttention` for one partition."""

    def __init__(self, attention: BoxAttention, partition: Partition) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.padded = partition.padded
        self.shapes = [(group.count, group.tokens_per_box) for group in partition.groups]
        dim = attention.proj.in_features
        scale = (dim // self.num_heads) ** -0.5
        self.query, self.key, self.value = (_part(attention.qkv, i, s) for i, s in enumerate((scale, 1.0, 1.0)))
        self.proj = attention.proj
        for i, group in enumerate(partition.groups):
            self.register_buffer(f"order_{i}", group.tokens.clone())
            self.register_buffer(f"bias_{i}", bias_of(attention.relative_position_bias_table, group).detach().clone())
        self.register_buffer("inverse", partition.inverse.clone())

    def forward(self, x: Tensor, _: None = None) -> Tensor:
        """(B, N, C) normalised tokens in grid order -> (B, N, C), also in grid order."""
        if self.padded:
            x = F.pad(x, (0, 0, 0, 1))  # the one zero token that every padding index reads
        qkv = self.query(x), self.key(x), self.value(x)
        out = [self._attend(qkv, i, *shape) for i, shape in enumerate(self.shapes)]
        return self.proj(torch.cat(out, dim=1) if len(out) > 1 else out[0]).index_select(1, self.get_buffer("inverse"))

    def _attend(self, qkv: tuple[Tensor, Tensor, Tensor], group: int, count: int, n: int) -> Tensor:
        """(B, N, C) three times -> (B, count * n, C): attention within each of a group's equal boxes."""
        order, dim = self.get_buffer(f"order_{group}"), self.proj.in_features
        q, k, v = (
            part.index_select(1, order).reshape(-1, n, self.num_heads, dim // self.num_heads).transpose(1, 2)
            for part in qkv
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.get_buffer(f"bias_{group}"), scale=1.0)
        return out.transpose(1, 2).reshape(-1, count * n, dim)


def _part(qkv: nn.Linear, index: int, scale: float) -> nn.Linear:
    """One third of the packed layer, its output scaled."""
    dim = qkv.in_features
    part = nn.Linear(dim, dim, bias=qkv.bias is not None)
    rows = slice(index * dim, (index + 1) * dim)
    part.weight = nn.Parameter(qkv.weight[rows].detach() * scale, requires_grad=False)
    if qkv.bias is not None:
        part.bias = nn.Parameter(qkv.bias[rows].detach() * scale, requires_grad=False)
    return part
