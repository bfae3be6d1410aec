"""Ways to learn from a set of clips, side by side: held-out accuracy over folds and seeds, seconds, and memory.

    python -m benchmarks.ways DATA --results FILE [--ways full,head,last:1,lora,bitfit,linear,attentive,cnn] [--folds 3] [--seeds 3]
                              [--train "--epochs 20 --size 56"] [--together 2]

``full`` to ``bitfit`` are ``videoswin train --adapt``, judged by its own folds; it is stopped when they are done, before the model
that is kept learns from all clips. ``linear`` and ``attentive`` are ``videoswin probe --head``, ``cnn`` is ``recipes/baseline_cnn.py``
(one seed). Each is a command in a process of its own with one thread; ``--together`` of them run at a time, so seconds are of a
machine as busy as that. The file is written after each; the same command goes on where it was stopped.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from videoswin.storage.atomic import replace_file
from videoswin.train.start import DEFAULT_START

TRAINED = ("full", "head", "last:1", "lora", "bitfit")
PROBED = ("linear", "attentive")
CNN = "cnn"


@dataclass(frozen=True)
class Task:
    """One command: a way, with one seed or (seed None) with all of them."""

    way: str
    seed: int | None

    @property
    def key(self) -> str:
        return self.way if self.seed is None else f"{self.way}, seed {self.seed}"


@dataclass(frozen=True)
class Terms:
    """What all tasks share. ``train``: more options of ``train``."""

    data: Path
    folds: int
    seeds: int
    train: list[str]


def command(task: Task, terms: Terms, out: Path) -> list[str]:
    data = str(terms.data)
    if task.way == CNN:
        recipe = Path(__file__).parent.parent / "recipes" / "baseline_cnn.py"
        return [sys.executable, str(recipe), data, "--folds", str(terms.folds)]
    videoswin = [sys.executable, "-m", "videoswin"]
    if task.way in PROBED:
        parts = ["--folds", str(terms.folds), "--seeds", str(terms.seeds)]
        return [*videoswin, "probe", data, "--weights", DEFAULT_START, "--head", task.way, *parts, "--json"]
    folds = ["--folds", str(terms.folds), "--seed", str(task.seed), "--adapt", task.way, *terms.train]
    return [*videoswin, "train", data, *folds, "--out", str(out)]


def run(task: Task, terms: Terms) -> dict[str, Any]:
    """The figures of one command, with its seconds, its processor seconds, and its peak memory in bytes."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "said").open("w+b") as said:
        out = Path(folder) / "run"
        began = time.monotonic()
        process = subprocess.Popen(command(task, terms, out), stdout=said, stderr=subprocess.STDOUT, env=environment)
        summary = out / "folds" / "summary.json"
        status = spent = None
        while status is None:
            time.sleep(0.5)
            measured = summary.exists()
            if measured:
                process.send_signal(signal.SIGINT)
            ended, code, usage = os.wait4(process.pid, 0 if measured else os.WNOHANG)
            if ended:
                status, spent = os.waitstatus_to_exitcode(code), usage
        seconds = time.monotonic() - began
        said.seek(0)
        text = said.read().decode(errors="replace")
        if status != 0 and not summary.exists():
            return {"error": f"ended with {status}: {text[-2000:]}"}
        assert spent is not None
        return {
            **figures(task, text, summary),
            "seconds": round(seconds, 1),
            "processor_seconds": round(spent.ru_utime + spent.ru_stime, 1),
            "memory_bytes": spent.ru_maxrss * 1024,
        }


def figures(task: Task, text: str, summary: Path) -> dict[str, Any]:
    """What the command itself says of held-out clips."""
    if task.way == CNN:
        return {"accuracy": float(text.split("pooled: ")[1].split()[0])}
    if task.way in PROBED:
        return {"answer": json.loads(text[text.index("\n{") if not text.startswith("{") else 0 :])}
    return {"answer": json.loads(summary.read_text(encoding="utf-8"))}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--ways", default=",".join((*TRAINED, *PROBED, CNN)))
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", default="", help="more options of train; by default it chooses all by itself")
    parser.add_argument("--together", type=int, default=2, help="commands at a time")
    options = parser.parse_args(arguments)
    terms = Terms(options.data, options.folds, options.seeds, shlex.split(options.train))
    ways = options.ways.split(",")
    tasks = [Task(way, None) for way in ways if way not in TRAINED]
    tasks += [Task(way, seed) for seed in range(options.seeds) for way in ways if way in TRAINED]
    found: dict[str, Any] = json.loads(options.results.read_text(encoding="utf-8")) if options.results.exists() else {}
    found |= {"data": options.data.name, "folds": terms.folds, "train": options.train, "together": options.together}
    runs, lock = found.setdefault("runs", {}), Lock()

    def work(task: Task) -> None:
        result = run(task, terms)
        with lock:
            runs[task.key] = result
            with replace_file(options.results) as new:
                new.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(f"{task.key}: {result.get('error') or format(result['seconds'], '.0f') + ' s'}", flush=True)

    with ThreadPoolExecutor(options.together) as pool:
        list(pool.map(work, [task for task in tasks if "error" in runs.get(task.key, {"error": ""})]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
