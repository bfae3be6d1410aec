"""The CPU engine: attention inside boxes as one compiled function (box_attention.c), forward and backward.

PyTorch's fused attention leaves its fast path as soon as the bias learns, pays a full pass over memory for each gather, and
runs small boxes one launch at a time. The function compiled here reads the tokens of a box where they lie and needs no
memory of size tokens x tokens.

It serves float32 on the CPU. Its results are the plain engine's up to rounding (tests/kernels/test_cpu.py).
"""

import ctypes

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from videoswin.errors import ConfigError
from videoswin.kernels import plain
from videoswin.kernels.boxes import Partition
from videoswin.kernels.cpu_build import library, why_not
from videoswin.kernels.operator import register_operator
from videoswin.kernels.ordinary import transformed

__all__ = ["attend", "why_not"]


class _Job(ctypes.Structure):
    """The struct Job of box_attention.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "num_tokens", "heads", "d", "rows", "slots", "num_groups")),
        ("qkv_step", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("groups", "order", "index", "qkv", "pad", "table", "out", "lse")),
        *((name, ctypes.c_void_p) for name in ("d_out", "d_qkv", "d_pad", "d_table")),
    ]


def attend(qkv: Tensor, pad: Tensor, table: Tensor, boxes: Partition, num_heads: int) -> Tensor:
    """As :func:`videoswin.kernels.attend`, with ``pad`` (B, 3C); it may be empty where no box is padded."""
    out, _ = torch.ops.videoswin.box_attention(qkv, pad, table, boxes.order, boxes.index, boxes.sizes, num_heads)
    return out


# The operator, as PyTorch sees it -------------------------------------------------------------------------------------


def _attention(
    qkv: Tensor, pad: Tensor, table: Tensor, order: Tensor, index: Tensor, sizes: Tensor, num_heads: int
) -> tuple[Tensor, Tensor]:
    """(B, N, 3C) -> (B, N, C), and the log2 of each slot's sum of exponentials, (B, heads, M), for backward."""
    batch, num_tokens, width = qkv.shape
    qkv, pad, table = _rows_together(qkv), pad.contiguous(), table.contiguous()
    out = qkv.new_empty(batch, num_tokens, width // 3)
    lse = qkv.new_empty(batch, num_heads, order.numel())
    job = _job(qkv, pad, table, order, index, sizes, num_heads)
    job.out, job.lse = out.data_ptr(), lse.data_ptr()
    _run(job)
    return out, lse


def _attention_shapes(qkv, pad, table, order, index, sizes, num_heads):  # type: ignore[no-untyped-def]
    batch, num_tokens, width = qkv.shape
    return qkv.new_empty(batch, num_tokens, width // 3), qkv.new_empty(batch, num_heads, order.numel())


def _attention_backward(
    d_out: Tensor,
    out: Tensor,
    lse: Tensor,
    qkv: Tensor,
    pad: Tensor,
    table: Tensor,
    order: Tensor,
    index: Tensor,
    sizes: Tensor,
    num_heads: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of qkv, pad and table; the scores are computed again, from what was read."""
    d_out, out, lse = d_out.contiguous(), out.contiguous(), lse.contiguous()
    qkv, pad, table = _rows_together(qkv), pad.contiguous(), table.contiguous()
    d_qkv, d_pad, d_table = qkv.new_empty(qkv.shape), torch.zeros_like(pad), torch.zeros_like(table)
    job = _job(qkv, pad, table, order, index, sizes, num_heads)
    job.out, job.lse, job.d_out = out.data_ptr(), lse.data_ptr(), d_out.data_ptr()
    job.d_qkv, job.d_pad, job.d_table = d_qkv.data_ptr(), d_pad.data_ptr(), d_table.data_ptr()
    _run(job)
    return d_qkv, d_pad, d_table


def _backward_shapes(d_out, out, lse, qkv, pad, table, order, index, sizes, num_heads):  # type: ignore[no-untyped-def]
    return qkv.new_empty(qkv.shape), torch.empty_like(pad), torch.empty_like(table)


def _keep_for_backward(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    *tensors, ctx.num_heads = inputs
    ctx.save_for_backward(*output, *tensors)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, d_out, _):  # type: ignore[no-untyped-def]
    saved = ctx.saved_tensors  # once: checkpointing takes a second look for a mistake
    if torch.is_grad_enabled() or transformed(d_out):  # somebody will differentiate the gradient
        _, _, qkv, pad, table, order, index, sizes = saved
        shapes = [(count, (n, 1, 1)) for count, n, _, _ in sizes.tolist()]
        boxes = Partition.of(order, index, shapes, qkv.shape[1], causal=True)
        wanted = ctx.needs_input_grad[:3]
        gradients = plain.differentiable_gradients(d_out, qkv, pad, table, boxes, ctx.num_heads, wanted)
    else:
        gradients = torch.ops.videoswin.box_attention_backward(d_out, *saved, ctx.num_heads)
    return *gradients, None, None, None, None


register_operator("videoswin::box_attention", "cpu", _attention, _attention_shapes)
register_operator("videoswin::box_attention_backward", "cpu", _attention_backward, _backward_shapes)
torch.library.register_autograd("videoswin::box_attention", _backward, setup_context=_keep_for_backward)


@register_flop_formula(torch.ops.videoswin.box_attention, get_raw=True)
def _flops(qkv, pad, table, order, index, sizes, num_heads, out_val=None) -> int:  # type: ignore[no-untyped-def]
    """Two products in forward: scores, and shares times values."""
    return 2 * _product_flops(qkv, sizes)


@register_flop_formula(torch.ops.videoswin.box_attention_backward, get_raw=True)
def _backward_flops(d_out, out, lse, qkv, pad, table, order, index, sizes, num_heads, out_val=None) -> int:  # type: ignore[no-untyped-def]
    """Five in backward: the scores again, and the gradients of shares, queries, keys and values."""
    return 5 * _product_flops(qkv, sizes)


def _product_flops(qkv: Tensor, sizes: Tensor) -> int:
    pairs = int((sizes[:, 0] * sizes[:, 1].square()).sum())
    return 2 * qkv.shape[0] * pairs * (qkv.shape[2] // 3)


def _rows_together(qkv: Tensor) -> Tensor:
    """Clips may lie apart, as where a padding token stands behind each; the tokens of a clip may not."""
    return qkv if qkv.stride(2) == 1 and qkv.stride(1) == qkv.shape[2] else qkv.contiguous()


def _job(qkv: Tensor, pad: Tensor, table: Tensor, order: Tensor, index: Tensor, sizes: Tensor, num_heads: int) -> _Job:
    batch, num_tokens, width = qkv.shape
    return _Job(
        batch=batch,
        num_tokens=num_tokens,
        heads=num_heads,
        d=width // 3 // num_heads,
        rows=table.shape[0],
        slots=order.numel(),
        num_groups=sizes.shape[0],
        qkv_step=qkv.stride(0),
        pad=pad.data_ptr() if pad.numel() else None,
        **{name: t.data_ptr() for name, t in (("groups", sizes), ("order", order), ("index", index))},
        **{name: t.data_ptr() for name, t in (("qkv", qkv), ("table", table))},
    )


def _run(job: _Job) -> None:
    compiled = library()
    if compiled is None:  # compiled by torch.compile on another machine, say
        raise ConfigError(f"The compiled engine cannot be had here: {why_not()}.")
    if compiled.box_attention(ctypes.byref(job), ctypes.c_int64(torch.get_num_threads())):
        raise MemoryError("There is no memory left for attention. Use smaller batches or clips.")
