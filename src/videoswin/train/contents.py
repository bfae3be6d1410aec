"""What the files of a run's clips hold, so that a clip that was replaced between a stop and ``--resume`` is noticed.

A file is known by its size and a hash of its bytes: of all of them up to 64 MiB, of a beginning, a middle and an end of larger
ones. On a resume only files whose size, times or place on the disk differ are read again.
"""

import json
import os
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from videoswin.data.annotations import Clip
from videoswin.data.clips import first_few
from videoswin.errors import ConfigError, WeightsError
from videoswin.storage.atomic import replace_file

__all__ = ["CONTENTS_FILE", "check_contents", "keep_contents"]

CONTENTS_FILE = "clips.json"
_WHOLE = 64 * 2**20  # bytes; larger files are looked at in three places
_PIECE = 4 * 2**20
_known: dict[tuple[str, str], str] = {}  # hashes of this process, by path and state: folds share their clips


def keep_contents(out: Path, rows: Iterable[Clip]) -> None:
    """Notes what the clips hold, in ``out``."""
    held = {name: [state, _hash(path, state)] for name, path, state in _files(rows)}
    with replace_file(out / CONTENTS_FILE) as new:
        new.write_text(json.dumps(held, indent=0) + "\n", encoding="utf-8")


def check_contents(out: Path, rows: Sequence[Clip]) -> None:
    """Compares the clips with what :func:`keep_contents` noted, if it did. New clips and missing ones are not its business.

    Raises:
        WeightsError: some hold something else now; they are named.
    """
    path = out / CONTENTS_FILE
    if not path.is_file():
        return
    try:
        held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        before = {name: (str(state), str(digest)) for name, (state, digest) in held.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        raise WeightsError(path, "the file is damaged, so the run cannot be resumed", "Use another --out") from None
    changed = []
    for name, file, state in _files(rows):
        state_then, digest = before.get(name, (state, ""))
        if state_then == state:
            continue
        if _size(state_then) != _size(state):
            changed.append(f"{file} ({_size(state_then)} -> {_size(state)} bytes)")
        elif _hash(file, state) != digest:
            changed.append(f"{file} (the same size, other bytes)")
    if changed:
        what = "1 clip holds" if len(changed) == 1 else f"{len(changed)} clips hold"
        reason = f"{what} something else than when the run was started: {first_few(changed)}"
        raise WeightsError(out, reason, "Put back what was there, or start another run with another --out")


def _files(rows: Iterable[Clip]) -> list[tuple[str, Path, str]]:
    """(name, path, state) of every file, once. Names count up where files of several folders share one, in the list's order,
    so that the data may move."""
    seen: set[Path] = set()
    counts: dict[str, int] = {}
    found = []
    for row in rows:
        for path in _parts(row.path):
            if path in seen:
                continue
            seen.add(path)
            name = f"{path.parent.name}/{path.name}"
            counts[name] = counts.get(name, 0) + 1
            found.append((name if counts[name] == 1 else f"{name}#{counts[name]}", path, _state(path)))
    return found


def _parts(path: Path) -> list[Path]:
    """The file, or the pictures of a folder of frames."""
    return sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]


def _state(path: Path) -> str:
    """What cannot stay as it is when the file's bytes change, the size in front. Nobody sets the time of a change (ctime)."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise ConfigError(f"{path}: the clip cannot be opened any more ({error.strerror}).") from error
    return f"{found.st_size},{found.st_dev},{found.st_ino},{found.st_mtime_ns},{found.st_ctime_ns}"


def _size(state: str) -> int:
    return int(state.partition(",")[0])


def _hash(path: Path, state: str) -> str:
    if (str(path), state) not in _known:
        _known[str(path), state] = _hash_of(path, _size(state))
    return _known[str(path), state]


def _hash_of(path: Path, size: int) -> str:
    digest = blake2b(digest_size=12)
    try:
        with path.open("rb") as file:
            if size <= _WHOLE:
                while piece := file.read(_PIECE):
                    digest.update(piece)
            else:
                for at in (0, size // 2, size - _PIECE):
                    file.seek(at)
                    digest.update(file.read(_PIECE))
    except OSError as error:
        raise ConfigError(f"{path}: the clip cannot be read ({error.strerror}). Check its rights.") from error
    return digest.hexdigest()
