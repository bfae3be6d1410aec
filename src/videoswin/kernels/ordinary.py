"""What a quick way has to know before it takes the place of PyTorch's own: whether anybody could tell the difference.

A layer may carry hooks, adapters or parametrizations; tensors may be subclasses, be traced, or be transformed by
``torch.func``. A quick way serves ordinary tensors and untouched layers only, and PyTorch's own code does everything else.
Some of these questions have no public answer in PyTorch. One that a future release no longer answers counts as a "yes, it is
transformed": results stay right, and only speed is lost (tests/kernels/test_ordinary.py would tell).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as _modules

__all__ = ["as_made", "attached", "ordinary", "transformed", "watched"]

_PLAIN_TYPES = (Tensor, nn.Parameter)
_FORWARDS: dict[type[nn.Module], Callable[..., Any]] = {kind: kind.forward for kind in (nn.Linear, nn.LayerNorm)}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def ordinary(*tensors: Tensor) -> bool:
    """Whether these are tensors as such, in a run as such: no subclass, not traced, not transformed."""
    for tensor in tensors:
        if type(tensor) not in _PLAIN_TYPES:
            return False
    return not (_is_being_traced() or transformed(*tensors))


def transformed(*tensors: Tensor) -> bool:
    """Whether ``torch.func`` (grad, vmap, jvp, ...) is at work, or one of the tensors carries a forward-mode tangent."""
    if torch.compiler.is_compiling():
        return False  # a compiler looks through transforms by itself
    if _transforms_are_active() or any(_is_mapped(tensor) for tensor in tensors):
        return True
    return any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)


def watched() -> bool:
    """Whether a mode sees each operator, as FLOP counters and tracers do, or functions of ``torch`` are overridden.

    A default device is such a mode too, but one that changes nothing about tensors that are there.
    """
    if _dispatch_modes() > 0:
        return True
    return _function_modes() > 0 and any(
        type(mode).__module__ != "torch.utils._device" for mode in _function_mode_stack()
    )


def as_made(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether this is exactly PyTorch's layer of that kind, and nothing is attached to it."""
    return type(layer) is kind and kind.forward is _FORWARDS[kind] and not attached(layer)


def attached(module: nn.Module) -> bool:
    """Whether calling a module does more than its class's ``forward``: hooks, a forward of its own, a compiled one."""
    own = module.__dict__
    return (
        "forward" in own
        or bool(own.get("_compiled_call_impl"))
        or any(own.get(hooks, True) for hooks in _HOOKS)
        or bool(_global_hooks())
    )


def _asked(owner: object, name: str, otherwise: Any) -> Callable[..., Any]:
    return getattr(owner, name, lambda *_: otherwise)


_is_being_traced = _asked(torch.jit, "is_tracing", True)
_transforms_are_active = _asked(torch._C, "_are_functorch_transforms_active", True)
_is_mapped = _asked(
    getattr(torch._C, "_functorch", None), "is_legacy_batchedtensor", True
)  # of autograd's is_grads_batched
_dispatch_modes = _asked(torch._C, "_len_torch_dispatch_stack", 1)
_function_modes = _asked(torch._C, "_len_torch_function_stack", 1)
_function_mode_stack = _asked(torch.overrides, "_get_current_function_mode_stack", [None])
_global_hooks = _asked(_modules, "_has_any_global_hook", True)
