"""The pieces between which attention sits: patch embedding, the block, patch merging, stochastic depth."""

from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.kernels import Partition
from videoswin.kernels.linear import linear, mlp
from videoswin.kernels.norm import layer_norm
from videoswin.kernels.padding import padded
from videoswin.model.attention import BoxAttention
from videoswin.model.config import Grid

__all__ = ["DropPath", "Mlp", "PatchConv", "PatchEmbed", "PatchMerging", "SwinBlock"]


class PatchEmbed(nn.Module):
    """Cuts the video into patches of 2x4x4x3 values and projects each to C channels (paper section 3.1)."""

    def __init__(self, patch_size: Grid, in_channels: int, dim: int, norm: bool) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = PatchConv(in_channels, dim, kernel_size=patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()

    def forward(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, T', H', W', C). Sizes that the patch does not divide are padded with zeros at the end."""
        pt, ph, pw = self.patch_size
        video = padded(video, [0, -video.shape[4] % pw, 0, -video.shape[3] % ph, 0, -video.shape[2] % pt])
        return layer_norm(self.proj(video).permute(0, 2, 3, 4, 1), self.norm)


class PatchConv(nn.Conv3d):
    """A convolution whose stride is its kernel is one matrix product, and CPUs run it several times faster so."""

    def forward(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, C, T / stride, H / stride, W / stride)."""
        cut = [n // k for n, k in zip(video.shape[2:], self.kernel_size, strict=True)]
        whole = all(n == k * c for n, k, c in zip(video.shape[2:], self.kernel_size, cut, strict=True))
        as_made = (self.stride, self.padding, self.dilation, self.groups) == (self.kernel_size, (0, 0, 0), (1, 1, 1), 1)
        if not (whole and as_made):  # adapters copy the class and change its numbers
            return super().forward(video)
        (t, h, w), (pt, ph, pw) = cut, self.kernel_size
        patches = video.reshape(*video.shape[:2], t, pt, h, ph, w, pw).permute(0, 2, 4, 6, 1, 3, 5, 7)
        return F.linear(patches.flatten(4), self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)


class PatchMerging(nn.Module):
    """Halves height and width: 2x2 neighbours side by side, normalised, 4C -> 2C (section 3.1; time is not merged)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T', H', W', C) -> (B, T', ceil(H'/2), ceil(W'/2), 2C). Odd sizes are padded with zeros."""
        x = padded(x, [0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2])
        # The order of the four neighbours is fixed by the public weights: height runs first.
        neighbours = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 1, 2, 4, 5, 3, 6).flatten(4)
        return linear(layer_norm(neighbours, self.norm), self.reduction)


class Mlp(nn.Module):
    """Linear, GELU, Linear, per token."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return mlp(x, self.fc1, self.fc2)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., 2016): in training, drops a sample's residual branch with the given rate."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...), scaled so that the expectation stays."""
        if self.rate == 0 or not self.training:
            return x
        keep = 1 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * (mask / keep)


class SwinBlock(nn.Module):
    """Pre-norm attention in boxes, then an MLP, each with a residual (paper, eq. 1)."""

    def __init__(self, dim: int, num_heads: int, window_size: Grid, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = BoxAttention(dim, num_heads, window_size)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, boxes: Partition) -> Tensor:
        """(B, N, C) -> (B, N, C), tokens in grid order; ``boxes``: which of them meet in attention."""
        x = x + self.drop_path(self.attn(layer_norm(x, self.norm1), boxes))
        return x + self.drop_path(self.mlp(layer_norm(x, self.norm2)))
