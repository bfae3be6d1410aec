"""Files and folders that are there whole or not at all.

They are made beside their place, flushed to the disk and then renamed into it, so that a reader (or the next session after a
power cut) finds the old version or the new one, never half of either.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videoswin.errors import WeightsError

__all__ = ["replace_file", "replace_folder", "replace_together", "settled_folder"]


@contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """A path to write to; when the ``with`` block ends well, the new file takes the place of ``path`` in one step.

    When it ends with an exception, ``path`` is as it was. The folder has to exist.
    """
    path = Path(path)
    new = path.with_name(f".{path.name}.new")
    try:
        yield new
        _flush_to_disk(new)
        os.replace(new, path)
        _flush_to_disk(path.parent)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def replace_folder(path: str | Path, marker: str) -> Iterator[Path]:
    """An empty folder to fill; when the ``with`` block ends well, it takes the place of the folder ``path``.

    No system renames a folder over a full one in one step. So the old one steps aside first, to ``.NAME.previous``, and
    goes when the new one is in place; :func:`settled_folder` finds it if the power fails just between the two.

    Args:
        marker: a file name that folders of this kind hold. A folder with other things in it is not replaced.

    Raises:
        WeightsError: ``path`` is a file, or a folder of something else.
    """
    path = Path(os.path.abspath(path))  # "." has no name to put a dot before
    _require_replaceable(path, marker)
    path.parent.mkdir(parents=True, exist_ok=True)
    new, previous = path.with_name(f".{path.name}.new"), _previous(path)
    shutil.rmtree(new, ignore_errors=True)  # what a killed process left
    new.mkdir()
    try:
        yield new
        for file in sorted(new.rglob("*")):
            _flush_to_disk(file)
        _flush_to_disk(new)
        _swap(new, path, previous)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextmanager
def replace_together(parent: str | Path, last: str) -> Iterator[Path]:
    """An empty folder to fill with files; when the ``with`` block ends well, they move into ``parent``, one by one, replacing
    older ones of their names; the file ``last``, which the others belong to, goes last. When it ends with an exception,
    ``parent`` is as it was.
    """
    parent = Path(os.path.abspath(parent))
    new = parent / f".{last}.new"
    shutil.rmtree(new, ignore_errors=True)  # what a killed process left
    new.mkdir()
    try:
        yield new
        files = sorted(new.iterdir(), key=lambda file: file.name == last)
        for file in files:
            _flush_to_disk(file)
        for file in files:
            os.replace(file, parent / file.name)
        _flush_to_disk(parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def settled_folder(path: str | Path) -> Path:
    """``path`` itself, or its previous version if a :func:`replace_folder` was cut off between its two steps."""
    path = Path(path)
    previous = _previous(path)
    return previous if os.path.isdir(previous) and not os.path.exists(path) else path


def _swap(new: Path, path: Path, previous: Path) -> None:
    if path.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.rename(path, previous)
    try:
        os.rename(new, path)
    except OSError:
        if previous.is_dir():
            os.rename(previous, path)
        raise
    _flush_to_disk(path.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _previous(path: Path) -> Path:
    absolute = Path(os.path.abspath(path))
    return absolute.with_name(f".{absolute.name}.previous")


def _require_replaceable(path: Path, marker: str) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise WeightsError(path, "this is a file or a link, and a checkpoint is a folder", "Give another folder")
    if path.is_dir() and not (path / marker).is_file() and any(path.iterdir()):
        raise WeightsError(path, f"the folder holds other things (no {marker}) and is left alone", "Give a new folder")


def _flush_to_disk(path: Path) -> None:
    """A rename is safe only after the contents are on the disk, and lasting only after the folder is."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
