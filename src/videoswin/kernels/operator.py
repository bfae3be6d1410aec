"""Functions as operators of PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["register_operator", "wanted_gradients"]


def register_operator(name: str, device: str, function: Callable[..., Any], shapes: Callable[..., Any]) -> None:
    """Make ``function``, which changes none of its inputs, the operator ``torch.ops.<name>``.

    ``torch.library.custom_op`` does the same, but its operators import the compiler when they first run: a second, and 60 MB.

    Args:
        name: "namespace::operator".
        device: the kind of device whose tensors it takes, or "default": any.
        function: with types for all parameters and results.
        shapes: from the same arguments, results of the same sizes and types without contents, for tracers.
    """
    torch.library.define(name, torch.library.infer_schema(function, mutates_args=()))
    torch.library.impl(name, device, function)
    torch.library.register_fake(name, shapes)


def wanted_gradients(
    out: Tensor, inputs: Sequence[Tensor | None], d_out: Tensor, wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Of ``out`` by each of ``inputs``, as functions that PyTorch can differentiate again; None where one is not ``wanted``."""
    asked = [tensor for tensor, want in zip(inputs, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(out, asked, d_out, create_graph=True, allow_unused=True))  # type: ignore[arg-type]
    return [next(found) if want else None for want in wanted]
