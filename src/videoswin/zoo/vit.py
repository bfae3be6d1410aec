"""ViT (Dosovitskiy et al., 2021) and DeiT (Touvron et al., 2021) on frames, their features averaged; and the parts that the
video transformers are built from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.errors import ConfigError
from videoswin.interface.video_model import VideoModel
from videoswin.model.blocks import DropPath
from videoswin.model.config import Grid
from videoswin.zoo.base import LinearHead, ZooConfig, linear_rates, need_at_least, need_exactly

__all__ = ["Attention", "FrameEncoder", "Mlp", "TransformerConfig", "ViT", "ViTConfig", "VitBlock", "vit_init"]


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(ZooConfig):
    """Sizes that all plain video transformers have. The defaults are those of the base size with patches of 16 pixels."""

    clip_len: int = 8
    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    eps: float = 1e-6
    """Of the layer norms; files from the hub's ViT and DeiT say 1e-12."""
    drop_path: float = 0.0
    """Stochastic depth of the last block; it grows linearly from 0."""
    dropout: float = 0.0
    """Before the head."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"num_heads={self.num_heads} does not divide embed_dim={self.embed_dim}; choose a divisor."
            )
        if self.crop_size % self.patch_size:
            raise ConfigError(f"crop_size={self.crop_size} is no multiple of patch_size={self.patch_size}.")

    @property
    def hidden(self) -> int:
        """Channels inside the MLP."""
        return int(self.embed_dim * self.mlp_ratio)

    @property
    def side(self) -> int:
        """Patches along height and along width."""
        return self.crop_size // self.patch_size


@dataclass(frozen=True, kw_only=True)
class ViTConfig(TransformerConfig):
    """ViT and DeiT on frames. The defaults are ViT-B/16."""

    system: ClassVar[str] = "vit"

    distilled: bool = False
    """DeiT's second token, which learned from a teacher."""
    second_head: bool = False
    """The second token's own head; logits are the mean of both. Without it the second token is attended to, and no more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.second_head and not self.distilled:
            raise ConfigError("second_head reads the second token; set distilled too.")


class ViT(VideoModel):
    """(B, 3, T, H, W) -> logits: frames one by one, their features averaged after the final norm. Time order is not seen.

    That is the mean of the frames' logits, the head being linear. TimeSformer's space-only form averages before the norm.
    """

    heads: ClassVar[tuple[str, ...]] = ("head", "head_dist")
    config: ViTConfig

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.encoder = FrameEncoder(config, distilled=config.distilled)
        self.head = LinearHead.of(config, config.embed_dim, config.dropout)
        self.head_dist = LinearHead.of(config, config.embed_dim, config.dropout) if config.second_head else None
        vit_init(self)

    @property
    def num_features(self) -> int:
        return self.config.embed_dim

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> the class token of each frame, (B, T, C); with two heads, both tokens, (B, T, 2, C)."""
        video = self.checked(video)
        tokens = self.encoder(video.transpose(1, 2).flatten(0, 1), self.run)
        tokens = tokens[:, :2] if self.config.second_head else tokens[:, 0]
        return tokens.unflatten(0, (video.shape[0], video.shape[2]))

    def pool(self, features: Tensor) -> Tensor:
        """(B, T, C) or (B, T, 2, C) -> (B, C)."""
        return features.mean(dim=tuple(range(1, features.ndim - 1)))

    def classify(self, features: Tensor) -> Tensor:
        """(B, T, C), or (B, T, 2, C) with two heads -> logits (B, num_classes)."""
        if self.head is None or self.head_dist is None:
            return super().classify(features)
        token, second = features.mean(dim=1).unbind(dim=1)
        return (self.head(token) + self.head_dist(second)) / 2

    def trunk_blocks(self) -> list[nn.Module]:
        return list(self.encoder.blocks)

    def check_clip(self, size: Grid) -> None:
        side = self.config.crop_size
        need_at_least("this ViT", size, (1, 1, 1))
        need_exactly("this ViT", size, (size[0], side, side), "its positions are a table")


class FrameEncoder(nn.Module):
    """An image transformer without its head: (N, 3, H, W) -> tokens (N, 1 + patches, C) after the final norm."""

    def __init__(self, config: TransformerConfig, distilled: bool = False) -> None:
        super().__init__()
        dim, extra = config.embed_dim, 2 if distilled else 1
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, dim)) if distilled else None
        self.pos_embed = nn.Parameter(torch.zeros(1, config.side**2 + extra, dim))
        rates = linear_rates(config.drop_path, config.depth)
        self.blocks = nn.ModuleList(VitBlock(config, rate) for rate in rates)
        self.norm = nn.LayerNorm(dim, eps=config.eps)

    def forward(self, images: Tensor, run: Callable[..., Tensor]) -> Tensor:
        """(N, 3, H, W) -> (N, 1 or 2 + patches, C). ``run`` calls each block."""
        patches = self.patch_embed(images).flatten(1, 2)
        extra = [self.cls_token] if self.dist_token is None else [self.cls_token, self.dist_token]
        x = torch.cat([*(token.expand(images.shape[0], -1, -1) for token in extra), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            x = run(block, x)
        return self.norm(x)


class PatchEmbed(nn.Module):
    """(N, 3, H, W) -> (N, H', W', C)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.in_channels, config.embed_dim, config.patch_size, config.patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, H', W', C)."""
        return self.proj(images).permute(0, 2, 3, 1)


class VitBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: TransformerConfig, drop_path: float, gelu: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=config.eps)
        self.attn = Attention(config.embed_dim, config.num_heads)
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=config.eps)
        self.mlp = Mlp(config.embed_dim, config.hidden, gelu=gelu)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Attention(nn.Module):
    """Multi-head self-attention, queries, keys and values from one layer."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        q, k, v = self.heads(x)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, C) -> queries, keys and values, each (B, heads, N, C / heads)."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v


class Mlp(nn.Module):
    """Linear, GELU (exact, or by tanh), linear."""

    def __init__(self, dim: int, hidden: int, out: int | None = None, gelu: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, out or dim)
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C')."""
        return self.fc2(F.gelu(self.fc1(x), approximate=self.gelu))


def vit_init(model: nn.Module) -> None:
    """Linear layers, tokens and positions truncated normal .02, biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2] in ("cls_token", "dist_token", "pos_embed"):
            nn.init.trunc_normal_(parameter, std=0.02)
