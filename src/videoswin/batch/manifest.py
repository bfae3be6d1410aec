"""Which files a batch is about: a list, folders or patterns; a million names in a second, none of them opened."""

import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from videoswin.data.folders import VIDEO_SUFFIXES, find_videos
from videoswin.errors import ConfigError
from videoswin.storage.addresses import is_address, listed, require_no_password, shown, without_secrets

__all__ = ["Manifest", "read_manifest"]

_LISTS = (".csv", ".txt", ".lst")
_TOLD = 5


@dataclass(frozen=True)
class Manifest:
    """The files, each once, in their order."""

    paths: tuple[str, ...]
    """Local paths as they were given, those of a list seen from its folder; or addresses such as ``s3://bucket/key``."""
    digest: str
    """Of all paths."""
    repeated: int
    """Rows that named a file again; it is looked at once."""


def read_manifest(sources: Sequence[str]) -> Manifest:
    """A ``.csv`` with a column ``path``, a ``.txt`` with a path a line, or videos, folders and patterns; each also at an
    address of a store. Addresses of videos are taken as they are: whether they can be reached is found out when it is their
    turn.

    Raises:
        ConfigError: a list that cannot be read or names no files; an address with a password.
    """
    if len(sources) == 1 and sources[0].lower().endswith(_LISTS):
        names = _listed(sources[0])
    else:
        names = [
            name
            for source in sources
            for name in (listed(source, VIDEO_SUFFIXES) if is_address(source) else map(str, find_videos([source])))
        ]
    paths = tuple(dict.fromkeys(names))
    if not paths:
        raise ConfigError(f"{sources[0] if sources else 'the batch'}: names no files. Give a list, a folder or videos.")
    digest = hashlib.blake2b("\n".join(paths).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    return Manifest(paths, digest, len(names) - len(paths))


def _listed(source: str) -> list[str]:
    if is_address(source):
        name, content, root = shown(source), _fetched(source), source.rpartition("/")[0] + "/"
    else:
        name, root = source, os.path.join(str(Path(source).parent), "")
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise ConfigError(f"{name}: the list cannot be read ({error.strerror}). Check the path.") from error
    text = content.decode("utf-8-sig", "surrogateescape")
    if "\0" in text:
        raise ConfigError(f"{name}: this is no list of files (it holds zero bytes). Give a .csv or .txt.")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")  # str.splitlines() cuts names at U+2028, too
    is_table = source.lower().endswith(".csv")
    named = _column(name, lines) if is_table else [line.strip() for line in lines if line.strip()]
    for one in named:
        if is_address(one):
            require_no_password(one)
    return [one if is_address(one) or os.path.isabs(one) else root + one for one in named]


def _fetched(address: str) -> bytes:
    require_no_password(address)
    import fsspec

    try:
        with fsspec.open(address, "rb") as file:
            return file.read()  # type: ignore[union-attr]
    except Exception as error:  # noqa: BLE001 - each store has errors of its own
        reason = without_secrets(error, address)
        raise ConfigError(f"{shown(address)}: the list cannot be fetched ({reason}). Check the address.") from None


def _column(path: str, lines: list[str]) -> list[str]:
    header = [cell.strip().lower() for cell in next(csv.reader(lines[:1]), [])]
    if "path" not in header:
        first = f'"{lines[0][:80]}"' if lines else "nothing"
        is_video = lines and os.path.splitext(lines[0].split(",")[0])[1].lower() in VIDEO_SUFFIXES
        hint = "Put the line path in front of it" if is_video else 'Name the column of the files "path" on line 1'
        raise ConfigError(f"{path}: has no column path, its first line is {first}. {hint}.")
    at = header.index("path")
    if header == ["path"] and not any('"' in line for line in lines):
        return [name for line in lines[1:] if (name := line.strip())]
    reader, names, unnamed = csv.reader(lines[1:], strict=True), [], []
    try:
        for row in reader:
            name = row[at].strip() if len(row) > at else ""
            if name:
                names.append(name)
            elif any(map(str.strip, row)):
                unnamed.append(str(reader.line_num + 1))
    except csv.Error as error:
        raise ConfigError(f"{path}: is not CSV ({error}). Check its quotes and commas.") from error
    if unnamed:
        more = f" and {len(unnamed) - _TOLD:,} more" if len(unnamed) > _TOLD else ""
        which = f"line {unnamed[0]} has" if len(unnamed) == 1 else f"lines {', '.join(unnamed[:_TOLD])}{more} have"
        raise ConfigError(f"{path}: {which} no path. Name the files, or take the lines out.")
    return names
