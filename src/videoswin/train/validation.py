"""Held-out clips, looked at after each epoch."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from videoswin.data.dataset import ClipDataset, ClipLoader
from videoswin.train.metrics import Tally
from videoswin.train.processes import Processes
from videoswin.train.targets import Judge, OneLabel

__all__ = ["validate"]


def validate(
    logits_of: Callable[[Tensor], Tensor],
    clips: ClipDataset,
    targets: OneLabel,
    processes: Processes,
    weights: AbstractContextManager[object],
    asked: Callable[[], bool],
    batch_size: int,
    workers: int,
) -> tuple[Tally, Judge] | None:
    """One centre view of every clip, each counted once. None if it was called off.

    Args:
        logits_of: clips (B, 3, T, H, W) -> logits (B, K) of the model, which is in evaluation mode.
        weights: a context in which the model has the weights to validate.
        asked: whether to call it off; any of several processes may.
    """
    judge, tally, (rank, world) = targets.judge(), Tally(), (processes.rank, processes.world)
    batches = _chunks(list(range(len(clips)))[rank::world], batch_size)
    rounds = len(_chunks(list(range(0, len(clips), world)), batch_size))  # of the first process
    loaded = iter(ClipLoader(clips, batches, num_workers=workers))
    plain = targets.unsmoothed()
    with torch.no_grad(), weights:
        for number in range(rounds):
            count, loss, right = 0, 0.0, 0
            if number < len(batches):
                videos, labels, _ = next(loaded)
                logits = logits_of(videos).cpu()
                count, right = len(labels), targets.right(logits, labels)
                judge.add(logits, labels)
                loss = plain.loss(logits, labels).item() * count
            elif processes.shares:  # every process has to take part in each forward pass
                logits_of(clips[0][0][None])
            count, loss, right, stop = processes.sum([count, loss, right, asked()])
            tally.count(round(count), loss, round(right))
            if stop:
                return None
    judge.close(processes)
    return tally, judge


def _chunks(indices: list[int], size: int) -> list[list[int]]:
    return [indices[i : i + size] for i in range(0, len(indices), size)]
