"""Every error a user can cause, in one small tree.

Each is one line that names the file or the setting, gives the reason and ends with what to do next. The command line
prints the line and exits with code 2; Python callers catch :class:`VideoSwinError` or one of its children.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from os import PathLike, fspath

__all__ = [
    "ConfigError",
    "Interrupted",
    "MissingExtraError",
    "OutOfMemoryError",
    "OutputError",
    "TrainingError",
    "TruncatedError",
    "VideoError",
    "VideoSwinError",
    "WeightsError",
    "nearest",
]


class VideoSwinError(Exception):
    """Root of all errors raised on purpose by this package."""


class ConfigError(VideoSwinError, ValueError):
    """A setting, shape, label or index row that cannot be used."""


class MissingExtraError(VideoSwinError, ImportError):
    """An optional library is needed; the message holds the install command."""


class TrainingError(VideoSwinError):
    """A run that cannot go on: a loss or a gradient that is no number. The message says what was saved."""


class Interrupted(VideoSwinError):
    """A run that was asked to stop, by Ctrl-C or SIGTERM, and has saved where it stands."""


class _FileError(VideoSwinError):
    """An error about one file: ``path: reason. hint``."""

    def __init__(self, path: str | PathLike[str], reason: str, hint: str = "") -> None:
        self.path = _one_line(fspath(path))
        self.reason = _one_line(reason).rstrip(".")
        self.hint = _one_line(hint)
        super().__init__(self.path, self.reason, self.hint)  # the arguments, so that copies across processes work

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}. {self.hint}".strip()


class VideoError(_FileError):
    """A video that cannot be opened, decoded or trusted."""


class TruncatedError(VideoError):
    """A video that ends before what its container announces: cut off while it was copied, downloaded or recorded."""


class OutOfMemoryError(VideoError, MemoryError):
    """The machine ran out of memory on a video. That says nothing about the video: it is never counted as a bad one."""


class WeightsError(_FileError):
    """A checkpoint that cannot be read, recognised or trusted."""


class OutputError(_FileError):
    """A result that cannot be written, or would replace something that is not ours to replace."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest valid one, or all of them.

    >>> nearest("swin3d_tn", ["swin3d_t", "swin3d_s"])
    'Did you mean "swin3d_t"?'
    """
    names = sorted(valid)
    by_lower_case = {known.lower(): known for known in names}
    close = get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
    if close:
        return f'Did you mean "{by_lower_case[close[0]]}"?'
    return "Choose one of: " + ", ".join(names) + "."


def _one_line(text: str) -> str:
    """Text that stays on one line and can be printed: line breaks become spaces, other odd characters escapes."""
    if not text.isprintable():
        text = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
