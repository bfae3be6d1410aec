"""A batch from its manifest to its table: planned, locked, resumed."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from videoswin.batch.manifest import Manifest
from videoswin.batch.parts import TABLE, done_parts, require_only_parts
from videoswin.batch.pool import PartDone, run_parts
from videoswin.batch.work import Work
from videoswin.errors import ConfigError, OutputError
from videoswin.storage.atomic import replace_file

__all__ = ["Outcome", "Plan", "plan_batch", "run_batch", "weights_digest"]

_JOB, _LOCK = "batch.json", ".lock"
_VERSION = 1
Engine = Callable[[Iterator[tuple[int, Any]], Work, Path, int, Callable[[str], object]], Iterator[PartDone]]


@dataclass(frozen=True)
class Plan:
    """What is to be done, and what is."""

    manifest: Manifest
    part_rows: int
    done: dict[int, int]
    """Number of each finished part -> how many of its files failed."""

    @property
    def parts(self) -> int:
        return -(-len(self.manifest.paths) // self.part_rows)

    def files_of(self, part: int) -> int:
        return min(self.part_rows, len(self.manifest.paths) - part * self.part_rows)

    @property
    def files_done(self) -> int:
        return sum(map(self.files_of, self.done))

    def left(self) -> Iterator[tuple[int, list[tuple[int, str]]]]:
        """The parts that are not there yet: (number, (row, path) of its files)."""
        for number in range(self.parts):
            if number not in self.done:
                first = number * self.part_rows
                yield number, list(enumerate(islice(self.manifest.paths, first, first + self.part_rows), first))


@dataclass(frozen=True)
class Outcome:
    """How a batch ended."""

    files: int
    failed: int
    """Those of earlier runs included."""
    resumed: int
    """Files that earlier runs had done."""


@contextmanager
def plan_batch(out: Path, manifest: Manifest, work: Work, weights: str, part_rows: int) -> Iterator[Plan]:
    """What is left to do in ``out``, which belongs to this process until the block ends.

    Args:
        weights: the digest of the weights, see :func:`weights_digest`.

    Raises:
        ConfigError: ``out`` holds another batch, or another process works on it.
        OutputError: ``out`` is a file, or holds other things.
    """
    if part_rows < 1:
        raise ConfigError(f"part_rows={part_rows} must be 1 or more.")
    if out.exists() and (not out.is_dir() or (not (out / _JOB).is_file() and _others(out))):
        raise OutputError(out, "there is something else already", "Give a new folder")
    (out / TABLE).mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"{out}: another process works on this batch. Wait for it, or stop it.") from error
    try:
        _same_batch(out / _JOB, _facts(manifest, work, weights, part_rows))
        plan = Plan(manifest, part_rows, done_parts(out / TABLE))
        require_only_parts(plan.done, plan.parts, out / TABLE)
        yield plan
    finally:
        lock.release()


def run_batch(
    plan: Plan,
    out: Path,
    work: Work,
    workers: int,
    each: Callable[[PartDone], object] = lambda part: None,
    notice: Callable[[str], object] = lambda line: None,
    engine: Engine = run_parts,
) -> Outcome:
    """Do what is left. ``each``: told of every part that was finished."""
    failed = sum(plan.done.values())
    if len(plan.done) < plan.parts:
        for part in engine(plan.left(), work, out / TABLE, max(1, min(workers, plan.parts - len(plan.done))), notice):
            failed += len(part.errors)
            each(part)
    return Outcome(len(plan.manifest.paths), failed, plan.files_done)


def weights_digest(weights: str) -> str:
    """Of the files behind a checkpoint's name, without loading it; the name itself where there is no file yet."""
    from videoswin.classifier.resolve import Bundled, Exported, Folder, WeightsFile, resolve

    target = resolve(weights)
    if isinstance(target, Bundled | Folder):
        files = [target.folder / name for name in ("config.json", "model.safetensors")]
    elif isinstance(target, WeightsFile | Exported):
        files = [target.path, target.path.with_suffix(".bin")]
    else:
        return weights
    total = hashlib.blake2b(digest_size=16)
    for path in files:
        if path.is_file():
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _others(out: Path) -> bool:
    return any(name not in (TABLE, _LOCK) and not name.startswith(f".{_JOB}") for name in os.listdir(out))


def _facts(manifest: Manifest, work: Work, weights: str, part_rows: int) -> dict[str, Any]:
    values = asdict(work) if is_dataclass(work) and not isinstance(work, type) else {}
    facts = {
        "version": _VERSION,
        "files": len(manifest.paths),
        "manifest": manifest.digest,
        "weights_digest": weights,
        "part_rows": part_rows,
        **values,
    }
    return json.loads(json.dumps(facts))


def _same_batch(path: Path, facts: dict[str, Any]) -> None:
    """Write what the batch is, or compare it with what it was when it began."""
    if not path.is_file():
        with replace_file(path) as new:
            new.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        return
    try:
        began: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: is damaged. Give a new folder.") from error
    changed = [name for name in facts if facts[name] != began.get(name)]
    if changed:
        told = ", ".join(f"{name} {began.get(name)!r} -> {facts[name]!r}" for name in changed[:3])
        raise ConfigError(f"{path.parent}: holds another batch ({told}). Repeat that command, or give a new folder.")
