"""Which code computes attention: chosen automatically, or named.

``auto``: the compiled engine where it serves (float32 on a CPU with a C compiler), else the plain one.
``plain``: PyTorch's own operators only; what is exported and what runs on GPUs.
``native``: the compiled engine; an error where it cannot be had.
``triton``: the GPU engine, where a CUDA device and Triton are; an error elsewhere. "auto" never chooses it, since nobody has
measured it on a GPU.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from videoswin.errors import ConfigError, nearest

__all__ = ["Engine", "chosen_engine", "use_engine"]

Engine = Literal["auto", "plain", "native", "triton"]

_VARIABLE = "VIDEOSWIN_ENGINE"
_named: list[Engine] = []


def chosen_engine() -> Engine:
    """The engine that is in force: of :func:`use_engine`, of ``$VIDEOSWIN_ENGINE``, or "auto"."""
    return _named[-1] if _named else _checked(os.environ.get(_VARIABLE) or "auto")


@contextmanager
def use_engine(name: Engine) -> Iterator[None]:
    """Compute with one engine for the length of a ``with`` block, in all threads.

    Raises:
        ConfigError: there is no such engine, or "native" or "triton" cannot be had here; the reason is given.

    >>> with use_engine("plain"):
    ...     pass
    """
    if reason := _why_not(_checked(name)):
        raise ConfigError(f'The engine "{name}" cannot be had here: {reason}. Use "auto" or "plain".')
    _named.append(name)
    try:
        yield
    finally:
        _named.pop()


def _why_not(name: Engine) -> str:
    if name == "native":
        from videoswin.kernels.cpu import why_not

        return why_not()
    if name == "triton":
        from videoswin.kernels.gpu import why_not

        return why_not()
    return ""


def _checked(name: str) -> Engine:
    if name not in get_args(Engine):
        raise ConfigError(
            f'There is no engine "{name}" (use_engine, or ${_VARIABLE}). {nearest(name, get_args(Engine))}'
        )
    return name  # type: ignore[return-value]
