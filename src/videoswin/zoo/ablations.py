"""Video Swin with one of its ideas taken away (Liu et al., 2021, section 4.4): what each of them is worth.

attention    joint       3D windows: the paper's choice
             factorised  in every block windows of one frame, then windows of one place along time
             split       windows of one frame alone, and two layers over time on top, after each frame's mean
shift        both        windows move in space and time in every second block: the paper's choice
             space       in space alone
             none        never

The window itself is `window_size`: of 1, 2, 4, 8 time steps, or as large as the grid, which is global attention. With the
defaults it is Video Swin, number for number (`tests/zoo/test_ablations.py`). The paper does not say how its split form sums up a
frame before the layers on top; the mean is our reading.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from videoswin.errors import ConfigError
from videoswin.interface.video_model import VideoModel
from videoswin.kernels import Partition
from videoswin.model.attention import BoxAttention
from videoswin.model.blocks import DropPath, Mlp, PatchEmbed, PatchMerging, SwinBlock
from videoswin.model.config import Grid, Init
from videoswin.model.windows import partition
from videoswin.zoo.base import LinearHead, ZooConfig, linear_rates, need_at_least

__all__ = ["SwinAblation", "SwinAblationConfig"]

_TOP_LAYERS = 2


@dataclass(frozen=True, kw_only=True)
class SwinAblationConfig(ZooConfig):
    """Names are those of :class:`~videoswin.model.SwinConfig`. The defaults are ``swin3d_micro``."""

    system: ClassVar[str] = "swin_ablation"

    attention: Literal["joint", "factorised", "split"] = "joint"
    shift: Literal["both", "space", "none"] = "both"
    crop_size: int = 56
    embed_dim: int = 32
    depths: tuple[int, ...] = (2, 2, 4, 2)
    num_heads: tuple[int, ...] = (2, 4, 8, 16)
    window_size: tuple[int, int, int] = (8, 7, 7)
    patch_size: tuple[int, int, int] = (2, 4, 4)
    mlp_ratio: float = 4.0
    drop_path: float = 0.1
    head_dropout: float = 0.2
    init: Init = "local"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.depths) != len(self.num_heads):
            raise ConfigError(f"depths={self.depths} and num_heads={self.num_heads} need one number each per stage.")
        for dim, heads in zip(self.stage_dims, self.num_heads, strict=True):
            if dim % heads:
                raise ConfigError(
                    f"num_heads={self.num_heads}: {heads} does not divide {dim} channels; choose divisors."
                )

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.embed_dim * 2**i for i in range(len(self.depths)))

    def boxes(self, window: Grid, grid: Grid, odd: bool, device: torch.device) -> Partition:
        """The windows of a block: moved by half in odd ones, as far as ``shift`` says."""
        t, h, w = (n // 2 for n in window)
        shift = {"both": (t, h, w), "space": (0, h, w), "none": (0, 0, 0)}[self.shift] if odd else (0, 0, 0)
        return partition(grid, window, shift, "exact", "attended", device)


class SwinAblation(VideoModel):
    """(B, 3, T, H, W) -> logits."""

    config: SwinAblationConfig

    def __init__(self, config: SwinAblationConfig) -> None:
        super().__init__(config)
        self.patch_embed = PatchEmbed(config.patch_size, config.in_channels, config.embed_dim, True)
        rates = iter(linear_rates(config.drop_path, sum(config.depths)))
        last = len(config.depths) - 1
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "blocks": nn.ModuleList(_block(config, i, next(rates)) for _ in range(depth)),
                    "downsample": PatchMerging(config.stage_dims[i]) if i < last else nn.Identity(),
                }
            )
            for i, depth in enumerate(config.depths)
        )
        self.norm = nn.LayerNorm(self.num_features)
        self.top = OverTime(config) if config.attention == "split" else None
        self.head = LinearHead.of(config, self.num_features, config.head_dropout)
        if not self.norm.weight.is_meta:
            for name, part in self.named_children():
                if name != "head":
                    part.apply(self._init_weights)

    @property
    def num_features(self) -> int:
        return self.config.stage_dims[-1]

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, 8C, T', H', W') after the final norm; of the split form (B, 8C)."""
        x = self.patch_embed(self.checked(video))
        for layer in self.layers:
            batch, t, h, w, dim = x.shape
            tokens = x.reshape(batch, t * h * w, dim)
            for i, block in enumerate(cast(nn.ModuleDict, layer)["blocks"].children()):
                tokens = self.run(block, tokens, (t, h, w), i % 2 == 1)
            x = cast(nn.ModuleDict, layer)["downsample"](tokens.view(batch, t, h, w, dim))
        x = self.norm(x).permute(0, 4, 1, 2, 3)
        return x if self.top is None else self.top(x.mean(dim=(3, 4)).transpose(1, 2))

    def trunk_blocks(self) -> list[nn.Module]:
        stages = [block for layer in self.layers for block in cast(nn.ModuleDict, layer)["blocks"].children()]
        return [*stages, *(self.top.layers if self.top is not None else ())]

    def check_clip(self, size: Grid) -> None:
        need_at_least("this Swin", size, self.config.patch_size)
        steps = -(-size[0] // self.config.patch_size[0])
        if self.top is not None and steps > self.top.pos_embed.shape[1]:
            most = self.top.pos_embed.shape[1] * self.config.patch_size[0]
            raise ConfigError(f"Axis T is {size[0]} long; this split Swin takes at most {most} frames (clip_len).")

    def _init_weights(self, module: nn.Module) -> None:
        """As Video Swin's backbone."""
        if isinstance(module, nn.Linear):
            std = 0.02 if self.config.init == "paper" else module.in_features**-0.5
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, BoxAttention):
            if self.config.init == "paper":
                nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)
            else:
                module.look_at_neighbours()


