"""Where the time of a run goes, by the clock."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from videoswin.train.metrics import EpochRow

__all__ = ["Spent", "about_precision", "about_waiting", "seconds_by_name", "spent_on"]

_WORTH_SAYING = 0.25  # of the time of training
_SHORTEST = 20.0  # seconds of training of which it is worth to say


@dataclass
class Spent:
    """Seconds since the last row of ``metrics.csv``, under the names of its columns."""

    data_s: float = 0.0
    """Until a batch of clips is there: decoding and varying them, or waiting for the processes that do."""
    step_s: float = 0.0
    """Forward and backward pass and the optimiser."""
    val_s: float = 0.0
    write_s: float = 0.0
    """Checkpoints, states, curves. What is written after a row counts for the next one."""

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Counts the time within for the field ``name``."""
        began = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + time.perf_counter() - began)


def seconds_by_name(rows: Sequence[EpochRow], workers: int) -> dict[str, float]:
    """For people: seconds over all rows. Rows of older runs, which did not measure, count nothing."""
    clips = "waiting for clips" if workers else "decoding and varying clips"
    fields = {
        clips: "data_s",
        "forward and backward passes": "step_s",
        "validation": "val_s",
        "writing checkpoints": "write_s",
    }
    return {name: sum(getattr(row, field) or 0.0 for row in rows) for name, field in fields.items()}


def spent_on(rows: Sequence[EpochRow], workers: int) -> str:
    """``decoding and varying clips 12 % (3.1 s), ...``; "" where nothing was measured."""
    seconds = seconds_by_name(rows, workers)
    total = sum(seconds.values())
    return ", ".join(f"{name} {value / total:.0%} ({value:.1f} s)" for name, value in seconds.items()) if total else ""


def about_precision(precision: str, device: str) -> list[str]:
    """A line if a lower precision may cost time: on a CPU autocast converts the weights in every step. ``device``: its type."""
    if precision != "bf16" or device != "cpu":
        return []
    return [
        "--precision bf16 on a CPU can be slower than float32: it took 2.0 to 2.3 times as long to train swin3d_micro at 112x112, on "
        "a processor with bfloat16 units. --plan tells the time of both."
    ]


def about_waiting(rows: Sequence[EpochRow], workers: int, cores: int, in_memory: bool) -> list[str]:
    """A line if the model waits for its clips. ``in_memory``: whether all clips were decoded beforehand, so that varying them is what
    takes the time."""
    waited, worked = (sum(getattr(row, name) or 0.0 for row in rows) for name in ("data_s", "step_s"))
    if waited + worked < _SHORTEST or waited < _WORTH_SAYING * (waited + worked):
        return []
    ways = []
    if workers < cores - 1:
        ways.append(f"--workers {cores - 1}")
    if not in_memory:
        ways.append("videoswin pack, which encodes the clips anew, small and quick to read")
    ways = ways or ["--augment standard, which takes less time"]
    share = waited / (waited + worked)
    return [f"the model waited for clips {share:.0%} of the time of training: try {', or '.join(ways)}."]
