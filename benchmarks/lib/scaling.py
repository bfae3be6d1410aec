"""How time and memory grow with frames, height and width, and batch."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from benchmarks.lib.job import Job
from benchmarks.lib.memory import Memory, peak_memory
from benchmarks.lib.passes import forward_pass, output_of
from benchmarks.lib.peers import Peer

from videoswin.bench.equality import check_output
from videoswin.bench.timing import Times, take_turns
from videoswin.zoo.swin_macs import count_macs

__all__ = ["Point", "measure_scaling", "sizes"]

Axis = Literal["frames", "pixels", "batch"]
_FACTORS: dict[Axis, tuple[float, ...]] = {
    "frames": (0.25, 0.5, 1, 2),
    "pixels": (0.5, 0.75, 1, 1.25),
    "batch": (1, 2, 4),
}


@dataclass(frozen=True)
class Point:
    """One size of input: times and memory of every peer."""

    axes: tuple[Axis, ...]
    """The curves it lies on; the job's own size lies on all."""
    job: Job
    gmacs: float
    """Of the batch, executed by our model."""
    times: dict[str, Times]
    memory: dict[str, Memory]


def sizes(job: Job) -> list[tuple[tuple[Axis, ...], Job]]:
    """The job's own size, and others with one axis longer or shorter."""
    t, h, w = job.clip
    patch = job.config.patch_size
    found: list[tuple[tuple[Axis, ...], Job]] = [(("frames", "pixels", "batch"), job)]
    for axis, factors in _FACTORS.items():
        for factor in factors:
            clip, batch = job.clip, job.batch
            if axis == "frames":
                clip = (max(patch[0], round(t * factor)), h, w)
            elif axis == "pixels":
                clip = (t, max(patch[1], round(h * factor)), max(patch[2], round(w * factor)))
            else:
                batch = round(batch * factor)
            other = dataclasses.replace(job, clip=clip, batch=batch)
            if other not in [known for _, known in found]:
                found.append(((axis,), other))
    return found


def measure_scaling(
    job: Job,
    peers: Sequence[Peer],
    repeats: int,
    steps: Callable[[int, str], AbstractContextManager[Callable[[], None]]],
) -> list[Point]:
    """Forward passes of every size, peers in turns; outputs are compared at every size before it is timed.

    Raises:
        DifferentResultsError: a peer computes something else.
    """
    points = []
    todo = sizes(job)
    with steps(len(todo) * len(peers) * (repeats + 2), "Scaling") as step:
        for axes, sized in todo:
            memory = {}
            for peer in peers:
                memory[peer.name] = peak_memory(peer, sized, "forward")
                step()
            times = _times(sized, peers, repeats, step)
            macs = count_macs(sized.config, *sized.clip).executed * sized.batch
            points.append(Point(axes, sized, macs / 1e9, times, memory))
    return points


def _times(job: Job, peers: Sequence[Peer], repeats: int, step: Callable[[], None]) -> dict[str, Times]:
    ours, video, calls = job.ours(), job.video(), {}
    with torch.inference_mode():
        expected = ours.eval()(video)
    for peer in peers:
        model = peer.build(job, ours)
        check_output(peer.name, output_of(model, video, job), expected, job.precision)
        calls[peer.name] = forward_pass(model, video, job)
        step()
    return take_turns(calls, repeats, torch.device(job.device), step)
