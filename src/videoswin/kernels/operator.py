"""Functions as operators of PyTorch."""

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["register_operator"]


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
