"""The CPU engine: attention inside boxes as one compiled function (box_attention.c), forward and backward.

PyTorch's fused attention leaves its fast path as soon as the bias learns, pays a full pass over memory for each gather, and
runs small boxes one launch at a time. The function compiled here reads the tokens of a box where they lie and needs no
memory of size tokens x tokens. It is compiled once for each machine, in about three seconds, by the C compiler that is
there (``cc``, or ``$CC``), and kept in the cache folder. Without a compiler PyTorch's own operators do the same work.

The engine serves float32 on the CPU. Its results are the plain engine's up to rounding (tests/model/test_native.py).
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from videoswin.kernels.boxes import Partition
from videoswin.kernels.choose import chosen_engine
from videoswin.storage.cache import cache_folder

__all__ = ["attend", "library", "linear", "mlp", "suits", "why_not"]

_SOURCE = Path(__file__).with_name("box_attention.c")
_FLAGS = ("-O3", "-march=native", "-fopenmp", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
_COMPILE_TIMEOUT_S = 120
_HIDDEN_VALUES = 2**22  # of the hidden layer at a time, 16 MiB: they stay in a cache, and products are still large
_ready = False


class _Job(ctypes.Structure):
    """The struct Job of box_attention.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "num_tokens", "heads", "d", "rows", "slots", "num_groups")),
        *((name, ctypes.c_void_p) for name in ("groups", "order", "index", "qkv", "pad", "table", "out", "lse")),
        *((name, ctypes.c_void_p) for name in ("d_out", "d_qkv", "d_pad", "d_table")),
    ]


def suits(x: Tensor) -> bool:
    """Whether the compiled engine takes tokens like ``x``: float32 on the CPU, not being exported, and it is there."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    if torch.compiler.is_compiling():  # a compiler cannot follow the building; it sees whether that has happened
        return _ready and not torch.compiler.is_exporting()
    return chosen_engine() in ("auto", "native") and library() is not None


def attend(qkv: Tensor, pad: Tensor, table: Tensor, boxes: Partition, num_heads: int) -> Tensor:
    """Attention of every token to its box.

    Args:
        qkv: (B, N, 3C), queries, keys and values of all tokens in grid order.
        pad: (3C,), the same of a padding token.
        table: (rows, heads), the relative position bias table.

    Returns:
        (B, N, C), in grid order.
    """
    packed = boxes.packed
    out, _ = _attention(qkv, pad, table, packed.order, packed.index, packed.groups, num_heads)
    return out


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """``layer(x)``, (..., in) -> (..., out), by oneDNN: the function that torch.compile uses, and on some processors much
    faster than the library PyTorch asks otherwise; by PyTorch where the engine does not serve."""
    if not suits(x) or not _onednn_takes(x):
        return layer(x)
    if torch.is_grad_enabled():
        return _Linear.apply(x, layer.weight, layer.bias)  # type: ignore[return-value]
    return _onednn(x, layer.weight, layer.bias)


def mlp(x: Tensor, fc1: nn.Linear, fc2: nn.Linear) -> Tensor:
    """``fc2(gelu(fc1(x)))``, (..., C) -> (..., C). Where no gradient is wanted, some rows at a time, so that the hidden
    layer, four times as wide, stays in the cache and is never in memory as a whole."""
    if not _onednn_takes(x):
        return linear(F.gelu(linear(x, fc1)), fc2)
    if torch.is_grad_enabled():
        return _GeluLinear.apply(linear(x, fc1), fc2.weight, fc2.bias)  # type: ignore[return-value]
    rows = x.flatten(0, -2)
    out = x.new_empty(rows.shape[0], fc2.out_features)
    step = max(1, _HIDDEN_VALUES // fc1.out_features)
    for part, place in zip(rows.split(step), out.split(step), strict=True):
        hidden = _onednn(part, fc1.weight, fc1.bias, "gelu")
        place.copy_(_onednn(hidden, fc2.weight, fc2.bias))
    return out.view(*x.shape[:-1], -1)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_y: Tensor):  # type: ignore[no-untyped-def]
        x, weight = ctx.saved_tensors
        return _gradients(ctx, x, weight, d_y)


class _GeluLinear(torch.autograd.Function):
    """GELU, then a linear layer. What GELU gives, a quarter of a training step's memory, is computed again in backward."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight)
        return _onednn(F.gelu(x), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_y: Tensor):  # type: ignore[no-untyped-def]
        x, weight = ctx.saved_tensors
        d_gelu, d_weight, d_bias = _gradients(ctx, F.gelu(x), weight, d_y)
        return None if d_gelu is None else torch.ops.aten.gelu_backward(d_gelu, x), d_weight, d_bias


