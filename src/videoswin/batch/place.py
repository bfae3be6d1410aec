"""Where a batch's table lies: a folder of this machine, or an object store that fsspec knows.

In a folder, a part is made in a hidden one, which readers of parquet pass over, and renamed into its place. An object store has
no renaming: there a part is one object, which the store shows when it is whole, and behind it a mark with the same name is put
into ``marks``. A part without its mark is done again, under the same name and with the same bytes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from filelock import FileLock, Timeout

from videoswin.batch.parts import TABLE, parts_named
from videoswin.errors import ConfigError, OutputError
from videoswin.storage.addresses import file_system, local_path, reaching, shown
from videoswin.storage.atomic import replace_file

__all__ = ["Folder", "Place", "Store", "place_of"]

_JOB, _LOCK, _MARKS = "batch.json", ".lock", "marks"


class Place(Protocol):
    """Can be sent to other processes.

    ``keeps_others_out``: whether nobody else works on it in the context of :meth:`owned`.
    """

    keeps_others_out: ClassVar[bool]

    @property
    def name(self) -> str:
        """How it may be shown."""
        ...

    @property
    def table(self) -> str:
        """Where readers find the table, as it may be shown."""
        ...

    def owned(self) -> Any:
        """A context in which this process alone works on the place, as far as the place can see to that. It is made if need
        be. OutputError if there is something else."""
        ...

    def read_job(self) -> str | None:
        """What :meth:`write_job` wrote."""
        ...

    def write_job(self, text: str) -> None: ...

    def put_part(self, name: str, content: bytes) -> None: ...

    def has_part(self, name: str) -> bool: ...

    def parts(self) -> dict[int, int]:
        """Number of each part that is there -> how many of its files failed. Of two versions of a part one is removed."""
        ...


def place_of(out: str | os.PathLike[str]) -> Place:
    """A path or ``file://`` is a folder; other addresses are object stores.

    Raises:
        ConfigError: the address holds a password, or means the memory of one process.
        MissingExtraError: fsspec, or its library for such addresses, is not installed.
    """
    text = os.fspath(out)
    folder = local_path(text)
    if folder is not None:
        return Folder(folder)
    if text.startswith("memory://"):
        raise ConfigError(f"{text}: the table would be gone with the process that wrote it. Give a folder or a store.")
    file_system(text)
    return Store(text.rstrip("/"))


@dataclass(frozen=True)
class Folder:
    """A folder, on this machine's disk or one that machines share."""

    keeps_others_out: ClassVar[bool] = True
    folder: Path

    @property
    def name(self) -> str:
        return str(self.folder)

    @property
    def table(self) -> str:
        return str(self.folder / TABLE)

    @contextmanager
    def owned(self) -> Iterator[None]:
        out = self.folder
        if out.exists() and (not out.is_dir() or (not (out / _JOB).is_file() and self._others())):
            raise OutputError(out, "there is something else already", "Give a new folder")
        (out / TABLE).mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(f"{out}: another process works on this batch. Wait for it, or stop it.") from error
        try:
            yield
        finally:
            lock.release()

    def read_job(self) -> str | None:
        path = self.folder / _JOB
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None

    def write_job(self, text: str) -> None:
        with replace_file(self.folder / _JOB) as new:
            new.write_text(text, encoding="utf-8")

    def put_part(self, name: str, content: bytes) -> None:
        with replace_file(self.folder / TABLE / name) as new:
            new.write_bytes(content)

    def has_part(self, name: str) -> bool:
        return (self.folder / TABLE / name).is_file()

    def parts(self) -> dict[int, int]:
        done = {}
        for number, versions in parts_named(os.listdir(self.folder / TABLE)).items():
            failed, *others = sorted(versions)
            for other in others:
                (self.folder / TABLE / versions[other]).unlink()
            done[number] = failed
        return done

    def _others(self) -> bool:
        return any(name not in (TABLE, _LOCK) and not name.startswith(f".{_JOB}") for name in os.listdir(self.folder))


@dataclass(frozen=True)
class Store:
    """A prefix of an object store. It has no locks: two drivers at once do the work twice, and write the same."""

    keeps_others_out: ClassVar[bool] = False
    address: str

    @property
    def name(self) -> str:
        return shown(self.address)

    @property
    def table(self) -> str:
        return f"{self.name}/{TABLE}"

    @contextmanager
    def owned(self) -> Iterator[None]:
        with reaching(self.address) as (store, root):
            if not store.exists(f"{root}/{_JOB}") and store.exists(root) and store.ls(root, detail=False):
                raise OutputError(self.name, "there is something else already", "Give a new prefix")
            if not store.async_impl:  # it has folders; stores without them are left as they are: a bucket is not made
                for name in (TABLE, _MARKS):
                    store.makedirs(f"{root}/{name}", exist_ok=True)
        yield

    def read_job(self) -> str | None:
        with reaching(self.address) as (store, root):
            try:
                return store.cat_file(f"{root}/{_JOB}").decode("utf-8", "replace")
            except FileNotFoundError:
                return None

    def write_job(self, text: str) -> None:
        with reaching(self.address) as (store, root):
            store.pipe_file(f"{root}/{_JOB}", text.encode())

    def put_part(self, name: str, content: bytes) -> None:
        (number,) = parts_named([name])
        with reaching(self.address) as (store, root):
            store.pipe_file(f"{root}/{TABLE}/{_plain(number)}", content)
            store.pipe_file(f"{root}/{_MARKS}/{name}", str(len(content)).encode())

    def has_part(self, name: str) -> bool:
        with reaching(self.address) as (store, root):
            return bool(store.exists(f"{root}/{_MARKS}/{name}"))

    def parts(self) -> dict[int, int]:
        with reaching(self.address) as (store, root):
            there = set(parts_named(self._names(store, f"{root}/{TABLE}")))
            marked = parts_named(self._names(store, f"{root}/{_MARKS}"))
        return {number: min(versions) for number, versions in marked.items() if number in there}

    @staticmethod
    def _names(store: Any, folder: str) -> list[str]:
        store.invalidate_cache()
        try:
            return [path.rpartition("/")[2] for path in store.ls(folder, detail=False)]
        except FileNotFoundError:
            return []


def _plain(number: int) -> str:
    """One name for a part, whatever failed: writing it again replaces it."""
    return f"part-{number:07d}.parquet"
