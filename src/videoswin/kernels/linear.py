"""Linear layers and the MLP of a block by oneDNN, where nobody could tell the difference; else the modules are called.

oneDNN is the library that torch.compile asks for a float32 product on a CPU. It adds the bias while a tile of the result is in
registers, where PyTorch's usual way writes the result twice, and multiplies faster on many processors (docs/performance.md).
It applies GELU in the same place. What GELU gives is a quarter of a training step's memory; here it is computed again in the
backward pass.

These are functions that take modules, rather than modules of their own: a subclass of ``nn.Linear`` would be passed over, without
a word, by whatever looks for exactly that class, such as ``torch.ao.quantization.quantize_dynamic``.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.kernels.choose import chosen_engine
from videoswin.kernels.operator import wanted_gradients
from videoswin.kernels.ordinary import as_made, ordinary, watched

__all__ = ["linear", "mlp"]

_HIDDEN_VALUES = 2**21  # of the hidden layer at a time, 8 MiB: more is little faster and takes more memory


def linear(x: Tensor, layer: nn.Module) -> Tensor:
    """``layer(x)``, (..., in) -> (..., out)."""
    if not _serves(x, layer):
        return layer(x)
    if not torch.is_grad_enabled():
        return _onednn(x, layer.weight, layer.bias)  # type: ignore[arg-type]
    return _Linear.apply(x, layer.weight, layer.bias, False)  # type: ignore[return-value]


def mlp(x: Tensor, fc1: nn.Module, fc2: nn.Module) -> Tensor:
    """``fc2(gelu(fc1(x)))``, (..., C) -> (..., C). Where no gradient is wanted, some rows at a time, so that the hidden
    layer, four times as wide, stays in the cache and is never in memory as a whole."""
    if not _serves(x, fc1, fc2):
        return fc2(F.gelu(fc1(x)))
    if torch.is_grad_enabled():
        return _Linear.apply(linear(x, fc1), fc2.weight, fc2.bias, True)  # type: ignore[return-value]
    rows = _rows(x)
    parts = -(-rows.shape[0] * fc1.out_features // _HIDDEN_VALUES)  # type: ignore[operator]
    if parts == 1:
        return _mlp_of_rows(rows, fc1, fc2).view(*x.shape[:-1], -1)
    out = x.new_empty(rows.shape[0], fc2.out_features)  # type: ignore[arg-type]
    step = -(-rows.shape[0] // parts)  # parts of equal size: one shape of product
    for part, place in zip(rows.split(step), out.split(step), strict=True):
        place.copy_(_mlp_of_rows(part, fc1, fc2))
    return out.view(*x.shape[:-1], -1)


def _rows(x: Tensor) -> Tensor:
    """(..., C) -> (rows, C); a single token is one row."""
    return x.reshape(-1, x.shape[-1])


def _mlp_of_rows(x: Tensor, fc1: nn.Module, fc2: nn.Module) -> Tensor:
    hidden = _onednn(x, fc1.weight, fc1.bias, "gelu")  # type: ignore[arg-type]
    return _onednn(hidden, fc2.weight, fc2.bias)  # type: ignore[arg-type]


def _serves(x: Tensor, *layers: nn.Module) -> bool:
    """Whether calling these layers would compute an ordinary float32 product on the CPU, and nothing else."""
    if torch.compiler.is_compiling() or not all(as_made(layer, nn.Linear) for layer in layers):
        return False
    tensors = [x, *(t for layer in layers for t in (layer.weight, layer.bias) if t is not None)]
    return (
        ordinary(*tensors)  # type: ignore[arg-type]
        and x.numel() > 0
        and all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)  # type: ignore[union-attr]
        and not torch.is_autocast_enabled("cpu")
        and not watched()
        and chosen_engine() in ("auto", "cpu")
        and _has_onednn()
    )


class _Linear(torch.autograd.Function):
    """A linear layer, after GELU if ``gelu``; what GELU gives is computed again in backward."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
        return _onednn(F.gelu(x) if gelu else x, weight, bias)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
        *tensors, ctx.gelu = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, d_y: Tensor):  # type: ignore[no-untyped-def]
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled() or not ordinary(d_y):  # somebody will differentiate the gradient
            return *_differentiable_gradients(d_y, x, weight, bias, ctx.gelu, ctx.needs_input_grad), None
        want_x, want_weight, want_bias, _ = ctx.needs_input_grad
        d_x = _onednn(d_y, weight.t(), None) if want_x else None
        rows, d_rows = _rows(F.gelu(x) if ctx.gelu else x), _rows(d_y)
        d_weight = None
        if want_weight:  # a short sum of long rows: quicker with the longer side first
            tall = weight.shape[0] >= weight.shape[1]
            d_weight = d_rows.t() @ rows if tall else (rows.t() @ d_rows).t()
        if d_x is not None and ctx.gelu:
            d_x = torch.ops.aten.gelu_backward(d_x, x)
        return d_x, d_weight, d_rows.sum(0) if want_bias else None, None


def _differentiable_gradients(d_y, x, weight, bias, gelu, wanted):  # type: ignore[no-untyped-def]
    """The same gradients as functions of all inputs: oneDNN's product cannot be differentiated again."""
    with torch.enable_grad():
        y = F.linear(F.gelu(x) if gelu else x, weight, bias)
        return wanted_gradients(y, (x, weight, bias), d_y, wanted[:3])


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    """``then``: what to do with the result while it is still in the cache, "none" or "gelu" (exact)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none" if then == "gelu" else "")


@cache
def _has_onednn() -> bool:
    """Whether PyTorch's operator is there, and does here what it is taken for."""
    if not torch.backends.mkldnn.is_available():
        return False
    x, weight, bias = torch.eye(3, 4, device="cpu"), torch.ones(2, 4, device="cpu"), torch.ones(2, device="cpu")
    try:
        products = [_onednn(x, weight, None), _onednn(x, weight, bias, "gelu")]
    except (AttributeError, RuntimeError, TypeError):  # it is private to PyTorch, and may change
        return False
    expected = [F.linear(x, weight), F.gelu(F.linear(x, weight, bias))]
    return all(torch.allclose(found, right, atol=1e-6) for found, right in zip(products, expected, strict=True))
