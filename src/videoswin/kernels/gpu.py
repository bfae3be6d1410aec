"""The GPU engine: attention inside boxes as Triton kernels (gpu_triton.py), forward and backward.

What cpu.py is to CPUs: tokens are read and written where they lie, without a gather and a scatter, and nothing of size
tokens x tokens is kept for backward. It serves float32, bfloat16 and float16 on CUDA devices where Triton is installed (GPU
builds of PyTorch bring it). "auto" takes it for the two short types on NVIDIA's cards since Ampere, where its products run on
matrix units (docs/performance.md); elsewhere it serves where it is named, ``use_engine("gpu")``. Its results are the plain
engine's, there and under Triton's interpreter (tests/kernels/test_gpu.py); with ``TRITON_INTERPRET=1`` it takes CPU tensors,
slowly, to be tested (not bfloat16: Triton 3.9's interpreter multiplies its bits as whole numbers).

Scores of float32 inputs are as exact as PyTorch's products on the device: ``torch.set_float32_matmul_precision``.
"""

import math
import os
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from videoswin.kernels import plain
from videoswin.kernels.boxes import Partition
from videoswin.kernels.operator import register_operator
from videoswin.kernels.ordinary import transformed

__all__ = ["SERVES", "attend", "serves_best", "takes", "why_not"]

SERVES = "float32, bfloat16 and float16 on CUDA devices"

_LOG2E = math.log2(math.e)  # scores are kept in powers of two: 2^x is what the hardware has
_PROGRAMS = 4096  # that keep a large GPU busy; of the bias gradient, whose number can be chosen
_VALUES = 2**25  # of the bias gradient's parts, all together: 128 MiB
_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def takes(device: str, dtype: torch.dtype) -> bool:
    """Whether this engine serves tensors of a type on a kind of device."""
    return dtype in _TYPES and device == ("cpu" if _interpreted() else "cuda")


@cache
def serves_best(device: str, dtype: torch.dtype) -> bool:
    """Whether "auto" takes this engine: where it can be had and was measured to be the quickest."""
    if device != "cuda" or dtype not in (torch.bfloat16, torch.float16) or why_not():
        return False
    cards = [torch.cuda.get_device_capability(number) for number in range(torch.cuda.device_count())]
    return torch.version.hip is None and min(cards) >= (8, 0)


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

    The result has the type of ``qkv``, and so has the bias when it is added; sums and the softmax are float32.
    """
    groups = [size for group in boxes.groups for size in (group.count, group.tokens_per_box)]
    out, _ = torch.ops.videoswin.box_attention_triton(
        qkv, pad.to(qkv.dtype), table, boxes.order, boxes.index, boxes.places, boxes.shapes, groups, num_heads
    )
    return out


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


# The operator, as PyTorch sees it -------------------------------------------------------------------------------------


def _attention(
    qkv: Tensor,
    pad: Tensor,
    table: Tensor,
    order: Tensor,
    index: Tensor,
    boxes: Tensor,
    shapes: Tensor,
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
    call = _Call(qkv, order, boxes, groups, num_heads)
    if call.programs("forward"):
        bias = call.spread(table, index, shapes)
        tensors = (qkv.contiguous(), pad.contiguous(), bias, order, boxes, out, lse)
        call.launch(triton_kernels.forward, *tensors, _LOG2E / math.sqrt(call.d))
    return out, lse


def _attention_shapes(qkv, pad, table, order, index, boxes, shapes, groups, num_heads):  # type: ignore[no-untyped-def]
    batch, num_tokens, width = qkv.shape
    lse = qkv.new_empty(batch, num_heads, num_tokens, dtype=torch.float32)
    return qkv.new_empty(batch, num_tokens, width // 3), lse


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
    shapes: Tensor,
    groups: list[int],
    num_heads: int,
    want_table: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of qkv, pad and table; the scores are computed again, from what was read."""
    from videoswin.kernels import gpu_triton as triton_kernels

    call = _Call(qkv, order, boxes, groups, num_heads)
    d_qkv, d_table = torch.empty_like(qkv, memory_format=torch.contiguous_format), torch.zeros_like(table)
    if not call.programs("backward_keys"):
        return d_qkv, torch.zeros_like(pad), d_table
    bias = call.spread(table, index, shapes)
    qkv, pad, out, d_out = qkv.contiguous(), pad.contiguous(), out.contiguous(), d_out.contiguous()
    delta = torch.empty_like(lse)
    d_pads = lse.new_zeros(call.programs("backward_keys") if call.padded else 0, 2, call.d)
    scales = (_LOG2E / math.sqrt(call.d), 1 / math.sqrt(call.d))
    read = (qkv, pad, bias, order, boxes)
    call.launch(triton_kernels.backward_queries, *read, out, d_out, lse, delta, d_qkv, *scales)
    call.launch(triton_kernels.backward_keys, *read, d_out, lse, delta, d_qkv, d_pads, *scales)
    if want_table:
        d_table = call.table_gradient((qkv, pad, bias, order, shapes, d_out, lse, delta), table, index).to(table.dtype)
    return d_qkv, call.sum_of_padding(d_pads, pad), d_table


