"""TimeSformer (Bertasius et al., 2021): a ViT whose blocks attend in space and time, in five ways.

space          every frame by itself, tokens averaged over the frames before the last norm
joint          all tokens of the clip
divided        time, then space: the paper's choice
local_global   a quarter of the frame over all frames, then every second token along all axes
axial          time, then width, then height

Each way but the first two is a number of steps before the ViT's own attention, x += fc(attention(norm(x))) without the class
token; the ViT's attention is the last step, and the class token is averaged over its groups. The last two ways were never
released: they are our reading of the paper, whose counts of parameters they match.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.interface.video_model import VideoModel
from videoswin.model.blocks import DropPath
from videoswin.model.config import Grid
from videoswin.zoo.base import LinearHead, linear_rates, need_at_least
from videoswin.zoo.groups import Axes, check_groups, count_groups, grouped, ungrouped
from videoswin.zoo.vit import Attention, Mlp, PatchEmbed, TransformerConfig, vit_init

__all__ = ["TimeSformer", "TimeSformerConfig"]

AttentionKind = Literal["space", "joint", "divided", "local_global", "axial"]

_STEPS: dict[AttentionKind, tuple[Axes, ...]] = {
    "space": ("space",),
    "joint": ("joint",),
    "divided": ("time", "space"),
    "local_global": ("local", "global"),
    "axial": ("time", "width", "height"),
}


@dataclass(frozen=True, kw_only=True)
class TimeSformerConfig(TransformerConfig):
    """TimeSformer. The defaults are the base size with divided attention."""

    system: ClassVar[str] = "timesformer"

    attention: AttentionKind = "divided"
    drop_path: float = 0.1


class TimeSformer(VideoModel):
    """(B, 3, T, H, W) -> logits. Other lengths and sizes than the published ones resize the embeddings to the nearest."""

    config: TimeSformerConfig

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__(config)
        dim = config.embed_dim
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.side**2 + 1, dim))
        self.time_embed = nn.Parameter(torch.zeros(1, config.clip_len, dim)) if config.attention != "space" else None
        rates = linear_rates(config.drop_path, config.depth)
        self.blocks = nn.ModuleList(Block(config, rate) for rate in rates)
        self.norm = nn.LayerNorm(dim, eps=config.eps)
        self.head = LinearHead.of(config, dim, config.dropout)
        vit_init(self)
        for block in self.blocks:
            for step in block.get_submodule("steps").children():
                nn.init.zeros_(step.get_parameter("fc.weight"))

    @property
    def num_features(self) -> int:
        return self.config.embed_dim

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> the class token after the last norm, (B, C)."""
        video = self.checked(video)
        batch, frames = video.shape[0], video.shape[2]
        patches = self.patch_embed(video.transpose(1, 2).flatten(0, 1))  # (B*T, H', W', C)
        place, cls = self._positions((patches.shape[1], patches.shape[2]))
        patches = patches + place
        if self.time_embed is None:
            x, grid = patches.flatten(1, 2), (1, *patches.shape[1:3])  # every frame a clip of its own
        else:
            x = (patches.unflatten(0, (batch, frames)) + self._times(frames)).flatten(1, 3)
            grid = (frames, *patches.shape[1:3])
        x = torch.cat([cls.expand(x.shape[0], -1, -1), x], dim=1)
        for block in self.blocks:
            x = self.run(block, x, grid)
        cls = x[:, 0]
        if self.time_embed is None:
            cls = cls.unflatten(0, (batch, frames)).mean(dim=1)
        return self.norm(cls)

    def trunk_blocks(self) -> list[nn.Module]:
        return list(self.blocks)

    def check_clip(self, size: Grid) -> None:
        patch = self.config.patch_size
        need_at_least("this TimeSformer", size, (1, patch, patch))
        for axes in _STEPS[self.config.attention]:
            check_groups(axes, (size[0], size[1] // patch, size[2] // patch))

    def _positions(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Those of the places, (1, H', W', C), and the class token with its own, (1, 1, C)."""
        side = self.config.side
        places = self.pos_embed[:, 1:].unflatten(1, (side, side))
        if grid != (side, side):
            places = F.interpolate(places.permute(0, 3, 1, 2), size=grid, mode="nearest").permute(0, 2, 3, 1)
        return places, self.cls_token + self.pos_embed[:, :1]

    def _times(self, frames: int) -> Tensor:
        """(1, T, 1, 1, C)."""
        assert self.time_embed is not None
        times = self.time_embed
        if frames != times.shape[1]:
            times = F.interpolate(times.transpose(1, 2), size=frames, mode="nearest").transpose(1, 2)
        return times[:, :, None, None]


class Block(nn.Module):
    """The steps of one kind of attention, then the MLP."""

    def __init__(self, config: TimeSformerConfig, drop_path: float) -> None:
        super().__init__()
        dim = config.embed_dim
        *before, last = _STEPS[config.attention]
        self.last: Axes = last
        self.steps = nn.ModuleList(Step(config, axes) for axes in before)
        self.norm1 = nn.LayerNorm(dim, eps=config.eps)
        self.attn = Attention(dim, config.num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=config.eps)
        self.mlp = Mlp(dim, config.hidden)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """(B, 1 + T * H' * W', C) -> the same shape."""
        cls, tokens = x[:, :1], x[:, 1:].unflatten(1, grid)
        for step in self.steps:
            tokens = tokens + step(tokens, self.drop_path)
        groups = count_groups(self.last, grid)
        rows = torch.cat([cls.repeat_interleave(groups, dim=0), grouped(tokens, self.last)], dim=1)
        rows = self.drop_path(self.attn(self.norm1(rows)))
        cls = cls + rows[:, :1].unflatten(0, (-1, groups)).mean(dim=1)
        tokens = tokens + ungrouped(rows[:, 1:], self.last, grid)
        x = torch.cat([cls, tokens.flatten(1, 3)], dim=1)
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Step(nn.Module):
    """Attention inside groups, without the class token, then one linear layer that starts at 0."""

    def __init__(self, config: TimeSformerConfig, axes: Axes) -> None:
        super().__init__()
        self.axes: Axes = axes
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.eps)
        self.attn = Attention(config.embed_dim, config.num_heads)
        self.fc = nn.Linear(config.embed_dim, config.embed_dim)

    def forward(self, tokens: Tensor, drop_path: nn.Module) -> Tensor:
        """(B, T, H', W', C) -> what is added to it."""
        rows = drop_path(self.attn(self.norm(grouped(tokens, self.axes))))
        return self.fc(ungrouped(rows, self.axes, (tokens.shape[1], tokens.shape[2], tokens.shape[3])))
