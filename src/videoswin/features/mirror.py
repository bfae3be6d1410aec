"""A folder of features at an address of an object store, filled through a folder of this machine that mirrors it.

What was computed goes up at once, under its name made of contents, and is fetched from there when the command is given again, on
whichever machine. The layouts go up when all of them are made, ``index.jsonl`` last: without it the prefix is no folder of
features to any reader. An old one is taken away first.
"""

import hashlib
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from filelock import FileLock, Timeout

from videoswin.errors import ConfigError
from videoswin.features.folder import STORE
from videoswin.features.layouts import INDEX, SETTINGS, TABLE
from videoswin.features.leftovers import Layout
from videoswin.storage.addresses import file_system, local_path, reaching, shown
from videoswin.storage.atomic import replace_file
from videoswin.storage.cache import cache_folder

__all__ = ["Mirror", "local_folder", "mirrored"]

_UPLOADS = 4  # side by side, to stores that allow it
_WAITING = 64


def local_folder(out: str | Path) -> Path | None:
    """The folder of this machine that ``out`` means, a path or ``file://``; None if it is in a store.

    Raises:
        ConfigError: the address holds a password, or means the memory of one process.
        MissingExtraError: fsspec, or its library for such addresses, is not installed.
    """
    folder = local_path(out)
    if folder is None:
        if str(out).startswith("memory://"):
            raise ConfigError(f"{out}: the features would be gone with the process. Give a folder or a store.")
        file_system(str(out))
    return folder


class Mirror:
    """A prefix of a store and its mirror; made by :func:`mirrored`. ``fetch`` may be called by several threads."""

    def __init__(self, address: str, folder: Path) -> None:
        self.folder = folder
        self._address = address.rstrip("/")
        self._there: dict[str, dict[str, int]] = {}  # names and sizes of the objects of each folder that was looked at
        self._lock = Lock()
        with reaching(self._address) as (store, _):
            self._many = bool(store.async_impl)
        self._pool = ThreadPoolExecutor(_UPLOADS if self._many else 1, thread_name_prefix="videoswin-upload")
        self._waiting: deque[Future[None]] = deque()

    def fetch(self, path: Path) -> None:
        """Get a file of the store's, and what stands beside it under the same name, if they are in the store and not here.

        Raises:
            OutputError: the store cannot be reached.
        """
        for one in (path, path.with_suffix(".json")):
            if one.is_file() or self._size_there(one) is None:
                continue
            with self._lock, replace_file(one) as new, reaching(self._address) as (store, root):
                store.get_file(self._name_there(root, one), str(new))

    def keep(self, path: Path, computed: bool) -> None:
        """Put the same files into the store, behind the caller's back.

        Raises:
            OutputError: one of those before could not be put.
        """
        for one in (path, path.with_suffix(".json")):
            if one.is_file() and (computed or self._size_there(one) != one.stat().st_size):
                self._put_later(one)

    def publish(self, layout: Layout) -> list[str]:
        """Put the layouts, when all that was computed is there. What an earlier run left there is removed; gives its names.

        Raises:
            OutputError: something cannot be put.
        """
        self._settle()
        index = self.folder / INDEX
        with reaching(self._address) as (store, root):
            if store.exists(self._name_there(root, index)):
                store.rm_file(self._name_there(root, index))
        removed = self._remove_leftovers(layout)
        for one in sorted(self.folder.rglob("*")):
            if one.is_file() and one != index and one.relative_to(self.folder).parts[0] != STORE:
                self._put_later(one)
        self._settle()
        self._put(index)
        return removed

    def _remove_leftovers(self, layout: Layout) -> list[str]:
        with reaching(self._address) as (store, root):
            stages = [name for name in self._names_there(".", "directory") if name.startswith("stage")]
            names = [f"{stage}/{name}" for stage in stages for name in self._names_there(stage, "file")]
            settings = self._name_there(root, self.folder / SETTINGS)
            before = store.cat_file(settings) if store.exists(settings) else None
            found = layout.leftovers([*names, *self._names_there(".", "file")], before, TABLE)
            for name in found:
                store.rm_file(f"{root}/{name}")
        return found

    def close(self) -> None:
        """Nothing is put any more but what is on its way."""
        self._pool.shutdown(cancel_futures=True)

    def _put_later(self, path: Path) -> None:
        while self._waiting and (len(self._waiting) >= _WAITING or self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._put, path))

    def _settle(self) -> None:
        while self._waiting:
            self._waiting.popleft().result()

    def _put(self, path: Path) -> None:
        with reaching(self._address) as (store, root):
            name = self._name_there(root, path)
            if not self._many:  # it has folders
                store.makedirs(name.rpartition("/")[0], exist_ok=True)
            store.put_file(str(path), name)

    def _name_there(self, root: str, path: Path) -> str:
        return f"{root}/{path.relative_to(self.folder).as_posix()}"

    def _size_there(self, path: Path) -> int | None:
        """Of the object that ``path`` mirrors; a folder is listed once."""
        folder = path.parent.relative_to(self.folder).as_posix()
        with self._lock:
            if folder not in self._there:
                self._there[folder] = self._names_there(folder, "file")
            return self._there[folder].get(path.name)

    def _names_there(self, folder: str, kind: str) -> dict[str, int]:
        """Names and sizes of what a folder of the store holds: each "file" or each "directory"."""
        with reaching(self._address) as (store, root):
            store.invalidate_cache()
            try:
                found: list[dict[str, Any]] = store.ls(root if folder == "." else f"{root}/{folder}", detail=True)
            except FileNotFoundError:
                return {}
        return {one["name"].rstrip("/").rpartition("/")[2]: one["size"] for one in found if one["type"] == kind}


@contextmanager
def mirrored(address: str) -> Iterator[Mirror]:
    """The mirror of an address, in the cache; it is removed when the block ends well, and found again if it does not.

    Raises:
        ConfigError: another process of this machine fills the same address.
        OutputError: the store cannot be reached.
    """
    folder = (
        cache_folder() / "mirrors" / hashlib.blake2b(address.rstrip("/").encode(), digest_size=12).hexdigest()
    ).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"{shown(address)}: another process fills it. Wait for it, or stop it.") from error
    try:
        for old in folder.iterdir():  # layouts of a run that was stopped, of other videos perhaps
            if old.name != STORE:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        mirror = Mirror(address, folder)
        try:
            yield mirror
        finally:
            mirror.close()
        shutil.rmtree(folder)
    finally:
        lock.release()
