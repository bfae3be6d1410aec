"""How long a run will take, by its first clips and steps."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from videoswin.train.adapt import set_training
from videoswin.train.loop import Trainer
from videoswin.train.order import Batch
from videoswin.train.plan import Plan

__all__ = ["Estimate", "estimate"]

_STEPS = 3
_LONGEST = 20.0  # seconds that whole steps are waited for


@dataclass(frozen=True)
class Estimate:
    """Seconds of a step, and what they were measured by, in words."""

    step_s: float
    by: str


def estimate(plan: Plan, out: Path, told: Callable[[str], None] = lambda line: None) -> Estimate:
    """Measure one clip, and whole steps where these are short. Nothing is written, and nothing kept.

    What starts once is started by a first clip, which is not counted. ``told``: what is measured next, for people.

    Raises:
        VideoError: a clip cannot be decoded.
    """
    trainer = plan.trainer(out)
    set_training(trainer.model)
    processes, steps = plan.processes, trainer.steps_ahead()[:_STEPS]
    clips = sum(len(batch.draws) for batch in steps[0])
    shown = plan.classifier.preprocessing
    told(
        f"measuring one clip of {shown.clip_len} frames of {shown.size[0]} x {shown.size[1]} pixels, forward and backward, on "
        f"{trainer.device}: as a rule less than a minute."
    )
    one = [Batch(steps[0][0].draws[:1], processes.rank, 1 / processes.world)]

    def clip() -> float:
        """Seconds; the mean of all processes, which have to come to the same end."""
        return float(processes.sum([_seconds(trainer, [one])[0]])[0]) / processes.world

    clip()
    of_a_clip = clip()
    if of_a_clip * clips * len(steps) > _LONGEST:
        of_a_clip = min(of_a_clip, clip())  # other work may have come between
    if of_a_clip * clips * len(steps) > _LONGEST:
        told(f"a clip takes {of_a_clip:.1f} s: a step is reckoned from that.")
        return Estimate(of_a_clip * clips, f"a clip of {of_a_clip:.2g} s, without waiting for a step")
    told(f"a clip takes {of_a_clip:.2g} s: now whole steps.")
    times = _seconds(trainer, steps)
    counted = times[1:] or times
    noun = "step" if len(counted) == 1 else "steps"
    return Estimate(
        sum(counted) / len(counted),
        f"{len(counted)} {noun} of {sum(counted) / len(counted):.2g} s (the first ones decode)",
    )


def _seconds(trainer: Trainer, steps: list[list[Batch]]) -> list[float]:
    """Of each step."""
    batches, times = trainer.batches_of(steps), []
    for step in steps:
        began = time.perf_counter()
        trainer.learn(step, batches)
        times.append(time.perf_counter() - began)
    return times
