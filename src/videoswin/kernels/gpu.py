"""The GPU engine: attention inside boxes as Triton kernels (gpu_triton.py), forward and backward.

What cpu.py is to CPUs: tokens are read and written where they lie, without a gather and a scatter, and nothing of size
tokens x tokens is kept for backward. It serves float32, bfloat16 and float16 on CUDA devices where Triton is installed (GPU
builds of PyTorch bring it), and only where it is named, ``use_engine("gpu")``: on an H200 it was faster than the plain engine
for single clips and slower for batches (docs/performance.md). Its results are the plain engine's, there and under Triton's
interpreter (tests/kernels/test_gpu.py); with ``TRITON_INTERPRET=1`` it takes CPU tensors, slowly, to be tested (not bfloat16:
Triton 3.9's interpreter multiplies its bits as whole numbers).

Scores of float32 inputs are as exact as PyTorch's products on the device: ``torch.set_float32_matmul_precision``.
"""

import math
import os
from functools import cache
from importlib.util import find_spec
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from videoswin.kernels import plain
from videoswin.kernels.boxes import Partition
from videoswin.kernels.ordinary import transformed

__all__ = ["SERVES", "attend", "takes", "why_not"]

SERVES = "float32, bfloat16 and float16 on CUDA devices"

_LOG2E = math.log2(math.e)  # scores are kept in powers of two: 2^x is what the hardware has
_PROGRAMS = 1024  # that keep a large GPU busy; of the bias gradient, whose number can be chosen
_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def takes(device: str, dtype: torch.dtype) -> bool:
    """Whether this engine serves tensors of a type on a kind of device."""
    return dtype in _TYPES and device == ("cpu" if _interpreted() else "cuda")


@cache
def why_not() -> str:
    """Why the engine cannot be had here; empty if it can."""
    if find_spec("triton") is None:
        return "Triton is not installed (GPU builds of PyTorch bring it)"
    if not _interpreted() and not torch.cuda.is_available():
        return "there is no CUDA device"
    return ""


def attend(qkv: Tensor, pad: Tensor, table: Tensor, boxes: Partition, num_heads: int) -> Tensor:
    """As :func:`videoswin.kernels.attend`, with ``pad`` (B, 3C); it may be empty where no box is padded.

    The result has the type of ``qkv``; sums, the softmax and the bias are float32.
    """
    groups = [size for group in boxes.groups for size in (group.count, group.tokens_per_box)]
    out, _ = _attention(qkv, pad.to(qkv.dtype), table, boxes.order, boxes.index, boxes.places, groups, num_heads)
    return out


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


# The operator, as PyTorch sees it -------------------------------------------------------------------------------------


