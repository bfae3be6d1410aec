"""Blocks that let every place of a CNN see all others: non-local (Wang et al., 2018), global context (Cao et al., 2019) and
disentangled non-local (Yin et al., 2020).

All are 1x1x1 maps and a weighted sum over positions, with the input added: y = x + block(x). At their start the last map, or
the norm after it, is zero, so that a pretrained CNN is unchanged; only the "official" form of the disentangled block is not.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.errors import ConfigError
from videoswin.zoo.base import ZooConfig

__all__ = ["ContextConfig", "Disentangled", "GlobalContext", "NonLocal", "OfficialDisentangled", "context_block"]

Kind = Literal["non_local", "global_context", "simplified", "disentangled", "disentangled_official"]
Mode = Literal["embedded_gaussian", "gaussian", "dot_product", "concatenation"]


@dataclass(frozen=True, kw_only=True)
class ContextConfig(ZooConfig):
    """One kind of block; the defaults are MMAction2's non-local block with the paper's scale."""

    system: ClassVar[str] = "context"

    kind: Kind = "non_local"
    mode: Mode = "embedded_gaussian"
    """How a non-local block compares two places."""
    use_scale: bool = True
    """Divide embedded products by the root of their length. MMAction2's published files were trained without."""
    subsample: Literal["none", "before", "after"] = "after"
    """Max pooling 1x2x2 of keys and values: before their maps (the authors, SlowFast) or after them (MMAction2). The two are
    not the same."""
    out_bias: bool = False
    """A bias in the last map, although a norm follows (the authors, SlowFast)."""
    reduction: int = 2
    """How many times narrower the inner maps are; of global context, the inverse of its ratio."""
    group_frames: int | None = None
    """Non-local: frames that see each other; None: all of them. A ResNet sets it by stage (``context_frames``)."""
    temperature: float = 1.0
    """Disentangled: products are divided by it. mmsegmentation uses .05, together with ``use_scale``."""
    pooling: Literal["attention", "mean"] = "attention"
    """Global context: weights over positions that are learned, or equal."""
    fusion: Literal["add", "multiply_add"] = "add"
    """Global context: what it does to x."""

    @property
    def pools(self) -> bool:
        """Whether the block halves its map, which must then have two rows."""
        return self.kind in ("non_local", "disentangled") and self.subsample != "none"


def context_block(channels: int, config: ContextConfig) -> nn.Module:
    """The block that a configuration names, for maps of so many channels."""
    if channels < config.reduction:
        raise ConfigError(f"reduction={config.reduction} leaves nothing of {channels} channels.")
    classes = {
        "non_local": NonLocal,
        "global_context": GlobalContext,
        "simplified": SimplifiedNonLocal,
        "disentangled": Disentangled,
        "disentangled_official": OfficialDisentangled,
    }
    return classes[config.kind](channels, config)


