"""One operator, attention inside boxes, and which engine computes it: chosen automatically, or named.

- ``auto``: the compiled engine where it serves (float32 on a CPU with a C compiler), Triton kernels for bfloat16 and float16 on
  NVIDIA's cards since Ampere, else the plain one.
- ``plain``: PyTorch's own operators only; what is exported, transformed by ``torch.func``, and what serves everywhere.
- ``cpu``: the compiled engine by name; an error where it cannot be had. Its name was "native".
- ``gpu``: Triton kernels by name, where a CUDA device and Triton are, also for float32; an error elsewhere. "triton" is its
  other name.
"""

import contextvars
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Literal, NamedTuple, ParamSpec, TypeVar, get_args

import torch
from torch import Tensor

from videoswin.errors import ConfigError, nearest
from videoswin.kernels import cpu, gpu, plain
from videoswin.kernels.boxes import Partition
from videoswin.kernels.kept import constant_when_traced
from videoswin.kernels.ordinary import ordinary

__all__ = ["Engine", "InForce", "attend", "chosen_engine", "engine_in_force", "same_engine", "use_engine"]

Engine = Literal["auto", "plain", "cpu", "gpu"]
_OTHER_NAMES: dict[str, Engine] = {"native": "cpu", "triton": "gpu"}
_VARIABLE = "VIDEOSWIN_ENGINE"

_named: contextvars.ContextVar[Engine | None] = contextvars.ContextVar("videoswin_engine", default=None)
# What is named anywhere in this process, as a string: torch.compile compares it, and traces anew when it changes.
_named_anywhere = ""
_counts: Counter[str] = Counter()
_lock = Lock()

_P = ParamSpec("_P")
_T = TypeVar("_T")


def attend(qkv: Tensor, pad: Tensor | None, table: Tensor, boxes: Partition, num_heads: int) -> Tensor:
    """Attention of every token to the tokens of its box.

    Args:
        qkv: (B, N, 3C), queries, keys and values of all tokens in grid order.
        pad: (3C,), the same of a padding token, or (B, 3C), for each clip. It is read only where ``boxes.padded``.
        table: (rows, heads), the relative position bias table.
        boxes: which tokens share a box.

    Returns:
        (B, N, C), in grid order.

    Raises:
        ConfigError: an engine is named that cannot be had here; boxes are padded, and ``pad`` is None.
    """
    if not boxes.padded:
        pad = qkv.new_empty(0)
    elif pad is None:
        raise ConfigError("These boxes hold padding tokens: attend() needs their queries, keys and values, pad=(3C,).")
    else:
        pad = pad.expand(qkv.shape[0], -1)
    return _engine_for(qkv, pad, table)(qkv, pad, table, boxes, num_heads)


def _engine_for(qkv: Tensor, pad: Tensor, table: Tensor) -> Callable[[Tensor, Tensor, Tensor, Partition, int], Tensor]:
    if torch.compiler.is_exporting():
        return plain.attend
    if torch.compiler.is_compiling():
        name = _traced(_named_anywhere, qkv.device.type, qkv.dtype)
    elif not ordinary(qkv, pad, table):
        return plain.attend
    else:
        name, _ = engine_in_force(qkv.device.type, qkv.dtype)
    if name == "cpu" and pad.dtype == table.dtype == torch.float32:
        return cpu.attend
    return gpu.attend if name == "gpu" else plain.attend


@constant_when_traced
def _traced(_: str, device: str, dtype: torch.dtype) -> str:
    """The engine in force, for a compiler, which does not know context variables and cannot follow the building."""
    return engine_in_force(device, dtype).name


class InForce(NamedTuple):
    """The engine that computes attention."""

    name: Literal["plain", "cpu", "gpu"]
    reason: str
    """Why it is the plain one; empty for the others."""


def engine_in_force(device: str = "cpu", dtype: torch.dtype = torch.float32) -> InForce:
    """The engine that computes attention of ordinary tensors here and now. Compiles it if that has not happened yet.

    Raises:
        ConfigError: ``$VIDEOSWIN_ENGINE`` names an engine that there is not, or that cannot be had here.
    """
    name = chosen_engine()
    if name == "plain":
        return InForce("plain", "it was named")
    if name == "gpu":
        _require("gpu")
        return InForce("gpu", "") if gpu.takes(device, dtype) else InForce("plain", f"gpu serves {gpu.SERVES}")
    if name == "auto" and gpu.serves_best(device, dtype):
        return InForce("gpu", "")
    if name == "cpu":
        _require("cpu")
    if device != "cpu" or dtype != torch.float32:
        return InForce("plain", "the compiled engine serves float32 on a CPU")
    return InForce("plain", reason) if (reason := cpu.why_not()) else InForce("cpu", "")


def chosen_engine() -> Engine:
    """What was named: by :func:`use_engine`, by ``$VIDEOSWIN_ENGINE``; or "auto"."""
    return _named.get() or _checked(os.environ.get(_VARIABLE) or "auto")


@contextmanager
def use_engine(name: str) -> Iterator[None]:
    """Compute with one engine for the length of a ``with`` block, in this thread and task.

    Raises:
        ConfigError: there is no such engine, or "cpu" or "gpu" cannot be had here; the reason is given.

    >>> with use_engine("plain"):
    ...     pass
    """
    engine = _checked(name)
    _require(engine)
    before = _named.set(engine)
    _count(engine, 1)
    try:
        yield
    finally:
        _count(engine, -1)
        _named.reset(before)


def same_engine(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """``function``, to be called later and perhaps by another thread, with the choice that is in force now.

    What a checkpointed block computes again in the backward pass has to be what it computed before.
    """
    if torch.compiler.is_compiling():
        return function
    return partial(_with_engine, chosen_engine(), function)


def _with_engine(engine: Engine, function: Callable[..., _T], *args: object, **options: object) -> _T:
    with use_engine(engine):
        return function(*args, **options)


def _require(engine: Engine) -> None:
    reason = {"cpu": cpu.why_not, "gpu": gpu.why_not}.get(engine, str)()
    if reason:
        raise ConfigError(f'The engine "{engine}" cannot be had here: {reason}. Use "auto" or "plain".')


def _checked(name: str) -> Engine:
    name = _OTHER_NAMES.get(name, name)
    if name not in get_args(Engine):
        raise ConfigError(
            f'There is no engine "{name}" (use_engine, or ${_VARIABLE}). {nearest(name, get_args(Engine))}'
        )
    return name  # type: ignore[return-value]


def _count(engine: Engine, change: int) -> None:
    global _named_anywhere
    with _lock:
        _counts[engine] += change
        _named_anywhere = " ".join(sorted(+_counts))