def _backward_shapes(d_out, out, lse, qkv, pad, table, order, index, boxes, shapes, groups, num_heads, want_table):  # type: ignore[no-untyped-def]
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
        _, _, qkv, pad, table, order, index, _, _ = saved
        shapes = [(count, (n, 1, 1)) for count, n in zip(ctx.groups[::2], ctx.groups[1::2], strict=True)]
        boxes = Partition.of(order, index, shapes, qkv.shape[1], causal=True)
        gradients = plain.differentiable_gradients(d_out, qkv, pad, table, boxes, ctx.num_heads, wanted)
    else:
        gradients = torch.ops.videoswin.box_attention_triton_backward(
            d_out, *saved, ctx.groups, ctx.num_heads, wanted[2]
        )
    return *gradients, None, None, None, None, None, None


register_operator("videoswin::box_attention_triton", "default", _attention, _attention_shapes)
register_operator("videoswin::box_attention_triton_backward", "default", _attention_backward, _backward_shapes)
torch.library.register_autograd("videoswin::box_attention_triton", _backward, setup_context=_keep_for_backward)


@register_flop_formula(torch.ops.videoswin.box_attention_triton, get_raw=True)
def _flops(qkv, pad, table, order, index, boxes, shapes, groups, num_heads, out_val=None) -> int:  # type: ignore[no-untyped-def]
    """Two products in forward: scores, and shares times values."""
    return 2 * _product_flops(qkv, groups)


@register_flop_formula(torch.ops.videoswin.box_attention_triton_backward, get_raw=True)
def _backward_flops(  # type: ignore[no-untyped-def]
    d_out, out, lse, qkv, pad, table, order, index, boxes, shapes, groups, num_heads, want_table, out_val=None
) -> int:
    """Seven in backward: three for the queries, four for the keys; two more for the bias."""
    return (9 if want_table else 7) * _product_flops(qkv, groups)


