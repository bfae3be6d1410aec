"""Files that have a name, downloaded once.

A file is fetched into ``NAME.part``, checked, and renamed into its place, so that what stands there is whole. An
interrupted download goes on where it stopped, if the server can and the file there is still the same one. Beside it
stands ``NAME.sha256``, the sum of what was downloaded, to which later loads hold the file. One process downloads; others
that want the same file wait for it. Where the file is there, the network is never asked.

PyTorch's ``torch.hub.download_url_to_file`` does part of this, and is not used: it has no limit on size or time, follows
redirects to http, starts over after each interruption, and checks nothing where the file's name carries no sum.
"""

import errno
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from videoswin.errors import WeightsError
from videoswin.storage.atomic import replace_file, require_replaceable_file
from videoswin.storage.cache import cache_folder
from videoswin.storage.http import Gone, Interruption, Limits, Refused, Stale, is_allowed, transfer

__all__ = ["Progress", "cached_file", "fetch", "shown"]

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes of the whole file, or None where the server does not say."""

_ATTEMPTS = 6
_PAUSES_S = (1, 2, 4, 8, 16)
_MAX_BYTES = 8 * 2**30
_MAX_SECONDS = 6 * 3600.0
_OTHER_MEANS = "Download it by other means and give the file"


def cached_file(file: str) -> Path | None:
    """Where a file stands if it was downloaded, or None; it is not read."""
    path = cache_folder() / file
    return path if path.is_file() else None


def fetch(
    url: str,
    file: str,
    sha256: str | None = None,
    progress: Progress | None = None,
    *,
    max_bytes: int = _MAX_BYTES,
    check: Callable[[Path], object] | None = None,
) -> Path:
    """The file in the cache, downloaded if it is not there yet.

    Args:
        url: https; http only for this machine itself.
        file: its name in the cache.
        sha256: the first digits of its SHA-256, or None if nothing is known. Then the sum of the first download counts.
        max_bytes: a server that sends more is refused.
        check: looks at a file that was just downloaded, before it gets its name; a :class:`WeightsError` from it says
            that this is another file than was wanted.

    Raises:
        WeightsError: it cannot be downloaded, or is not the file it should be. What came so far is kept for the next
            try, unless it is wrong.
    """
    path = cache_folder() / file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            with FileLock(path.with_name(f".{file}.lock")):
                if not path.is_file():  # another process was faster
                    _download(url, path, sha256, progress or _ignore, max_bytes, check)
                    return path
    except OSError as error:
        raise _unwritable(path, error) from error
    _verify(path, sha256)
    return path


@contextmanager
def shown(what: str) -> Iterator[Progress]:
    """A progress callback that draws a bar on stderr, for a person at a terminal, once bytes come."""
    if not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bar = Bar(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty())
    task = bar.add_task(f"downloading {what}", total=None)

    def progress(done: int, total: int | None) -> None:
        bar.start()  # a second start does nothing
        bar.update(task, completed=done, total=total)

    try:
        yield progress
    finally:
        bar.stop()


def _download(
    url: str,
    path: Path,
    sha256: str | None,
    progress: Progress,
    max_bytes: int,
    check: Callable[[Path], object] | None,
) -> None:
    if not is_allowed(url):
        raise WeightsError(path, f"its address is not https ({url})", _OTHER_MEANS)
    part = path.with_name(f"{path.name}.part")
    require_replaceable_file(part)
    _transfer_with_patience(url, path, part, Limits(max_bytes, time.monotonic() + _MAX_SECONDS), progress)
    found = _sum(part)
    if sha256 is not None and not found.startswith(sha256):
        part.unlink()
        reason = f"what {url} gave has another SHA-256: it should start with {sha256}, and is {found}"
        raise WeightsError(path, reason, "It was removed. Try again; if that happens twice, do not use the file")
    if check is not None:
        try:
            check(part)
        except WeightsError as error:
            part.unlink()
            reason = f"what {url} gave is not the file that was expected ({error.reason})"
            raise WeightsError(path, reason, "It was removed. Find the file elsewhere and give it") from error
    with replace_file(_sum_file(path)) as new:  # first: a file without its sum is unguarded
        new.write_text(f"{found}  {path.name}\n", encoding="ascii")
    os.replace(part, path)


def _transfer_with_patience(url: str, path: Path, part: Path, limits: Limits, progress: Progress) -> None:
    """Try a few times, each from where the last one stopped."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            transfer(url, part, limits, lambda need: _require_space(path, need), progress)
            return
        except Gone as error:
            reason = f"there is no such file at {url}"
            raise WeightsError(path, reason, "Find it elsewhere and give the file: videoswin.load(FILE)") from error
        except Refused as error:
            raise WeightsError(path, f"{url} was refused ({error})", _OTHER_MEANS) from error
        except Stale:  # what came so far belongs to another version of the file; it was removed
            continue
        except Interruption as error:
            if attempt == _ATTEMPTS or time.monotonic() > limits.deadline:
                have = part.stat().st_size if part.exists() else 0
                reason = f"{url} could not be downloaded ({error}; {attempt} attempts, {have:,} bytes are there)"
                hint = "Check the network and run it again, it goes on from there; or give a file of your own"
                raise WeightsError(path, reason, hint) from error
            time.sleep(_PAUSES_S[attempt - 1])
    raise WeightsError(path, f"{url} changed with every attempt", "Try again later")


def _require_space(path: Path, need: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if need > free:
        raise _no_space(path, f"{need:,} bytes are needed and {free:,} are free")


def _no_space(path: Path, what: str) -> WeightsError:
    hint = "Make room there, or name a folder on another disk in VIDEOSWIN_CACHE"
    return WeightsError(path, f"the disk is full ({what})", hint)


def _unwritable(path: Path, error: OSError) -> WeightsError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(path, error.strerror or "no space left")
    reason = f"it cannot be stored ({error.strerror or error})"
    return WeightsError(path, reason, "Check the rights there, or name another folder in VIDEOSWIN_CACHE")


def _verify(path: Path, sha256: str | None) -> None:
    """Hold a file that is there to its sum: what its name promises, and what was first downloaded."""
    try:
        noted = _sum_file(path).read_text(encoding="ascii").split()[0]
    except (FileNotFoundError, IndexError, UnicodeDecodeError):
        noted = sha256 or ""  # put there by hand
    found = _sum(path)
    for expected in (noted, sha256 or ""):
        if not found.startswith(expected):
            reason = f"it is not what was downloaded: its SHA-256 should start with {expected}, and is {found}"
            raise WeightsError(path, reason, "Remove it, and it will be downloaded again")


def _sum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ignore(done: int, total: int | None) -> None:
    """No bar."""
