"""A batch from its manifest to its table: planned, locked, resumed."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from videoswin.batch.manifest import Manifest
from videoswin.batch.orders import PartDone
from videoswin.batch.parts import require_only_parts
from videoswin.batch.place import Place, place_of
from videoswin.batch.pool import run_parts
from videoswin.batch.work import Files, Work
from videoswin.errors import ConfigError, OutputError

__all__ = ["Engine", "Outcome", "Plan", "plan_batch", "run_batch", "weights_digest"]

_VERSION = 1
Engine = Callable[
    [Iterator[tuple[int, Files]], int, Work, Place, int | None, Callable[[str], object]], Iterator[PartDone]
]
"""As :func:`videoswin.batch.pool.run_parts`."""


@dataclass(frozen=True)
class Plan:
    """What is to be done, and what is."""

    place: Place
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
def plan_batch(out: str | Path, manifest: Manifest, work: Work, weights: str, part_rows: int) -> Iterator[Plan]:
    """What is left to do in ``out``, which belongs to this process until the block ends.

    Args:
        out: a folder, or the address of one in a store.
        weights: the digest of the weights, see :func:`weights_digest`.

    Raises:
        ConfigError: ``out`` holds another batch, or another process works on it.
        OutputError: ``out`` is a file, or holds other things, or cannot be reached.
    """
    if part_rows < 1:
        raise ConfigError(f"part_rows={part_rows} must be 1 or more.")
    place = place_of(out)
    with place.owned():
        _same_batch(place, _facts(manifest, work, weights, part_rows))
        plan = Plan(place, manifest, part_rows, place.parts())
        require_only_parts(plan.done, plan.parts, place.table)
        yield plan


def run_batch(
    plan: Plan,
    work: Work,
    workers: int | None = None,
    each: Callable[[PartDone], object] = lambda part: None,
    notice: Callable[[str], object] = lambda line: None,
    engine: Engine = run_parts,
) -> Outcome:
    """Do what is left.

    Args:
        workers: None is as many as the engine has cores.
        each: told of every part that was finished.
        notice: told of workers that died.

    Raises:
        OutputError: parts are missing at the end: something else removed them.
    """
    failed = sum(plan.done.values())
    left = plan.parts - len(plan.done)
    if left:
        for part in engine(plan.left(), left, work, plan.place, workers, notice):
            failed += len(part.errors)
            each(part)
        if missing := plan.parts - len(plan.place.parts()):
            raise OutputError(
                plan.place.table, f"{missing} of its parts are gone", "Repeat the command: it makes them anew"
            )
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


def _same_batch(place: Place, facts: dict[str, Any]) -> None:
    """Write what the batch is, or compare it with what it was when it began."""
    kept = place.read_job()
    began: dict[str, Any] | None = None
    if kept is not None:
        try:
            began = json.loads(kept)
        except ValueError as error:  # cut off: a store may keep what was written of an object when its writer died
            if place.parts():
                raise ConfigError(f"{place.name}: its batch.json is damaged. Give a new folder.") from error
    if began is None:
        place.write_job(json.dumps(facts, indent=1) + "\n")
        return
    changed = [name for name in facts if facts[name] != began.get(name)]
    if changed and place.keeps_others_out and not place.parts():  # it was refused, or stopped, before anything was done
        place.write_job(json.dumps(facts, indent=1) + "\n")
    elif changed:
        told = ", ".join(f"{name} {began.get(name)!r} -> {facts[name]!r}" for name in changed[:3])
        raise ConfigError(f"{place.name}: holds another batch ({told}). Repeat that command, or give a new folder.")
