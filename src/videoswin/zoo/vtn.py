"""VTN (Neimark et al., 2021): a ViT for every frame, then three Longformer layers over the frames' class tokens.

A Longformer attends to 9 frames on each side and to the class token; the class token attends to all, with its own maps. For a
few hundred frames the window is written as a mask: the same numbers, and the frames' ViT costs a thousand times more.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.errors import ConfigError
from videoswin.interface.video_model import VideoModel
from videoswin.model.config import Grid
from videoswin.zoo.base import need_at_least, need_exactly
from videoswin.zoo.vit import FrameEncoder, TransformerConfig, vit_init

__all__ = ["VTN", "VTNConfig"]


@dataclass(frozen=True, kw_only=True)
class VTNConfig(TransformerConfig):
    """VTN. The defaults are ViT-B-VTN, which looks at all 250 frames of a Kinetics video."""

    system: ClassVar[str] = "vtn"

    clip_len: int = 250
    frame_interval: int = 1
    """Frames of the video between two of the clip: a token's position is its frame number in the video. 8 in training."""
    temporal_depth: int = 3
    temporal_mlp_ratio: float = 4.0
    window: int = 18
    """Frames that a token attends to beside itself: half of them on each side."""
    positions: int = 288
    """Rows of the position table: frame numbers modulo two less; the last but one is the class token's, the last one padding's."""
    temporal_dropout: float = 0.1
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.positions < 3 or self.window % 2:
            raise ConfigError(f"positions={self.positions} must be 3 or more, and window={self.window} even.")


class VTN(VideoModel):
    """(B, 3, T, H, W) -> logits, for any T."""

    config: VTNConfig

    def __init__(self, config: VTNConfig) -> None:
        super().__init__(config)
        dim = config.embed_dim
        self.encoder = FrameEncoder(config)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.position_embed = nn.Embedding(config.positions, dim)
        self.type_embed = nn.Embedding(2, dim)  # 1: the class token
        self.embed_norm = nn.LayerNorm(dim, eps=1e-12)
        self.embed_dropout = nn.Dropout(config.temporal_dropout)
        self.layers = nn.ModuleList(LongformerLayer(config) for _ in range(config.temporal_depth))
        self.head = MlpHead(config) if config.num_classes else None
        vit_init(self)
        nn.init.normal_(self.cls_token)
        for table in (self.position_embed, self.type_embed):
            nn.init.normal_(table.weight, std=0.02)

    @property
    def num_features(self) -> int:
        return self.config.embed_dim

    def forward_features(self, video: Tensor, frame_numbers: Tensor | None = None) -> Tensor:
        """(B, 3, T, H, W), and the frames' numbers in their video, (B, T) or (T,) -> (B, C)."""
        video = self.checked(video)
        batch, frames = video.shape[0], video.shape[2]
        tokens = self.encoder(video.transpose(1, 2).flatten(0, 1), self.run)[:, 0].unflatten(0, (batch, frames))
        x = torch.cat([self.cls_token.expand(batch, -1, -1), tokens], dim=1)
        if frame_numbers is None:
            frame_numbers = torch.arange(frames, device=x.device) * self.config.frame_interval
        numbers = frame_numbers.expand(batch, frames) % (self.config.positions - 2)
        numbers = torch.cat([numbers.new_full((batch, 1), self.config.positions - 2), numbers], dim=1)
        types = torch.zeros_like(numbers)
        types[:, 0] = 1
        x = self.embed_dropout(self.embed_norm(x + self.position_embed(numbers) + self.type_embed(types)))
        near = near_or_class(frames + 1, self.config.window, x.device)
        for layer in self.layers:
            x = self.run(layer, x, near)
        return x[:, 0]

    def trunk_blocks(self) -> list[nn.Module]:
        return [*self.encoder.blocks, *self.layers]

    def check_clip(self, size: Grid) -> None:
        side = self.config.crop_size
        need_at_least("VTN", size, (1, 1, 1))
        need_exactly("this VTN", size, (size[0], side, side), "the frames' positions are a table")


def near_or_class(tokens: int, window: int, device: torch.device) -> Tensor:
    """(N, N) whether the row's token attends to the column's: near ones, and token 0."""
    index = torch.arange(tokens, device=device)
    return ((index[:, None] - index[None, :]).abs() <= window // 2) | (index == 0)


class LongformerLayer(nn.Module):
    """Attention, then an MLP; each with the input added and the norm after it."""

    def __init__(self, config: VTNConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        hidden = int(dim * config.temporal_mlp_ratio)
        self.attn = LongformerAttention(config)
        self.norm1 = nn.LayerNorm(dim, eps=1e-12)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-12)
        self.dropout = nn.Dropout(config.temporal_dropout)

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = self.norm1(x + self.dropout(self.attn(x, near)))
        return self.norm2(x + self.dropout(self.fc2(F.gelu(self.fc1(x)))))


class LongformerAttention(nn.Module):
    """Rows attend to near ones and token 0; row 0 to all, by maps of its own."""

    def __init__(self, config: VTNConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.num_heads = config.num_heads
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.query_global, self.key_global, self.value_global = (nn.Linear(dim, dim) for _ in range(3))
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        """(B, N, C), (N, N) -> (B, N, C)."""
        frames = F.scaled_dot_product_attention(
            self._heads(self.query(x)), self._heads(self.key(x)), self._heads(self.value(x)), attn_mask=near
        )
        cls = F.scaled_dot_product_attention(
            self._heads(self.query_global(x[:, :1])), self._heads(self.key_global(x)), self._heads(self.value_global(x))
        )
        rows = torch.cat([cls, frames[:, :, 1:]], dim=2)
        return self.out(rows.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, C / heads)."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class MlpHead(nn.Module):
    """Norm, linear, GELU, dropout, linear."""

    def __init__(self, config: VTNConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.embed_dim)
        self.hidden = nn.Linear(config.embed_dim, config.embed_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(config.embed_dim, config.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C) -> (B, classes)."""
        return self.fc(self.dropout(F.gelu(self.hidden(self.norm(x)))))
