"""Files and folders that are there whole or not at all.

They are made in a hidden folder beside their place, flushed to the disk and then renamed into it, so that a reader (or the
next session after a power cut) finds the old version or the new one, never half of either. The hidden folder has a name of
its own for each writer: two that save under one name do not disturb each other, and the later one wins. It is locked while
its writer lives; what a killed process left is removed by the next one that writes under the same name.
"""

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from videoswin.errors import OutputError, VideoSwinError, WeightsError

__all__ = [
    "replace_file", "replace_folder", "replace_together", "require_replaceable_file", "require_replaceable_folder",
    "settled_folder",
]  # fmt: skip

_OF_THE_DISK = {
    errno.ENOSPC: ("the disk is full", "Make room there"),
    errno.EDQUOT: ("the disk quota is used up", "Make room there"),
    errno.EFBIG: ("the file is larger than the system allows", "Give another disk, or raise the limit (ulimit -f)"),
    errno.EROFS: ("the disk is mounted read-only", "Give another place"),
    errno.EACCES: (
        "there is no right to write there",
        "Check the rights of the folder (ls -ld), or give another place",
    ),
    errno.EPERM: ("there is no right to write there", "Check the rights of the folder (ls -ld), or give another place"),
    errno.EIO: ("the disk reports an error", "Give another disk"),
    errno.ENAMETOOLONG: ("the name is too long", "Give a shorter one"),
    errno.ENOENT: ("the folder it should stand in does not exist", "Make it first"),
    errno.ENOTDIR: ("what it should stand in is no folder", "Give another place"),
    0: ("the writing broke off", "Check the space and the limits there (df -h, ulimit -a)"),
}
_BROKEN_OFF = re.compile(r"inline_container|iostream|fail\w* (writing|to write)|write fail", re.IGNORECASE)
"""What PyTorch and other C++ libraries say when a write fails, without the reason."""


@contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """A path to write to; when the ``with`` block ends well, the new file takes the place of ``path`` in one step.

    When it ends with an exception, ``path`` is as it was. The folder has to exist. The new file is readable as the umask
    says. Whether the old one may be replaced is the caller's to check first: :mod:`videoswin.storage.outputs`.

    Raises:
        OutputError: the disk is full, or the file cannot be written there; ``path`` is a link, a folder or a device.
    """
    path = Path(os.path.abspath(path))
    require_replaceable_file(path)
    with _workshop(path) as folder:
        new = folder / path.name
        new.touch()
        mode = stat.S_IMODE(new.stat().st_mode)
        yield new
        new.chmod(mode)  # some libraries make a file anew that its owner alone can read, whatever the umask says
        _flush_to_disk(new)
        os.replace(new, path)
        _flush_to_disk(path.parent)


@contextmanager
def replace_folder(path: str | Path, marker: str) -> Iterator[Path]:
    """An empty folder to fill; when the ``with`` block ends well, it takes the place of the folder ``path``.

    No system renames a folder over a full one in one step. So the old one steps aside first, to ``.NAME.previous``, and
    goes when the new one is in place; :func:`settled_folder` finds it if the power fails just between the two.

    Args:
        marker: a file name that folders of this kind hold. A folder with other things in it is not replaced.

    Raises:
        WeightsError: ``path`` is a file, a link, or a folder of something else.
        OutputError: the disk is full, or the folder cannot be written there.
    """
    path = Path(os.path.abspath(path))  # "." has no name to put a dot before
    with _as_output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.parent, wait=True):  # not while another process swaps it
            require_replaceable_folder(path, marker)
    with _workshop(path) as folder:
        new = folder / path.name
        new.mkdir()
        yield new
        for file in sorted(new.rglob("*")):
            _flush_to_disk(file)
        _flush_to_disk(new)
        with _lock(path.parent, wait=True):
            _swap(new, path)


@contextmanager
def replace_together(parent: str | Path, last: str) -> Iterator[Path]:
    """An empty folder to fill with files; when the ``with`` block ends well, they move into ``parent``, one by one, replacing
    older ones of their names; the file ``last``, which the others belong to, goes last. When it ends with an exception,
    ``parent`` is as it was.

    Raises:
        OutputError: the disk is full, or the files cannot be written there.
    """
    parent = Path(os.path.abspath(parent))
    with _workshop(parent / last) as folder:
        new = folder / "files"
        new.mkdir()
        yield new
        files = sorted(new.iterdir(), key=lambda file: file.name == last)
        for file in files:
            require_replaceable_file(parent / file.name)
            _flush_to_disk(file)
        for file in files:
            os.replace(file, parent / file.name)
        _flush_to_disk(parent)


def settled_folder(path: str | Path) -> Path:
    """``path`` itself, or its previous version if a :func:`replace_folder` was cut off between its two steps."""
    path = Path(path)
    previous = _previous(path)
    return previous if os.path.isdir(previous) and not os.path.exists(path) else path


