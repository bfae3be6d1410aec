"""LayerNorm for graphics processors, in Triton. Imported only where Triton is installed.

PyTorch's own kernel gives each row a team of threads, which narrow rows leave idle: at 96 values it moves a sixth of what the
memory could (docs/performance.md). Here a program takes as many rows as fill it. Backward reads each value once, for the
gradient of the input and for its share of the weights' gradients.

In both: x, out, d_out, d_x (rows, C); mean and rstd (rows,), float32; sums are float32.
"""
# pyright: reportMissingImports=false

import triton
import triton.language as tl

__all__ = ["backward", "forward"]


@triton.jit
def forward(
    x, weight, bias, out, mean, rstd, rows, eps,
    C: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, KEEP: tl.constexpr,
):  # fmt: skip
    """``WIDE``: C, or the next power of two; ``KEEP``: whether ``mean`` and ``rstd`` are wanted."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    c = tl.arange(0, WIDE)
    inside = (row < rows)[:, None] & (c < C)[None, :]
    at = row[:, None] * C + c[None, :]
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    middle = tl.sum(value, 1) / C
    centred = tl.where((c < C)[None, :], value - middle[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, 1) / C + eps)
    w = tl.load(weight + c, mask=c < C, other=0.0).to(tl.float32)
    b = tl.load(bias + c, mask=c < C, other=0.0).to(tl.float32)
    result = centred * scale[:, None] * w[None, :] + b[None, :]
    tl.store(out + at, result.to(out.dtype.element_ty), mask=inside)
    if KEEP:
        tl.store(mean + row, middle, mask=row < rows)
        tl.store(rstd + row, scale, mask=row < rows)


@triton.jit
def backward(
    d_out, x, weight, mean, rstd, d_x, d_weight, d_bias, rows,
    C: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """``d_weight`` and ``d_bias`` (programs, C): what each program's rows give; it takes every so many-th piece of rows."""
    c = tl.arange(0, WIDE)
    w = tl.load(weight + c, mask=c < C, other=0.0).to(tl.float32)
    of_weight = tl.zeros([ROWS, WIDE], tl.float32)
    of_bias = tl.zeros([ROWS, WIDE], tl.float32)
    for first in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = (first + tl.arange(0, ROWS)).to(tl.int64)
        inside = (row < rows)[:, None] & (c < C)[None, :]
        at = row[:, None] * C + c[None, :]
        gradient = tl.load(d_out + at, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        middle = tl.load(mean + row, mask=row < rows, other=0.0)
        scale = tl.load(rstd + row, mask=row < rows, other=0.0)
        normal = tl.where(inside, (value - middle[:, None]) * scale[:, None], 0.0)
        scaled = gradient * w[None, :]
        along = tl.sum(scaled * normal, 1) / C
        level = tl.sum(scaled, 1) / C
        result = (scaled - level[:, None] - normal * along[:, None]) * scale[:, None]
        tl.store(d_x + at, result.to(d_x.dtype.element_ty), mask=inside)
        of_weight += gradient * normal
        of_bias += gradient
    place = tl.program_id(0) * C + c
    tl.store(d_weight + place, tl.sum(of_weight, 0), mask=c < C)
    tl.store(d_bias + place, tl.sum(of_bias, 0), mask=c < C)
