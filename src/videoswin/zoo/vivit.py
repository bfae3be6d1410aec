"""ViViT (Arnab et al., 2021): tubelets of 2x16x16, and four ways to factorise attention over them.

1  joint: a class token and all tubelets
2  factorised encoder: a ViT for each time step, then a second one over their class tokens
3  factorised self-attention: each block attends over one of time and space, then over the other
4  factorised dot product: half of the heads attend over time, half over space

Models 1 and 2 read a class token, models 3 and 4 the mean of all tokens.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.errors import ConfigError
from videoswin.interface.video_model import VideoModel
from videoswin.model.blocks import DropPath
from videoswin.model.config import Grid
from videoswin.zoo.base import LinearHead, linear_rates, need_exactly
from videoswin.zoo.groups import Axes, grouped, ungrouped
from videoswin.zoo.vit import Attention, Mlp, TransformerConfig, VitBlock

__all__ = ["ViViT", "ViViTConfig"]


@dataclass(frozen=True, kw_only=True)
class ViViTConfig(TransformerConfig):
    """ViViT. The defaults are ViViT-B/16x2, model 1."""

    system: ClassVar[str] = "vivit"

    model: Literal[1, 2, 3, 4] = 1
    clip_len: int = 32
    tubelet: int = 2
    """Frames of a tubelet."""
    temporal_depth: int = 4
    """Model 2: layers of the second encoder. 24 in the large public models for Kinetics."""
    order: Literal["time_space", "space_time"] = "time_space"
    """Model 3: time_space is the code's default, space_time the paper's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip_len % self.tubelet:
            raise ConfigError(f"clip_len={self.clip_len} is no multiple of tubelet={self.tubelet}.")
        if self.model == 4 and self.num_heads % 2:
            raise ConfigError(
                f"num_heads={self.num_heads}: model 4 shares its heads among time and space; use an even one."
            )

    @property
    def grid(self) -> Grid:
        """Tubelets along time, height and width."""
        return self.clip_len // self.tubelet, self.side, self.side


class ViViT(VideoModel):
    """(B, 3, T, H, W) -> logits."""

    config: ViViTConfig

    def __init__(self, config: ViViTConfig) -> None:
        super().__init__(config)
        dim, (t, h, w) = config.embed_dim, config.grid
        kernel = (config.tubelet, config.patch_size, config.patch_size)
        self.patch_embed = nn.Conv3d(config.in_channels, dim, kernel, kernel)
        has_cls = config.model in (1, 2)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if has_cls else None
        places = h * w if config.model == 2 else t * h * w
        self.pos_embed = nn.Parameter(torch.zeros(1, places + (1 if has_cls else 0), dim))
        rates = linear_rates(config.drop_path, config.depth)
        kinds = {3: FactorisedBlock, 4: SplitHeadsBlock}
        make = kinds.get(config.model, lambda config, rate: VitBlock(config, rate, gelu="tanh"))
        self.blocks = nn.ModuleList(make(config, rate) for rate in rates)
        self.norm = nn.LayerNorm(dim, eps=config.eps)
        self.temporal = TemporalEncoder(config, t) if config.model == 2 else None
        self.head = LinearHead.of(config, dim, config.dropout, std=None)
        self._init_weights()

    @property
    def num_features(self) -> int:
        return self.config.embed_dim

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, C): a class token, or the mean of all tokens."""
        x = self.patch_embed(self.checked(video)).permute(0, 2, 3, 4, 1)  # (B, T', H', W', C)
        batch = x.shape[0]
        x = grouped(x, "space") if self.temporal is not None else x.flatten(1, 3)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = x + self.pos_embed
        for block in self.blocks:
            x = self.run(block, x)
        x = self.norm(x)
        if self.cls_token is None:
            return x.mean(dim=1)
        if self.temporal is None:
            return x[:, 0]
        return self.temporal(x[:, 0].unflatten(0, (batch, -1)), self)

    def trunk_blocks(self) -> list[nn.Module]:
        return [*self.blocks, *(self.temporal.blocks if self.temporal is not None else ())]

    def check_clip(self, size: Grid) -> None:
        need_exactly("this ViViT", size, self.config.clip, "its positions are a table")

    def _init_weights(self) -> None:
        """Linear layers xavier, positions normal .02, the head 0 (scenic). What starts from image weights says so elsewhere."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for name, parameter in self.named_parameters():
            if name.endswith("pos_embed"):
                nn.init.normal_(parameter, std=0.02)
        if self.head is not None:
            nn.init.zeros_(self.head.fc.weight)


