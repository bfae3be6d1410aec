"""Labels that are probably wrong: clips that heads which have not seen them take for something else.

Linear heads are fitted on the features of a frozen model, and each clip is scored by heads that have not seen it, nor a copy of
it. A label is doubtful where another class is several times as likely. How far that can be believed depends on how well the
features know these classes, so it is tried: some labels are changed on purpose, and it is counted how many of them are named.

Confident learning (Northcutt et al., 2021; the library cleanlab) also asks that the other class be as sure as its own clips are on
average. Among few clips of many kinds that left three wrong labels in ten unnamed (docs/log.md).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from videoswin.data.clips import Clip
from videoswin.predict.calibration import fit_temperature
from videoswin.train.features import Features
from videoswin.train.frozen_heads import linear
from videoswin.train.split import k_folds

__all__ = ["Doubt", "Trial", "doubts", "fits", "held_out_scores", "trial"]

_FOLDS, _FOLDS_OF_MANY, _MANY = 20, 10, 400
_PARTS = 4  # of a clip, in their order: what it ends with is another number than what it begins with
_DECAYS = (0.1, 1.0)  # strong ones: a head that fits every label learns the wrong ones, too
_TIMES = 4.0  # the other class's score is so many times the label's, or it is no more than a hard clip
_LEAST_OF_CLASS = 3
_CHANGED = 0.1


@dataclass(frozen=True)
class Doubt:
    """Clip ``number`` is said to be ``label`` and is probably ``other``. ``score``, ``given``: of the two, in [0, 1]."""

    number: int
    label: str
    other: str
    score: float
    given: float


class Trial(NamedTuple):
    """``changed`` labels were changed to try it; ``named``: how many were named then, and ``found``: how many of these had been
    changed. The list's own mistakes are among the rest."""

    changed: int
    named: int
    found: int


def fits(clips: int) -> int:
    """How many times heads are fitted for one scoring of so many clips."""
    return _FOLDS if clips <= _MANY else _FOLDS_OF_MANY


def held_out_scores(
    looks: Sequence[Features],
    rows: Sequence[Clip],
    labels: Sequence[str],
    together: Sequence[int],
    step: Callable[[], None] = lambda: None,
) -> Tensor:
    """float (N, K): scores of each clip by heads that learnt from others, the means (of logarithms) over ``looks``, ways of
    choosing frames.

    Groups are not kept apart: a clip of the same person with a right label is what finds the wrong one. ``together``: (N,), clips of
    one number are copies of each other. They stand on one side, so that none confirms a wrong label of another, and get the mean of
    their scores: they show the same, and the one that is cropped or hard compressed is easily taken for something else.
    """
    targets = torch.tensor([labels.index(row.label) for row in rows])
    stand_ins = [
        Clip(row.path, row.label, "", str(place), 0, row.start, row.end)
        for row, place in zip(rows, together, strict=True)
    ]
    index = {id(clip): number for number, clip in enumerate(stand_ins)}
    totals = [torch.zeros(len(rows), len(labels)) for _ in looks]
    sees = [_in_order(look) for look in looks]
    for fold in k_folds(stand_ins, min(fits(len(rows)), len(set(together))), 0):
        held = torch.zeros(len(rows), dtype=torch.bool)
        held[[index[id(clip)] for clip in fold]] = True
        for total, look in zip(totals, sees, strict=True):
            total[held] = linear(look, targets, len(labels), ~held, list(_DECAYS)).softmax(2).mean(0)[held]
        step()
    logits = [total.clamp(min=1e-6).log() for total in totals]
    # Strong decays make scores softer than they deserve.
    sure = [(one / fit_temperature(one, targets)).log_softmax(1) for one in logits]
    return _mean_of_copies(torch.stack(sure).mean(0), together).softmax(1)


def _mean_of_copies(scores: Tensor, together: Sequence[int]) -> Tensor:
    """(N, K): each row is the mean of those of its number."""
    _, place, counts = torch.tensor(together).unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), scores.shape[1]).index_add_(0, place, scores)
    return (sums / counts[:, None])[place]


def doubts(scores: Tensor, rows: Sequence[Clip], labels: Sequence[str]) -> list[Doubt]:
    """Clips whose label is probably wrong, surest first: another class is ``_TIMES`` as likely. ``scores``: (N, K), held out.
    Classes of fewer than three clips are left out."""
    targets = torch.tensor([labels.index(row.label) for row in rows])
    counts = targets.bincount(minlength=len(labels))
    given = scores.gather(1, targets[:, None])[:, 0]
    other, best = scores.scatter(1, targets[:, None], -1.0).max(1)
    wrong = (other > _TIMES * given) & (counts[targets] >= _LEAST_OF_CLASS)
    order = (other - given)[wrong].argsort(descending=True)
    found = wrong.nonzero().flatten()[order].tolist()
    return [Doubt(n, rows[n].label, labels[int(best[n])], float(other[n]), float(given[n])) for n in found]


def trial(
    looks: Sequence[Features],
    rows: Sequence[Clip],
    labels: Sequence[str],
    together: Sequence[int],
    step: Callable[[], None] = lambda: None,
) -> Trial | None:
    """What changing a tenth of the labels says; None where that is fewer than three."""
    draw = random.Random(0)
    changed = set(draw.sample(range(len(rows)), round(_CHANGED * len(rows))))
    if len(changed) < 3:
        return None
    tried = [
        replace(row, label=draw.choice([label for label in labels if label != row.label])) if n in changed else row
        for n, row in enumerate(rows)
    ]
    named = {d.number for d in doubts(held_out_scores(looks, tried, labels, together, step), tried, labels)}
    return Trial(len(changed), len(named), len(named & changed))


def _in_order(look: Features) -> Tensor:
    """(N, C): means over each part of a clip, of the last two stages."""
    stages = sorted(look.pooled)[-2:]
    if not look.times or min(look.times[stage].shape[1] for stage in stages) < _PARTS:
        return torch.cat([look.pooled[stage] for stage in stages], dim=1)
    parts = [part.mean(1) for stage in stages for part in look.times[stage].tensor_split(_PARTS, dim=1)]
    return torch.cat(parts, dim=1)
