"""Libraries that talk about themselves: what they print, log and warn about is not for our users.

Errors still come through: they are raised.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

__all__ = ["quiet"]


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Within the ``with`` block warnings are dropped (PyTorch's exporter warns about its own deprecated calls), stdout goes
    nowhere (it belongs to our results), and the named loggers say only what is an error."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