class TemporalEncoder(nn.Module):
    """Model 2's second transformer: the time steps' class tokens, with a class token of their own."""

    def __init__(self, config: ViViTConfig, steps: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, steps + 1, config.embed_dim))
        rates = linear_rates(config.drop_path, config.temporal_depth)
        self.blocks = nn.ModuleList(VitBlock(config, rate, gelu="tanh") for rate in rates)
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.eps)

    def forward(self, steps: Tensor, model: ViViT) -> Tensor:
        """(B, T', C) -> (B, C)."""
        x = torch.cat([self.cls_token.expand(steps.shape[0], -1, -1), steps], dim=1) + self.pos_embed
        for block in self.blocks:
            x = model.run(block, x)
        return self.norm(x)[:, 0]


class FactorisedBlock(nn.Module):
    """Model 3: attention along one of time and space, then along the other, then the MLP."""

    def __init__(self, config: ViViTConfig, drop_path: float) -> None:
        super().__init__()
        dim = config.embed_dim
        self.grid = config.grid
        self.order: tuple[Axes, Axes] = ("time", "space") if config.order == "time_space" else ("space", "time")
        self.norm_time, self.norm_space = nn.LayerNorm(dim, eps=config.eps), nn.LayerNorm(dim, eps=config.eps)
        self.attn_time, self.attn_space = Attention(dim, config.num_heads), Attention(dim, config.num_heads)
        self.norm_mlp = nn.LayerNorm(dim, eps=config.eps)
        self.mlp = Mlp(dim, config.hidden, gelu="tanh")
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        for axes in self.order:
            norm, attn = (self.norm_time, self.attn_time) if axes == "time" else (self.norm_space, self.attn_space)
            rows = attn(grouped(norm(x).unflatten(1, self.grid), axes))
            x = x + self.drop_path(ungrouped(rows, axes, self.grid).flatten(1, 3))
        return x + self.drop_path(self.mlp(self.norm_mlp(x)))


class SplitHeadsBlock(VitBlock):
    """Model 4: a ViT block whose first half of the heads sees other times, the second half other places."""

    def __init__(self, config: ViViTConfig, drop_path: float) -> None:
        super().__init__(config, drop_path, gelu="tanh")
        self.attn = SplitHeads(config)


class SplitHeads(Attention):
    """Half of the heads attend over time, half over space; their outputs side by side, and one output map."""

    def __init__(self, config: ViViTConfig) -> None:
        super().__init__(config.embed_dim, config.num_heads)
        self.grid = config.grid

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        half = self.num_heads // 2
        qkv = self.qkv(x).unflatten(2, (3, self.num_heads, -1))  # (B, N, 3, heads, C / heads)
        parts = [self._along(qkv[:, :, :, :half], "time"), self._along(qkv[:, :, :, half:], "space")]
        return self.proj(torch.cat(parts, dim=2))

    def _along(self, qkv: Tensor, axes: Axes) -> Tensor:
        """(B, N, 3, heads, c) -> (B, N, heads * c)."""
        rows = grouped(qkv.flatten(2).unflatten(1, self.grid), axes)
        q, k, v = rows.unflatten(2, qkv.shape[2:]).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return ungrouped(out, axes, self.grid).flatten(1, 3)