@torch.library.custom_op("videoswin::box_attention_triton", mutates_args=())
def _attention(
    qkv: Tensor,
    pad: Tensor,
    table: Tensor,
    order: Tensor,
    index: Tensor,
    boxes: Tensor,
    groups: list[int],
    num_heads: int,
) -> tuple[Tensor, Tensor]:
    """(B, N, 3C) -> (B, N, C), and the log2 of each query's sum of exponentials, (B, heads, N), for backward.

    ``groups``: boxes and tokens of one, for each group.
    """
    from videoswin.kernels import gpu_triton as triton_kernels

    batch, num_tokens, width = qkv.shape
    out = qkv.new_empty(batch, num_tokens, width // 3)
    lse = qkv.new_empty(batch, num_heads, num_tokens, dtype=torch.float32)
    shape = _Shape(qkv, order, boxes, groups, num_heads)
    columns = _columns(table)
    if shape.programs:
        tensors = (qkv.contiguous(), pad.contiguous(), columns, order, index, boxes, out, lse)
        numbers = (*shape.counts, columns.shape[1], shape.d, _LOG2E / math.sqrt(shape.d))
        _launch(triton_kernels.forward, (shape.programs,), shape, *tensors, *numbers)
    return out, lse


@_attention.register_fake
def _(qkv, pad, table, order, index, boxes, groups, num_heads):  # type: ignore[no-untyped-def]
    batch, num_tokens, width = qkv.shape
    lse = qkv.new_empty(batch, num_heads, num_tokens, dtype=torch.float32)
    return qkv.new_empty(batch, num_tokens, width // 3), lse


@torch.library.custom_op("videoswin::box_attention_triton_backward", mutates_args=())
def _attention_backward(
    d_out: Tensor,
    out: Tensor,
    lse: Tensor,
    qkv: Tensor,
    pad: Tensor,
    table: Tensor,
    order: Tensor,
    index: Tensor,
    boxes: Tensor,
    groups: list[int],
    num_heads: int,
    want_table: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of qkv, pad and table; the scores are computed again, from what was read."""
    from videoswin.kernels import gpu_triton as triton_kernels

    batch, num_tokens, _ = qkv.shape
    shape = _Shape(qkv, order, boxes, groups, num_heads)
    d_qkv, d_table = torch.empty_like(qkv, memory_format=torch.contiguous_format), torch.zeros_like(table)
    if not shape.programs:
        return d_qkv, torch.zeros_like(pad), d_table
    qkv, pad, d_out, columns = qkv.contiguous(), pad.contiguous(), d_out.contiguous(), _columns(table)
    delta = (
        (out.float() * d_out.float()).view(batch, num_tokens, num_heads, shape.d).sum(-1).transpose(1, 2).contiguous()
    )
    d_pads = qkv.new_zeros(shape.programs if shape.padded else 0, 2, shape.d, dtype=torch.float32)
    scale, natural_scale = _LOG2E / math.sqrt(shape.d), 1 / math.sqrt(shape.d)
    read = (qkv, pad, columns, order, index, boxes, d_out, lse, delta)
    numbers = (*shape.counts, columns.shape[1], shape.d, scale, natural_scale)
    _launch(triton_kernels.backward_queries, (shape.programs,), shape, *read, d_qkv, *numbers)
    _launch(triton_kernels.backward_keys, (shape.programs,), shape, *read, d_qkv, d_pads, *numbers)
    if want_table:
        d_table = _table_gradient(read, shape, groups, scale).to(table.dtype)
    return d_qkv, shape.sum_of_padding(d_pads, pad), d_table


@_attention_backward.register_fake
def _(d_out, out, lse, qkv, pad, table, order, index, boxes, groups, num_heads, want_table):  # type: ignore[no-untyped-def]
    d_qkv = torch.empty_like(qkv, memory_format=torch.contiguous_format)
    return d_qkv, torch.empty_like(pad), torch.empty_like(table)


def _keep_for_backward(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    *tensors, ctx.groups, ctx.num_heads = inputs
    ctx.save_for_backward(*output, *tensors)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, d_out, _):  # type: ignore[no-untyped-def]
    wanted = ctx.needs_input_grad[:3]
    saved = ctx.saved_tensors  # once: checkpointing takes a second look for a mistake
    if torch.is_grad_enabled() or transformed(d_out):  # somebody will differentiate the gradient
        _, _, qkv, pad, table, order, index, _ = saved
        shapes = [(count, (n, 1, 1)) for count, n in zip(ctx.groups[::2], ctx.groups[1::2], strict=True)]
        boxes = Partition.of(order, index, shapes, qkv.shape[1], causal=True)
        gradients = plain.differentiable_gradients(d_out, qkv, pad, table, boxes, ctx.num_heads, wanted)
    else:
        gradients = _attention_backward(d_out, *saved, ctx.groups, ctx.num_heads, wanted[2])
    return *gradients, None, None, None, None, None


_attention.register_autograd(_backward, setup_context=_keep_for_backward)


@register_flop_formula(torch.ops.videoswin.box_attention_triton, get_raw=True)
def _flops(qkv, pad, table, order, index, boxes, groups, num_heads, out_val=None) -> int:  # type: ignore[no-untyped-def]
    """Two products in forward: scores, and shares times values."""
    return 2 * _product_flops(qkv, groups)


@register_flop_formula(torch.ops.videoswin.box_attention_triton_backward, get_raw=True)
def _backward_flops(  # type: ignore[no-untyped-def]
    d_out, out, lse, qkv, pad, table, order, index, boxes, groups, num_heads, want_table, out_val=None
) -> int:
    """Seven in backward: three for the queries, four for the keys; two more for the bias."""
    return (9 if want_table else 7) * _product_flops(qkv, groups)


def _product_flops(qkv: Tensor, groups: list[int]) -> int:
    pairs = sum(count * n * n for count, n in zip(groups[::2], groups[1::2], strict=True))
    return 2 * qkv.shape[0] * pairs * (qkv.shape[2] // 3)


# What the kernels are launched with -----------------------------------------------------------------------------------


class _Shape:
    """Sizes of one call. One launch serves all boxes; programs beyond the blocks of a smaller box end at once."""

    def __init__(self, qkv: Tensor, order: Tensor, boxes: Tensor, groups: list[int], num_heads: int) -> None:
        batch, num_tokens, width = qkv.shape
        self.batch, self.num_heads, self.d = batch, num_heads, width // 3 // num_heads
        self.padded = order.numel() > num_tokens
        widest = _up_to_power_of_two(self.d)
        longest = max(groups[1::2], default=0)
        # 16 is the least that tl.dot takes; wide heads leave registers for fewer tokens.
        self.block = min(64 if widest <= 32 else 32 if widest == 64 else 16, _up_to_power_of_two(longest))
        blocks = -(-longest // self.block)
        self.programs = blocks * num_heads * boxes.shape[0] * batch
        self.counts = (boxes.shape[0], blocks, num_heads, num_tokens)
        quick = torch.backends.cuda.matmul.fp32_precision == "tf32"  # says nothing of other types
        self.constants = {
            "D": widest,
            "BLOCK": self.block,
            "PADDED": self.padded,
            "PRECISION": "tf32" if quick else "ieee",
            "num_warps": 8 if self.block == 64 else 4,  # with 4, or with two stages, registers spill
            "num_stages": 1,
            "enable_fp_fusion": True,  # Triton's default is about to change
        }

    def sum_of_padding(self, d_pads: Tensor, pad: Tensor) -> Tensor:
        """(programs, 2, d) of keys and values, block, head and box fastest -> (B, 3C); a padding query's output goes nowhere."""
        if not self.padded:
            return torch.zeros_like(pad)
        boxes, blocks, _, _ = self.counts
        sums = d_pads.view(self.batch, boxes, self.num_heads, blocks, 2, self.d).sum((1, 3))  # (B, heads, 2, d)
        keys_values = sums.transpose(1, 2).to(pad.dtype)
        return torch.cat([torch.zeros_like(keys_values[:, :1]), keys_values], dim=1).flatten(1)


def _table_gradient(read: tuple[Tensor, ...], shape: _Shape, groups: list[int], scale: float) -> Tensor:
    """(rows, heads), in float32. The last step adds many pairs to one row: by atomics on a GPU, so that the order is fixed
    only under ``torch.use_deterministic_algorithms(True)``, as in the plain engine."""
    from videoswin.kernels import gpu_triton as triton_kernels

    qkv, pad, columns, order, index, _, d_out, lse, delta = read
    counts, lengths = groups[::2], groups[1::2]
    slots = accumulate((count * n for count, n in zip(counts, lengths, strict=True)), initial=0)
    entries = accumulate((n * n for n in lengths), initial=0)
    gradient = torch.zeros_like(columns)
    for count, n, slot, entry in zip(counts, lengths, slots, entries, strict=False):
        blocks, tasks = -(-n // shape.block), count * shape.batch
        shares = max(1, min(tasks, _PROGRAMS // (blocks * blocks * shape.num_heads)))
        d_bias = columns.new_empty(shares, shape.num_heads, n * n)
        tensors = (qkv, pad, columns, order, index, d_out, lse, delta, d_bias)
        sizes = (count, n, slot, entry, tasks, blocks, shape.num_heads, qkv.shape[1], columns.shape[1], shape.d)
        grid = (blocks * blocks, shape.num_heads, shares)
        _launch(triton_kernels.backward_bias, grid, shape, *tensors, *sizes, scale)
        rows = index[entry : entry + n * n].clamp(min=0)  # pairs that do not see each other give exactly 0
        gradient.index_add_(1, rows, d_bias.sum(0))
    return gradient.t()


def _launch(kernel: Any, grid: tuple[int, ...], shape: _Shape, first: Tensor, *arguments: Tensor | float) -> None:
    with torch.cuda.device_of(first):  # Triton launches on the current device
        kernel[grid](first, *arguments, **shape.constants)


def _columns(table: Tensor) -> Tensor:
    """(rows, heads) -> (heads, rows): what one program reads lies together, in powers of two, in float32."""
    return (table.detach().float().t() * _LOG2E).contiguous()


def _up_to_power_of_two(n: int) -> int:
    """At least 16."""
    return max(16, 1 << (n - 1).bit_length())
