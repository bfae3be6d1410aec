"""Work that takes a moment and needs no PyTorch, so that processes can be killed by the dozen, and a store whose objects take
a moment to be written. Run as a program it is a driver: python -m tests.batch.toy LIST OUT [PAUSE | ray]."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from videoswin.batch.manifest import read_manifest
from videoswin.batch.pool import run_parts
from videoswin.batch.run import Engine, Outcome, plan_batch, run_batch
from videoswin.batch.work import Files


class Bucket(LocalFileSystem):
    """``bucket:///path``: a store that a kill leaves half written objects in, which is worse than real ones."""

    protocol = "bucket"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:  # type: ignore[override]
        return super()._strip_protocol(path.removeprefix("bucket://"))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        with open(self._strip_protocol(path), "wb") as file:
            for half in (value[: len(value) // 2], value[len(value) // 2 :]):
                file.write(half)
                file.flush()
                time.sleep(0.002)

    def put_file(self, path1: str, path2: str, callback: Any = None, **more: Any) -> None:
        self.pipe_file(path2, Path(path1).read_bytes())


fsspec.register_implementation("bucket", Bucket, clobber=True)


@dataclass(frozen=True)
class Toy:
    """The length of each file's name; names with "bad" fail, and "deadly" ones kill the process that reads them."""

    pause_s: float = 0.0
    features: bool = False
    timeline: bool = False

    def open(self) -> "Toy":
        os.fsync = lambda descriptor: None  # waiting for the disk is for power cuts, which tests do not have
        return self

    def rows(self, files: Files) -> list[dict[str, Any]]:
        found = []
        for row, path in files:
            self.try_one(path)
            time.sleep(self.pause_s)
            error = f"{path}: it is bad" if "bad" in path else None
            found.append({"row": row, "path": path, "score": None if error else float(len(path)), "error": error})
        return found

    def try_one(self, path: str) -> None:
        if "deadly" in path:
            os.kill(os.getpid(), signal.SIGKILL)


def run(
    source: Path,
    out: str | Path,
    pause_s: float = 0.0,
    workers: int = 2,
    part_rows: int = 8,
    engine: Engine = run_parts,
) -> Outcome:
    work = Toy(pause_s)
    with plan_batch(out, read_manifest([str(source)]), work, "toy", part_rows) as plan:
        return run_batch(plan, work, workers, engine=engine)


if __name__ == "__main__":
    os.fsync = lambda descriptor: None
    if sys.argv[3:] == ["ray"]:
        from tests.batch.toy import run  # not of __main__, which actors cannot import
        from videoswin.batch.on_ray import run_parts_on_ray

        run(Path(sys.argv[1]), sys.argv[2], pause_s=0.02, engine=run_parts_on_ray)
    else:
        run(Path(sys.argv[1]), sys.argv[2], pause_s=float(sys.argv[3]) if sys.argv[3:] else 0.004)
