"""Work that takes a moment and needs no PyTorch, so that processes can be killed by the dozen. Run as a program it is a driver:
python -m tests.batch.toy LIST OUT."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videoswin.batch.manifest import read_manifest
from videoswin.batch.pool import run_parts
from videoswin.batch.run import Engine, Outcome, plan_batch, run_batch
from videoswin.batch.work import Files


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
    run(Path(sys.argv[1]), Path(sys.argv[2]), pause_s=0.004)
