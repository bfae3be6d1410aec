"""The model as other runtimes want it: everything that depends only on weights and clip size is computed beforehand.

A copy of the model in which each block's attention knows its own boxes:

- The bias of each group of boxes is a constant, so nothing is looked up in the bias tables at run time. Formats whose
  runtimes compute constants when they load a file store the table and the look-up in its place (:class:`BiasLookup`).
- q, k and v come from three linear layers, the scale folded into the first, and each group gathers its tokens from their
  outputs. So the graph holds, for each group, the plain pattern reshape, transpose, attention that compilers know and fuse.
  One layer for all three (good for PyTorch) made OpenVINO copy for the split and once more for the transpose
  (docs/export.md).

The numbers are those of the model, which the check after every export proves on real clips.
"""

import copy
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.interface.video_model import VideoModel
from videoswin.kernels import Partition
from videoswin.model import VideoSwin
from videoswin.model.attention import BoxAttention
from videoswin.model.backbone import Stage
from videoswin.model.blocks import SwinBlock
from videoswin.model.config import Grid
from videoswin.zoo.swin_macs import stage_grids

__all__ = ["BiasLookup", "FixedAttention", "inference_graph"]

_Model = TypeVar("_Model", bound=VideoModel)


@dataclass(frozen=True)
class BiasLookup:
    """Where a constant bias comes from: ``bias == table[:, :, index]``, in a hundredth of the room."""

    table: Tensor
    """(1, heads, rows): a block's bias table, turned; the same tensor for all groups of a block."""
    index: Tensor
    """(n, n) rows, int32."""

    @property
    def bias(self) -> Tensor:
        """(1, heads, n, n)."""
        heads, n = self.table.shape[1], len(self.index)
        return self.table.index_select(2, self.index.flatten()).view(1, heads, n, n)


def inference_graph(model: _Model, frames: int, height: int, width: int) -> _Model:
    """A copy for one clip size, in evaluation mode, float32, on the CPU, without gradients; batches of any length.

    Its outputs are those of ``model`` up to rounding. Of Video Swin, the boxes become constants; other systems are traced as
    they are.
    """
    graph = copy.deepcopy(model).to("cpu", torch.float32).eval().requires_grad_(False)
    if not isinstance(graph, VideoSwin):
        return graph
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
        self.lookups = _lookups(attention.relative_position_bias_table, partition)
        for i, (group, lookup) in enumerate(zip(partition.groups, self.lookups, strict=True)):
            self.register_buffer(f"order_{i}", group.tokens.clone())
            self.register_buffer(f"bias_{i}", lookup.bias)
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


def _lookups(table: Tensor, partition: Partition) -> list[BiasLookup]:
    """One for each group of boxes. Pairs that do not see each other read one row more, of minus infinity."""
    turned = table.detach().float().t()
    if any(group.causal for group in partition.groups):
        turned = torch.cat([turned, turned.new_full((len(turned), 1), float("-inf"))], dim=1)
    turned = turned.unsqueeze(0).contiguous()
    indices = [group.bias_index for group in partition.groups]
    return [BiasLookup(turned, index.masked_fill(index < 0, len(table)).to(torch.int32)) for index in indices]


def _part(qkv: nn.Linear, index: int, scale: float) -> nn.Linear:
    """One third of the packed layer, its output scaled."""
    dim = qkv.in_features
    part = nn.Linear(dim, dim, bias=qkv.bias is not None)
    rows = slice(index * dim, (index + 1) * dim)
    part.weight = nn.Parameter(qkv.weight[rows].detach() * scale, requires_grad=False)
    if qkv.bias is not None:
        part.bias = nn.Parameter(qkv.bias[rows].detach() * scale, requires_grad=False)
    return part
