"""The backbone, read as Figure 1 of the paper: patches, then four stages of blocks with merging in between."""

import math
import operator
from collections.abc import Iterator
from typing import cast

import torch
import torch.fx
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from videoswin.errors import ConfigError
from videoswin.kernels import Partition, same_engine
from videoswin.model.attention import BoxAttention
from videoswin.model.blocks import PatchEmbed, PatchMerging, SwinBlock
from videoswin.model.config import Grid, SwinConfig, check_clip_size
from videoswin.model.windows import partition

__all__ = ["Stage", "SwinBackbone"]


class SwinBackbone(nn.Module):
    """Video (B, 3, T, H, W) -> feature map (B, 8C, T/2, H/32, W/32). Parameter names are those of the public code."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config.patch_size, config.in_channels, config.embed_dim, config.patch_norm)
        rates = iter(_linear_drop_path(config))
        last = len(config.depths) - 1
        self.layers = nn.ModuleList(
            Stage(config, i, drop_path=[next(rates) for _ in range(depth)], merge=i < last)
            for i, depth in enumerate(config.depths)
        )
        self.norm = nn.LayerNorm(config.num_features)
        if not self.patch_embed.proj.weight.is_meta:  # else there are no numbers to start with
            self.apply(self._init_weights)

    def forward(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W), normalised -> (B, 8C, T', H', W')."""
        x = self.patch_embed(self.checked(video))
        for (
            stage
        ) in self.stages:  # not by way of stage_maps(), which holds on to a stage's map until the next one is there
            x = stage.downsample(stage(x))
        return self.norm(x).permute(0, 4, 1, 2, 3)

    def forward_pyramid(self, video: Tensor) -> list[Tensor]:
        """(B, 3, T, H, W) -> every stage's map before merging, finest first: (B, C * 2**i, T', H_i, W_i).

        The last one carries the final norm, and is what :meth:`forward` returns.
        """
        maps = list(self.stage_maps(video))
        maps[-1] = self.norm(maps[-1])
        return [m.permute(0, 4, 1, 2, 3) for m in maps]

    def stage_maps(self, video: Tensor) -> Iterator[Tensor]:
        """Channels-last maps (B, T', H_i, W_i, C * 2**i), one a stage, before merging and without the final norm."""
        x = self.patch_embed(self.checked(video))
        for stage in self.stages:
            x = stage(x)
            yield x
            x = stage.downsample(x)

    def checked(self, video: Tensor) -> Tensor:
        """The video itself, or a :class:`ConfigError` that names the wrong axis."""
        return _checked(video, self.config)

    def set_grad_checkpointing(self, enabled: bool = True) -> None:
        """Recompute each block in the backward pass: less memory, about a third more time."""
        for module in self.modules():  # also those inside a wrapper
            if isinstance(module, Stage):
                module.grad_checkpointing = enabled

    @property
    def stages(self) -> list["Stage"]:
        """The stages, finest first (``layers`` in the public code's parameter names)."""
        return cast(list[Stage], list(self.layers))  # all of them, whatever a user has put round one

    def _init_weights(self, module: nn.Module) -> None:
        """Linear: truncated normal, biases 0. Bias tables: truncated normal .02, or local. The patch convolution keeps
        PyTorch's own.

        The paper's .02 suits models that start from image weights. A narrow one that starts from nothing has nearly flat
        attention with it, and the tables, which alone say where a token is, move too slowly (docs/log.md).
        """
        paper = self.config.init == "paper"
        if isinstance(module, nn.Linear):
            std = 0.02 if paper else 1 / math.sqrt(module.in_features)
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, BoxAttention):
            if paper:
                nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)
            else:
                module.look_at_neighbours()


class Stage(nn.Module):
    """Blocks at one resolution; odd blocks shift their windows by half (paper section 3.2)."""

    def __init__(self, config: SwinConfig, index: int, drop_path: list[float], merge: bool) -> None:
        super().__init__()
        self.config = config
        self.grad_checkpointing = False
        dim, heads = config.stage_dims[index], config.num_heads[index]
        self.blocks = nn.ModuleList(
            SwinBlock(dim, heads, config.window_size, config.mlp_ratio, rate) for rate in drop_path
        )
        self.downsample = PatchMerging(dim) if merge else nn.Identity()

    def forward(self, x: Tensor, first: int = 0, stop: int | None = None) -> Tensor:
        """(B, T', H', W', C) -> (B, T', H', W', C). ``first`` and ``stop``: some of the blocks only, for those who keep
        what the others gave."""
        batch, *sizes, dim = x.shape
        grid = (
            operator.index(sizes[0]),
            operator.index(sizes[1]),
            operator.index(sizes[2]),
        )  # numbers, also to a compiler
        tokens = x.reshape(batch, grid[0] * grid[1] * grid[2], dim)
        for i, block in list(enumerate(self.blocks))[first:stop]:
            boxes = self.boxes(grid, i, x.device)
            if self.grad_checkpointing and self.training:
                tokens = checkpoint(same_engine(block), tokens, boxes, use_reentrant=False)
            else:
                tokens = block(tokens, boxes)
        return tokens.view(batch, *grid, dim)

    def boxes(self, grid: Grid, block: int, device: torch.device) -> Partition:
        """The partition that a block uses on a token grid."""
        return block_partition(self.config, grid, block, device)


@torch.fx.wrap  # to FX, which knows no sizes, a call like any other
def _checked(video: Tensor, config: SwinConfig) -> Tensor:
    if video.ndim != 5:
        raise ConfigError(f"A video batch is (B, {config.in_channels}, T, H, W); got shape {tuple(video.shape)}.")
    if video.shape[1] != config.in_channels:
        raise ConfigError(
            f"Axis 1 holds the {config.in_channels} colour channels of (B, C, T, H, W); "
            f"got {video.shape[1]} in shape {tuple(video.shape)}."
        )
    check_clip_size(config, (video.shape[2], video.shape[3], video.shape[4]))
    if not video.is_floating_point():
        raise ConfigError(f"The model takes normalised floats; got {video.dtype}. Use Preprocessing, or to_clip().")
    return video


def block_partition(config: SwinConfig, grid: Grid, block: int, device: torch.device) -> Partition:
    """The boxes of a token grid (T', H', W') in one block of a stage, counted from 0."""
    shift = block_shift(config, block)
    return partition(grid, config.window_size, shift, config.relative_bias, config.padding, device, config.causal)


def block_shift(config: SwinConfig, block: int) -> Grid:
    """(0, 0, 0) for even blocks of a stage, half the window for odd ones."""
    if block % 2 == 0:
        return 0, 0, 0
    t, h, w = config.window_size
    return t // 2, h // 2, w // 2


def _linear_drop_path(config: SwinConfig) -> list[float]:
    blocks = sum(config.depths)
    return [config.drop_path * i / max(blocks - 1, 1) for i in range(blocks)]