def _product_flops(qkv: Tensor, groups: list[int]) -> int:
    pairs = sum(count * n * n for count, n in zip(groups[::2], groups[1::2], strict=True))
    return 2 * qkv.shape[0] * pairs * (qkv.shape[2] // 3)


# What the kernels are launched with -----------------------------------------------------------------------------------


class _Tiles(NamedTuple):
    """How a kernel cuts its work."""

    block: int
    """Tokens that a program owns: queries, or keys in ``backward_keys``; of each in ``backward_bias``."""
    other: int
    """Tokens that it meets at a time."""
    num_warps: int
    num_stages: int


_TILES = {
    "forward": _Tiles(64, 32, 4, 2),
    "backward_queries": _Tiles(64, 32, 4, 2),
    "backward_keys": _Tiles(64, 64, 4, 1),
    "backward_bias": _Tiles(64, 64, 4, 1),
}
"""For 16-bit types and heads of up to 32 values, those of all published models: the quickest of some on an H200."""
_OTHER = {"forward": "KEYS", "backward_queries": "KEYS", "backward_keys": "QUERIES"}
_LEAST = 16  # that tl.dot takes


class _Call:
    """Sizes of one call. One launch serves all boxes; programs beyond the blocks of a smaller box end at once."""

    def __init__(self, qkv: Tensor, order: Tensor, boxes: Tensor, groups: list[int], num_heads: int) -> None:
        self.batch, self.num_tokens, width = qkv.shape
        self.num_heads, self.d, self.dtype = num_heads, width // 3 // num_heads, qkv.dtype
        self.boxes, self.groups = boxes.shape[0], groups
        self.padded = order.numel() > self.num_tokens
        self.longest = max(groups[1::2], default=0)
        self.bias_rows = sum(groups[1::2])
        self.widest = _up_to_power_of_two(self.d)
        self.piece = _up_to_power_of_two(min(self.longest, 128))
        self.stride = -(-self.longest // self.piece) * self.piece  # of the bias: whole blocks of any kernel

    def tiles(self, kernel: str) -> _Tiles:
        tiles = _TILES[kernel]
        if self.dtype == torch.float32 or self.widest > 32:  # registers for fewer tokens
            most = 64 if self.widest <= 32 else 32 if self.widest == 64 else 16
            tiles = _Tiles(most, most, 8 if most == 64 else 4, 1)
        fits = _up_to_power_of_two(self.longest)
        return tiles._replace(block=min(tiles.block, fits), other=min(tiles.other, fits))

    def programs(self, kernel: str) -> int:
        return self.blocks(kernel) * self.num_heads * self.boxes * self.batch

    def blocks(self, kernel: str) -> int:
        return -(-self.longest // self.tiles(kernel).block)

    def spread(self, table: Tensor, index: Tensor, shapes: Tensor) -> Tensor:
        """(heads, bias_rows, stride): the bias of each pair in powers of two, in the inputs' type; -inf where there is none."""
        from videoswin.kernels import gpu_triton as triton_kernels

        bias = table.new_empty(self.num_heads, self.bias_rows, self.stride, dtype=self.dtype)
        kernel: Any = triton_kernels.spread_bias
        grid = (self.longest, shapes.shape[0])
        with torch.cuda.device_of(table):
            kernel[grid](
                table.detach().contiguous(), index, shapes, bias, self.num_heads, self.bias_rows, _LOG2E,
                STRIDE=self.stride, PIECE=self.piece, num_warps=4,
            )  # fmt: skip
        return bias

    def launch(self, kernel: Any, *arguments: Tensor | float) -> None:
        """One that owns blocks of tokens; tensors come first, then scales."""
        name = kernel.__name__
        tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
        scales = arguments[len(tensors) :]
        sizes = (self.boxes, self.blocks(name), self.num_heads, self.num_tokens, self.bias_rows)
        self._launch(kernel, name, (self.programs(name),), *tensors, *sizes, *scales)

    def _launch(self, kernel: Any, name: str, grid: tuple[int, ...], first: Tensor, *arguments: Tensor | float) -> None:
        tiles = self.tiles(name)
        quick = torch.backends.cuda.matmul.fp32_precision == "tf32"  # says nothing of other types
        constants: dict[str, Any] = {
            "d": self.d,
            "D": self.widest,
            "STRIDE": self.stride,
            "BLOCK": tiles.block,
            "PADDED": self.padded,
            "PRECISION": "tf32" if quick else "ieee",
            "num_warps": tiles.num_warps,
            "num_stages": tiles.num_stages,
            "enable_fp_fusion": True,  # Triton's default is about to change
        }
        if name in _OTHER:
            constants[_OTHER[name]] = tiles.other
        with torch.cuda.device_of(first):  # Triton launches on the current device
            kernel[grid](first, *arguments, **constants)

    def sum_of_padding(self, d_pads: Tensor, pad: Tensor) -> Tensor:
        """(programs, 2, d) of keys and values, block, head and box fastest -> (B, 3C); a padding query's output goes nowhere."""
        if not self.padded:
            return torch.zeros_like(pad)
        blocks = self.blocks("backward_keys")
        sums = d_pads.view(self.batch, self.boxes, self.num_heads, blocks, 2, self.d).sum((1, 3))  # (B, heads, 2, d)
        keys_values = sums.transpose(1, 2).to(pad.dtype)
        return torch.cat([torch.zeros_like(keys_values[:, :1]), keys_values], dim=1).flatten(1)

    def table_gradient(self, read: tuple[Tensor, ...], table: Tensor, index: Tensor) -> Tensor:
        """(rows, heads), in float32. The last step adds many pairs to one row: by atomics on a GPU, so that the order is fixed
        only under ``torch.use_deterministic_algorithms(True)``, as in the plain engine."""
        from videoswin.kernels import gpu_triton as triton_kernels

        block = self.tiles("backward_bias").block
        blocks, num_groups, pairs = -(-self.longest // block), len(self.groups) // 2, index.numel()
        at_work = sum((-(-n // block)) ** 2 for n in self.groups[1::2]) * self.num_heads
        tasks = max(self.groups[::2]) * self.batch
        shares = max(1, min(tasks, _PROGRAMS // at_work, _VALUES // (pairs * self.num_heads)))
        d_bias = table.new_empty(shares, self.num_heads, pairs, dtype=torch.float32)
        numbers = (num_groups, pairs, self.batch, blocks, self.num_heads, self.num_tokens, self.bias_rows)
        grid = (blocks * blocks, self.num_heads, num_groups * shares)
        scale = _LOG2E / math.sqrt(self.d)
        self._launch(triton_kernels.backward_bias, "backward_bias", grid, *read, d_bias, *numbers, scale)
        gradient = d_bias.new_zeros(self.num_heads, table.shape[0])
        gradient.index_add_(1, index.clamp(min=0), d_bias.sum(0))  # pairs that do not see each other give exactly 0
        return gradient.t()


def _up_to_power_of_two(n: int) -> int:
    return max(_LEAST, 1 << (n - 1).bit_length())