def _gradients(ctx, x: Tensor, weight: Tensor, d_y: Tensor):  # type: ignore[no-untyped-def]
    """Of a linear layer: its input, its weight, its bias; None where nobody asks."""
    want_x, want_weight, want_bias = ctx.needs_input_grad
    d_x = _onednn(d_y, weight.t(), None) if want_x else None
    rows, d_rows = x.flatten(0, -2), d_y.flatten(0, -2)
    d_weight = None
    if want_weight:  # a short sum of long rows: quicker with the longer side first
        tall = weight.shape[0] >= weight.shape[1]
        d_weight = d_rows.t() @ rows if tall else (rows.t() @ d_rows).t()
    return d_x, d_weight, d_rows.sum(0) if want_bias else None


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    """``then``: what to do with the result while it is still in the cache, "none" or "gelu" (exact)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none" if then == "gelu" else "")


def _onednn_takes(x: Tensor) -> bool:
    return x.numel() > 0 and not torch.compiler.is_compiling() and _has_onednn()


@cache
def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


# The operator, as PyTorch sees it -------------------------------------------------------------------------------------


@torch.library.custom_op("videoswin::box_attention", mutates_args=(), device_types="cpu")
def _attention(
    qkv: Tensor, pad: Tensor, table: Tensor, order: Tensor, index: Tensor, groups: Tensor, num_heads: int
) -> tuple[Tensor, Tensor]:
    """(B, N, 3C) -> (B, N, C), and the log2 of each slot's sum of exponentials, (B, heads, M), for backward."""
    batch, num_tokens, width = qkv.shape
    qkv, pad, table = qkv.contiguous(), pad.contiguous(), table.contiguous()
    out = qkv.new_empty(batch, num_tokens, width // 3)
    lse = qkv.new_empty(batch, num_heads, order.numel())
    job = _job(qkv, pad, table, order, index, groups, num_heads)
    job.out, job.lse = out.data_ptr(), lse.data_ptr()
    _run(job)
    return out, lse


@_attention.register_fake
def _(qkv, pad, table, order, index, groups, num_heads):  # type: ignore[no-untyped-def]
    batch, num_tokens, width = qkv.shape
    return qkv.new_empty(batch, num_tokens, width // 3), qkv.new_empty(batch, num_heads, order.numel())


@torch.library.custom_op("videoswin::box_attention_backward", mutates_args=(), device_types="cpu")
def _attention_backward(
    d_out: Tensor,
    out: Tensor,
    lse: Tensor,
    qkv: Tensor,
    pad: Tensor,
    table: Tensor,
    order: Tensor,
    index: Tensor,
    groups: Tensor,
    num_heads: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of qkv, pad and table; the scores are computed again, from what was read."""
    d_out, out, lse = d_out.contiguous(), out.contiguous(), lse.contiguous()
    qkv, pad, table = qkv.contiguous(), pad.contiguous(), table.contiguous()
    d_qkv, d_pad, d_table = torch.empty_like(qkv), torch.zeros_like(pad), torch.zeros_like(table)
    job = _job(qkv, pad, table, order, index, groups, num_heads)
    job.out, job.lse, job.d_out = out.data_ptr(), lse.data_ptr(), d_out.data_ptr()
    job.d_qkv, job.d_pad, job.d_table = d_qkv.data_ptr(), d_pad.data_ptr(), d_table.data_ptr()
    _run(job)
    return d_qkv, d_pad, d_table


@_attention_backward.register_fake
def _(d_out, out, lse, qkv, pad, table, order, index, groups, num_heads):  # type: ignore[no-untyped-def]
    return torch.empty_like(qkv), torch.empty_like(pad), torch.empty_like(table)


def _keep_for_backward(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    *tensors, ctx.num_heads = inputs
    ctx.save_for_backward(*output, *tensors)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, d_out, _):  # type: ignore[no-untyped-def]
    gradients = _attention_backward(d_out, *ctx.saved_tensors, ctx.num_heads)
    return *gradients, None, None, None, None


_attention.register_autograd(_backward, setup_context=_keep_for_backward)


def _job(qkv: Tensor, pad: Tensor, table: Tensor, order: Tensor, index: Tensor, groups: Tensor, num_heads: int) -> _Job:
    batch, num_tokens, width = qkv.shape
    return _Job(
        batch=batch,
        num_tokens=num_tokens,
        heads=num_heads,
        d=width // 3 // num_heads,
        rows=table.shape[0],
        slots=order.numel(),
        num_groups=groups.shape[0],
        **{name: t.data_ptr() for name, t in (("groups", groups), ("order", order), ("index", index))},
        **{name: t.data_ptr() for name, t in (("qkv", qkv), ("pad", pad), ("table", table))},
    )


def _run(job: _Job) -> None:
    compiled = library()
    assert compiled is not None  # suits() was asked first
    if compiled.box_attention(ctypes.byref(job), ctypes.c_int64(torch.get_num_threads())):
        raise MemoryError("There is no memory left for attention. Use smaller batches or clips.")


# Compiling --------------------------------------------------------------------------------------------------------------


def library() -> ctypes.CDLL | None:
    """The compiled engine, built when first asked for; None where it cannot be had (:func:`why_not` tells why)."""
    return _build()[0]


def why_not() -> str:
    """Why there is no compiled engine here; empty if there is one."""
    return _build()[1]


@cache
def _build() -> tuple[ctypes.CDLL | None, str]:
    global _ready
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if compiler is None:
        return None, "no C compiler was found (cc, or $CC)"
    try:
        target = cache_folder() / "engine" / f"box_attention-{_fingerprint(compiler)}.so"
        if not target.is_file():
            _compile(compiler, target)
        compiled = ctypes.CDLL(os.fspath(target))
        _ready = True
        return compiled, ""
    except subprocess.CalledProcessError as error:
        return None, f"{compiler} could not compile it ({' '.join(error.stderr.split())[:200]})"
    except subprocess.TimeoutExpired:
        return None, f"{compiler} took longer than {_COMPILE_TIMEOUT_S} s"
    except OSError as error:
        return None, f"it could not be kept or loaded ({error})"


def _compile(compiler: str, target: Path) -> None:
    """Beside its place and then renamed into it: another process finds all of it or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # code is loaded from here: nobody else may write
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        built = Path(folder, "box_attention.so")
        command = [compiler, *_FLAGS, os.fspath(_SOURCE), "-o", os.fspath(built), "-lm"]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S)
        os.replace(built, target)


def _fingerprint(compiler: str) -> str:
    """Of all that decides what the compiler makes: a home folder may be shared by machines of different kinds."""
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True, timeout=30).stdout
    parts = (_SOURCE.read_text(encoding="utf-8"), " ".join(_FLAGS), version, platform.machine(), _cpu_flags())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def _cpu_flags() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return platform.processor()