class NonLocal(nn.Module):
    """y = x + BN(W_z sum_j f(x_i, x_j) g(x_j)), f by ``mode``."""

    def __init__(self, channels: int, config: ContextConfig) -> None:
        super().__init__()
        self.config = config
        inner = channels // config.reduction
        self.g = _map(channels, inner)
        if config.mode != "gaussian":
            self.theta, self.phi = _map(channels, inner), _map(channels, inner)
        if config.mode == "concatenation":
            self.pair = nn.Linear(2 * inner, 1, bias=False)
        self.out = _map(inner, channels, bias=config.out_bias)
        self.bn = nn.BatchNorm3d(channels)
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H, W)."""
        size = self.config.group_frames
        if size is None or size >= x.shape[2]:
            return self.together(x)
        if x.shape[2] % size:
            raise ConfigError(f"Axis T is {x.shape[2]} long here; groups of {size} frames do not divide it.")
        parts = x.unflatten(2, (-1, size)).transpose(1, 2).flatten(0, 1)  # (B * groups, C, size, H, W)
        return self.together(parts).unflatten(0, (x.shape[0], -1)).transpose(1, 2).flatten(2, 3)

    def together(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H, W), every place seeing all others."""
        query = _rows(self.theta(x) if self.config.mode != "gaussian" else x)
        key = _rows(self.reduced(x, self.phi if self.config.mode != "gaussian" else None))
        return x + self.projected(self.attended(query, key, _rows(self.reduced(x, self.g))), x.shape[2:])

    def projected(self, rows: Tensor, grid: tuple[int, ...]) -> Tensor:
        """(B, N, C') -> the last map and norm, (B, C, T, H, W)."""
        return self.bn(self.out(rows.transpose(1, 2).unflatten(2, grid)))

    def reduced(self, x: Tensor, layer: nn.Module | None) -> Tensor:
        """Keys and values: the map, and pooling before or after it."""
        if self.config.subsample == "before":
            x = F.max_pool3d(x, (1, 2, 2))
        x = x if layer is None else layer(x)
        return F.max_pool3d(x, (1, 2, 2)) if self.config.subsample == "after" else x

    def attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, N, C'), (B, M, C'), (B, M, C') -> (B, N, C')."""
        mode = self.config.mode
        if mode in ("embedded_gaussian", "gaussian"):
            scale = query.shape[-1] ** -0.5 if self.config.use_scale and mode == "embedded_gaussian" else 1.0
            return _attention(query, key, value, scale)
        if mode == "dot_product":
            pairs = query @ key.transpose(1, 2)
        else:
            left, right = self.pair.weight.chunk(2, dim=1)
            pairs = torch.relu(F.linear(query, left) + F.linear(key, right).transpose(1, 2))
        return pairs / key.shape[1] @ value


class Disentangled(NonLocal):
    """Non-local whose pairwise term is whitened, plus a unary one: what every place says to all (mmsegmentation's form)."""

    def __init__(self, channels: int, config: ContextConfig) -> None:
        if config.mode != "embedded_gaussian":
            raise ConfigError(f'mode="{config.mode}": the disentangled block has only "embedded_gaussian".')
        super().__init__(channels, config)
        self.mask = _map(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H, W)."""
        query, key = _rows(self.theta(x)), _rows(self.reduced(x, self.phi))
        value = _rows(self.reduced(x, self.g))
        pairwise = self.attended(query - query.mean(1, keepdim=True), key - key.mean(1, keepdim=True), value)
        weights = _rows(self.reduced(x, self.mask)).softmax(dim=1)  # (B, M, 1)
        unary = (weights.transpose(1, 2) @ value).expand(-1, 2, -1)  # twice: a norm in training wants two values
        return x + self.projected(pairwise, x.shape[2:]) + self.projected(unary, (2, 1, 1))[:, :, :1]

    def attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scale = query.shape[-1] ** -0.5 if self.config.use_scale else 1.0
        return _attention(query, key, value, scale / self.config.temperature)


class OfficialDisentangled(nn.Module):
    """The authors' segmentation release: no scale, values of full width without a last map, and a learned weight of the
    pairwise term that starts at 0. The unary term speaks from the start."""

    def __init__(self, channels: int, config: ContextConfig) -> None:
        super().__init__()
        inner = channels // config.reduction
        self.theta, self.phi = _map(channels, inner), _map(channels, inner)
        self.g = _map(channels, channels, bias=False)
        self.mask = _map(channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H, W)."""
        query, key, value = _rows(self.theta(x)), _rows(self.phi(x)), _rows(self.g(x))
        query, key = query - query.mean(1, keepdim=True), key - key.mean(1, keepdim=True)
        pairwise = _attention(query, key, value, 1.0)
        unary = _rows(self.mask(x)).softmax(dim=1).transpose(1, 2) @ value
        return x + (self.gamma * pairwise + unary).transpose(1, 2).unflatten(2, x.shape[2:])


class GlobalContext(nn.Module):
    """One context for all places: c = sum_j softmax_j(w x_j) x_j, then a bottleneck, y = x + W2 relu(LN(W1 c))."""

    def __init__(self, channels: int, config: ContextConfig) -> None:
        super().__init__()
        self.mask = _map(channels, 1) if config.pooling == "attention" else None
        if self.mask is not None:
            nn.init.kaiming_normal_(self.mask.weight, mode="fan_in")
        self.add = _bottleneck(channels, config)
        self.multiply = _bottleneck(channels, config) if config.fusion == "multiply_add" else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H, W)."""
        context = _context(x, self.mask)
        added = self.add(context)[:, :, None, None, None]
        if self.multiply is None:
            return x + added
        return x * torch.sigmoid(self.multiply(context))[:, :, None, None, None] + added


class SimplifiedNonLocal(nn.Module):
    """Global context before its bottleneck: y = x + W c, one map C -> C (Cao et al., section 3.2)."""

    def __init__(self, channels: int, config: ContextConfig) -> None:
        super().__init__()
        self.mask = _map(channels, 1)
        self.add = nn.Linear(channels, channels, bias=False)
        nn.init.zeros_(self.add.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H, W)."""
        return x + self.add(_context(x, self.mask))[:, :, None, None, None]


def _map(channels: int, out: int, bias: bool = True) -> nn.Conv3d:
    layer = nn.Conv3d(channels, out, 1, bias=bias)
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _bottleneck(channels: int, config: ContextConfig) -> nn.Sequential:
    inner = max(channels // config.reduction, 1)
    layers = nn.Sequential(
        nn.Linear(channels, inner), nn.LayerNorm(inner), nn.ReLU(inplace=True), nn.Linear(inner, channels)
    )
    for parameter in layers[3].parameters():
        nn.init.zeros_(parameter)
    return layers


def _context(x: Tensor, mask: nn.Module | None) -> Tensor:
    """(B, C, T, H, W) -> (B, C): the mean of all places, weighted by the mask if there is one."""
    if mask is None:
        return x.mean(dim=(2, 3, 4))
    weights = mask(x).flatten(2).softmax(dim=2)  # (B, 1, N)
    return (x.flatten(2) @ weights.transpose(1, 2)).squeeze(2)


def _attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """(B, N, C'), (B, M, C'), (B, M, C) -> (B, N, C): as one head, which translators of programs ask for."""
    query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
    return F.scaled_dot_product_attention(query, key, value, scale=scale).squeeze(1)


def _rows(x: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B, N, C)."""
    return x.flatten(2).transpose(1, 2)
