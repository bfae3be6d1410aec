"""The libraries of the formats: imported with a hint where they are missing, and kept from talking about themselves.

What they print, log and warn about is not for our users. Errors still come through: they are raised.
"""

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from typing import Any

from videoswin.errors import MissingExtraError

__all__ = ["import_library", "last_line", "quiet"]

_REPORTER = "openvino_telemetry"
_RAISES_TOO = "torch._subclasses.fake_tensor"
"""Logs the traceback of what it raises, of Ctrl-C as well."""


def import_library(name: str, extra: str, what: str) -> Any:
    """The library; ``what`` begins the sentence about it, such as "Export to onnx".

    Raises:
        MissingExtraError: it cannot be imported; the message says how to get it.
    """
    try:
        return _import_openvino() if name == "openvino" else import_module(name)
    except ImportError as error:
        missing = error.name or name
        raise MissingExtraError(f"{what} needs {missing} ({error}). pip install 'videoswin[{extra}]'") from error


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Within the ``with`` block warnings are dropped (PyTorch's exporter warns about its own deprecated calls), stdout goes
    nowhere (it belongs to our results), and the named loggers say only what is an error."""
    wanted = {**dict.fromkeys(loggers, logging.ERROR), _RAISES_TOO: logging.CRITICAL}
    levels = {name: logging.getLogger(name).level for name in wanted}
    for name, level in wanted.items():
        logging.getLogger(name).setLevel(level)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def last_line(error: Exception) -> str:
    """The reason in a message of many lines: OpenVINO and PyTorch name their own source files first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _import_openvino() -> Any:
    """OpenVINO would report over the network, at its import already, that it is being used. Where its reporter cannot be
    imported, it uses one that does nothing."""
    reporter = sys.modules.get(_REPORTER)
    sys.modules[_REPORTER] = None  # type: ignore[assignment]
    try:
        return import_module("openvino")
    finally:
        del sys.modules[_REPORTER]
        if reporter is not None:
            sys.modules[_REPORTER] = reporter
