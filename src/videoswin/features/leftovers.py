"""What an earlier run left in a folder of features, so that none mixes two: layouts of other stages, of another checkpoint or of
other settings. What stands in the store has a name made of contents, and always stays."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from videoswin.errors import ConfigError

__all__ = ["Layout", "remove_leftovers", "require_own"]

_STAGE = re.compile(r"(stage\d+)/[^/]+\.npy")


class Layout:
    """What a run writes beside the store: ``written``, relative names of its files, and ``facts``, what must be the same for
    another run's files of the same stages to stay."""

    def __init__(
        self, written: Iterable[str], stages: Iterable[int], table: str | None, facts: Mapping[str, Any]
    ) -> None:
        self.written = frozenset(written)
        self.stages = frozenset(f"stage{stage}" for stage in stages)
        self.table = table
        self.facts = json.loads(json.dumps(dict(facts)))
        self.removed: list[str] = []
        """What an earlier run had left."""

    def leftovers(self, names: Iterable[str], before: str | bytes | None, tables: str) -> list[str]:
        """Of the relative names of a folder those that do not belong to it any more. ``before``: the ``features.json`` that stands
        there; ``tables``: the name of a parquet table."""
        alike = self._is_alike(before)
        found = []
        for name in names:
            if name in self.written or name == self.table:
                continue
            stage = _STAGE.fullmatch(name)
            if name == tables or (stage and not (alike and stage[1] in self.stages)):
                found.append(name)
        return sorted(found)

    def _is_alike(self, before: str | bytes | None) -> bool:
        try:
            settings = json.loads(before or "")
            return all(settings[name] == value for name, value in self.facts.items() if name != "checkpoint")
        except (ValueError, KeyError, TypeError):
            return False


def remove_leftovers(out: Path, layout: Layout, settings: str, table: str) -> list[str]:
    """Remove from ``out`` what an earlier run left; gives the names. Folders that are empty then go too. What else stands in them
    stays: it is not of a run."""
    names = [path.relative_to(out).as_posix() for path in (*out.glob("stage*/*.npy"), out / table) if path.is_file()]
    before = (out / settings).read_bytes() if (out / settings).is_file() else None
    found = layout.leftovers(names, before, table)
    for name in found:
        (out / name).unlink()
    for folder in {(out / name).parent for name in found} - {out}:
        if not any(folder.iterdir()):
            folder.rmdir()
    return found


def require_own(out: Path, marks: Iterable[str]) -> None:
    """``out`` holds no ``stageN`` that is not of ``videoswin features``, known by one of ``marks``.

    Raises:
        ConfigError: it does.
    """
    if not out.is_dir() or any((out / mark).exists() for mark in marks):
        return
    for folder in sorted(out.glob("stage*")):
        if _STAGE.fullmatch(f"{folder.name}/x.npy") and folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(
                f"{folder}: videoswin features did not write this, and it would stand among its files. Give another --out."
            )
