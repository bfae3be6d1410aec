"""Where a result may be written: one rule for every output that a user names.

Asked before the work starts, so that nobody waits an hour for a line that says no. The answer is yes for a new name in a
folder that can be written to, for an empty file, and for an older file of the same kind that videoswin wrote. It is no for

- an input, under whatever name (the same inode);
- a link, which is not followed and not replaced; links in the folders on the way are followed;
- a folder, a device, a pipe;
- a file that is not known to be videoswin's.

The file itself is then written by :func:`~videoswin.storage.atomic.replace_file`, which keeps the old one until then::

    path = require_writable_output(path, PAGE, inputs=[video])
    ...
    with replace_file(path) as new:
        new.write_text(page)
"""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from videoswin.errors import OutputError
from videoswin.storage.atomic import require_replaceable_file

__all__ = [
    "EXPORTED",
    "PAGE",
    "PICTURE",
    "RECORDING",
    "Kind",
    "csv_table",
    "require_writable_folder",
    "require_writable_output",
]

_LOOKED_AT = 2**16  # bytes, at the beginning and at the end: where marks are, also in large files


@dataclass(frozen=True)
class Kind:
    """What an older file has to be to be replaced."""

    title: str
    """As in "a page that videoswin wrote"."""
    starts: tuple[bytes, ...] = (b"",)
    """What such a file may begin with, in any case of letters."""
    at: int = 0
    """Where that stands, in bytes."""
    mark: bytes = b"videoswin"
    """What its first or last 64 KiB hold."""

    def fits(self, path: Path) -> bool:
        """Whether the file is of this kind, or empty."""
        with path.open("rb") as file:
            head = file.read(_LOOKED_AT)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOOKED_AT))
            tail = file.read(_LOOKED_AT)
        begins = any(head[self.at :].lower().startswith(start.lower()) for start in self.starts)
        return not head or (begins and (self.mark in head or self.mark in tail))


PAGE = Kind("a page that videoswin wrote", (b"<!doctype html",))
"""HTML; the page's ``generator`` says videoswin."""
PICTURE = Kind("a picture that videoswin wrote", (b"\x89PNG",))
"""PNG, saved with ``metadata={"Software": "videoswin"}``."""
RECORDING = Kind("a recording that videoswin made", (b"ftyp",), at=4)
"""MP4 whose container metadata holds ``comment=videoswin``."""
EXPORTED = Kind("a model that videoswin exported")


def csv_table(*columns: str) -> Kind:
    """CSV with exactly this first line; it has no room for another mark."""
    first_line = ",".join(columns).encode()
    return Kind("a table that videoswin wrote", (first_line + b"\r\n", first_line + b"\n"), mark=b"")


def require_writable_output(path: str | Path, kind: Kind, inputs: Iterable[object] = ()) -> Path:
    """The path, if a result of this kind may be written there; see the top of this file.

    Args:
        inputs: what the work reads: paths, or whatever else the user named (an address, the number of a camera).

    Raises:
        OutputError: it may not, with the reason.
    """
    path = Path(path)
    for source in inputs:
        if _is_same_file(path, source):
            raise OutputError(path, f"this is the input itself ({source}), which would be lost", "Give another name")
    require_replaceable_file(path)
    if path.exists():
        _require_ours(path, kind)
    require_writable_folder(path)
    return path


def _is_same_file(path: Path, source: object) -> bool:
    if not isinstance(source, str | bytes | os.PathLike):
        return False
    try:
        return os.path.samefile(path, source)
    except (OSError, ValueError):  # one of them is not there; an address is no path
        return False


def _require_ours(path: Path, kind: Kind) -> None:
    try:
        ours = kind.fits(path)
    except OSError as error:
        reason = f"there is a file already, and it cannot be read ({error.strerror})"
        raise OutputError(path, reason, "Give another name") from error
    if not ours:
        reason = f"there is a file already that is not {kind.title}, and it is left alone"
        raise OutputError(path, reason, "Give another name, or remove it first")
    if not os.access(path, os.W_OK):
        raise OutputError(path, "there is a file already that is write-protected", "Give another name")


def require_writable_folder(path: Path) -> None:
    """The folder that ``path`` is to stand in is there and can be written to; else an :class:`OutputError`."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(path, "the folder it should stand in does not exist", "Make it first")
    try:  # rights alone do not tell: of root, of disks that are mounted read-only
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = f"nothing can be written in its folder ({error.strerror})"
        raise OutputError(path, reason, "Check its rights and the space there, or give another one") from error
