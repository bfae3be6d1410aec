"""How long a run will take, by its first steps."""

import time
from pathlib import Path

from videoswin.train.adapt import set_training
from videoswin.train.plan import Plan

__all__ = ["estimate"]

_STEPS = 3


def estimate(plan: Plan, out: Path) -> tuple[float, int]:
    """Seconds a step, and over how many of the first steps they were measured. Nothing is written, and nothing kept.

    The first step also starts what starts once; it is not counted if there are others.

    Raises:
        VideoError: a clip cannot be decoded.
    """
    trainer = plan.trainer(out)
    set_training(trainer.model)
    steps = trainer.steps_ahead()[:_STEPS]
    batches = trainer.batches_of(steps)
    times = []
    for step in steps:
        began = time.perf_counter()
        trainer.learn(step, batches)
        trainer.progress.step += 1
        times.append(time.perf_counter() - began)
    counted = times[1:] or times
    return sum(counted) / len(counted), len(counted)
