"""Shifted-window attention written twice more, slowly and obviously, as an oracle for ``videoswin.model``.

:func:`rolled_attention` follows the public code step by step (SwinTransformer/Video-Swin-Transformer,
swin_transformer.py): pad, roll, cut into equal windows, mask by region ids, softmax, and all of it back again.

:func:`looped_attention` is the definition in words: a token attends to the tokens of its own box. One loop over tokens.

Both take the same arguments, import nothing of ours, and agree with each other wherever both are defined.
"""

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Grid = tuple[int, int, int]


class Weights(NamedTuple):
    """Parameters of one attention layer. C channels, ``table`` has (2P-1)(2M-1)(2M-1) rows and a column per head."""

    qkv_weight: Tensor  # (3C, C)
    qkv_bias: Tensor  # (3C,)
    proj_weight: Tensor  # (C, C)
    proj_bias: Tensor  # (C,)
    table: Tensor  # (rows, heads)


class Case(NamedTuple):
    """One way to window a grid. Sizes in tokens."""

    grid: Grid
    window: Grid
    shift: Grid
    relative_bias: str = "exact"
    padding: str = "attended"
    causal: bool = False  # looped_attention only; the public code has no such thing


def rolled_attention(x: Tensor, weights: Weights, case: Case) -> Tensor:
    """(B, T, H, W, C), normalised -> (B, T, H, W, C), by roll and mask."""
    t, h, w = case.grid
    window, shift = clip(case)
    padded = padded_grid(case.grid, window)
    x = F.pad(x, (0, 0, 0, padded[2] - w, 0, padded[1] - h, 0, padded[0] - t))  # zeros after the norm
    x = torch.roll(x, shifts=[-s for s in shift], dims=(1, 2, 3))

    windows = cut_windows(x, window)  # (B, windows, n, C)
    heads = weights.table.shape[1]
    qkv = F.linear(windows, weights.qkv_weight, weights.qkv_bias)
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(3, 0, 1, 4, 2, 5)  # (B, windows, heads, n, C / heads) each
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    scores = scores + bias(weights.table, case)
    scores = scores + region_mask(padded, window, shift).to(x)[None, :, None]
    if case.padding == "masked":
        scores = scores + pad_mask(case.grid, padded, window, shift).to(x)[None, :, None]
    out = F.linear((scores.softmax(dim=-1) @ v).transpose(2, 3).flatten(3), weights.proj_weight, weights.proj_bias)

    out = join_windows(out, padded, window)
    out = torch.roll(out, shifts=list(shift), dims=(1, 2, 3))
    return out[:, :t, :h, :w]


def looped_attention(x: Tensor, weights: Weights, case: Case) -> Tensor:
    """(B, T, H, W, C), normalised -> (B, T, H, W, C), token by token."""
    window, shift = clip(case)
    extent = padded_grid(case.grid, window) if case.padding == "attended" else case.grid
    if case.causal:
        extent = (case.grid[0], *extent[1:])
    heads, channels = weights.table.shape[1], x.shape[-1]
    width = channels // heads
    index = relative_position_index(case.window)

    tokens, real = tokens_of(extent), set(tokens_of(case.grid))
    vectors = [x[:, t, h, w] if (t, h, w) in real else torch.zeros_like(x[:, 0, 0, 0]) for t, h, w in tokens]
    qkv = [F.linear(vector, weights.qkv_weight, weights.qkv_bias).view(-1, 3, heads, width) for vector in vectors]

    out = []
    for i, here in enumerate(tokens):
        if here not in real:
            continue  # a padding token may be looked at, but its own output is thrown away
        box = [j for j, there in enumerate(tokens) if box_of(there, window, shift) == box_of(here, window, shift)]
        if case.causal:
            box = [j for j in box if tokens[j][0] <= here[0]]
        rows = []
        for j in box:
            if case.relative_bias == "official":
                mine, theirs = (flat(place_of(tokens[m], window, shift), window) for m in (i, j))
                rows.append(int(index[mine, theirs]))
            else:
                rows.append(offset_row(here, tokens[j], case.window))
        q = qkv[i][:, 0] * width**-0.5  # (B, heads, C / heads)
        k = torch.stack([qkv[j][:, 1] for j in box], dim=2)  # (B, heads, box, C / heads)
        v = torch.stack([qkv[j][:, 2] for j in box], dim=2)
        scores = (q[:, :, None] * k).sum(-1) + weights.table[rows].T  # (B, heads, box)
        mixed = (scores.softmax(dim=-1)[..., None] * v).sum(2).flatten(1)
        out.append(F.linear(mixed, weights.proj_weight, weights.proj_bias))
    return torch.stack(out, dim=1).view(x.shape)


# --- the public code's steps ---


def clip(case: Case) -> tuple[Grid, Grid]:
    """get_window_size: an axis that is no longer than the window becomes the window, and is not shifted; but not the
    time of a causal model."""
    window, shift = list(case.window), list(case.shift)
    for axis, n in enumerate(case.grid):
        if n <= window[axis] and not (case.causal and axis == 0):
            window[axis], shift[axis] = n, 0
    return (window[0], window[1], window[2]), (shift[0], shift[1], shift[2])