def _block(config: SwinAblationConfig, stage: int, rate: float) -> nn.Module:
    return (Factorised if config.attention == "factorised" else Joint)(config, stage, rate)


class Joint(SwinBlock):
    """Video Swin's block; with windows of one frame where attention is split."""

    def __init__(self, config: SwinAblationConfig, stage: int, rate: float) -> None:
        window = config.window_size if config.attention == "joint" else (1, *config.window_size[1:])
        super().__init__(config.stage_dims[stage], config.num_heads[stage], window, config.mlp_ratio, rate)
        self.config = config

    def forward(self, x: Tensor, grid: Grid, odd: bool) -> Tensor:  # type: ignore[override]
        """(B, N, C) -> (B, N, C), tokens in grid order."""
        return super().forward(x, self.config.boxes(self.attn.window_size, grid, odd, x.device))


class Factorised(nn.Module):
    """Attention inside a frame's windows, then along time at every place, then the MLP, each with a residual."""

    def __init__(self, config: SwinAblationConfig, stage: int, rate: float) -> None:
        super().__init__()
        dim, heads, (t, h, w) = config.stage_dims[stage], config.num_heads[stage], config.window_size
        self.config = config
        self.norm_space, self.norm_time, self.norm_mlp = (nn.LayerNorm(dim) for _ in range(3))
        self.attn_space = BoxAttention(dim, heads, (1, h, w))
        self.attn_time = BoxAttention(dim, heads, (t, 1, 1))
        self.mlp = Mlp(dim, int(dim * config.mlp_ratio))
        self.drop_path = DropPath(rate)

    def forward(self, x: Tensor, grid: Grid, odd: bool) -> Tensor:
        """(B, N, C) -> (B, N, C), tokens in grid order."""
        for norm, attn in ((self.norm_space, self.attn_space), (self.norm_time, self.attn_time)):
            x = x + self.drop_path(attn(norm(x), self.config.boxes(attn.window_size, grid, odd, x.device)))
        return x + self.drop_path(self.mlp(self.norm_mlp(x)))


class OverTime(nn.Module):
    """Two transformer layers over the frames' means, and their mean: (B, T', C) -> (B, C)."""

    def __init__(self, config: SwinAblationConfig) -> None:
        super().__init__()
        dim, steps = config.stage_dims[-1], -(-config.clip_len // config.patch_size[0])
        self.pos_embed = nn.Parameter(torch.zeros(1, steps, dim))
        if not self.pos_embed.is_meta:
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        window: Grid = (steps, 1, 1)
        rate, heads = config.drop_path, config.num_heads[-1]
        self.layers = nn.ModuleList(SwinBlock(dim, heads, window, config.mlp_ratio, rate) for _ in range(_TOP_LAYERS))
        self.norm = nn.LayerNorm(dim)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T', C) -> (B, C)."""
        steps = frames.shape[1]
        x = frames + self.pos_embed[:, :steps]
        all_of_time = partition((steps, 1, 1), (steps, 1, 1), (0, 0, 0), "exact", "attended", frames.device)
        for layer in self.layers:
            x = layer(x, all_of_time)
        return self.norm(x).mean(dim=1)
