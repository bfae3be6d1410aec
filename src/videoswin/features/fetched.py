"""Features at an address of a store, for those who read them: what is asked for is copied into the cache, once.

A copy is used as long as its contents have the sum that the store's ``index.jsonl`` gives at this moment; the index itself is
never kept. So features that were made anew are never read as they were before, whatever the store says, or does not say, about
the age of its objects. Files without a sum, in an index of former versions, are copied each time.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock

from videoswin.errors import ConfigError, OutputError
from videoswin.features.layouts import INDEX, SETTINGS, no_features, parsed_index
from videoswin.features.rows_file import sum_of_file
from videoswin.storage.addresses import reaching, require_no_password, shown
from videoswin.storage.cache import cache_folder

__all__ = ["Fetched"]

_AT_ONCE = 256  # objects asked for together, which stores with asynchronous libraries answer side by side
_NEW = ".new-"


class Fetched:
    """What ``videoswin features`` wrote to an address, read when this is made.

    Args:
        notice: told how many files were copied, if any.

    Raises:
        ConfigError: there are no features, or the address holds a password.
        OutputError: the store cannot be reached.
    """

    def __init__(self, address: str, notice: Callable[[str], object] = lambda line: None) -> None:
        require_no_password(address)
        self.name = shown(address)
        self._address = address.rstrip("/")
        self._notice = notice
        name = hashlib.blake2b(self._address.encode(), digest_size=12).hexdigest()
        self._folder = (cache_folder() / "fetched" / name).absolute()
        # The index first: it goes before features are made anew, and comes back last.
        self._index = self._read(INDEX)
        self.settings, self.lines = parsed_index(self._read(SETTINGS), self._index, self.name)

    @contextmanager
    def files(self, part: str) -> Iterator[Path]:
        """A folder of this machine with ``stageN`` or ``store`` in it as the index describes it. No other process changes it
        while the block lasts.

        Raises:
            ConfigError: a file is not there, or is not what the index describes.
            OutputError: the store cannot be reached, or the cache cannot be written to.
        """
        wanted = self._wanted(part)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_keep(error) from error
        with FileLock(self._folder.with_suffix(".lock")):
            for old in self._folder.glob(f"{_NEW}*"):  # of a process that was killed
                shutil.rmtree(old, ignore_errors=True)
            needed = [name for name, total in wanted.items() if not self._is_here(name, total)]
            with TemporaryDirectory(prefix=_NEW, dir=self._folder) as new:
                for first in range(0, len(needed), _AT_ONCE):
                    self._copy(needed[first : first + _AT_ONCE], wanted, Path(new))
            self._require_the_same_index()
            if needed:
                self._notice(f"{len(needed)} of {len(wanted)} files copied from {self.name}")
            for old in (self._folder / part).glob("*.npy"):
                if f"{part}/{old.name}" not in wanted:
                    old.unlink()
            yield self._folder

    def _wanted(self, part: str) -> dict[str, str | None]:
        """Files in the folder, and their sums."""
        found: dict[str, str | None] = {}
        try:
            for line in self.lines:
                name = line["store"] if part == "store" else f"{part}/{line['name']}.npy"
                path = Path(name)
                if path.is_absolute() or path.drive or ".." in path.parts or path.parts[0] != part:
                    raise ConfigError(f"{self.name}: {INDEX} names a file outside of it. Do not trust these features.")
                found[name] = line.get("sums", {}).get(part)
        except (KeyError, TypeError, AttributeError) as error:
            raise no_features(self.name) from error
        return found

    def _is_here(self, name: str, total: str | None) -> bool:
        try:
            return total is not None and sum_of_file(self._folder / name) == total
        except OSError:
            return False

    def _copy(self, names: Sequence[str], sums: dict[str, str | None], new: Path) -> None:
        copies = [new / str(number) for number in range(len(names))]
        with reaching(self._address) as (store, root):
            try:
                store.get([f"{root}/{name}" for name in names], [str(copy) for copy in copies])
            except FileNotFoundError as error:
                raise self._changed(f"{error}") from error
            except OSError as error:
                ours = str(error.filename or "").startswith(str(self._folder))
                if ours or error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise self._cannot_keep(error) from error
                raise
        for name, copy in zip(names, copies, strict=True):
            if sums[name] not in (None, sum_of_file(copy)):
                raise self._changed(name)
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(copy, self._folder / name)

    def _read(self, name: str) -> bytes:
        with reaching(self._address) as (store, root):
            store.invalidate_cache()
            try:
                content: Any = store.cat_file(f"{root}/{name}")
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise no_features(self.name) from None
            return content

    def _require_the_same_index(self) -> None:
        """What was copied belongs to one run."""
        if self._read(INDEX) != self._index:
            raise ConfigError(f"{self.name}: its features are made anew at this moment. Try again when that is done.")

    def _changed(self, what: str) -> ConfigError:
        self._require_the_same_index()
        return ConfigError(
            f"{self.name}: {what} is missing, or is not what {INDEX} describes. Repeat the command that made the features."
        )

    def _cannot_keep(self, error: OSError) -> OutputError:
        hint = "Make room, or let VIDEOSWIN_CACHE name another place"
        return OutputError(self._folder, f"features cannot be copied there ({error.strerror})", hint)