def padded_grid(grid: Grid, window: Grid) -> Grid:
    t, h, w = (n + (-n) % size for n, size in zip(grid, window, strict=True))
    return t, h, w


def cut_windows(x: Tensor, window: Grid) -> Tensor:
    """window_partition: (B, T, H, W, C) -> (B, windows, n, C)."""
    b, t, h, w, c = x.shape
    wt, wh, ww = window
    x = x.view(b, t // wt, wt, h // wh, wh, w // ww, ww, c).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(b, -1, wt * wh * ww, c)


def join_windows(windows: Tensor, grid: Grid, window: Grid) -> Tensor:
    """window_reverse: (B, windows, n, C) -> (B, T, H, W, C)."""
    (t, h, w), (wt, wh, ww) = grid, window
    b, c = windows.shape[0], windows.shape[-1]
    x = windows.view(b, t // wt, h // wh, w // ww, wt, wh, ww, c).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, t, h, w, c)


def region_mask(padded: Grid, window: Grid, shift: Grid) -> Tensor:
    """compute_mask: (windows, n, n), 0 within a region and minus infinity between regions.

    The public code writes -100; minus infinity is what it means, and lets the comparison be tight.
    """
    ids = torch.zeros(1, *padded, 1, dtype=torch.long)
    slices = [(slice(-w), slice(-w, -s), slice(-s, None)) for w, s in zip(window, shift, strict=True)]
    for number, (t, h, w) in enumerate(product(*slices)):
        ids[:, t, h, w] = number
    regions = cut_windows(ids, window)[0, :, :, 0]  # (windows, n)
    return forbid(regions[:, :, None] != regions[:, None, :])


def pad_mask(grid: Grid, padded: Grid, window: Grid, shift: Grid) -> Tensor:
    """(windows, n, n): nobody looks at a padding token, save padding tokens themselves (their rows are dropped)."""
    real = torch.zeros(1, *padded, 1, dtype=torch.bool)
    real[:, : grid[0], : grid[1], : grid[2]] = True
    real = cut_windows(torch.roll(real, [-s for s in shift], dims=(1, 2, 3)), window)[0, :, :, 0]
    return forbid(real[:, :, None] & ~real[:, None, :])


def forbid(pairs: Tensor) -> Tensor:
    return torch.zeros(pairs.shape, dtype=torch.float64).masked_fill(pairs, float("-inf"))


def relative_position_index(window: Grid) -> Tensor:
    """(n, n) rows of the table, as WindowAttention3D registers them."""
    coords = torch.stack(torch.meshgrid(*(torch.arange(n) for n in window), indexing="ij")).flatten(1)
    relative = (coords[:, :, None] - coords[:, None, :]).permute(1, 2, 0).contiguous()
    relative[:, :, 0] += window[0] - 1
    relative[:, :, 1] += window[1] - 1
    relative[:, :, 2] += window[2] - 1
    relative[:, :, 0] *= (2 * window[1] - 1) * (2 * window[2] - 1)
    relative[:, :, 1] *= 2 * window[2] - 1
    return relative.sum(-1)


def bias(table: Tensor, case: Case) -> Tensor:
    """(heads, n, n) for one (clipped) window."""
    window, _ = clip(case)
    n = window[0] * window[1] * window[2]
    if case.relative_bias == "official":
        index = relative_position_index(case.window)[:n, :n]
    else:
        tokens = tokens_of(window)
        index = torch.tensor([[offset_row(a, b, case.window) for b in tokens] for a in tokens])
    return table[index.flatten()].view(n, n, -1).permute(2, 0, 1)


# --- the definition in words ---


def tokens_of(grid: Grid) -> list[Grid]:
    """Every (t, h, w) of a grid, time slowest."""
    return [(t, h, w) for t in range(grid[0]) for h in range(grid[1]) for w in range(grid[2])]


def box_of(token: Grid, window: Grid, shift: Grid) -> Grid:
    """Number of the token's box along each axis; the tokens before the first shifted cut make box -1."""
    t, h, w = ((i - s) // size for i, s, size in zip(token, shift, window, strict=True))
    return t, h, w


def place_of(token: Grid, window: Grid, shift: Grid) -> Grid:
    """Where the roll puts the token inside its window."""
    t, h, w = ((i - s) % size for i, s, size in zip(token, shift, window, strict=True))
    return t, h, w


def flat(place: Grid, window: Grid) -> int:
    return (place[0] * window[1] + place[1]) * window[2] + place[2]


def offset_row(a: Grid, b: Grid, window: Grid) -> int:
    """The table row of offset a - b: (2P-1)(2M-1)(2M-1) offsets, time slowest."""
    t, h, w = (i - j + size - 1 for i, j, size in zip(a, b, window, strict=True))
    return (t * (2 * window[1] - 1) + h) * (2 * window[2] - 1) + w
