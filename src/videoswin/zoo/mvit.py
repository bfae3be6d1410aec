"""MViT (Fan et al., 2021) and MViTv2 (Li et al., 2022): attention whose queries, keys and values are pooled, so that the grid
shrinks and the channels grow over the depth.

v1 adds positions to the tokens, pools queries only where it strides, and widens in the MLP of the block before. v2 has
relative positions, a residual of the pooled queries, pools queries everywhere, and widens inside the attention.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.errors import ConfigError
from videoswin.interface.video_model import VideoModel
from videoswin.model.blocks import DropPath
from videoswin.model.config import Grid
from videoswin.zoo.base import LinearHead, ZooConfig, linear_rates, need_exactly
from videoswin.zoo.vit import Mlp

__all__ = ["MViT", "MViTConfig"]


@dataclass(frozen=True, kw_only=True)
class MViTConfig(ZooConfig):
    """MViT. The defaults are MViT-B 16x4 (v1)."""

    system: ClassVar[str] = "mvit"

    version: Literal[1, 2] = 1
    embed_dim: int = 96
    depth: int = 16
    num_heads: int = 1
    """Of the first block; doubled with the channels."""
    scale_at: tuple[int, ...] = (1, 3, 14)
    """Blocks that halve height and width and have twice the channels and heads of those before."""
    kv_stride: Grid = (1, 8, 8)
    """Of keys and values in the first block; halved in space where queries are."""
    mlp_ratio: float = 4.0
    drop_path: float = 0.2
    dropout: float = 0.5
    bias_init: float = 0.0
    """Where biases of linear layers and norms start: .02 in SlowFast's code, 0 in torchvision's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"num_heads={self.num_heads} does not divide embed_dim={self.embed_dim}; choose a divisor."
            )
        if list(self.scale_at) != sorted(set(self.scale_at)) or any(n >= self.depth for n in self.scale_at):
            raise ConfigError(f"scale_at={self.scale_at} must rise and stay below depth={self.depth}.")

    @property
    def num_features(self) -> int:
        """Channels of the last block."""
        return self.embed_dim * 2 ** len(self.scale_at)

    @property
    def grid(self) -> Grid:
        """Tokens after the patch embedding, along time, height and width."""
        return (self.clip_len + 1) // 2, (self.crop_size + 3) // 4, (self.crop_size + 3) // 4


class _Plan(NamedTuple):
    """What one block does."""

    dim: int
    attn_dim: int
    out_dim: int
    heads: int
    grid: Grid
    q_stride: Grid
    kv_stride: Grid
    table_grid: tuple[int, int, int, int]
    """v2: queries and keys along height or width and along time, which size the tables of relative positions."""