def require_replaceable_file(path: Path) -> None:
    """Nothing is there, or a regular file; else an :class:`OutputError`. A link is refused, not followed and not replaced."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _output_error(path, error) or OutputError(path, f"the path cannot be used ({error})") from error
    if stat.S_ISLNK(mode):
        target = os.readlink(path)
        raise OutputError(
            path, f"this is a link (to {target}), and nothing is written through links", "Give another name"
        )
    if stat.S_ISDIR(mode):
        raise OutputError(path, "this is a folder", "Give the name of a file")
    if not stat.S_ISREG(mode):
        raise OutputError(path, "this is a device or a pipe", "Give the name of a file")


def require_replaceable_folder(path: Path, marker: str) -> None:
    """Nothing is there, or an empty folder, or one that holds ``marker``; else a :class:`WeightsError`."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise WeightsError(path, "this is a file or a link, and a checkpoint is a folder", "Give another folder")
    if path.is_dir() and not (path / marker).is_file() and any(path.iterdir()):
        raise WeightsError(path, f"the folder holds other things (no {marker}) and is left alone", "Give a new folder")


# The hidden folder ----------------------------------------------------------------------------------------------------


@contextmanager
def _workshop(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path`` that belongs to this writer alone, and is gone afterwards.

    What the ``with`` block raises about writing there becomes an :class:`OutputError` about ``path``.
    """
    with _as_output_errors(path):
        _remove_left_overs(path)
        for _ in range(100):
            folder = Path(tempfile.mkdtemp(".new", _prefix(path), path.parent))
            with _lock(folder) as is_locked:
                if not (is_locked and folder.is_dir()):  # another process took it for a left-over
                    continue
                try:
                    yield folder
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
                return
    raise OutputError(path, "other processes keep removing its temporary files", "Try again, or give another place")


def _prefix(path: Path) -> str:
    return f".{path.name[:60]}."  # a name may have 255 bytes, and the random part needs some


def _remove_left_overs(path: Path) -> None:
    """Of writers of the same name that were killed: nobody holds their lock any more."""
    if fcntl is None or path.parent.stat().st_nlink == 2:
        return  # most file systems count the folders inside: there are none, and a million files need not be looked through
    prefix = _prefix(path)
    with os.scandir(path.parent) as entries:
        names = [e.name for e in entries if e.name.startswith(prefix) and e.name.endswith(".new")]
    for name in names:
        folder = path.parent / name
        if not folder.is_dir() or folder.is_symlink() or not re.fullmatch(r"[a-z0-9_]{8}", name[len(prefix) : -4]):
            continue
        with suppress(OSError), _lock(folder) as is_locked:
            if is_locked:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(folder: Path, wait: bool = False) -> Iterator[bool]:
    """Whether the folder is there and its lock could be had; it ends with the block or the process. Where there are no
    locks, True."""
    if fcntl is None:
        yield True
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            locked = True
        except BlockingIOError:
            locked = False
        except OSError:  # a file system without locks
            locked = True
        yield locked
    finally:
        os.close(descriptor)


def _swap(new: Path, path: Path) -> None:
    previous = _previous(path)
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


def _flush_to_disk(path: Path) -> None:
    """A rename is safe only after the contents are on the disk, and lasting only after the folder is."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Errors ---------------------------------------------------------------------------------------------------------------


@contextmanager
def _as_output_errors(path: Path) -> Iterator[None]:
    """Also of files that are made inside the hidden folder: errors name what the user named."""
    try:
        yield
    except (OutputError, WeightsError) as error:
        if not _is_beside(path, error.path) or error.path == str(path):
            raise
        raise type(error)(path, error.reason, error.hint) from error
    except VideoSwinError:
        raise
    except Exception as error:
        if (ours := _output_error(path, error)) is None:
            raise
        raise ours from error


def _output_error(path: Path, error: Exception) -> OutputError | None:
    """``error`` as one line about ``path``, if it is about writing there."""
    number = _system_error(path, error)
    if number is None:
        return None
    reason, hint = _OF_THE_DISK[number]
    return OutputError(path, f"it cannot be written: {reason}", hint)


def _system_error(path: Path, error: Exception) -> int | None:
    """The system's error number in ``error``. Libraries in Rust and C++ raise errors of their own, with it in the text or
    without it."""
    if isinstance(error, OSError):
        elsewhere = error.filename is not None and not _is_beside(path, error.filename)
        return error.errno if error.errno in _OF_THE_DISK and not elsewhere else None
    text = str(error)
    if (found := re.search(r"os error (\d+)", text)) and int(found[1]) in _OF_THE_DISK:
        return int(found[1])
    if re.search(r"no space left|disk full", text, re.IGNORECASE):
        return errno.ENOSPC
    if _BROKEN_OFF.search(text):
        return errno.ENOSPC if shutil.disk_usage(path.parent).free < 2**20 else 0
    return None


def _is_beside(path: Path, file: object) -> bool:
    """Whether an error's file is ``path``, its folder, or something in the hidden folder: not another file that was read."""
    name = os.path.abspath(os.fsdecode(file)) if isinstance(file, str | bytes | os.PathLike) else ""
    return name in (str(path), str(path.parent)) or name.startswith(str(path.parent / _prefix(path)))
