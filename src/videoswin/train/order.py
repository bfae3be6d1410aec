"""Which clips an epoch shows, in which order, and which process computes which of them.

An optimiser step takes ``devices * accumulate`` batches. They are numbered over the whole step, and process ``r`` of ``W``
computes numbers ``r, r + W, ...``: so two processes do what one does with twice the accumulation, draw for draw.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from videoswin.data.dataset import clip_generator

__all__ = ["Batch", "class_shares", "epoch_order", "steps_of"]

Draw = tuple[int, int]
"""A clip, and which of its variations: (index, copy)."""


@dataclass(frozen=True)
class Batch:
    """What goes through the model at once. ``number``: of the batch within its step. ``share``: of the step's clips, 0 for a
    batch that only keeps a process busy while others have one more."""

    draws: tuple[Draw, ...]
    number: int
    share: float


def epoch_order(
    clips: int, seed: int, epoch: int, weights: Sequence[float] | None = None, repeat: int = 1
) -> list[Draw]:
    """The draws of one epoch: every clip once, or as often as its weight among them says; each ``repeat`` times in succession,
    varied anew each time, so that the variations of a clip meet in one batch (Hoffer et al., 2020)."""
    generator = clip_generator(seed, epoch, -1)
    if weights is None:
        order = torch.randperm(clips, generator=generator)
    else:
        order = torch.multinomial(torch.tensor(weights, dtype=torch.float64), clips, True, generator=generator)
    if weights is None:
        return [(index, copy) for index in order.tolist() for copy in range(repeat)]
    seen: Counter[int] = Counter()
    draws = []
    for index in order.tolist():  # a clip that is drawn twice is varied twice
        draws += [(index, seen[index] + copy) for copy in range(repeat)]
        seen[index] += repeat
    return draws


def steps_of(order: Sequence[Draw], batch_size: int, batches: int, rank: int = 0, world: int = 1) -> list[list[Batch]]:
    """The batches of this process, step by step; every process has equally many in a step."""
    steps = []
    for start in range(0, len(order), batch_size * batches):
        clips = order[start : start + batch_size * batches]
        parts = [tuple(clips[i : i + batch_size]) for i in range(0, len(clips), batch_size)]
        own = [Batch(part, n, len(part) / len(clips)) for n, part in enumerate(parts) if n % world == rank]
        rounds = -(-len(parts) // world)
        steps.append(own + [Batch(parts[0], 0, 0.0)] * (rounds - len(own)))
    return steps


def class_shares(labels: Sequence[tuple[str, ...]], power: float = 1.0) -> list[float]:
    """A weight for each clip, by how rare its classes are: with ``power`` 1, all classes are shown equally often."""
    shown = [names or ("",) for names in labels]  # clips of no class count as those of one more
    counts = Counter(label for names in shown for label in names)
    return [max(counts[name] ** -power for name in names) for names in shown]