class MViT(VideoModel):
    """(B, 3, T, H, W) -> logits. The clip's size is fixed by the tables of positions."""

    config: MViTConfig

    def __init__(self, config: MViTConfig) -> None:
        super().__init__(config)
        t, h, w = config.grid
        dim = config.embed_dim
        self.patch_embed = nn.Conv3d(config.in_channels, dim, (3, 7, 7), (2, 4, 4), (1, 3, 3))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = Positions(h * w, t, dim) if config.version == 1 else None
        rates = linear_rates(config.drop_path, config.depth)
        self.blocks = nn.ModuleList(Block(config, plan, rate) for plan, rate in zip(_plans(config), rates, strict=True))
        self.norm = nn.LayerNorm(config.num_features, eps=1e-6)
        self.head = LinearHead.of(config, config.num_features, config.dropout)
        self._init_weights()

    @property
    def num_features(self) -> int:
        return self.config.num_features

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> the class token, (B, C)."""
        x = self.patch_embed(self.checked(video)).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        if self.pos_embed is not None:
            x = x + self.pos_embed()
        for block in self.blocks:
            x = self.run(block, x)
        return self.norm(x)[:, 0]

    def trunk_blocks(self) -> list[nn.Module]:
        return list(self.blocks)

    def check_clip(self, size: Grid) -> None:
        need_exactly("this MViT", size, self.config.clip, "its positions are tables")

    def _init_weights(self) -> None:
        for name, parameter in self.named_parameters():
            end = name.rpartition(".")[2]
            if end in ("cls_token", "spatial", "temporal", "class_pos") or end.startswith("rel_pos"):
                nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear | nn.LayerNorm):
                nn.init.constant_(module.bias, self.config.bias_init)


class Positions(nn.Module):
    """v1: a table over places, repeated in time, plus one over times, repeated over places; one row for the class token."""

    def __init__(self, places: int, times: int, dim: int) -> None:
        super().__init__()
        self.spatial = nn.Parameter(torch.zeros(1, places, dim))
        self.temporal = nn.Parameter(torch.zeros(1, times, dim))
        self.class_pos = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self) -> Tensor:
        """(1, 1 + T * H * W, C)."""
        grid = self.temporal[:, :, None] + self.spatial[:, None]
        return torch.cat([self.class_pos, grid.flatten(1, 2)], dim=1)


class Block(nn.Module):
    """Pooling attention and an MLP, each with a residual that shrinks and widens as they do."""

    def __init__(self, config: MViTConfig, plan: _Plan, drop_path: float) -> None:
        super().__init__()
        self.plan = plan
        self.norm1 = nn.LayerNorm(plan.dim, eps=1e-6)
        self.attn = PoolingAttention(config, plan)
        self.norm2 = nn.LayerNorm(plan.attn_dim, eps=1e-6)
        self.mlp = Mlp(plan.attn_dim, int(plan.attn_dim * config.mlp_ratio), plan.out_dim)
        self.widens_inside = plan.attn_dim != plan.dim
        widens = plan.out_dim != plan.dim
        self.proj = nn.Linear(plan.dim, plan.out_dim) if widens else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 + tokens, C) -> (B, 1 + fewer tokens, C')."""
        normed = self.norm1(x)
        skip = self._shrunk(self.proj(normed) if self.widens_inside else x)
        x = skip + self.drop_path(self.attn(normed))
        normed = self.norm2(x)
        skip = x if self.widens_inside else self.proj(normed) if self.plan.out_dim != self.plan.dim else x
        return skip + self.drop_path(self.mlp(normed))

    def _shrunk(self, x: Tensor) -> Tensor:
        """Max pooling where queries stride; the class token stays."""
        stride = self.plan.q_stride
        if max(stride) == 1:
            return x
        kernel = tuple(s + 1 if s > 1 else s for s in stride)
        grid = x[:, 1:].transpose(1, 2).unflatten(2, self.plan.grid)
        pooled = F.max_pool3d(grid, kernel, stride, tuple(k // 2 for k in kernel))
        return torch.cat([x[:, :1], pooled.flatten(2).transpose(1, 2)], dim=1)


class PoolingAttention(nn.Module):
    """Multi-head attention between pooled queries and pooled keys and values."""

    def __init__(self, config: MViTConfig, plan: _Plan) -> None:
        super().__init__()
        self.heads, self.grid = plan.heads, plan.grid
        self.v2 = config.version == 2
        dim = plan.attn_dim // plan.heads
        self.qkv = nn.Linear(plan.dim, 3 * plan.attn_dim)
        self.proj = nn.Linear(plan.attn_dim, plan.attn_dim)
        strides = max(plan.q_stride) > 1
        self.pool_q = HeadPool(dim, plan.q_stride) if strides or self.v2 else None
        self.pool_k = HeadPool(dim, plan.kv_stride)
        self.pool_v = HeadPool(dim, plan.kv_stride)
        if self.v2:
            q_side, k_side, q_time, k_time = plan.table_grid
            rows = 2 * max(q_side, k_side) - 1
            self.rel_pos_h = nn.Parameter(torch.zeros(rows, dim))
            self.rel_pos_w = nn.Parameter(torch.zeros(rows, dim))
            self.rel_pos_t = nn.Parameter(torch.zeros(2 * max(q_time, k_time) - 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 + tokens, C) -> (B, 1 + fewer tokens, C')."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, q_grid = (q, self.grid) if self.pool_q is None else self.pool_q(q, self.grid)
        k, k_grid = self.pool_k(k, self.grid)
        v, _ = self.pool_v(v, self.grid)
        bias = self._relative(q, q_grid, k_grid) if self.v2 else None
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        if self.v2:
            out = torch.cat([out[:, :, :1], out[:, :, 1:] + q[:, :, 1:]], dim=2)
        return self.proj(out.transpose(1, 2).flatten(2))

    def _relative(self, q: Tensor, q_grid: Grid, k_grid: Grid) -> Tensor:
        """(B, heads, 1 + N, c) -> q . R_t + q . R_h + q . R_w, (B, heads, 1 + N, 1 + M); 0 for the class token."""
        tables = (self.rel_pos_t, self.rel_pos_h, self.rel_pos_w)
        r_t, r_h, r_w = (_rows(*args) for args in zip(tables, q_grid, k_grid, strict=True))  # (queries, keys, c)
        grid = q[:, :, 1:].unflatten(2, q_grid)  # (B, heads, T, H, W, c)
        along_t = torch.einsum("bnthwc,tkc->bnthwk", grid, r_t)[..., :, None, None]
        along_h = torch.einsum("bnthwc,hkc->bnthwk", grid, r_h)[..., None, :, None]
        along_w = torch.einsum("bnthwc,wkc->bnthwk", grid, r_w)[..., None, None, :]
        bias = (along_t + along_h + along_w).flatten(5).flatten(2, 4)
        return F.pad(bias, (1, 0, 1, 0))


def _rows(table: Tensor, queries: int, keys: int) -> Tensor:
    """(rows, c) -> (queries, keys, c): each pair's row, distances counted in the finer of both grids."""
    rows = 2 * max(queries, keys) - 1
    if len(table) != rows:  # the published large model counts its grid by rounding down, and its tables are stretched
        table = F.interpolate(table.t()[None], size=rows, mode="linear")[0].t()
    q = torch.arange(queries, device=table.device)[:, None] * max(keys / queries, 1.0)
    k = torch.arange(keys, device=table.device)[None, :] * max(queries / keys, 1.0)
    return table[(q - k + (keys - 1) * max(queries / keys, 1.0)).long()]


class HeadPool(nn.Module):
    """A depthwise convolution 3x3x3 shared by the heads, then a norm; the class token is normalised only."""

    def __init__(self, dim: int, stride: Grid) -> None:
        super().__init__()
        self.conv = nn.Conv3d(dim, dim, 3, stride, padding=1, groups=dim, bias=False)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
        """(B, heads, 1 + N, c) -> (B, heads, 1 + M, c) and the new grid."""
        tokens = x[:, :, 1:].flatten(0, 1).transpose(1, 2).unflatten(2, grid)
        pooled = self.conv(tokens)
        rows = pooled.flatten(2).transpose(1, 2).unflatten(0, x.shape[:2])
        t, h, w = pooled.shape[2:]
        return self.norm(torch.cat([x[:, :, :1], rows], dim=2)), (t, h, w)


def _plans(config: MViTConfig) -> list[_Plan]:
    """Widths, grids and strides of all blocks."""
    plans = []
    dim, heads, grid = config.embed_dim, config.num_heads, config.grid
    counted = (config.clip_len // 2, config.crop_size // 4)  # as the public code counts for its tables: rounding down
    kv = config.kv_stride
    for i in range(config.depth):
        scales = i in config.scale_at
        stride: Grid = (1, 2, 2) if scales else (1, 1, 1)
        if scales:
            heads *= 2
            kv = (kv[0], max(kv[1] // 2, 1), max(kv[2] // 2, 1))
        if config.version == 1:
            attn_dim, out_dim = dim, 2 * dim if i + 1 in config.scale_at else dim
        else:
            attn_dim = out_dim = 2 * dim if scales else dim
        time, side = counted
        table = (side // stride[1], side // kv[1], time // stride[0], time // kv[0])
        plans.append(_Plan(dim, attn_dim, out_dim, heads, grid, stride, kv, table))
        dim, counted = out_dim, (time // stride[0], side // stride[1])
        grid = (grid[0], -(-grid[1] // stride[1]), -(-grid[2] // stride[2]))
    return plans
