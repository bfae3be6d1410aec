"""What a run found, as plain values and as lines for people."""

import os
import platform
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from benchmarks.lib.job import Job
from benchmarks.lib.limits import Limits
from benchmarks.lib.memory import Memory
from benchmarks.lib.scaling import Point

from videoswin.bench.equality import GRADIENTS, OUTPUTS
from videoswin.bench.processor import processor_name
from videoswin.bench.timing import Ratio, Times
from videoswin.model.config import Grid

__all__ = ["Report", "Row", "machine"]


@dataclass(frozen=True)
class Row:
    """One model in one table."""

    name: str
    same_model: bool
    clip: Grid
    times: Times
    clips_per_s: float
    ratio: Ratio
    """Its time over that of our eager model."""
    gmacs: float
    """Of one clip."""
    parameters: int | None
    difference: float | None
    """Relative difference to our eager float32 model: of the logits, or the worst of all gradients. None: another model."""
    compile_s: float | None
    """Seconds of the first call, which compiles; None where nothing is compiled."""
    accuracy: str
    """Published top-1 on Kinetics-400 (clips x crops), for other models."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; seconds rounded to what can be measured."""
        values = asdict(self) | {"clip": list(self.clip), "ratio": _ratio(self.ratio)}
        return {k: v for k, v in values.items() if k != "times"} | {"seconds": _times(self.times)}


@dataclass
class Report:
    """All that was measured in one run; what was not asked for is empty."""

    job: Job
    repeats: int
    load_before: list[float] | None = field(default_factory=lambda: _load())
    """Processes that wanted to run, over 1, 5 and 15 minutes, when the run began; None where the system does not say."""
    forward: list[Row] = field(default_factory=list)
    train: list[Row] = field(default_factory=list)
    memory: dict[str, dict[str, Memory]] = field(default_factory=dict)
    scaling: list[Point] = field(default_factory=list)
    limits: Limits | None = None
    loaded: dict[str, str] = field(default_factory=dict)
    """How the libraries of peers were loaded."""
    missing: dict[str, str] = field(default_factory=dict)
    """Peers that could not be measured, each with the way to get it."""

    def reached(self) -> dict[str, float]:
        """The share of the time of our eager forward pass that the matrix products need at the machine's best."""
        if self.limits is None or not self.forward:
            return {}
        median = self.forward[0].times.median
        return {"linear": self.limits.linear_s / median, "all_products": self.limits.floor_s / median}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        job = self.job
        return {
            "model": job.name,
            "clip": list(job.clip),
            "batch": job.batch,
            "precision": job.precision,
            "repeats": self.repeats,
            "tolerance": {"outputs": OUTPUTS[job.precision], "gradients": GRADIENTS[job.precision]},
            "machine": machine(job) | {"load_before": self.load_before},
            "forward": [row.to_dict() for row in self.forward],
            "train": [row.to_dict() for row in self.train],
            "memory_bytes": {what: {k: asdict(v) for k, v in found.items()} for what, found in self.memory.items()},
            "limits": self._limits(),
            "scaling": [_point(point) for point in self.scaling],
            "loaded": self.loaded,
            "missing": self.missing,
        }

    def _limits(self) -> dict[str, Any] | None:
        return None if self.limits is None else asdict(self.limits) | {"reached": self.reached()}


def machine(job: Job) -> dict[str, Any]:
    """What a reader needs to know before comparing figures; no names of hosts or paths."""
    cuda = torch.device(job.device).type == "cuda"
    return {
        "device": torch.cuda.get_device_name(job.device) if cuda else processor_name(),
        "threads": torch.get_num_threads(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _load() -> list[float] | None:
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None


def _times(times: Times) -> dict[str, Any]:
    low, high = times.quartiles
    return {
        "median": round(times.median, 6),
        "quartiles": [round(low, 6), round(high, 6)],
        "min": round(min(times.seconds), 6),
        "max": round(max(times.seconds), 6),
        "all": [round(s, 6) for s in times.seconds],
    }


def _ratio(ratio: Ratio) -> dict[str, float]:
    return {name: round(value, 4) for name, value in ratio._asdict().items()}


def _point(point: Point) -> dict[str, Any]:
    return {
        "axes": list(point.axes),
        "clip": list(point.job.clip),
        "batch": point.job.batch,
        "gmacs": point.gmacs,
        "seconds": {name: _times(times) for name, times in point.times.items()},
        "memory_bytes": {name: asdict(memory) for name, memory in point.memory.items()},
    }
