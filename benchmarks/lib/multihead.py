"""The same model written with PyTorch's own parts: rolled windows, a mask, and ``nn.MultiheadAttention``.

It is what one would write first, following the public code (SwinTransformer/Video-Swin-Transformer) step by step. It shares
names of tensors with our model and nothing of its engine, so it is a second opinion on the outputs as well as a peer.
Made for one size of clip: bias rows and masks are laid out when it is built.
"""

from collections.abc import Mapping
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.model import SwinConfig
from videoswin.model.config import Grid
from videoswin.model.windows import bias_index, clip_window
from videoswin.zoo.swin_macs import stage_grids

__all__ = ["MultiheadSwin"]

_RENAMED = (("attn.qkv.weight", "attn.mha.in_proj_weight"), ("attn.qkv.bias", "attn.mha.in_proj_bias"),
            ("attn.proj.", "attn.mha.out_proj."))  # fmt: skip


class MultiheadSwin(nn.Module):
    """Video Swin over ``nn.MultiheadAttention``, for clips of one size: (B, 3, T, H, W) -> (B, num_classes)."""

    def __init__(self, config: SwinConfig, clip: Grid) -> None:
        super().__init__()
        self.backbone = _Backbone(config, clip)
        self.head = nn.ModuleDict({"fc": nn.Linear(config.num_features, config.num_classes)})

    def forward(self, video: Tensor) -> Tensor:
        return self.head["fc"](self.backbone(video).mean(dim=(1, 2, 3)))

    def load_ours(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the weights of our model."""
        self.load_state_dict({_theirs(name): tensor for name, tensor in tensors.items()})

    def gradients(self) -> dict[str, Tensor]:
        """Of the last backward pass, by our names."""
        return {_ours(name): p.grad for name, p in self.named_parameters() if p.grad is not None}


class _Backbone(nn.Module):
    def __init__(self, config: SwinConfig, clip: Grid) -> None:
        super().__init__()
        grids = stage_grids(config, *clip)
        self.patch_embed = _PatchEmbed(config)
        self.layers = nn.ModuleList(
            _Stage(config, stage, grid, merge=stage < len(grids) - 1) for stage, grid in enumerate(grids)
        )
        self.norm = nn.LayerNorm(config.num_features)

    def forward(self, video: Tensor) -> Tensor:
        x = self.patch_embed(video)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class _PatchEmbed(nn.Module):
    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.patch = config.patch_size
        self.proj = nn.Conv3d(config.in_channels, config.embed_dim, config.patch_size, config.patch_size)
        self.norm = nn.LayerNorm(config.embed_dim) if config.patch_norm else nn.Identity()

    def forward(self, video: Tensor) -> Tensor:
        t, h, w = (-n % p for n, p in zip(video.shape[2:], self.patch, strict=True))
        return self.norm(self.proj(F.pad(video, (0, w, 0, h, 0, t))).permute(0, 2, 3, 4, 1))


class _Stage(nn.Module):
    def __init__(self, config: SwinConfig, stage: int, grid: Grid, merge: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _Block(config, stage, grid, shifted=i % 2 == 1) for i in range(config.depths[stage])
        )
        self.downsample = _Merging(config.stage_dims[stage]) if merge else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class _Merging(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
        four = [x[:, :, 0::2, 0::2], x[:, :, 1::2, 0::2], x[:, :, 0::2, 1::2], x[:, :, 1::2, 1::2]]
        return self.reduction(self.norm(torch.cat(four, dim=-1)))


class _Block(nn.Module):
    def __init__(self, config: SwinConfig, stage: int, grid: Grid, shifted: bool) -> None:
        super().__init__()
        dim = config.stage_dims[stage]
        self.norm1 = nn.LayerNorm(dim)
        self.attn = _WindowAttention(config, stage, grid, shifted)
        self.norm2 = nn.LayerNorm(dim)
        hidden = int(dim * config.mlp_ratio)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, hidden), "fc2": nn.Linear(hidden, dim)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class _WindowAttention(nn.Module):
    """Pad, roll, cut into windows, attend under a mask, and back."""

    index: Tensor
    mask: Tensor | None

    def __init__(self, config: SwinConfig, stage: int, grid: Grid, shifted: bool) -> None:
        super().__init__()
        full, heads = config.window_size, config.num_heads[stage]
        half = tuple(n // 2 if shifted else 0 for n in full)
        self.grid = grid
        self.window, self.shift = clip_window(grid, full, half)  # type: ignore[arg-type]
        self.padding = tuple(-n % w for n, w in zip(grid, self.window, strict=True))
        rows = (2 * full[0] - 1) * (2 * full[1] - 1) * (2 * full[2] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, heads))
        self.mha = nn.MultiheadAttention(config.stage_dims[stage], heads, batch_first=True)
        tokens = self.window[0] * self.window[1] * self.window[2]
        self.register_buffer("index", bias_index(full, full)[:tokens, :tokens].flatten(), persistent=False)
        self.register_buffer("mask", self._region_mask(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T', H', W', C) -> the same shape."""
        (t, h, w), back = self.grid, [-s for s in self.shift]
        x = F.pad(x, (0, 0, 0, self.padding[2], 0, self.padding[1], 0, self.padding[0]))
        padded = x.shape
        windows = _cut(torch.roll(x, back, dims=(1, 2, 3)), self.window)
        out, _ = self.mha(windows, windows, windows, attn_mask=self._bias(len(x)).to(x.dtype), need_weights=False)
        out = torch.roll(_join(out, padded, self.window), self.shift, dims=(1, 2, 3))
        return out[:, :t, :h, :w]

    def _bias(self, batch: int) -> Tensor:
        """(B * windows * heads, n, n): ``nn.MultiheadAttention`` wants one for each head of each window."""
        n, heads = round(len(self.index) ** 0.5), self.mha.num_heads
        bias = self.relative_position_bias_table[self.index].view(n, n, heads).permute(2, 0, 1)  # (heads, n, n)
        windows = 1
        for size, pad, length in zip(self.grid, self.padding, self.window, strict=True):
            windows *= (size + pad) // length
        bias = bias.expand(windows, heads, n, n) if self.mask is None else bias + self.mask.unsqueeze(1)
        return bias.repeat(batch, 1, 1, 1).flatten(0, 1)

    def _region_mask(self) -> Tensor | None:
        """(windows, n, n): minus infinity between tokens that only the roll brought together; None without a roll."""
        if not any(self.shift):
            return None
        regions = torch.zeros(1, *(n + p for n, p in zip(self.grid, self.padding, strict=True)), 1)
        cuts = [(slice(0, -w), slice(-w, -s), slice(-s, None)) if s else (slice(None),)
                for w, s in zip(self.window, self.shift, strict=True)]  # fmt: skip
        for number, (t, h, w) in enumerate(product(*cuts)):
            regions[:, t, h, w] = number
        ids = _cut(regions, self.window).squeeze(-1)  # (windows, n)
        apart = ids.unsqueeze(1) != ids.unsqueeze(2)
        return torch.zeros(apart.shape).masked_fill(apart, float("-inf"))


def _cut(x: Tensor, window: Grid) -> Tensor:
    """(B, T, H, W, C) -> (B * windows, n, C)."""
    b, t, h, w, c = x.shape
    wt, wh, ww = window
    x = x.view(b, t // wt, wt, h // wh, wh, w // ww, ww, c).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(-1, wt * wh * ww, c)


def _join(windows: Tensor, shape: torch.Size, window: Grid) -> Tensor:
    """The inverse of :func:`_cut`."""
    b, t, h, w, c = shape
    wt, wh, ww = window
    x = windows.view(b, t // wt, h // wh, w // ww, wt, wh, ww, c).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, t, h, w, c)


def _theirs(name: str) -> str:
    for ours, theirs in _RENAMED:
        name = name.replace(ours, theirs)
    return name


def _ours(name: str) -> str:
    for ours, theirs in _RENAMED:
        name = name.replace(theirs, ours)
    return name
