"""LayerNorm by Triton on a GPU (norm_triton.py), where nobody could tell the difference; else the module is called.

As linear.py, a function that takes the module: what is hooked, wrapped or replaced is called as it is. Rows of 96 and 192 values,
those of the first two stages, took a quarter of a forward pass on an H100 (14 of 61 ms).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.kernels import gpu
from videoswin.kernels.choose import chosen_engine
from videoswin.kernels.operator import register_operator, wanted_gradients
from videoswin.kernels.ordinary import as_made, ordinary, transformed, watched

__all__ = ["layer_norm"]

_VALUES = 4096  # that a program of forward works on; one of backward half as many at a time
_WIDEST = 512  # of a row, in values; PyTorch's own kernel is as quick with wider ones
_LEAST = 2**23  # values of x: launching it costs more than is won with fewer
_PROGRAMS = 1056  # of backward, eight for each of a large GPU's processors


def layer_norm(x: Tensor, layer: nn.Module) -> Tensor:
    """``layer(x)``, (..., C) -> (..., C)."""
    if not _serves(x, layer):
        return layer(x)
    dtype = torch.float32 if torch.is_autocast_enabled(x.device.type) else x.dtype  # as PyTorch's own under autocast
    keep = torch.is_grad_enabled()
    return torch.ops.videoswin.layer_norm_triton(x, layer.weight, layer.bias, layer.eps, dtype, keep)[0]


def _serves(x: Tensor, layer: nn.Module) -> bool:
    if torch.compiler.is_compiling() or not isinstance(x, Tensor) or not gpu.takes(x.device.type, x.dtype):
        return False
    if not as_made(layer, nn.LayerNorm) or layer.weight is None or layer.bias is None:
        return False
    weights = (layer.weight, layer.bias)
    mixed = torch.is_autocast_enabled(x.device.type)
    return (
        ordinary(x, *weights)  # type: ignore[arg-type]
        and layer.normalized_shape == x.shape[-1:]
        and x.shape[-1] <= _WIDEST
        and x.numel() >= _LEAST
        and all(gpu.takes(t.device.type, t.dtype) and (mixed or t.dtype == x.dtype) for t in weights)  # type: ignore[union-attr, arg-type]
        and not watched()
        and _chosen(x.device.type)
    )


def _chosen(device: str) -> bool:
    """Unlike attention's, its kernel is the quickest for float32 too."""
    name = chosen_engine()
    return name == "gpu" or (name == "auto" and gpu.serves_best(device, torch.float16))


def _layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """(..., C) in ``dtype``; if ``keep``, the mean and the inverse deviation of each row, for backward."""
    from videoswin.kernels import norm_triton

    kernel: Any = norm_triton.forward
    x = x.contiguous()
    rows, out = x.numel() // x.shape[-1], torch.empty_like(x, dtype=dtype)
    mean, rstd = (x.new_empty(rows if keep else 0, dtype=torch.float32) for _ in range(2))
    sizes = _sizes(x, _VALUES)
    with torch.cuda.device_of(x):
        kernel[(-(-rows // sizes["ROWS"]),)](
            x, weight.contiguous(), bias.contiguous(), out, mean, rstd, rows, eps, KEEP=keep, **sizes
        )
    return out, mean, rstd


def _shapes(x, weight, bias, eps, dtype, keep):  # type: ignore[no-untyped-def]
    rows = x.numel() // x.shape[-1] if keep else 0
    kept = [x.new_empty(rows, dtype=torch.float32) for _ in range(2)]
    return torch.empty_like(x, dtype=dtype, memory_format=torch.contiguous_format), *kept


def _layer_norm_backward(
    d_out: Tensor, x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, in its type, and of weight and bias, in float32."""
    from videoswin.kernels import norm_triton

    kernel: Any = norm_triton.backward
    x, d_out, width = x.contiguous(), d_out.contiguous(), x.shape[-1]
    rows, d_x, sizes = x.numel() // width, torch.empty_like(x), _sizes(x, _VALUES // 2)
    programs = min(_PROGRAMS, -(-rows // sizes["ROWS"]))
    sums = x.new_empty(2, programs, width, dtype=torch.float32)
    with torch.cuda.device_of(x):
        kernel[(programs,)](d_out, x, weight.contiguous(), mean, rstd, d_x, sums[0], sums[1], rows, **sizes)
    d_weight, d_bias = sums.sum(1).unbind(0)
    return d_x, d_weight.clone(), d_bias.clone()


def _backward_shapes(d_out, x, weight, mean, rstd):  # type: ignore[no-untyped-def]
    sums = [torch.empty_like(weight, dtype=torch.float32) for _ in range(2)]
    return torch.empty_like(x, memory_format=torch.contiguous_format), *sums


def _keep_for_backward(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    x, weight, bias, ctx.eps, _, _ = inputs
    ctx.save_for_backward(x, weight, bias, *output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _backward(ctx, d_out, *_):  # type: ignore[no-untyped-def]
    x, weight, bias, mean, rstd = ctx.saved_tensors
    if torch.is_grad_enabled() or transformed(d_out):  # somebody will differentiate the gradient
        d_x, d_weight, d_bias = _differentiable_gradients(d_out, x, weight, bias, ctx.eps, ctx.needs_input_grad)
    else:
        d_x, d_weight, d_bias = torch.ops.videoswin.layer_norm_triton_backward(d_out, x, weight, mean, rstd)
        d_weight, d_bias = d_weight.to(weight.dtype), d_bias.to(bias.dtype)
    return d_x, d_weight, d_bias, None, None, None


register_operator("videoswin::layer_norm_triton", "default", _layer_norm, _shapes)
register_operator("videoswin::layer_norm_triton_backward", "default", _layer_norm_backward, _backward_shapes)
torch.library.register_autograd("videoswin::layer_norm_triton", _backward, setup_context=_keep_for_backward)


def _differentiable_gradients(d_out, x, weight, bias, eps, wanted):  # type: ignore[no-untyped-def]
    """The same gradients as functions of all inputs, by PyTorch's own operators."""
    with torch.enable_grad():
        out = F.layer_norm(x.to(d_out.dtype), x.shape[-1:], weight.to(d_out.dtype), bias.to(d_out.dtype), eps)
        return wanted_gradients(out, (x, weight, bias), d_out, wanted[:3])


def _sizes(x: Tensor, values: int) -> dict[str, int]:
    wide = 1 << (x.shape[-1] - 1).bit_length()
    return {"C": x.shape[-1], "WIDE": wide, "ROWS": max(1, values // wide), "num_warps": 4}
